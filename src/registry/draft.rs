//! What an operator writes in an entry, and everything that can be wrong with it, told all at once.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, SystemTime},
};

use thiserror::Error;

use crate::spiffe::{Id, IdError, TrustDomain};

use super::{
    entry::Spec,
    label::Label,
    name::{Name, NameError},
    profile::{Profile, ProfileError},
    selector::{Selector, SelectorError},
    template::TemplateError,
};

/// An entry as it is written by people and programs: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    /// `spiffe://…`, in the daemon's own trust domain; may have placeholders, as `/user/{unix:user}`.
    pub(crate) spiffe_id: String,
    /// As `unix:uid:1000`, in any order.
    pub(crate) selectors: Vec<String>,
    /// Seconds; 0 is the daemon's default.
    pub(crate) x509_ttl_seconds: u64,
    /// Seconds; 0 is the daemon's default.
    pub(crate) jwt_ttl_seconds: u64,
    /// Seconds; 0 is the daemon's default.
    pub(crate) wit_ttl_seconds: u64,
    /// Names for the subject alternative name.
    pub(crate) dns_names: Vec<String>,
    /// `spiffe`, as nothing is too, or `database`.
    pub(crate) certificate_profile: String,
    /// For the subject, with the profile `database`.
    pub(crate) common_name: String,
    /// Any text, or none.
    pub(crate) hint: String,
    /// Names of foreign trust domains; `spiffe://NAME` is read too, as SPIRE shows them so.
    pub(crate) federates_with: Vec<String>,
    /// SPIFFE IDs in the daemon's own trust domain.
    pub(crate) sds_for: Vec<String>,
    /// As in [`Spec`].
    pub(crate) admin: bool,
    /// As in [`Spec`].
    pub(crate) downstream: bool,
    /// Unix time in seconds; 0 is never.
    pub(crate) expires_at: u64,
    /// The name of a registered agent, or none.
    pub(crate) agent: String,
}

impl Draft {
    /// The most selectors in one entry.
    pub(crate) const SELECTORS_MAX: usize = 64;
    /// The most DNS names in one entry.
    pub(crate) const DNS_NAMES_MAX: usize = 64;
    /// The most foreign trust domains in one entry.
    pub(crate) const FEDERATES_MAX: usize = 64;
    /// The most identities that a proxy acts for by one entry.
    pub(crate) const SDS_FOR_MAX: usize = 64;
    /// The longest hint, in bytes (SPIFFE Workload API, `hint`).
    pub(crate) const HINT_BYTES_MAX: usize = 1024;
    /// The shortest lifetime that can be asked for, in seconds.
    pub(crate) const TTL_SECONDS_MIN: u64 = 2;
    /// The longest lifetime that can be asked for, in seconds: a year of 366 days. Policy caps it further.
    pub(crate) const TTL_SECONDS_MAX: u64 = 366 * 86_400;
    /// The end of the year 9999, the last moment that certificates can name.
    pub(crate) const EXPIRES_AT_MAX: u64 = 253_402_300_799;

    /// Checks everything.
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields.
    pub(crate) fn check(self, own: &TrustDomain) -> Result<Spec, Problems> {
        self.check_all(own, false)
    }

    /// Checks what somebody writes now: it must be of use, too. What was kept and is of none harms nobody.
    ///
    /// # Errors
    /// As [`Draft::check`].
    pub(crate) fn check_new(self, own: &TrustDomain) -> Result<Spec, Problems> {
        self.check_all(own, true)
    }

