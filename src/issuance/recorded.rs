//! What was signed gets its records, one for all identities of an answer: nothing leaves without.

use super::{Error, Issuer, credential::Credentials};
use crate::{
    attest::{Attested, Caller},
    audit::{IDENTITIES_PER_RECORD, IdentityIssued, Record, Urgency},
    registry::Given,
    sys::chain,
};

/// Something that was signed, and has no record yet. Only [`Issuer::record`] lets it out.
pub(super) struct Unrecorded<'e, T> {
    pub(super) entry: &'e Given,
    /// Whether the caller has one already, which it must keep.
    pub(super) renewal: bool,
    signed: T,
}

/// What became of all that was signed for an answer.
pub(super) struct Recorded<'e, T> {
    /// In the order in which they were signed.
    pub(super) given: Vec<(&'e Given, T)>,
    /// Entries whose credentials have no record, and why they have none.
    pub(super) left: Vec<&'e Given>,
    pub(super) failure: Option<Error>,
}

impl<'e, T: Credentials> Unrecorded<'e, T> {
    pub(super) fn new(entry: &'e Given, renewal: bool, signed: T) -> Self {
        Self { entry, renewal, signed }
    }

    fn line(&self) -> IdentityIssued {
        IdentityIssued {
            spiffe_id: self.signed.id().clone(),
            entry: self.entry.id.to_string(),
            revision: self.entry.revision,
            serial: self.signed.serial().to_owned(),
            not_after: self.signed.not_after(),
            access: self.signed.access(),
        }
    }
}

impl Issuer {
    /// Records what was signed for one answer. What has a record is given.
    pub(super) fn record<'e, T: Credentials>(
        &self,
        caller: &Caller,
        attested: &Attested,
        credential: &'static str,
        signed: Vec<Unrecorded<'e, T>>,
    ) -> Recorded<'e, T> {
        let mut recorded = Recorded { given: Vec::with_capacity(signed.len()), left: Vec::new(), failure: None };
        let mut signed = signed.into_iter().peekable();
        while let Some(renewal) = signed.peek().map(|first| first.renewal) {
            let mut together = Vec::new();
            while together.len() < IDENTITIES_PER_RECORD
                && let Some(next) = signed.next_if(|next| next.renewal == renewal)
            {
                together.push(next);
            }
            let record = Record::Issued {
                caller: self.recorded(caller, attested),
                credential,
                renewal,
                identities: together.iter().map(Unrecorded::line).collect(),
            };
            let urgency = if renewal { Urgency::Renewal } else { Urgency::Ordinary };
            match self.log().append(&record, urgency) {
                Ok(_) => together.into_iter().for_each(|one| {
                    self.told(caller, credential, renewal, &one.signed);
                    recorded.given.push((one.entry, one.signed));
                }),
                Err(error) => {
                    if self.counters().is_worth_a_line(caller.peer().uid()) {
                        tracing::error!(error = %chain(&error), "audit log takes no record");
                    }
                    self.counters().audit_failed();
                    recorded.left.extend(together.iter().map(|one| one.entry));
                    recorded.failure = Some(Error::Audit(error));
                }
            }
        }
        recorded
    }

    fn told(&self, caller: &Caller, credential: &'static str, renewal: bool, signed: &impl Credentials) {
        self.counters().issued(credential, renewal);
        tracing::debug!(
            credential,
            id = %signed.id(),
            serial = signed.serial(),
            authority = %signed.authority(),
            pid = caller.peer().pid(),
            renewal,
            "issued"
        );
    }
}
