//! What the daemon counts, as plain atomics that every room may touch and nobody waits for.
//!
//! Labels are `&'static str`, so their number is bounded by the program; a family that is full all the same counts
//! under `other`. How numbers are shown is for others.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::lines::Lines;

/// All counters of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    connections_refused: Family<1>,
    connections_ended: Family<1>,
    streams_opened: AtomicU64,
    streams_closed: AtomicU64,
    answer_bytes_held: AtomicU64,
    answer_bytes_left: AtomicU64,
    requests: Family<2>,
    pages: Family<1>,
    attestations: Family<1>,
    challenges: Family<1>,
    hashes: Family<1>,
    issued: Family<2>,
    judged: Family<1>,
    verified: Family<1>,
    refused: Family<1>,
    withheld: Family<1>,
    sign_failures: AtomicU64,
    pushes: AtomicU64,
    secrets: Family<1>,
    limits_met: Family<1>,
    panics: AtomicU64,
    audit_failures: AtomicU64,
    store_commits: AtomicU64,
    store_failures: AtomicU64,
    entries: AtomicU64,
    foreign_bundles: AtomicU64,
    watches_dropped: AtomicU64,
    lines: Lines,
    lines_left_out: AtomicU64,
}

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It grows until the daemon ends. Its name in Prometheus gets `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A label's name and value.
pub(crate) type Label = (&'static str, &'static str);

/// One number, with everything that is needed to show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    /// Without the `dayfly_` before it and `_total` behind.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// One sentence, without its full stop.
    pub(crate) help: &'static str,
    /// Names and values; empty where there are none.
    pub(crate) labels: &'a [Label],
    pub(crate) value: u64,
}

impl Sample<'_> {
    /// As Prometheus has it: `dayfly_issued_total`.
    pub(crate) fn metric(&self) -> String {
        match self.kind {
            Kind::Counter => format!("dayfly_{}_total", self.name),
            Kind::Gauge => format!("dayfly_{}", self.name),
        }
    }

    /// The labels as Prometheus has them: `reason="no_entry"`, several with commas.
    pub(crate) fn labels_text(&self) -> String {
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        labels.join(",")
    }
}

impl Counters {
    /// A connection was admitted.
    pub(crate) fn connected(&self) {
        add(&self.connections_opened);
    }

    /// An admitted connection ended.
    pub(crate) fn disconnected(&self) {
        add(&self.connections_closed);
    }

    /// Admitted connections that have not ended.
    pub(crate) fn connections(&self) -> u64 {
        difference(&self.connections_opened, &self.connections_closed)
    }

    /// A connection was closed because of who made it or wrote to it.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.add([reason]);
    }

    /// A connection was closed because of how it behaved: `evicted`, `silent`, `flood`, `protocol`.
    pub(crate) fn connection_ended(&self, reason: &'static str) {
        self.connections_ended.add([reason]);
    }

    /// A call began to be answered.
    pub(crate) fn stream_opened(&self) {
        add(&self.streams_opened);
    }

    /// Its answer ended.
    pub(crate) fn stream_closed(&self) {
        add(&self.streams_closed);
    }

    /// Calls that are being answered.
    pub(crate) fn streams(&self) -> u64 {
        difference(&self.streams_opened, &self.streams_closed)
    }

    /// So many bytes of an answer are about to be made.
    pub(crate) fn answer_held(&self, bytes: usize) {
        add_many(&self.answer_bytes_held, bytes);
    }

    /// They have left, or nobody wants them any more.
    pub(crate) fn answer_left(&self, bytes: usize) {
        add_many(&self.answer_bytes_left, bytes);
    }

    /// Bytes of answers that were made and have not left.
    pub(crate) fn answer_bytes(&self) -> u64 {
        difference(&self.answer_bytes_held, &self.answer_bytes_left)
    }

    /// A call was answered, or ended, with this gRPC code.
    pub(crate) fn request(&self, method: &'static str, code: impl Into<i32>) {
        self.requests.add([method, code_name(code.into())]);
    }

    /// A request over HTTP/1.1 was answered with this status.
    pub(crate) fn page(&self, status: &'static str) {
        self.pages.add([status]);
    }

    /// A call was refused before its method was looked at.
    pub(crate) fn request_refused(&self, code: impl Into<i32>) {
        self.request("none", code);
    }

    /// A caller was attested, or could not be, for this reason.
    pub(crate) fn attested(&self, failure: Option<&'static str>) {
        self.attestations.add([failure.unwrap_or("ok")]);
    }

    /// A challenge ended: `answered`, or why not.
    pub(crate) fn challenged(&self, result: &'static str) {
        self.challenges.add([result]);
    }

    /// A digest was wanted: `cached`, `computed`, or why there is none.
    pub(crate) fn hashed(&self, result: &'static str) {
        self.hashes.add([result]);
    }

    /// A credential was signed and recorded.
    pub(crate) fn issued(&self, credential: &'static str, renewal: bool) {
        self.issued.add([credential, if renewal { "renewal" } else { "first" }]);
    }

    /// A token was judged on a caller's behalf.
    pub(crate) fn judged(&self, is_believed: bool) {
        self.judged.add([if is_believed { "valid" } else { "invalid" }]);
    }

    /// A request with an access token was judged: it may pass, or not for this reason.
    pub(crate) fn verified(&self, refusal: Option<&'static str>) {
        self.verified.add([refusal.unwrap_or("ok")]);
    }

    /// A caller was entitled to nothing.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.add([reason]);
    }

    /// A caller was entitled to something, but not by this entry that it matches.
    pub(crate) fn withheld(&self, reason: &'static str) {
        self.withheld.add([reason]);
    }

    /// A credential could not be signed.
    pub(crate) fn sign_failed(&self) {
        add(&self.sign_failures);
    }

    /// A message left on a stream after its first one.
    pub(crate) fn pushed(&self) {
        add(&self.pushes);
    }

    /// An answer with secrets for a proxy: `sent`, `taken`, `refused`, or the stream ended as something was `withdrawn`.
    pub(crate) fn secrets(&self, what: &'static str) {
        self.secrets.add([what]);
    }

    /// A limit was met.
    pub(crate) fn limit_met(&self, limit: &'static str) {
        self.limits_met.add([limit]);
    }

    /// A panic was caught.
    pub(crate) fn panicked(&self) {
        add(&self.panics);
    }

    /// The audit log did not take a record.
    pub(crate) fn audit_failed(&self) {
        add(&self.audit_failures);
    }

    /// A change is on disk.
    pub(crate) fn store_committed(&self) {
        add(&self.store_commits);
    }

    /// A change could not be written.
    pub(crate) fn store_failed(&self) {
        add(&self.store_failures);
    }

    /// How many entries there are now.
    pub(crate) fn entries_are(&self, count: usize) {
        self.entries.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many foreign trust domains there are bundles of now.
    pub(crate) fn foreign_bundles_are(&self, count: usize) {
        self.foreign_bundles.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A watch of the registry ended because its reader was too slow.
    pub(crate) fn watch_dropped(&self) {
        add(&self.watches_dropped);
    }

    /// Whether the operator's log is to have one more line that this user causes; counts those that it has not.
    pub(crate) fn is_worth_a_line(&self, uid: u32) -> bool {
        let may = self.lines.may(uid, Instant::now());
        if !may {
            add(&self.lines_left_out);
        }
        may
    }

    /// Shows every number that there is; those of one name follow each other.
    pub(crate) fn each(&self, mut show: impl FnMut(&Sample<'_>)) {
        use Kind::{Counter, Gauge};
        let mut plain = |name, kind, help, value| show(&Sample { name, kind, help, labels: &[], value });
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        plain("connections", Gauge, "Connections that are open", self.connections());
        plain("connections_opened", Counter, "Connections admitted", value(&self.connections_opened));
        plain("streams", Gauge, "Calls that are being answered", self.streams());
        plain("streams_opened", Counter, "Calls begun", value(&self.streams_opened));
        plain("answer_bytes", Gauge, "Bytes of answers that have not left", self.answer_bytes());
        plain("entries", Gauge, "Registered entries", value(&self.entries));
        plain("foreign_bundles", Gauge, "Foreign trust domains with a bundle", value(&self.foreign_bundles));
        plain("sign_failures", Counter, "Credentials that could not be signed", value(&self.sign_failures));
        plain("pushes", Counter, "Messages sent on open streams after a change", value(&self.pushes));
        plain("panics", Counter, "Panics caught; each is a bug", value(&self.panics));
        plain("audit_failures", Counter, "Records the audit log did not take", value(&self.audit_failures));
        plain("store_commits", Counter, "Changes written to disk", value(&self.store_commits));
        plain("store_failures", Counter, "Changes that could not be written", value(&self.store_failures));
        plain("watches_dropped", Counter, "Watches ended because they were not read", value(&self.watches_dropped));
        plain("log_lines_left_out", Counter, "Lines about callers the log was spared", value(&self.lines_left_out));
        let mut family = |name, help, family: &dyn Shown, label: &[&'static str]| {
            family.each(label, &mut |labels, value| show(&Sample { name, kind: Counter, help, labels, value }));
        };
        family("connections_refused", "Connections closed for who used them", &self.connections_refused, &["reason"]);
        family("connections_ended", "Connections closed for how they behaved", &self.connections_ended, &["reason"]);
        family("requests", "Calls answered", &self.requests, &["method", "code"]);
        family("pages", "Requests over HTTP/1.1 answered", &self.pages, &["status"]);
        family("attestations", "Looks at callers", &self.attestations, &["result"]);
        family("challenges", "Running images asked to answer", &self.challenges, &["result"]);
        family("hashes", "Digests of executables wanted", &self.hashes, &["result"]);
        family("issued", "Credentials issued", &self.issued, &["credential", "kind"]);
        family("tokens_judged", "Tokens judged on callers' behalf", &self.judged, &["result"]);
        family("verified", "Requests with access tokens judged", &self.verified, &["result"]);
        family("refused", "Callers who were entitled to nothing", &self.refused, &["reason"]);
        family("withheld", "Templates that gave their caller nothing beside others", &self.withheld, &["reason"]);
        family("secrets", "Answers to proxies that ask for secrets", &self.secrets, &["result"]);
        family("limits_met", "Limits met", &self.limits_met, &["limit"]);
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn add_many(counter: &AtomicU64, many: usize) {
    counter.fetch_add(u64::try_from(many).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// What was opened and not closed. The two are read one after the other, so it is never negative.
fn difference(opened: &AtomicU64, closed: &AtomicU64) -> u64 {
    let closed = closed.load(Ordering::Relaxed);
    opened.load(Ordering::Relaxed).saturating_sub(closed)
}

/// The most label sets of one family. Beyond, the last place counts for all others.
const LABEL_SETS_MAX: usize = 64;

/// Counters told apart by labels: found by walking, since there are few.
#[derive(Debug)]
struct Family<const LABELS: usize> {
    places: [OnceLock<[&'static str; LABELS]>; LABEL_SETS_MAX],
    counts: [AtomicU64; LABEL_SETS_MAX],
    other: AtomicU64,
}

impl<const LABELS: usize> Default for Family<LABELS> {
    fn default() -> Self {
        Self {
            places: [const { OnceLock::new() }; LABEL_SETS_MAX],
            counts: [const { AtomicU64::new(0) }; LABEL_SETS_MAX],
            other: AtomicU64::new(0),
        }
    }
}

impl<const LABELS: usize> Family<LABELS> {
    fn add(&self, labels: [&'static str; LABELS]) {
        // Places are filled from the front and never emptied, so the first that is free or ours is the one.
        let ours = |place: &OnceLock<_>| *place.get_or_init(|| labels) == labels;
        let found = self.places.iter().zip(&self.counts).find(|(place, _)| ours(place));
        add(found.map_or(&self.other, |(_, count)| count));
    }
}

/// A family, whatever the number of its labels.
trait Shown {
    fn each(&self, names: &[&'static str], show: &mut dyn FnMut(&[Label], u64));
}

impl<const LABELS: usize> Shown for Family<LABELS> {
    fn each(&self, names: &[&'static str], show: &mut dyn FnMut(&[Label], u64)) {
        let pairs = |values: [&'static str; LABELS]| names.iter().copied().zip(values).collect::<Vec<_>>();
        for (place, count) in self.places.iter().zip(&self.counts) {
            let Some(values) = place.get() else { break };
            show(&pairs(*values), count.load(Ordering::Relaxed));
        }
        match self.other.load(Ordering::Relaxed) {
            0 => {}
            count => show(&pairs(["other"; LABELS]), count),
        }
    }
}

/// A gRPC code in small letters.
fn code_name(code: i32) -> &'static str {
    match code {
        0 => "ok",
        1 => "cancelled",
        3 => "invalid_argument",
        4 => "deadline_exceeded",
        5 => "not_found",
        6 => "already_exists",
        7 => "permission_denied",
        8 => "resource_exhausted",
        9 => "failed_precondition",
        10 => "aborted",
        11 => "out_of_range",
        12 => "unimplemented",
        13 => "internal",
        14 => "unavailable",
        15 => "data_loss",
        16 => "unauthenticated",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(counters: &Counters) -> Vec<String> {
        let mut lines = Vec::new();
        counters.each(|sample| {
            if sample.value > 0 {
                lines.push(format!("{} {} {}", sample.metric(), sample.labels_text(), sample.value));
            }
        });
        lines
    }

    #[test]
    fn each_set_of_labels_has_its_own_count() {
        let counters = Counters::default();
        counters.request("FetchX509SVID", 0);
        counters.request("FetchX509SVID", 7);
        counters.request("FetchX509SVID", 0);
        counters.attested(None);
        counters.attested(Some("image_changed"));
        assert_eq!(
            shown(&counters),
            [
                "dayfly_requests_total method=\"FetchX509SVID\",code=\"ok\" 2",
                "dayfly_requests_total method=\"FetchX509SVID\",code=\"permission_denied\" 1",
                "dayfly_attestations_total result=\"ok\" 1",
                "dayfly_attestations_total result=\"image_changed\" 1",
            ]
        );
    }

    #[test]
    fn what_is_open_is_what_was_opened_and_not_closed() {
        let counters = Counters::default();
        counters.connected();
        counters.connected();
        counters.disconnected();
        assert_eq!(counters.connections(), 1);
        assert!(shown(&counters).contains(&"dayfly_connections  1".to_owned()));
    }

    #[test]
    fn a_full_family_counts_the_rest_as_other() {
        let family = Family::<1>::default();
        for index in 0..LABEL_SETS_MAX + 3 {
            family.add([Box::leak(format!("reason{index}").into_boxed_str())]);
        }
        family.add(["reason0"]);
        let mut counted = Vec::new();
        family.each(&["reason"], &mut |labels, value| counted.push((labels.to_vec(), value)));
        assert_eq!(counted.len(), LABEL_SETS_MAX + 1);
        assert_eq!(counted.first(), Some(&(vec![("reason", "reason0")], 2)));
        assert_eq!(counted.last(), Some(&(vec![("reason", "other")], 3)));
    }

    #[test]
    fn many_threads_lose_no_count() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for reason in ["a", "b", "c", "d"] {
                scope.spawn({
                    let counters = &counters;
                    move || (0..1_000).for_each(|_| [reason, "a"].into_iter().for_each(|each| counters.refused(each)))
                });
            }
        });
        let mut total = 0;
        counters.each(|sample| total += sample.value);
        assert_eq!(total, 8_000);
    }
}
