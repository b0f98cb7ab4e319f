//! What an operator decides, read strictly: every problem of the file is found at once and told with its line.
//!
//! A [`Config`] that exists is a right one: each value in its range, and all of them fit together. The shipped
//! `packaging/dayfly.toml` names every key with its default.

mod defaults;
mod difference;
mod fit;
mod problems;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::HeaderName;

pub(crate) use difference::{Effect, differences};
pub use problems::Problems;
pub use read::Overrides;
pub(in crate::daemon) use read::read_bounded;

use crate::{oauth::issuer::IssuerName, registry::Label, spiffe::TrustDomain, sys::kernel::Feature};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The trust domain that this daemon issues for. It cannot be changed once state exists.
    pub trust_domain: TrustDomain,
    /// The sockets that workloads open: at least one, absolute paths, at most 107 bytes each.
    pub workload_sockets: Vec<PathBuf>,
    /// The socket that admin verbs open.
    pub admin_socket: PathBuf,
    /// The group that may open the admin socket, beside the daemon's user and root.
    pub admin_group: Option<Group>,
    /// The socket on which workloads ask for access tokens over HTTP/1.1.
    pub http_socket: PathBuf,
    /// The socket on which proxies and services have access tokens verified.
    pub authz_socket: PathBuf,
    /// The group that may open the authz socket, beside the daemon's user and root.
    pub authz_group: Option<Group>,
    /// The folder of the database, the keys and the audit log.
    pub state_dir: PathBuf,
    /// Where the host's root is seen by the daemon: `/`, or `/proc/1/root` in a container.
    pub host_root: PathBuf,
    /// Kernel features that count as absent. The daemon acts as on an older kernel, never weaker.
    pub(crate) without_kernel: Vec<Feature>,
    /// Whether callers without an identity may fetch bundles and have JWT-SVIDs validated.
    pub allow_unauthenticated_verifiers: bool,
    /// X.509-SVIDs.
    pub x509: X509,
    /// JWT-SVIDs.
    pub jwt: Jwt,
    /// WIT-SVIDs.
    pub wit: Wit,
    /// Access tokens.
    pub token: Token,
    /// Where proxies and services have access tokens verified.
    pub authz: Authz,
    /// The embedded certificate authority.
    pub authority: Authority,
    /// The record of what was done.
    pub audit: Audit,
    /// The listener of probes and Prometheus.
    pub ops: Ops,
    /// What is logged, and how.
    pub log: Log,
    /// What one caller, and all of them, may take.
    pub limits: Limits,
    /// The threads that serve.
    pub runtime: Runtime,
}

/// A group of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name as configured.
    pub name: String,
    /// Its id.
    pub gid: u32,
}

/// Lifetimes of X.509-SVIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X509 {
    /// Of one whose entry says nothing. Never longer than `ttl_max`.
    pub ttl: Duration,
    /// The longest that an entry can ask for.
    pub ttl_max: Duration,
    /// How long a program that opens another stream has the same SVIDs on it; zero for never, at most a minute.
    pub given_again: Duration,
}

/// JWT-SVIDs: how they are made, and how those of others are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Lifetime of one whose entry says nothing. Never longer than `ttl_max`.
    pub ttl: Duration,
    /// The longest that an entry can ask for.
    pub ttl_max: Duration,
    /// Their `iss`; none by default.
    pub issuer: Option<String>,
    /// How much the clocks of those who signed may differ, at most a minute.
    pub leeway: Duration,
}

/// WIT-SVIDs, which the standard calls incubating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wit {
    /// Whether they are offered at all.
    pub enabled: bool,
    /// Lifetime of one whose entry says nothing. Never longer than `ttl_max`.
    pub ttl: Duration,
    /// The longest that an entry can ask for.
    pub ttl_max: Duration,
}

/// Access tokens for registered agents, and the proofs of possession that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Their `iss`: an https URL, by default `https://<trust domain>/oauth`. Never `jwt.issuer`.
    pub issuer: String,
    /// Of which environment agents must be to get one, or to be let in; `None`: they are not judged by theirs.
    pub(crate) environment: Option<Label>,
    /// Whether proofs must carry a nonce of ours.
    pub nonce: Nonce,
    /// How old a proof may be, at most five minutes.
    pub proof_age_max: Duration,
    /// How far in our future a proof may be, at most a minute.
    pub proof_ahead_max: Duration,
    /// Whose users an agent may act for; each of a name of its own, none of them us.
    pub user_issuers: Vec<PinnedIssuer>,
}

/// An issuer whose tokens are believed, and where its keys stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedIssuer {
    /// The `iss` of its tokens.
    pub name: IssuerName,
    /// A file with its JWK Set; an absolute path. It is read at the start.
    pub jwks: PathBuf,
}

/// The verification of access tokens for proxies and services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authz {
    /// The most used proofs that are remembered. Beyond them nobody passes until some are too old: none is forgotten
    /// before.
    pub replay_entries_max: u32,
    /// The most of one key; `None` is a quarter of all.
    pub replay_entries_per_key_max: Option<u32>,
    /// Whether proofs must carry a nonce of ours; `None` is as [`Token::nonce`] has it.
    pub replay_nonce: Option<Nonce>,
    /// The header in which a proxy that asks by HTTP says the client's certificate; `None`: nobody says one.
    pub certificate_header: Option<HeaderName>,
    /// Whose access tokens tools may take; each of a name of its own, none of them us.
    pub issuers: Vec<PinnedIssuer>,
}

