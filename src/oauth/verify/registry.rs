//! What the verifier is told: tools, agents, keys, and what was revoked, all of one moment.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    oauth::{
        Scopes,
        access::Keys,
        issuer::{Issuer, IssuerName},
        target::Target,
    },
    spiffe::{Id, jwt, wit},
};

use super::{Accepts, Credential};

/// What is known of tools, agents and revocations at one moment.
pub trait Registry {
    /// The `iss` of access tokens.
    fn issuer(&self) -> &str;

    /// The keys that verify them.
    fn keys(&self) -> &Keys;

    /// The tool that a URL belongs to, and the scope that its route needs. With a name it is that tool or none; one
    /// without URLs takes any.
    fn resource(&self, target: &Target, method: &str, named: Option<&str>) -> Option<Resource<'_>>;

    /// What has become of an agent.
    fn agent(&self, name: &str) -> AgentState;

    /// Whether a credential was taken back, or what it rests on is gone.
    fn revocation(&self, credential: &Credential) -> Option<Revocation>;

    /// A number that changes whenever something was revoked. No verdict on a token outlives it.
    fn epoch(&self) -> u64;

    /// The agent that who shows this SPIFFE ID is now. Asked, as what follows, only where a tool takes other credentials
    /// than access tokens of our own.
    fn agent_of(&self, id: &Id, now: SystemTime) -> Option<&str> {
        let _ = (id, now);
        None
    }

    /// What an agent is granted with a tool, for a credential that was issued so long ago: what is risky is not granted for
    /// as long as the credential may live.
    fn granted(&self, agent: &str, tool: &str, age: Duration) -> Option<Scopes> {
        let _ = (agent, tool, age);
        None
    }

    /// The keys that verify WIT-SVIDs of our own trust domain.
    fn wit_keys(&self) -> Option<&wit::Bundle> {
        None
    }

    /// The keys that verify its JWT-SVIDs.
    fn jwt_keys(&self) -> Option<&jwt::Bundle> {
        None
    }

    /// The issuer of this name, if an operator has pinned it for tools. Another one whenever its keys were read again.
    fn foreign_issuer(&self, name: &IssuerName) -> Option<&Arc<Issuer>> {
        let _ = name;
        None
    }

    /// Whether the issuer of this name is pinned, but without keys.
    fn is_keyless(&self, name: &IssuerName) -> bool {
        let _ = name;
        false
    }
}

/// The tool of a request.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its name.
    pub tool: &'a str,
    /// Its audience.
    pub audience: &'a str,
    /// The scope that the request's route needs; without one there is no route.
    pub scope: Option<&'a str>,
    /// Whether its URLs may have a slash within a segment.
    pub takes_encoded_slash: bool,
    /// Which credentials it takes; by default access tokens of our own with DPoP proofs.
    pub accepts: Accepts<'a>,
    /// Whether its metadata (RFC 9728) can be had under its audience, so that challenges name it.
    pub tells_metadata: bool,
}

/// What has become of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// It may act.
    Active,
    /// Not now.
    Suspended,
    /// Never again.
    Retired,
    /// It may act elsewhere, but is not of this environment.
    Elsewhere,
    /// There is none of this name.
    Unknown,
}

/// What of a token was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It itself, by its `jti`.
    Token,
    /// The key that it is bound to.
    Key,
    /// Everything that its agent was given until then.
    Agent,
    /// Its agent's right to the tool.
    Grant,
    /// The entry by which its caller was the agent.
    Entry,
    /// The session that it belongs to.
    Session,
}
