//! What records and lists say of an access token.

use std::time::SystemTime;

use crate::{
    audit::{AccessIssued, Delegation},
    authority::{AccessToken, AuthorityId},
    issuance::credential::Credentials,
    oauth::access::Subject,
    registry::Scope,
    spiffe::Id,
};

impl Credentials for AccessToken {
    fn id(&self) -> &Id {
        &self.token.id
    }

    fn serial(&self) -> &str {
        &self.token.serial
    }

    fn not_before(&self) -> SystemTime {
        self.token.not_before
    }

    fn not_after(&self) -> SystemTime {
        self.token.not_after
    }

    fn authority(&self) -> &AuthorityId {
        &self.token.authority
    }

    fn access(&self) -> Option<AccessIssued> {
        Some(AccessIssued {
            agent: self.agent.to_string(),
            tool: self.tool.to_string(),
            scopes: self.scopes.iter().map(Scope::to_string).collect(),
            jkt: self.holder.to_string(),
            lifetime_seconds: self.lifetime().as_secs(),
            delegation: delegation(&self.subject),
            parent_jti: self.parent.clone(),
            reason: self.reason.clone(),
        })
    }
}

/// Who acts for a user, where there is one.
fn delegation(subject: &Subject) -> Option<Delegation> {
    match subject {
        Subject::Agent(_) => None,
        Subject::User { name, issuer, agent, earlier } => Some(Delegation {
            subject: name.clone(),
            subject_issuer: issuer.clone(),
            actors: std::iter::once(agent.to_string()).chain(earlier.iter().map(|actor| actor.name.clone())).collect(),
        }),
    }
}