impl Authz {
    /// The most used proofs of one key that are remembered.
    #[must_use]
    pub fn entries_per_key_max(&self) -> u32 {
        self.replay_entries_per_key_max.unwrap_or((self.replay_entries_max / 4).max(1))
    }
}

/// Whether proofs of possession must carry a nonce of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// Only for a while after a start, when nobody knows any more which proofs were seen before it.
    Off,
    /// Always.
    Require,
}

/// The embedded certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// One tier or two.
    pub layout: Layout,
    /// Of the authority's own keys.
    pub algorithm: Algorithm,
    /// Lifetime of the certificate that signs SVIDs. At least twice `x509.ttl`, and two minutes.
    pub issuing_ttl: Duration,
    /// Lifetime of the root. At least twice `issuing_ttl`, and twelve minutes. Not used where the layout is self-signed.
    pub root_ttl: Duration,
    /// Lifetime of a key that signs tokens. At least six times `jwt.ttl_max` and `wit.ttl_max`. No access token outlives
    /// its key.
    pub token_key_ttl: Duration,
}

/// How many tiers the authority has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A root in the bundle, and an issuing CA that is replaced daily without anybody noticing.
    Rooted,
    /// One certificate that is both, as SPIRE's.
    SelfSigned,
}

/// The curve of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// NIST P-256 with SHA-256.
    P256,
    /// NIST P-384 with SHA-384.
    P384,
}

/// The record of what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Whether a credential waits for the disk.
    pub durability: Durability,
    /// When a new segment file is begun, in bytes.
    pub segment_bytes: u64,
    /// All segments together, in bytes: at least four segments. Beyond it the oldest are removed.
    pub total_bytes: u64,
    /// Refusals written one by one for a uid in a minute; the rest of the minute becomes one counted record.
    pub refusals_per_uid_minute: u32,
    /// Bytes of records of what was issued to one uid, and of what was refused to it, in a minute; the rest is counted.
    pub bytes_per_uid_minute: u64,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the kernel has it; the disk has it within 50 ms.
    Normal,
    /// When the disk has it.
    Strict,
}

/// The listener of probes and Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// Where it listens; not at all by default.
    pub address: Option<OpsAddress>,
    /// Whether an address that other machines reach is wanted.
    pub allow_remote: bool,
}

/// Where the ops listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpsAddress {
    /// A TCP address; loopback, unless `allow_remote`.
    Tcp(SocketAddr),
    /// A Unix socket's absolute path, at most 107 bytes.
    Unix(PathBuf),
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least urgent that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// How urgent a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// It heals, but look.
    Warn,
    /// Once a start, a stop, a rotation.
    Info,
    /// Once a request.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// What one caller, and all of them, may take. What is beyond is answered Unavailable, or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one uid.
    pub connections_per_uid: u32,
    /// Connections of uid 0, as which containers run.
    pub connections_uid_0: u32,
    /// Connections in all; `None` is half of the descriptor limit, less a reserve.
    pub connections_total: Option<u32>,
    /// Open calls on one connection.
    pub streams_per_connection: u32,
    /// Open calls of one uid.
    pub streams_per_uid: u32,
    /// Open calls of uid 0.
    pub streams_uid_0: u32,
    /// Open calls in all.
    pub streams_total: u32,
    /// Of answers of one uid that have not left, in bytes.
    pub answer_bytes_per_uid: u32,
    /// Of answers of uid 0, in bytes.
    pub answer_bytes_uid_0: u32,
    /// Of all answers that have not left, in bytes.
    pub answer_bytes_total: u32,
    /// New connections of one uid in a second.
    pub connects_per_second: u32,
    /// Requests of one uid in a second.
    pub requests_per_second: u32,
    /// A request's headers, in bytes.
    pub header_list_bytes: u32,
    /// A request's message, in bytes.
    pub request_message_bytes: u32,
    /// How long a new connection may take to say what it speaks.
    pub preface: Duration,
    /// How long a request may take to come whole.
    pub request: Duration,
    /// How long the look at a caller may take.
    pub attestation: Duration,
    /// How long the answer to a PING may take.
    pub ping: Duration,
    /// How long taking the digest of an executable may take.
    pub hash: Duration,
    /// The largest executable of which a digest is taken, in bytes.
    pub hash_bytes_max: u64,
    /// Digests being taken at once.
    pub hashes_at_once: u32,
}

/// The threads that serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// How many.
    pub worker_threads: u32,
}

impl Config {
    /// Every Unix socket that is served but the one for probes, with the key that names it.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let own = [
            ("admin_socket", &self.admin_socket),
            ("http_socket", &self.http_socket),
            ("authz_socket", &self.authz_socket),
        ];
        self.workload_sockets.iter().map(|path| ("workload_sockets", path)).chain(own)
    }
}

impl LogLevel {
    /// All of them, most urgent first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of that name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}
