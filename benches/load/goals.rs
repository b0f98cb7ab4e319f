//! The goals, and SPIRE's figures for the same.
//!
//! A goal was found on one machine (2 cores of an AMD EPYC, Linux 6.18, V = 49.5, S = 15.7, W = 43 µs). Where it has a
//! portable form in the machine's units, that is computed for this one. SPIRE's are those of its agent 1.15.3 there.

/// A limit: absolute, portable, or both. Lower is better.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    pub(crate) absolute: Option<f64>,
    pub(crate) portable: Option<f64>,
}

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// Only in the machine's own units.
    MetPortable,
    Missed,
    NoGoal,
}

impl Goal {
    pub(crate) fn at_most(limit: f64) -> Self {
        Self { absolute: Some(limit), portable: None }
    }

    pub(crate) fn or_portable(self, portable: f64) -> Self {
        Self { portable: Some(portable), ..self }
    }

    pub(crate) fn verdict(self, measured: f64) -> Verdict {
        let within = |limit: Option<f64>| limit.map(|limit| measured <= limit);
        match (within(self.absolute), within(self.portable)) {
            (Some(true), _) => Verdict::Met,
            (_, Some(true)) => Verdict::MetPortable,
            (None, None) => Verdict::NoGoal,
            _ => Verdict::Missed,
        }
    }
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Met => "yes",
            Self::MetPortable => "portable",
            Self::Missed => "NO",
            Self::NoGoal => "",
        }
    }
}

/// SPIRE's agent 1.15.3.
pub(crate) mod spire {
    pub(crate) const COLD_START: &str = "73–90 ms";
    pub(crate) const REUSED: &str = "454–470 / 1500 µs";
    pub(crate) const FRESH: &str = "569–596 / 1700–2000 µs";
    pub(crate) const HASHED: &str = "15.4 ms each (20 MB)";
    pub(crate) const RATE: &str = "3,270–3,430 per s";
    pub(crate) const CPU: &str = "407–441 µs";
    pub(crate) const JWT_RATE: &str = "4,600–5,300 per s, cached";
    pub(crate) const JWT: &str = "283–328 µs, cached";
    pub(crate) const JWT_ANEW_RATE: &str = "500–670 per s";
    pub(crate) const JWT_ANEW: &str = "0.8–1.0 ms + the server's";
    pub(crate) const JUDGED_RATE: &str = "3,560–4,090 per s";
    pub(crate) const JUDGED: &str = "396–449 µs";
    pub(crate) const IDLE_RSS: &str = "56–58 MiB";
    pub(crate) const RSS_1000: &str = "88 MiB (on 100)";
    pub(crate) const RSS_10000: &str = "295–307 MiB";
    pub(crate) const PER_STREAM: &str = "25–33 KiB";
    pub(crate) const PER_CONNECTION: &str = "90–110 KiB";
    pub(crate) const MANY: &str = "stops answering at 700";
    pub(crate) const AFTER: &str = "149–307 MiB";
    pub(crate) const CHANGE: &str = "5–9 s + 620 ms";
    /// Until a change of entries or bundles is on an open stream.
    pub(crate) const WATCHES: &str = "4–5 s";
    pub(crate) const NO_WATCHES_RSS: &str = "56–58 MiB (none)";
    pub(crate) const IDLE_CPU: &str = "0.07 % (no streams)";
}
