//! What was taken back, on the wire: `dayfly.v1.Revocations`.

use tonic::{Request, Response, Status, async_trait};
use zeroize::Zeroizing;

use super::{caller, catalog::agent, list::page_size, wire::unix_seconds};
use crate::{
    api::status,
    issuance::desk::Desk,
    oauth::{Thumbprint, access::TokenId},
    pb::admin::{self as pb, revocations_server},
    registry::{self, Revoked, RevokedId},
    sys::threads::aside,
};

/// The service.
pub(super) struct Revocations {
    desk: Desk,
}

impl Revocations {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk }
    }
}

#[async_trait]
impl revocations_server::Revocations for Revocations {
    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Result<Response<pb::Revocation>, Status> {
        let author = caller(&request)?.into();
        let pb::RevokeTokenRequest { jti, token } = request.into_inner();
        let token = Zeroizing::new(token);
        let revoked = match (jti.as_str(), token.as_str()) {
            ("", "") => return Err(status::invalid("the jti or the token is missing")),
            (jti, "") => {
                let id = TokenId::parse(jti);
                let id = id.ok_or_else(|| status::invalid("a jti is 22 characters of base64url"))?;
                self.desk.revoke_token_id(author, id).await?
            }
            ("", token) => self.desk.revoke_token(author, token).await?,
            _ => return Err(status::invalid("either the jti or the token is given")),
        };
        Ok(Response::new(encode(&revoked)))
    }

    async fn revoke_key(&self, request: Request<pb::KeyName>) -> Result<Response<pb::Revocation>, Status> {
        let author = caller(&request)?.into();
        let revoked = self.desk.revoke_key(author, key(request.get_ref())?).await?;
        Ok(Response::new(encode(&revoked)))
    }

    async fn revoke_agent(&self, request: Request<pb::AgentName>) -> Result<Response<pb::RevokeAgentResponse>, Status> {
        let author = caller(&request)?.into();
        let before = self.desk.revoke_agent(author, agent(request.into_inner())?).await?;
        Ok(Response::new(pb::RevokeAgentResponse { revoked_before: unix_seconds(before) }))
    }

    async fn restore_key(&self, request: Request<pb::KeyName>) -> Result<Response<pb::RestoreKeyResponse>, Status> {
        let author = caller(&request)?.into();
        self.desk.restore_key(author, key(request.get_ref())?).await?;
        Ok(Response::new(pb::RestoreKeyResponse {}))
    }

    async fn list(
        &self,
        request: Request<pb::ListRevocationsRequest>,
    ) -> Result<Response<pb::ListRevocationsResponse>, Status> {
        let wanted = request.into_inner();
        if !matches!(wanted.kind.as_str(), "" | "token" | "key") {
            return Err(status::invalid("kind: it must be token or key"));
        }
        let after = match wanted.page_token.split_once(':') {
            None if wanted.page_token.is_empty() => None,
            Some((kind, name)) if RevokedId::parse(kind, name).is_some() => RevokedId::parse(kind, name),
            _ => return Err(status::invalid("page_token: it is not from a page before")),
        };
        let snapshot = self.desk.registry().borrow().clone();
        // It walks over all of them: done aside.
        let answer = aside(move || answer(snapshot.revocations(), &wanted, after.as_ref())).await;
        answer.map(Response::new).map_err(|_| status::panicked())
    }
}

fn answer(
    all: &registry::Revocations,
    wanted: &pb::ListRevocationsRequest,
    after: Option<&RevokedId>,
) -> pb::ListRevocationsResponse {
    let is_wanted = |revoked: &&Revoked| wanted.kind.is_empty() || revoked.id.kind() == wanted.kind;
    let mut found: Vec<_> = all.iter().filter(is_wanted).collect();
    let total = u64::try_from(found.len()).unwrap_or(u64::MAX);
    let mut answer = pb::ListRevocationsResponse { total, ..pb::ListRevocationsResponse::default() };
    if wanted.count_only {
        return answer;
    }
    found.sort_unstable_by_key(|revoked| revoked.id);
    let first = after.map_or(0, |after| found.partition_point(|revoked| revoked.id <= *after));
    let mut rest = found.into_iter().skip(first);
    let page: Vec<_> = rest.by_ref().take(page_size(wanted.page_size)).collect();
    if let (Some(_), Some(last)) = (rest.next(), page.last()) {
        answer.next_page_token = format!("{}:{}", last.id.kind(), last.id.name());
    }
    answer.revocations = page.into_iter().map(encode).collect();
    answer
}

fn encode(revoked: &Revoked) -> pb::Revocation {
    pb::Revocation {
        kind: revoked.id.kind().into(),
        name: revoked.id.name(),
        revoked_at: unix_seconds(revoked.at),
        until: revoked.until.map_or(0, unix_seconds),
    }
}

fn key(request: &pb::KeyName) -> Result<Thumbprint, Status> {
    let wrong = |_| status::invalid("a key's thumbprint (jkt) is 43 characters of base64url");
    Thumbprint::parse(&request.jkt).map_err(wrong)
}
