//! The endpoint by gRPC, on the workload sockets.

use std::sync::Arc;

use tonic::{Code as Grpc, Request, Response, Status, metadata::AsciiMetadataValue};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Endpoint, Presented,
    answer::{Code, Refusal},
};
use crate::{
    api::{
        connection::Workload,
        sealed::{Wiped, seal_one},
    },
    issuance::AccessAsked,
    oauth::exchange::TokenType,
    pb::admin::{
        DescribeTokensRequest, DescribeTokensResponse, DescribedAgent, DescribedTool, ExchangeTokenRequest,
        ExchangeTokenResponse, IssueTokenRequest, IssueTokenResponse,
        token_server::{Token, TokenServer},
    },
    registry::{Grant, Scope, State},
};

/// The service of an endpoint.
pub(crate) fn token_service(endpoint: Arc<Endpoint>, message_bytes_max: usize) -> TokenServer<impl Token> {
    TokenServer::new(Calls(endpoint)).max_decoding_message_size(message_bytes_max)
}

struct Calls(Arc<Endpoint>);

#[tonic::async_trait]
impl Token for Calls {
    async fn issue(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let IssueTokenRequest { proof, audience, scope, agent, reason } = request.into_inner();
        let issued = async {
            let asked = AccessAsked::new(&agent, [audience.as_str()], &scope, 0)?.for_reason(&reason)?;
            let proofs = [proof.as_bytes()];
            self.0.issue(&caller, if proof.is_empty() { &[] } else { &proofs }, asked, None).await
        };
        let token = issued.await.map_err(refused)?;
        let answer = IssueTokenResponse {
            access_token: token.text().to_owned(),
            token_type: "DPoP".to_owned(),
            expires_in: u32::try_from(token.lifetime().as_secs()).unwrap_or(u32::MAX),
            scope: token.scope(),
        };
        seal_one(answer, &allowance)
    }

    async fn exchange(
        &self,
        request: Request<ExchangeTokenRequest>,
    ) -> Result<Response<ExchangeTokenResponse>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let ExchangeTokenRequest { proof, audience, scope, agent, subject_token, subject_token_type, reason } =
            request.into_inner();
        let subject_token = Zeroizing::new(subject_token);
        let exchanged = async {
            if subject_token.is_empty() {
                return Err(Refusal::new(Code::InvalidRequest, "subject_token is missing"));
            }
            let kind = match subject_token_type.as_str() {
                "" => Some(TokenType::Jwt),
                name => TokenType::named(name),
            };
            let kind = kind.ok_or_else(|| Refusal::new(Code::InvalidRequest, "subject_token_type is not known"))?;
            let asked = AccessAsked::new(&agent, [audience.as_str()], &scope, 0)?.for_reason(&reason)?;
            let proofs = [proof.as_bytes()];
            let presented = Presented { token: &subject_token, kind };
            self.0.issue(&caller, if proof.is_empty() { &[] } else { &proofs }, asked, Some(presented)).await
        };
        let token = exchanged.await.map_err(refused)?;
        let answer = ExchangeTokenResponse {
            access_token: token.text().to_owned(),
            token_type: "DPoP".to_owned(),
            expires_in: u32::try_from(token.lifetime().as_secs()).unwrap_or(u32::MAX),
            scope: token.scope(),
            issued_token_type: TokenType::AccessToken.name().to_owned(),
        };
        seal_one(answer, &allowance)
    }

    async fn describe(
        &self,
        request: Request<DescribeTokensRequest>,
    ) -> Result<Response<DescribeTokensResponse>, Status> {
        let Workload { caller, .. } = Workload::of(&request)?;
        let known = self.0.issuer.described(&caller).await?;
        let agents = known.iter().map(|(agent, rights)| DescribedAgent {
            name: agent.spec.name.to_string(),
            state: match agent.state {
                State::Active if !agent.spec.is_of(self.0.issuer.environment()) => "elsewhere".to_owned(),
                state => state.to_string(),
            },
            tools: rights
                .iter()
                .map(|(tool, grant)| DescribedTool {
                    name: tool.spec.name.to_string(),
                    audience: tool.spec.audience.to_string(),
                    base_urls: tool.spec.base_urls.iter().map(ToString::to_string).collect(),
                    scopes: scopes(grant),
                })
                .collect(),
        });
        Ok(Response::new(DescribeTokensResponse {
            issuer: self.0.name.clone(),
            token_endpoint: self.0.url.clone(),
            nonce: self.0.nonce().unwrap_or_default(),
            agents: agents.collect(),
        }))
    }
}

impl Wiped for IssueTokenResponse {
    fn wipe(&mut self) {
        self.access_token.zeroize();
    }
}

impl Wiped for ExchangeTokenResponse {
    fn wipe(&mut self) {
        self.access_token.zeroize();
    }
}

fn scopes(grant: &Grant) -> Vec<String> {
    grant.spec.scopes.iter().map(Scope::to_string).collect()
}

/// A refusal as a status, whose message begins with OAuth's code.
fn refused(refusal: Refusal) -> Status {
    let Refusal { code, description, nonce, .. } = refusal;
    let grpc = match code {
        Code::InvalidClient => Grpc::Unauthenticated,
        Code::UnauthorizedClient | Code::InvalidTarget | Code::InvalidScope => Grpc::PermissionDenied,
        Code::UseNonce => Grpc::FailedPrecondition,
        // Clients give up on ResourceExhausted.
        Code::SlowDown | Code::Unavailable => Grpc::Unavailable,
        Code::InvalidRequest | Code::InvalidProof | Code::UnsupportedGrantType => Grpc::InvalidArgument,
    };
    let mut status = Status::new(grpc, format!("{}: {description}", code.name()));
    if let Some(nonce) = nonce.and_then(|nonce| AsciiMetadataValue::try_from(nonce).ok()) {
        status.metadata_mut().insert("dpop-nonce", nonce);
    }
    status
}