    fn check_all(self, own: &TrustDomain, is_new: bool) -> Result<Spec, Problems> {
        let mut problems = Vec::new();
        let spiffe_id = check_id(&self.spiffe_id, own, &mut problems);
        let selectors = check_selectors(&self.selectors, &mut problems);
        if is_new {
            check_use(&selectors, &mut problems);
        }
        let x509_ttl = check_ttl("x509", self.x509_ttl_seconds, &mut problems);
        let jwt_ttl = check_ttl("jwt", self.jwt_ttl_seconds, &mut problems);
        let wit_ttl = check_ttl("wit", self.wit_ttl_seconds, &mut problems);
        check_dns_names(&self.dns_names, &mut problems);
        let profile = Profile::check(&self.certificate_profile, &self.common_name)
            .map_err(|reason| problems.push(Problem::Profile(reason)))
            .unwrap_or_default();
        if self.hint.len() > Self::HINT_BYTES_MAX {
            problems.push(Problem::HintTooLong(self.hint.len()));
        }
        let federates_with = check_federates(&self.federates_with, own, &mut problems);
        let sds_for = check_sds_for(&self.sds_for, own, &mut problems);
        if self.expires_at > Self::EXPIRES_AT_MAX {
            problems.push(Problem::ExpiresAt(self.expires_at));
        }
        let agent = (!self.agent.is_empty()).then(|| Label::parse(&self.agent)).transpose();
        let agent = agent.map_err(|reason| problems.push(Problem::Agent { name: shown(&self.agent), reason }));
        match spiffe_id {
            Some(spiffe_id) if problems.is_empty() => Ok(Spec {
                spiffe_id,
                selectors,
                x509_ttl,
                jwt_ttl,
                wit_ttl,
                dns_names: self.dns_names,
                profile,
                hint: self.hint,
                federates_with,
                sds_for,
                admin: self.admin,
                downstream: self.downstream,
                expires_at: (self.expires_at != 0)
                    .then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(self.expires_at)),
                agent: agent.unwrap_or_default(),
            }),
            _ => Err(Problems(problems)),
        }
    }
}

/// The way back: what was checked once passes again in the same trust domain.
impl From<&Spec> for Draft {
    fn from(spec: &Spec) -> Self {
        let seconds = |ttl: Option<Duration>| ttl.map_or(0, |ttl| ttl.as_secs());
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            spiffe_id: spec.spiffe_id.to_string(),
            selectors: spec.selectors.iter().map(Selector::to_string).collect(),
            x509_ttl_seconds: seconds(spec.x509_ttl),
            jwt_ttl_seconds: seconds(spec.jwt_ttl),
            wit_ttl_seconds: seconds(spec.wit_ttl),
            dns_names: spec.dns_names.clone(),
            certificate_profile: spec.profile.word().to_owned(),
            common_name: spec.profile.chosen().unwrap_or_default().to_owned(),
            hint: spec.hint.clone(),
            federates_with: spec.federates_with.iter().map(TrustDomain::to_string).collect(),
            sds_for: spec.sds_for.iter().map(Id::to_string).collect(),
            admin: spec.admin,
            downstream: spec.downstream,
            expires_at: spec.expires_at.map_or(0, since_epoch),
            agent: spec.agent.as_ref().map(Label::to_string).unwrap_or_default(),
        }
    }
}

fn check_id(text: &str, own: &TrustDomain, problems: &mut Vec<Problem>) -> Option<Name> {
    match Name::parse(text) {
        Ok(name) if name.trust_domain() == *own => return Some(name),
        Ok(name) => problems.push(Problem::ForeignTrustDomain { id: name.to_string(), own: own.clone() }),
        Err(NameError::Id(reason)) => problems.push(Problem::SpiffeId { id: shown(text), reason }),
        Err(NameError::Template(reason)) => problems.push(Problem::Template { template: shown(text), reason }),
    }
    None
}

fn check_selectors(texts: &[String], problems: &mut Vec<Problem>) -> Vec<Selector> {
    if texts.is_empty() {
        problems.push(Problem::NoSelectors);
    }
    if texts.len() > Draft::SELECTORS_MAX {
        problems.push(Problem::TooManySelectors(texts.len()));
        return Vec::new();
    }
    let mut selectors = BTreeSet::new();
    for text in texts {
        match Selector::parse(text) {
            Ok(selector) => {
                if !selectors.insert(selector) {
                    problems.push(Problem::RepeatedSelector(shown(text)));
                }
            }
            Err(reason) => problems.push(Problem::Selector { selector: shown(text), reason }),
        }
    }
    selectors.into_iter().collect()
}

/// Finds what is right in itself and never holds together.
fn check_use(selectors: &[Selector], problems: &mut Vec<Problem>) {
    let mut told = None;
    // Sorted, so those of one name stand together.
    for (one, other) in selectors.iter().zip(selectors.iter().skip(1)) {
        if let Some(name) = one.single().filter(|name| other.single() == Some(*name) && told != Some(*name)) {
            problems.push(Problem::Never { name: name.to_owned(), one: shown(&one.to_string()) });
            told = Some(name);
        }
    }
}

