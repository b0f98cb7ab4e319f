//! From what an operator decides to what each room is given.

use crate::{
    api::{
        Terms,
        limits::{Limits as GateLimits, Share},
    },
    attest::Waits,
    audit, authority,
    issuance::JwtRules,
    oauth::{dpop::Window, freshness},
    policy::{Lifetimes, Rules},
};

use super::config::{Algorithm, Config, Durability, Layout, Limits, Nonce, Token};

/// Descriptors that are not for connections: the database, the log, executables being read, connections that are
/// being refused or make room. Where there are many, a twentieth.
const DESCRIPTORS_RESERVED: u64 = 256;
const DESCRIPTORS_RESERVED_MAX: u64 = 4_096;
/// What the audit log keeps free for renewals.
const AUDIT_RESERVE_BYTES: u64 = 4 << 20;
/// Admins at once.
const ADMIN: Share = Share { connections: 64, streams: 256, answer_bytes: 64 << 20 };

/// Proxies at once, which ask for all of their clients.
const AUTHZ: Share = Share { connections: 4_096, streams: 16_384, answer_bytes: 64 << 20 };
/// More than a processor verifies: who comes without a token must not have others turned away.
const AUTHZ_PER_SECOND: u32 = 1_000_000;

/// What each kind of doors admits.
pub(super) struct Gates {
    /// Of the HTTP socket, too.
    pub(super) workload: GateLimits,
    pub(super) admin: GateLimits,
    pub(super) authz: GateLimits,
}

pub(super) fn gates(config: &Config, descriptors: u64) -> Gates {
    let limits = &config.limits;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    // A connection takes two descriptors: the socket and the pidfd.
    let reserved = (descriptors / 20).clamp(DESCRIPTORS_RESERVED, DESCRIPTORS_RESERVED_MAX);
    let fit = usize::try_from(descriptors.saturating_sub(reserved) / 2).unwrap_or(usize::MAX);
    let workload = GateLimits {
        user: Share {
            connections: size(limits.connections_per_uid),
            streams: size(limits.streams_per_uid),
            answer_bytes: size(limits.answer_bytes_per_uid),
        },
        root: Share {
            connections: size(limits.connections_uid_0),
            streams: size(limits.streams_uid_0),
            answer_bytes: size(limits.answer_bytes_uid_0),
        },
        all: Share {
            connections: limits.connections_total.map_or(fit, size).min(fit),
            streams: size(limits.streams_total),
            answer_bytes: size(limits.answer_bytes_total),
        },
        connects_per_second: limits.connects_per_second,
        requests_per_second: limits.requests_per_second,
        // One more than can be worked at, so that no thread waits for a turn to be handed on.
        turns: size(config.runtime.worker_threads).saturating_add(1),
    };
    let same = |share| GateLimits { user: share, root: share, all: share, ..workload };
    let per_second = AUTHZ_PER_SECOND;
    let authz = GateLimits { connects_per_second: per_second, requests_per_second: per_second, ..same(AUTHZ) };
    Gates { workload, admin: same(ADMIN), authz }
}

pub(super) fn terms(limits: &Limits) -> Terms {
    Terms {
        streams_max: limits.streams_per_connection,
        header_list_bytes_max: limits.header_list_bytes,
        preface: limits.preface,
        request: limits.request,
        requests_per_second: limits.requests_per_second,
    }
}

pub(super) fn waits(limits: &Limits) -> Waits {
    Waits {
        attestation: limits.attestation,
        ping: limits.ping,
        hash: limits.hash,
        hash_bytes_max: limits.hash_bytes_max,
        hashes_at_once: usize::try_from(limits.hashes_at_once).unwrap_or(1),
    }
}

pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        trust_domain: config.trust_domain.clone(),
        x509: Lifetimes { default: config.x509.ttl, max: config.x509.ttl_max },
        jwt: Lifetimes { default: config.jwt.ttl, max: config.jwt.ttl_max },
        wit: Lifetimes { default: config.wit.ttl, max: config.wit.ttl_max },
    }
}

pub(super) fn jwt(config: &Config) -> JwtRules {
    JwtRules {
        issuer: config.jwt.issuer.clone(),
        leeway: config.jwt.leeway,
        strangers_verify: config.allow_unauthenticated_verifiers,
    }
}

pub(super) fn proofs(token: &Token) -> freshness::Settings {
    freshness::Settings {
        window: Window { age_max: token.proof_age_max, ahead_max: token.proof_ahead_max },
        needs_nonce: token.nonce == Nonce::Require,
        ..freshness::Settings::default()
    }
}

/// The same at the doors where tokens are verified: with a store of their own, and perhaps other nonces.
pub(super) fn proofs_at_doors(config: &Config) -> freshness::Settings {
    let (authz, size) = (&config.authz, |number: u32| usize::try_from(number).unwrap_or(usize::MAX));
    freshness::Settings {
        needs_nonce: authz.replay_nonce.unwrap_or(config.token.nonce) == Nonce::Require,
        entries_max: size(authz.replay_entries_max),
        entries_per_key_max: size(authz.entries_per_key_max()),
        ..proofs(&config.token)
    }
}

pub(super) fn audit(config: &Config) -> audit::Limits {
    audit::Limits {
        segment_bytes_max: config.audit.segment_bytes,
        total_bytes_max: config.audit.total_bytes,
        reserve_bytes: AUDIT_RESERVE_BYTES,
        refusals_per_minute: config.audit.refusals_per_uid_minute,
        bytes_per_minute: config.audit.bytes_per_uid_minute,
        durability: match config.audit.durability {
            Durability::Normal => audit::Durability::Soon,
            Durability::Strict => audit::Durability::Strict,
        },
    }
}

pub(super) fn layout(config: &Config) -> authority::Layout {
    match config.authority.layout {
        Layout::Rooted => authority::Layout::Rooted,
        Layout::SelfSigned => authority::Layout::SelfSigned,
    }
}

pub(super) fn authority(config: &Config) -> authority::Settings {
    authority::Settings {
        trust_domain: config.trust_domain.clone(),
        layout: layout(config),
        algorithm: match config.authority.algorithm {
            Algorithm::P256 => authority::Algorithm::P256,
            Algorithm::P384 => authority::Algorithm::P384,
        },
        issuing_ttl: config.authority.issuing_ttl,
        token_key_ttl: config.authority.token_key_ttl,
        signs_wit: config.wit.enabled,
        root_ttl: config.authority.root_ttl,
    }
}
