//! What is different about two configurations, by the names of the keys; and which of it a daemon that runs can take over.

use super::Config;

/// What a daemon that runs does about a key that has another value now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It goes by the new value.
    Now,
    /// It goes on with the old one, until it is started again.
    Restart,
}

/// One key.
struct Key {
    name: &'static str,
    effect: Effect,
    differs: fn(&Config, &Config) -> bool,
}

/// The keys whose values are different, in the order of the reference file.
pub(crate) fn differences(before: &Config, after: &Config) -> Vec<(&'static str, Effect)> {
    let different = KEYS.iter().filter(|key| (key.differs)(before, after));
    different.map(|key| (key.name, key.effect)).collect()
}

macro_rules! keys {
    ($($effect:ident $name:literal $($field:ident).+;)*) => {
        &[$(Key {
            name: $name,
            effect: Effect::$effect,
            differs: |before, after| before.$($field).+ != after.$($field).+,
        }),*]
    };
}

/// Every key that there is. A new one belongs in here, with `Now` only where somebody takes it over.
const KEYS: &[Key] = keys! {
    Restart "trust_domain" trust_domain;
    Restart "workload_sockets" workload_sockets;
    Restart "admin_socket" admin_socket;
    Restart "admin_group" admin_group;
    Restart "http_socket" http_socket;
    Restart "authz_socket" authz_socket;
    Restart "authz_group" authz_group;
    Restart "state_dir" state_dir;
    Restart "host_root" host_root;
    Restart "without_kernel" without_kernel;
    Restart "allow_unauthenticated_verifiers" allow_unauthenticated_verifiers;
    Restart "x509.ttl" x509.ttl;
    Restart "x509.ttl_max" x509.ttl_max;
    Restart "x509.given_again" x509.given_again;
    Restart "jwt.ttl" jwt.ttl;
    Restart "jwt.ttl_max" jwt.ttl_max;
    Restart "jwt.issuer" jwt.issuer;
    Restart "jwt.leeway" jwt.leeway;
    Restart "wit.enabled" wit.enabled;
    Restart "wit.ttl" wit.ttl;
    Restart "wit.ttl_max" wit.ttl_max;
    Restart "token.issuer" token.issuer;
    Restart "token.environment" token.environment;
    Restart "token.nonce" token.nonce;
    Restart "token.proof_age_max" token.proof_age_max;
    Restart "token.proof_ahead_max" token.proof_ahead_max;
    Now "token.user_issuer" token.user_issuers;
    Restart "authz.replay_entries_max" authz.replay_entries_max;
    Restart "authz.replay_entries_per_key_max" authz.replay_entries_per_key_max;
    Restart "authz.replay_nonce" authz.replay_nonce;
    Restart "authz.certificate_header" authz.certificate_header;
    Now "authz.issuer" authz.issuers;
    Restart "authority.layout" authority.layout;
    Restart "authority.algorithm" authority.algorithm;
    Restart "authority.issuing_ttl" authority.issuing_ttl;
    Restart "authority.root_ttl" authority.root_ttl;
    Restart "authority.token_key_ttl" authority.token_key_ttl;
    Restart "audit.durability" audit.durability;
    Restart "audit.segment_bytes" audit.segment_bytes;
    Restart "audit.total_bytes" audit.total_bytes;
    Restart "audit.refusals_per_uid_minute" audit.refusals_per_uid_minute;
    Restart "audit.bytes_per_uid_minute" audit.bytes_per_uid_minute;
    Restart "ops.address" ops.address;
    Restart "ops.allow_remote" ops.allow_remote;
    Now "log.level" log.level;
    Restart "log.format" log.format;
    Now "limits.connections_per_uid" limits.connections_per_uid;
    Now "limits.connections_uid_0" limits.connections_uid_0;
    Now "limits.connections_total" limits.connections_total;
    Restart "limits.streams_per_connection" limits.streams_per_connection;
    Now "limits.streams_per_uid" limits.streams_per_uid;
    Now "limits.streams_uid_0" limits.streams_uid_0;
    Now "limits.streams_total" limits.streams_total;
    Now "limits.answer_bytes_per_uid" limits.answer_bytes_per_uid;
    Now "limits.answer_bytes_uid_0" limits.answer_bytes_uid_0;
    Now "limits.answer_bytes_total" limits.answer_bytes_total;
    Now "limits.connects_per_second" limits.connects_per_second;
    Now "limits.requests_per_second" limits.requests_per_second;
    Restart "limits.header_list_bytes" limits.header_list_bytes;
    Restart "limits.request_message_bytes" limits.request_message_bytes;
    Restart "limits.preface_seconds" limits.preface;
    Restart "limits.request_seconds" limits.request;
    Restart "limits.attestation_seconds" limits.attestation;
    Restart "limits.ping_seconds" limits.ping;
    Restart "limits.hash_seconds" limits.hash;
    Restart "limits.hash_bytes_max" limits.hash_bytes_max;
    Restart "limits.hashes_at_once" limits.hashes_at_once;
    Restart "runtime.worker_threads" runtime.worker_threads;
};

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use super::*;
    use crate::{
        daemon::{Paths, config::Overrides},
        spiffe::TrustDomain,
    };

    /// Who adds a key and forgets it here would have operators believe that it had an effect.
    #[test]
    fn every_key_is_compared() {
        let (_, known) = Config::parse("", Path::new("x"), &Paths::system(), Overrides::default());
        let is_table = |key: &String| known.iter().any(|other| other.starts_with(&format!("{key}.")));
        let known: Vec<_> = known.iter().filter(|key| !is_table(key)).map(String::as_str).collect();
        let mut compared: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        compared.sort_unstable();
        assert_eq!(compared, known);
    }

    #[test]
    fn what_is_different_is_told_by_its_name_and_with_what_it_does() {
        let before = Config::new(TrustDomain::parse("example.org").unwrap(), &Paths::system());
        assert_eq!(differences(&before, &before), []);
        let mut after = before.clone();
        after.limits.preface *= 2;
        after.limits.streams_total += 1;
        after.jwt.issuer = Some("https://a.test".into());
        assert_eq!(
            differences(&before, &after),
            [
                ("jwt.issuer", Effect::Restart),
                ("limits.streams_total", Effect::Now),
                ("limits.preface_seconds", Effect::Restart)
            ]
        );
    }
}