fn check_ttl(kind: &'static str, seconds: u64, problems: &mut Vec<Problem>) -> Option<Duration> {
    match seconds {
        0 => None,
        Draft::TTL_SECONDS_MIN..=Draft::TTL_SECONDS_MAX => Some(Duration::from_secs(seconds)),
        _ => {
            problems.push(Problem::Ttl { kind, seconds });
            None
        }
    }
}

fn check_dns_names(names: &[String], problems: &mut Vec<Problem>) {
    if names.len() > Draft::DNS_NAMES_MAX {
        problems.push(Problem::TooManyDnsNames(names.len()));
        return;
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if let Err(reason) = check_dns_name(name) {
            problems.push(Problem::DnsName { name: shown(name), reason });
        } else if !seen.insert(name) {
            problems.push(Problem::RepeatedDnsName(shown(name)));
        }
    }
}

/// A host name (RFC 1123 §2.1), perhaps with `*` as its first label.
fn check_dns_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > 253 {
        return Err("it is longer than 253 bytes");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("it must be in lower case");
    }
    let labels = name.strip_prefix("*.").unwrap_or(name);
    if labels.contains('*') {
        return Err("`*` may only be the whole first label");
    }
    if labels.split('.').any(str::is_empty) {
        return Err("it has an empty label");
    }
    if labels.split('.').any(|label| label.len() > 63) {
        return Err("a label is longer than 63 bytes");
    }
    if !labels.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) {
        return Err("only a-z 0-9 - . are allowed");
    }
    if labels.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("a label begins or ends with `-`");
    }
    // Top-level domains have a letter, so such a name is an address, which nobody looks up as a name.
    if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("it looks like an IP address");
    }
    Ok(())
}

fn check_federates(names: &[String], own: &TrustDomain, problems: &mut Vec<Problem>) -> Vec<TrustDomain> {
    if names.len() > Draft::FEDERATES_MAX {
        problems.push(Problem::TooManyFederates(names.len()));
        return Vec::new();
    }
    let mut federates = BTreeSet::new();
    for name in names {
        let parsed = match name.starts_with("spiffe://") {
            true => TrustDomain::parse_id(name),
            false => TrustDomain::parse(name),
        };
        match parsed {
            Ok(name) if name == *own => problems.push(Problem::FederatesWithOwn(name)),
            Ok(name) => {
                if !federates.insert(name.clone()) {
                    problems.push(Problem::RepeatedFederate(name));
                }
            }
            Err(reason) => problems.push(Problem::Federate { name: shown(name), reason }),
        }
    }
    federates.into_iter().collect()
}

fn check_sds_for(ids: &[String], own: &TrustDomain, problems: &mut Vec<Problem>) -> Vec<Id> {
    if ids.len() > Draft::SDS_FOR_MAX {
        problems.push(Problem::TooManySdsFor(ids.len()));
        return Vec::new();
    }
    let mut checked = BTreeSet::new();
    for text in ids {
        match Id::parse(text) {
            Ok(id) if id.trust_domain() != *own => {
                problems.push(Problem::ForeignTrustDomain { id: id.to_string(), own: own.clone() });
            }
            Ok(id) => {
                if !checked.insert(id.clone()) {
                    problems.push(Problem::RepeatedSdsFor(id));
                }
            }
            Err(reason) => problems.push(Problem::SdsFor { id: shown(text), reason }),
        }
    }
    checked.into_iter().collect()
}

