//! What is so where nothing else is said.

use std::time::Duration;

use super::{
    Algorithm, Audit, Authority, Authz, Config, Durability, Jwt, Layout, Limits, Log, LogFormat, LogLevel, Nonce, Ops,
    Runtime, Token, Wit, X509,
};
use crate::{daemon::Paths, spiffe::TrustDomain};

impl Config {
    /// The defaults, for a trust domain and its places.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, paths: &Paths) -> Self {
        let token = Token {
            issuer: format!("https://{trust_domain}/oauth"),
            environment: None,
            nonce: Nonce::Off,
            proof_age_max: Duration::from_secs(60),
            proof_ahead_max: Duration::from_secs(5),
            user_issuers: Vec::new(),
        };
        Self {
            trust_domain,
            workload_sockets: vec![paths.workload_socket.clone()],
            admin_socket: paths.admin_socket.clone(),
            admin_group: None,
            http_socket: paths.http_socket.clone(),
            authz_socket: paths.authz_socket.clone(),
            authz_group: None,
            state_dir: paths.state_dir.clone(),
            host_root: "/".into(),
            without_kernel: Vec::new(),
            allow_unauthenticated_verifiers: false,
            x509: X509 { ttl: HOUR, ttl_max: DAY, given_again: Duration::ZERO },
            jwt: Jwt { ttl: MINUTES_5, ttl_max: HOUR, issuer: None, leeway: Duration::from_secs(30) },
            wit: Wit { enabled: false, ttl: MINUTES_5, ttl_max: HOUR },
            token,
            authz: Authz {
                replay_entries_max: REPLAY_ENTRIES_MAX,
                replay_entries_per_key_max: None,
                replay_nonce: None,
                certificate_header: None,
                issuers: Vec::new(),
            },
            authority: Authority {
                layout: Layout::Rooted,
                algorithm: Algorithm::P256,
                issuing_ttl: DAY,
                root_ttl: YEAR.saturating_mul(5),
                token_key_ttl: DAY,
            },
            audit: Audit {
                durability: Durability::Normal,
                segment_bytes: 64 << 20,
                total_bytes: 1 << 30,
                refusals_per_uid_minute: 120,
                bytes_per_uid_minute: 128 << 10,
            },
            ops: Ops { address: None, allow_remote: false },
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
            limits: Limits::default(),
            runtime: Runtime { worker_threads: 1 },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_uid: 1_024,
            connections_uid_0: 4_096,
            connections_total: None,
            streams_per_connection: 200,
            streams_per_uid: 4_096,
            streams_uid_0: 16_384,
            streams_total: 65_536,
            answer_bytes_per_uid: 64 << 20,
            answer_bytes_uid_0: 256 << 20,
            answer_bytes_total: 512 << 20,
            connects_per_second: 2_000,
            requests_per_second: 5_000,
            header_list_bytes: 16 << 10,
            request_message_bytes: 64 << 10,
            preface: Duration::from_secs(10),
            request: Duration::from_secs(10),
            attestation: Duration::from_secs(3),
            ping: Duration::from_secs(5),
            hash: Duration::from_secs(30),
            hash_bytes_max: 1 << 30,
            hashes_at_once: 2,
        }
    }
}

/// A busy client at 16,000 calls a second uses a million within the window; 128 MiB at the most.
const REPLAY_ENTRIES_MAX: u32 = 4_000_000;
const MINUTES_5: Duration = Duration::from_secs(300);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);
