//! What is not given is counted and recorded, with its reasons.

use super::{Error, Issuer};
use crate::{
    attest::{Attested, Caller},
    audit::{self, Record, Urgency},
    policy::Reason,
    registry::Withheld,
};

impl Issuer {
    /// Records that a caller was entitled to nothing.
    pub(super) fn refuse(
        &self,
        caller: &Caller,
        attested: &Attested,
        what: &'static str,
        reasons: Vec<Reason>,
    ) -> Error {
        let of_templates = reasons.iter().filter_map(|reason| match reason {
            Reason::Withheld(withheld) if withheld.why.is_of_template() => Some(withheld),
            _ => None,
        });
        self.refused(caller, attested, what, reasons.iter().map(Reason::code), sentences(of_templates));
        Error::Refused(reasons)
    }

    /// Counts and records reasons by their codes, with words for people.
    pub(super) fn refused(
        &self,
        caller: &Caller,
        attested: &Attested,
        what: &'static str,
        codes: impl IntoIterator<Item = &'static str>,
        detail: Option<String>,
    ) {
        let codes: Vec<&'static str> = codes.into_iter().chain(attested.lack.map(|lack| lack.code())).collect();
        for code in &codes {
            self.counters().refused(code);
        }
        tracing::debug!(pid = caller.peer().pid(), uid = caller.peer().uid(), ?codes, "refused");
        self.record_refusal(caller, Some(attested), what, &codes, detail).ok();
    }

    /// Records what templates did not give to a caller that has something else: it may be somebody who tries names.
    pub(super) fn withheld(&self, caller: &Caller, attested: &Attested, what: &'static str, withheld: &[&Withheld]) {
        if withheld.is_empty() {
            return;
        }
        let codes: Vec<&'static str> = withheld.iter().map(|each| each.why.code()).collect();
        for code in &codes {
            self.counters().withheld(code);
        }
        tracing::debug!(pid = caller.peer().pid(), uid = caller.peer().uid(), ?codes, "withheld");
        self.record_refusal(caller, Some(attested), what, &codes, sentences(withheld.iter().copied())).ok();
    }

    pub(super) fn record_refusal(
        &self,
        caller: &Caller,
        attested: Option<&Attested>,
        what: &'static str,
        reasons: &[&'static str],
        detail: Option<String>,
    ) -> Result<(), audit::Error> {
        let caller = match attested {
            Some(attested) => self.recorded(caller, attested),
            None => audit::Caller {
                pid: caller.peer().pid(),
                uid: caller.peer().uid(),
                gid: caller.peer().gid(),
                exe: None,
            },
        };
        let record = Record::Refused { caller, what, reasons: reasons.to_vec(), detail, holder: None };
        self.log().append(&record, Urgency::Ordinary).map(|_| ())
    }

    pub(super) fn recorded(&self, caller: &Caller, attested: &Attested) -> audit::Caller {
        audit::Caller {
            pid: caller.peer().pid(),
            uid: attested.facts.uid,
            gid: attested.facts.gid,
            exe: attested.image.as_ref().map(|image| image.path.clone()),
        }
    }
}

/// What a record says of templates; `None` where there are none.
fn sentences<'a>(withheld: impl Iterator<Item = &'a Withheld>) -> Option<String> {
    /// A sentence may have a SPIFFE ID of two kibibytes, and a record has an end.
    const SENTENCES_MAX: usize = 8;
    let sentences: Vec<_> = withheld.take(SENTENCES_MAX).map(ToString::to_string).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