/// A given text for an error: short enough to be read, and without control characters.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 120;
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// One thing that is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// The identity is none.
    #[error("the SPIFFE ID `{id}` is not valid: {reason}")]
    SpiffeId {
        /// What was given.
        id: String,
        /// Why it is none.
        reason: IdError,
    },
    /// The template of identities is none.
    #[error("the template `{template}` of SPIFFE IDs is not valid: {reason}")]
    Template {
        /// What was given.
        template: String,
        /// Why it is none.
        reason: TemplateError,
    },
    /// The identity is another trust domain's.
    #[error("the SPIFFE ID `{id}` {} {own}", Self::FOREIGN)]
    ForeignTrustDomain {
        /// What was given.
        id: String,
        /// Ours.
        own: TrustDomain,
    },
    /// It would match everybody.
    #[error("there are no selectors")]
    NoSelectors,
    /// More than [`Draft::SELECTORS_MAX`].
    #[error("there are {0} selectors, at most {max} are allowed", max = Draft::SELECTORS_MAX)]
    TooManySelectors(usize),
    /// A selector is none.
    #[error("the selector `{selector}` is not valid: {reason}")]
    Selector {
        /// What was given.
        selector: String,
        /// Why it is none.
        reason: SelectorError,
    },
    /// A selector twice.
    #[error("the selector `{0}` is there twice")]
    RepeatedSelector(String),
    /// Two values of something of which a process has one.
    #[error("nobody matches `{one}` and another {name}: all selectors of an entry must match")]
    Never {
        /// As `unix:uid`.
        name: String,
        /// The first of the two.
        one: String,
    },
    /// A lifetime out of range.
    #[error(
        "the {kind} ttl of {seconds} s is out of range: {min} to {max} s, or 0 for the default",
        min = Draft::TTL_SECONDS_MIN,
        max = Draft::TTL_SECONDS_MAX
    )]
    Ttl {
        /// `x509`, `jwt` or `wit`.
        kind: &'static str,
        /// What was given.
        seconds: u64,
    },
    /// More than [`Draft::DNS_NAMES_MAX`].
    #[error("there are {0} DNS names, at most {max} are allowed", max = Draft::DNS_NAMES_MAX)]
    TooManyDnsNames(usize),
    /// A DNS name is none.
    #[error("the DNS name `{name}` is not valid: {reason}")]
    DnsName {
        /// What was given.
        name: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// A DNS name twice.
    #[error("the DNS name `{0}` is there twice")]
    RepeatedDnsName(String),
    /// A certificate profile is none, or its common name.
    #[error("the certificate profile is not valid: {0}")]
    Profile(ProfileError),
    /// Longer than [`Draft::HINT_BYTES_MAX`].
    #[error("the hint has {0} bytes, at most {max} are allowed", max = Draft::HINT_BYTES_MAX)]
    HintTooLong(usize),
    /// More than [`Draft::FEDERATES_MAX`].
    #[error("it federates with {0} trust domains, at most {max} are allowed", max = Draft::FEDERATES_MAX)]
    TooManyFederates(usize),
    /// A foreign trust domain's name is none.
    #[error("the trust domain `{name}` to federate with is not valid: {reason}")]
    Federate {
        /// What was given.
        name: String,
        /// Why it is none.
        reason: IdError,
    },
    /// Its own bundle comes anyway.
    #[error("it federates with {0}, which is this daemon's own trust domain")]
    FederatesWithOwn(TrustDomain),
    /// A trust domain twice.
    #[error("the trust domain {0} to federate with is there twice")]
    RepeatedFederate(TrustDomain),
    /// More than [`Draft::SDS_FOR_MAX`].
    #[error("it acts for {0} identities, at most {max} are allowed", max = Draft::SDS_FOR_MAX)]
    TooManySdsFor(usize),
    /// What it acts for is no SPIFFE ID.
    #[error("the SPIFFE ID `{id}` to act for is not valid: {reason}")]
    SdsFor {
        /// What was given.
        id: String,
        /// Why it is none.
        reason: IdError,
    },
    /// An identity twice.
    #[error("the identity {0} to act for is there twice")]
    RepeatedSdsFor(Id),
    /// A time that no certificate can name.
    #[error("the end {0} is later than the year 9999")]
    ExpiresAt(u64),
    /// The name of an agent is none.
    #[error("the agent name `{name}` is not valid: {reason}")]
    Agent {
        /// What was given.
        name: String,
        /// Why it is none.
        reason: String,
    },
}

impl Problem {
    /// The words between a foreign SPIFFE ID and the daemon's own trust domain.
    pub(crate) const FOREIGN: &str = "is not in this daemon's trust domain";
}

/// All that is wrong with what was written; at least one. Shown one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems<P = Problem>(Vec<P>);

impl<P> Problems<P> {
    /// `all` has at least one.
    pub(super) fn of(all: Vec<P>) -> Self {
        Self(all)
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &P> {
        self.0.iter()
    }
}

impl<P: fmt::Debug + fmt::Display> std::error::Error for Problems<P> {}

impl<P: fmt::Display> fmt::Display for Problems<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, problem) in self.0.iter().enumerate() {
            if line > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
