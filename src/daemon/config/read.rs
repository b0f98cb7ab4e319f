//! From the file's text to a [`Config`]: syntax, keys, values, then what must fit together.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use toml::de::DeTable;

use super::{
    Algorithm, Config, Durability, Layout, LogFormat, LogLevel, Nonce, PinnedIssuer, Problems,
    defaults::{DAY, YEAR},
    problems::{Place, Problem},
    section::{Findings, Section, line},
    values,
};
use crate::{
    daemon::{Paths, units::size_text},
    oauth::issuer::ISSUERS_MAX,
    spiffe::{LEEWAY_MAX, TrustDomain},
};

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--trust-domain`.
    pub trust_domain: Option<String>,
    /// `--without-kernel`: added to what the file says. For tests of older kernels.
    pub without_kernel: Vec<String>,
}

impl Config {
    /// Reads `file`, or where it is `None` the default file, which need not exist.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    pub fn load(file: Option<&Path>, paths: &Paths, overrides: Overrides) -> Result<Self, Problems> {
        let path = file.unwrap_or(&paths.config);
        let text = match read_text(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => String::new(),
            Err(error) => {
                return Err(Problems::new(path, vec![Problem::new(Place::File, format!("cannot be read: {error}"))]));
            }
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    let good = String::from_utf8_lossy(error.as_bytes()).into_owned();
                    let place = line(&good, error.utf8_error().valid_up_to());
                    return Err(Problems::new(path, vec![Problem::new(place, "is not UTF-8 text")]));
                }
            },
        };
        Self::parse(&text, path, paths, overrides).0
    }

    /// The second is every key that there is, as `table.key`.
    pub(super) fn parse(
        text: &str,
        path: &Path,
        paths: &Paths,
        overrides: Overrides,
    ) -> (Result<Self, Problems>, Vec<String>) {
        let (table, faults) = DeTable::parse_recoverable(text);
        let mut reading = Reading::default();
        let config = reading.config(Section::root(text, table.into_inner()), paths, overrides);
        let Findings { mut problems, places } = reading.findings;

        // What a broken line seems to say, or seems to leave out, is not a second problem.
        let at = |fault: &toml::de::Error| line(text, fault.span().map_or(0, |span| span.start));
        let broken: Vec<_> = faults.iter().map(at).collect();
        let spurious = |place| broken.contains(&place) || (!broken.is_empty() && place == Place::File);
        problems.retain(|problem| !spurious(problem.place));
        problems.extend(faults.iter().map(|fault| Problem::new(at(fault), fault.message())));

        let config = config.filter(|_| problems.is_empty()).ok_or_else(|| Problems::new(path, problems));
        (config, places.into_keys().collect())
    }
}

/// The file's bytes. What is larger than any configuration is refused before it is read, and so is what anybody may
/// write: whoever writes it can make himself an admin.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(File::open(path)?, FILE_BYTES_MAX)
}

/// The same of any file that an operator names and that decides who is believed.
pub(in crate::daemon) fn read_bounded(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(io::Error::other(format!("everybody may write it (mode {:04o})", mode & 0o7777)));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= bytes_max => Ok(bytes),
        _ => {
            let words = format!("it is larger than {}", size_text(bytes_max));
            Err(io::Error::new(io::ErrorKind::FileTooLarge, words))
        }
    }
}

const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Reading {
    pub(super) findings: Findings,
}

impl Reading {
    /// `None` only together with a problem.
    fn config(&mut self, mut root: Section<'_>, paths: &Paths, overrides: Overrides) -> Option<Config> {
        let mut name = None;
        root.read("trust_domain", &mut name, values::trust_domain);
        match overrides.trust_domain.as_deref().map(values::own_trust_domain) {
            Some(Ok(flag)) => name = Some(flag),
            Some(Err(words)) => self.wrong(Place::Flag("--trust-domain"), words),
            None => {}
        }
        // With a stand-in for a missing name, all the rest is judged too.
        let mut config = Config::new(name.clone().or_else(|| TrustDomain::parse("unknown").ok())?, paths);
        self.values(root, &mut config);
        for name in &overrides.without_kernel {
            match values::feature_named(name) {
                Ok(feature) => config.without_kernel.push(feature),
                Err(words) => self.wrong(Place::Flag("--without-kernel"), words),
            }
        }
        if self.place("trust_domain") == Place::File && overrides.trust_domain.is_none() {
            self.wrong(Place::File, "trust_domain is missing: set it here, or give --trust-domain");
        }
        self.fit(&config);
        name.map(|_| config)
    }

    fn values(&mut self, mut root: Section<'_>, config: &mut Config) {
        root.read_list("workload_sockets", &mut config.workload_sockets, values::socket);
        root.read("admin_socket", &mut config.admin_socket, values::socket);
        root.read("admin_group", &mut config.admin_group, values::group);
        root.read("http_socket", &mut config.http_socket, values::socket);
        root.read("authz_socket", &mut config.authz_socket, values::socket);
        root.read("authz_group", &mut config.authz_group, values::group);
        root.read("state_dir", &mut config.state_dir, values::path);
        root.read("host_root", &mut config.host_root, values::path);
        root.read_list("without_kernel", &mut config.without_kernel, values::feature);
        root.read("allow_unauthenticated_verifiers", &mut config.allow_unauthenticated_verifiers, values::flag);
        self.x509(root.table("x509"), config);
        self.jwt(root.table("jwt"), config);
        self.wit(root.table("wit"), config);
        self.token(root.table("token"), config);
        self.authz(root.table("authz"), config);
        self.authority(root.table("authority"), config);
        self.audit(root.table("audit"), config);
        self.ops(root.table("ops"), config);
        self.log(root.table("log"), config);
        self.limits(root.table("limits"), config);
        let mut runtime = root.table("runtime");
        runtime.read("worker_threads", &mut config.runtime.worker_threads, values::number(1..=256));
        runtime.finish(&mut self.findings);
        root.finish(&mut self.findings);
    }

    fn x509(&mut self, mut section: Section<'_>, config: &mut Config) {
        section.read("ttl", &mut config.x509.ttl, values::length(TTL_MIN..=YEAR));
        section.read("ttl_max", &mut config.x509.ttl_max, values::length(TTL_MIN..=YEAR));
        section.read("given_again", &mut config.x509.given_again, values::length(Duration::ZERO..=GIVEN_AGAIN_MAX));
        section.finish(&mut self.findings);
    }

    fn jwt(&mut self, mut section: Section<'_>, config: &mut Config) {
        section.read("ttl", &mut config.jwt.ttl, values::length(TTL_MIN..=DAY));
        section.read("ttl_max", &mut config.jwt.ttl_max, values::length(TTL_MIN..=DAY));
        section.read("issuer", &mut config.jwt.issuer, values::issuer);
        section.read("leeway", &mut config.jwt.leeway, values::length(Duration::ZERO..=LEEWAY_MAX));
        section.finish(&mut self.findings);
    }

    fn wit(&mut self, mut section: Section<'_>, config: &mut Config) {
        section.read("enabled", &mut config.wit.enabled, values::flag);
        section.read("ttl", &mut config.wit.ttl, values::length(TTL_MIN..=DAY));
        section.read("ttl_max", &mut config.wit.ttl_max, values::length(TTL_MIN..=DAY));
        section.finish(&mut self.findings);
    }

    fn token(&mut self, mut section: Section<'_>, config: &mut Config) {
        let (token, mut issuer) = (&mut config.token, None);
        section.read("issuer", &mut issuer, values::token_issuer);
        token.issuer = issuer.unwrap_or_else(|| std::mem::take(&mut token.issuer));
        section.read("environment", &mut token.environment, values::label);
        let nonces = [("off", Nonce::Off), ("require", Nonce::Require)];
        section.read("nonce", &mut token.nonce, values::word(&nonces));
        section.read("proof_age_max", &mut token.proof_age_max, values::length(SECOND..=PROOF_AGE_MAX));
        section.read("proof_ahead_max", &mut token.proof_ahead_max, values::length(Duration::ZERO..=LEEWAY_MAX));
        let issuers = section.tables("user_issuer", "token.user_issuer");
        token.user_issuers = self.pinned("token.user_issuer", issuers);
        section.finish(&mut self.findings);
    }

    /// Issuers whose keys stand in files: each with both, and of a name of its own.
    fn pinned(&mut self, key: &str, tables: Vec<(Place, Section<'_>)>) -> Vec<PinnedIssuer> {
        let mut pinned: Vec<PinnedIssuer> = Vec::new();
        if tables.len() > ISSUERS_MAX {
            let place = tables.get(ISSUERS_MAX).map_or(Place::File, |(place, _)| *place);
            self.wrong(place, format!("{key}: there are {} issuers, at most {ISSUERS_MAX} are allowed", tables.len()));
            return pinned;
        }
        for (place, mut section) in tables {
            let (mut name, mut jwks) = (None, None);
            section.read("issuer", &mut name, |value| values::issuer_name(value).map(Some));
            section.read("jwks", &mut jwks, |value| values::path(value).map(Some));
            let missing = section.missing(&["issuer", "jwks"]);
            section.finish(&mut self.findings);
            if let Some(missing) = missing {
                self.wrong(place, format!("{key}: {missing} is missing"));
            }
            let (Some(name), Some(jwks)) = (name, jwks) else { continue };
            match pinned.iter().any(|other| other.name == name) {
                true => self.wrong(place, format!("{key}: the issuer {name} is named twice")),
                false => pinned.push(PinnedIssuer { name, jwks }),
            }
        }
        pinned
    }

    fn authz(&mut self, mut section: Section<'_>, config: &mut Config) {
        let authz = &mut config.authz;
        section.read("replay_entries_max", &mut authz.replay_entries_max, values::number(REPLAY_ENTRIES));
        let per_key = values::number_or_auto(REPLAY_ENTRIES);
        section.read("replay_entries_per_key_max", &mut authz.replay_entries_per_key_max, per_key);
        let nonces = [("token", None), ("off", Some(Nonce::Off)), ("require", Some(Nonce::Require))];
        section.read("replay_nonce", &mut authz.replay_nonce, values::word(&nonces));
        section.read("certificate_header", &mut authz.certificate_header, values::header);
        let issuers = section.tables("issuer", "authz.issuer");
        authz.issuers = self.pinned("authz.issuer", issuers);
        section.finish(&mut self.findings);
    }

    fn authority(&mut self, mut section: Section<'_>, config: &mut Config) {
        let authority = &mut config.authority;
        let layouts = [("rooted", Layout::Rooted), ("self-signed", Layout::SelfSigned)];
        section.read("layout", &mut authority.layout, values::word(&layouts));
        let algorithms = [("p256", Algorithm::P256), ("p384", Algorithm::P384)];
        section.read("algorithm", &mut authority.algorithm, values::word(&algorithms));
        let range = TTL_MIN..=YEAR.saturating_mul(30);
        section.read("issuing_ttl", &mut authority.issuing_ttl, values::length(range.clone()));
        section.read("root_ttl", &mut authority.root_ttl, values::length(range.clone()));
        section.read("token_key_ttl", &mut authority.token_key_ttl, values::length(range));
        section.finish(&mut self.findings);
    }

    fn audit(&mut self, mut section: Section<'_>, config: &mut Config) {
        let audit = &mut config.audit;
        let durabilities = [("normal", Durability::Normal), ("strict", Durability::Strict)];
        section.read("durability", &mut audit.durability, values::word(&durabilities));
        section.read("segment_bytes", &mut audit.segment_bytes, values::bytes(SEGMENT_MIN..=1 << 30));
        section.read("total_bytes", &mut audit.total_bytes, values::bytes(SEGMENT_MIN..=1 << 44));
        let refusals = values::number(1..=1_000_000);
        section.read("refusals_per_uid_minute", &mut audit.refusals_per_uid_minute, refusals);
        let bytes = values::bytes(AUDIT_BYTES_MIN..=1 << 40);
        section.read("bytes_per_uid_minute", &mut audit.bytes_per_uid_minute, bytes);
        section.finish(&mut self.findings);
    }

    fn ops(&mut self, mut section: Section<'_>, config: &mut Config) {
        section.read("address", &mut config.ops.address, values::ops_address);
        section.read("allow_remote", &mut config.ops.allow_remote, values::flag);
        section.finish(&mut self.findings);
    }

    fn log(&mut self, mut section: Section<'_>, config: &mut Config) {
        let levels = LogLevel::ALL.map(|level| (level.name(), level));
        section.read("level", &mut config.log.level, values::word(&levels));
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        section.read("format", &mut config.log.format, values::word(&formats));
        section.finish(&mut self.findings);
    }

    fn limits(&mut self, mut section: Section<'_>, config: &mut Config) {
        let limits = &mut config.limits;
        section.read("connections_per_uid", &mut limits.connections_per_uid, values::number(COUNT));
        section.read("connections_uid_0", &mut limits.connections_uid_0, values::number(COUNT));
        section.read("connections_total", &mut limits.connections_total, values::number_or_auto(COUNT));
        section.read("streams_per_connection", &mut limits.streams_per_connection, values::number(COUNT));
        section.read("streams_per_uid", &mut limits.streams_per_uid, values::number(COUNT));
        section.read("streams_uid_0", &mut limits.streams_uid_0, values::number(COUNT));
        section.read("streams_total", &mut limits.streams_total, values::number(COUNT));
        for (key, bytes) in [
            ("answer_bytes_per_uid", &mut limits.answer_bytes_per_uid),
            ("answer_bytes_uid_0", &mut limits.answer_bytes_uid_0),
            ("answer_bytes_total", &mut limits.answer_bytes_total),
        ] {
            section.read(key, bytes, values::bytes_in_memory(ANSWER_BYTES));
        }
        section.read("connects_per_second", &mut limits.connects_per_second, values::number(COUNT));
        section.read("requests_per_second", &mut limits.requests_per_second, values::number(COUNT));
        let headers = values::bytes_in_memory(4 << 10..=1 << 20);
        section.read("header_list_bytes", &mut limits.header_list_bytes, headers);
        let message = values::bytes_in_memory(4 << 10..=4 << 20);
        section.read("request_message_bytes", &mut limits.request_message_bytes, message);
        section.read("preface_seconds", &mut limits.preface, values::seconds(WAIT));
        section.read("request_seconds", &mut limits.request, values::seconds(WAIT));
        section.read("attestation_seconds", &mut limits.attestation, values::seconds(WAIT));
        section.read("ping_seconds", &mut limits.ping, values::seconds(WAIT));
        section.read("hash_seconds", &mut limits.hash, values::seconds(WAIT));
        section.read("hash_bytes_max", &mut limits.hash_bytes_max, values::bytes(1 << 20..=1 << 40));
        section.read("hashes_at_once", &mut limits.hashes_at_once, values::number(1..=64));
        section.finish(&mut self.findings);
    }

    pub(super) fn place(&self, key: &str) -> Place {
        self.findings.places.get(key).copied().unwrap_or(Place::File)
    }

    pub(super) fn wrong(&mut self, place: Place, words: impl Into<String>) {
        self.findings.problems.push(Problem::new(place, words));
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// A proof counts for one request, and is remembered so long.
const PROOF_AGE_MAX: Duration = Duration::from_secs(300);
/// Shorter lives than this are all renewal; tests and demos use a few seconds.
const TTL_MIN: Duration = Duration::from_secs(2);
/// So long a private key that nobody holds any more may stay in memory.
const GIVEN_AGAIN_MAX: Duration = Duration::from_secs(60);
/// At 24 to 32 bytes each.
const REPLAY_ENTRIES: std::ops::RangeInclusive<u32> = 1..=64_000_000;
const SEGMENT_MIN: u64 = 64 << 10;
const AUDIT_BYTES_MIN: u64 = 1 << 10;
const COUNT: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// One message, which may have 4 MiB, always fits.
const ANSWER_BYTES: std::ops::RangeInclusive<u32> = 4 << 20..=1 << 31;
const WAIT: std::ops::RangeInclusive<u64> = 1..=600;
