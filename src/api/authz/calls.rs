//! The verifier by gRPC, for services that ask by themselves.

use std::{sync::Arc, time::SystemTime};

use tonic::{Request, Response, Status};

use super::{Authz, asker, refused::Refused, request::Sent};
use crate::{
    api::connection::Workload,
    oauth::verify::Verified,
    pb::admin::{
        AnswerHeader, RefusedRequest, VerifiedRequest, VerifyRequest, VerifyResponse,
        authz_server::{Authz as Service, AuthzServer},
        verify_response::Outcome,
    },
};

/// The service of a verifier.
pub(super) fn service(authz: Arc<Authz>, message_bytes_max: usize) -> AuthzServer<impl Service> {
    AuthzServer::new(Calls(authz)).max_decoding_message_size(message_bytes_max)
}

struct Calls(Arc<Authz>);

#[tonic::async_trait]
impl Service for Calls {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let asker = asker(&Workload::of(&request)?.caller);
        let request = request.into_inner();
        let outcome = match self.0.judge(&asker, Ok(sent(&request)))? {
            Ok(verified) => Outcome::Verified(passed(&verified)),
            Err(refused) => Outcome::Refused(told(refused)),
        };
        Ok(Response::new(VerifyResponse { outcome: Some(outcome) }))
    }
}

fn sent(request: &VerifyRequest) -> Sent<'_> {
    let VerifyRequest { method, url, authorization, dpop, tool, .. } = request;
    let named = |name: &'static str, values| <[String]>::iter(values).map(move |value| (name, value.as_bytes()));
    let headers = named("authorization", authorization)
        .chain(named("dpop", dpop))
        .chain(named("workload-identity-token", &request.workload_identity_token))
        .chain(named("workload-proof-token", &request.workload_proof_token))
        .chain(named("txn-token", &request.txn_token));
    Sent::new(method, url, Some(tool.as_str()).filter(|tool| !tool.is_empty()), headers)
        .with_certificates(std::iter::once(request.client_certificate.as_bytes()))
}

fn passed(verified: &Verified) -> VerifiedRequest {
    let credential = verified.credential();
    let expires_at = credential.expires_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    VerifiedRequest {
        agent: verified.agent().to_owned(),
        subject: verified.subject().name().to_owned(),
        actor: verified.subject().agent().to_string(),
        tool: verified.tool().to_owned(),
        scopes: verified.scopes().iter().map(ToString::to_string).collect(),
        scope: verified.scope().to_owned(),
        jti: verified.token_id().map(|id| id.to_string()).unwrap_or_default(),
        jkt: verified.key().map(|key| key.to_string()).unwrap_or_default(),
        expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX),
        credential: verified.kind().to_string(),
        issuer: verified.issuer().unwrap_or_default().to_owned(),
    }
}

fn told(refused: Refused) -> RefusedRequest {
    let header = |(name, value): (&str, String)| AnswerHeader { name: name.to_owned(), value };
    RefusedRequest {
        status: refused.status.into(),
        headers: refused.headers.into_iter().map(header).collect(),
        body: refused.words,
    }
}
