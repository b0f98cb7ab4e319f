//! Where admins change the registry: one owner makes one order after the other, each whole or not at all.
//!
//! An order is checked, recorded, written to disk, and only then seen by anybody. Doors hold a [`Desk`]; the
//! [`Clerk`] owns the registry.

mod clerk;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod item_tests;
mod items;
mod lines;
mod revoke;
#[cfg(test)]
mod revoke_tests;
#[cfg(test)]
mod since_tests;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::sync::{broadcast, mpsc, watch};

pub(crate) use clerk::Clerk;
pub(crate) use error::{Error, Faulty};

use super::orders::{self, Pending};
use crate::{
    audit::{self, Record, Urgency},
    registry::{
        Draft, Entry, EntryId, Item, ItemDraft, ItemId, ItemSpec, Label, Revoked, RevokedId, Snapshot, Spec, State,
    },
    spiffe::TrustDomain,
    store::Store,
    sys::{Clock, counters::Counters},
};

/// The most changes in one order.
pub(crate) const CHANGES_MAX: usize = 10_000;
/// The most entries there can be.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;
/// Orders that may wait for the one before them.
pub(crate) const ORDERS_MAX: usize = 64;
/// How often a second that is to come is chosen anew, each time further ahead, because the disk took longer.
pub(super) const ROUNDS_MAX: u32 = 4;
/// Orders whose outcome a slow watch may be behind.
pub(crate) const BATCHES_MAX: usize = 256;

/// Who orders a change: the process at the other end of the admin socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    /// In the daemon's pid namespace.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Many changes, to be made together. Entries go before others are changed, and new ones come last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) create: Vec<Draft>,
    pub(crate) update: Vec<Amendment>,
    pub(crate) delete: Vec<EntryId>,
    /// Agents, tools and grants. They may come in any order.
    pub(crate) put: Vec<Put>,
    /// Agents, tools and grants that go.
    pub(crate) remove: Vec<ItemId>,
    /// Whether everything is only checked.
    pub(crate) dry_run: bool,
}

/// What an entry is to say from now on.
#[derive(Clone, Debug)]
pub(crate) struct Amendment {
    pub(crate) id: EntryId,
    pub(crate) draft: Draft,
    /// The revision that the admin saw; `None` overwrites whatever is there.
    pub(crate) expected: Option<u64>,
}

/// What an agent, tool or grant is to say from now on.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) draft: ItemDraft,
    pub(crate) stand: Stand,
}

/// What there must be of that name before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Nothing.
    New,
    /// One, of this revision; `None` overwrites whatever is there.
    Old(Option<u64>),
}

/// What an order came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// In the order's order. After a dry run these have ids that nobody will ever have.
    pub(crate) created: Vec<Arc<Entry>>,
    /// In the order's order.
    pub(crate) updated: Vec<Arc<Entry>>,
    /// As they were.
    pub(crate) deleted: Vec<Arc<Entry>>,
    /// Agents, tools and grants as they are now, in the order's order.
    pub(crate) put: Vec<Item>,
    /// What is gone of them.
    pub(crate) removed: Vec<ItemId>,
    /// What was to be revoked, as it is kept.
    pub(crate) revoked: Vec<Revoked>,
}

/// What one order has changed.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The registry's revision after it.
    pub(crate) revision: u64,
    pub(crate) outcome: Outcome,
}

/// A watch of the registry: where it began, and what came after. Batches up to `revision` are in it already.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The revision that the watch begins with.
    pub(crate) revision: u64,
    /// What comes. A reader who is more than [`BATCHES_MAX`] behind is told so.
    pub(crate) batches: broadcast::Receiver<Arc<Batch>>,
}

/// Takes orders. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Desk {
    own: TrustDomain,
    orders: mpsc::Sender<Pending<Clerk>>,
    registry: watch::Receiver<Arc<Snapshot>>,
    batches: broadcast::WeakSender<Arc<Batch>>,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
    /// Where whole tokens are known.
    judge: Option<revoke::Judge>,
}

/// An order whose drafts are right.
#[derive(Debug, Default)]
pub(super) struct Checked {
    create: Vec<Spec>,
    update: Vec<(EntryId, Spec, Option<u64>)>,
    delete: Vec<EntryId>,
    put: Vec<(ItemSpec, Stand)>,
    remove: Vec<ItemId>,
    /// Whether what hangs on what is removed goes too.
    cascade: bool,
    states: Vec<(Label, State)>,
    revoke: Vec<revoke::Revoking>,
    restore: Vec<RevokedId>,
    /// Everything that was issued until then, and for so much longer.
    revoke_agents: Vec<(Label, Duration)>,
    /// Entries of which nothing counts that their callers were issued before.
    begin: Vec<EntryId>,
    /// So much later than now everything that the order begins is to begin at the earliest.
    ahead: Duration,
    dry_run: bool,
    /// Whether an end that is named now must be ahead. A file may keep what has ended.
    ends_ahead: bool,
}

/// Opens the desk over what the store has. The clerk must run for any order to be carried out.
pub(crate) fn open(
    own: TrustDomain,
    present: Snapshot,
    store: Store,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
) -> (Desk, Clerk) {
    counters.entries_are(present.len());
    let (orders, queue) = mpsc::channel(ORDERS_MAX);
    let (batches, _) = broadcast::channel(BATCHES_MAX);
    let (sender, registry) = watch::channel(Arc::new(present));
    let weak = batches.downgrade();
    let desk = Desk {
        own,
        orders,
        registry,
        batches: weak,
        log: log.clone(),
        clock: clock.clone(),
        counters: counters.clone(),
        judge: None,
    };
    let clerk = Clerk::new(queue, sender, batches, store, log, clock, counters);
    (desk, clerk)
}

impl Desk {
    /// The registry, now and after each change.
    pub(crate) fn registry(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.registry.clone()
    }

    /// The trust domain that entries are in.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.own
    }

    /// What changes from now on.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub(crate) fn watch(&self) -> Result<Watch, Error> {
        // Before the snapshot is read: a batch is sent after its snapshot is seen, so none is missed.
        let batches = self.batches.upgrade().ok_or(Error::Stopping)?.subscribe();
        let revision = self.registry.borrow().revision();
        Ok(Watch { revision, batches })
    }

    /// Registers an entry.
    ///
    /// # Errors
    /// All problems of the draft, an end that is past, a duplicate, or that nothing can be changed now.
    pub(crate) async fn create(&self, author: Author, draft: Draft) -> Result<Arc<Entry>, Error> {
        let spec = self.check(draft)?;
        let outcome =
            self.order(author, Checked { create: vec![spec], ends_ahead: true, ..Checked::default() }).await?;
        outcome.created.into_iter().next().ok_or(Error::Stopping)
    }

    /// Replaces what an entry says.
    ///
    /// # Errors
    /// As [`Desk::create`], and when there is no such entry or it has another revision than expected.
    pub(crate) async fn update(&self, author: Author, amendment: Amendment) -> Result<Arc<Entry>, Error> {
        let Amendment { id, draft, expected } = amendment;
        let change = (id, self.check(draft)?, expected);
        let outcome =
            self.order(author, Checked { update: vec![change], ends_ahead: true, ..Checked::default() }).await?;
        outcome.updated.into_iter().next().ok_or(Error::Stopping)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// When there is no such entry, or nothing can be changed now.
    pub(crate) async fn delete(&self, author: Author, id: EntryId) -> Result<(), Error> {
        self.order(author, Checked { delete: vec![id], ..Checked::default() }).await.map(|_| ())
    }

    /// Registers an agent, a tool or a grant.
    ///
    /// # Errors
    /// All problems of the draft, a taken name, audience or URL, something that it names and is not there, or that
    /// nothing can be changed now.
    pub(crate) async fn create_item(&self, author: Author, draft: ItemDraft) -> Result<Item, Error> {
        self.put(author, draft, Stand::New).await
    }

    /// Replaces what an agent, a tool or a grant says. An agent's state stays.
    ///
    /// # Errors
    /// As [`Desk::create_item`], and when there is none of that name or it has another revision than expected.
    pub(crate) async fn update_item(
        &self,
        author: Author,
        draft: ItemDraft,
        expected: Option<u64>,
    ) -> Result<Item, Error> {
        self.put(author, draft, Stand::Old(expected)).await
    }

    /// Changes the state of an agent. It has it already: nothing is done.
    ///
    /// # Errors
    /// When there is no such agent, it is retired, or nothing can be changed now.
    pub(crate) async fn set_state(&self, author: Author, name: Label, state: State) -> Result<Item, Error> {
        let outcome = self.order(author, Checked { states: vec![(name, state)], ..Checked::default() }).await?;
        outcome.put.into_iter().next().ok_or(Error::Stopping)
    }

    /// Removes agents, tools and grants, all or none; with what hangs on them where that is wanted.
    ///
    /// # Errors
    /// When one is not there or still needed, or nothing can be changed now.
    pub(crate) async fn remove(&self, author: Author, remove: Vec<ItemId>, cascade: bool) -> Result<Outcome, Error> {
        if remove.len() > CHANGES_MAX {
            return Err(Error::TooManyChanges(remove.len()));
        }
        self.order(author, Checked { remove, cascade, ..Checked::default() }).await
    }

    async fn put(&self, author: Author, draft: ItemDraft, stand: Stand) -> Result<Item, Error> {
        let spec = draft.check().map_err(|problems| Error::Drafts(Faulty::one(&problems)))?;
        self.check_names(&spec)?;
        let outcome = self.order(author, Checked { put: vec![(spec, stand)], ..Checked::default() }).await?;
        outcome.put.into_iter().next().ok_or(Error::Stopping)
    }

    /// Makes many changes, all or none.
    ///
    /// # Errors
    /// As the three above; problems are told of all drafts, each with its place.
    pub(crate) async fn apply(&self, author: Author, order: Order) -> Result<Outcome, Error> {
        let entries = order.create.len() + order.update.len() + order.delete.len();
        let count = entries + order.put.len() + order.remove.len();
        if count > CHANGES_MAX {
            return Err(Error::TooManyChanges(count));
        }
        let mut faulty = Faulty::default();
        let mut create = Vec::with_capacity(order.create.len());
        for (index, draft) in order.create.into_iter().enumerate() {
            match draft.check_new(&self.own) {
                Ok(spec) => create.push(spec),
                Err(problems) => faulty.add(&format!("create {}", index + 1), &problems),
            }
        }
        let mut update = Vec::with_capacity(order.update.len());
        for Amendment { id, draft, expected } in order.update {
            match draft.check_new(&self.own) {
                Ok(spec) => update.push((id, spec, expected)),
                Err(problems) => faulty.add(&format!("update {id}"), &problems),
            }
        }
        let mut put = Vec::with_capacity(order.put.len());
        for (index, Put { draft, stand }) in order.put.into_iter().enumerate() {
            match draft.check() {
                Ok(spec) => put.push((spec, stand)),
                Err(problems) => faulty.add(&format!("put {}", index + 1), &problems),
            }
        }
        if !faulty.is_empty() {
            return Err(Error::Drafts(faulty));
        }
        put.iter().try_for_each(|(spec, _)| self.check_names(spec))?;
        let Order { delete, remove, dry_run, .. } = order;
        self.order(author, Checked { create, update, delete, put, remove, dry_run, ..Checked::default() }).await
    }

    /// Records something that an admin did beside entries, before it is done.
    ///
    /// # Errors
    /// When the log takes no record; it must not be done then.
    pub(crate) fn note(&self, author: Author, verb: &'static str, object: String) -> Result<(), Error> {
        let record = Record::Admin { caller: author.into(), verb, object, result: "ok", changes: Vec::new() };
        self.append(&record)
    }

    /// Records that somebody at the admin socket is no admin.
    pub(crate) fn note_stranger(&self, author: Author) {
        self.note_refused(author, "not_admin");
    }

    /// Records that somebody at the admin socket may not do what he asked for.
    pub(crate) fn note_refused(&self, author: Author, reason: &'static str) {
        self.counters.refused(reason);
        let reasons = vec![reason];
        let record = Record::Refused { caller: author.into(), what: "admin", reasons, detail: None, holder: None };
        // It is refused with or without a record.
        self.append(&record).ok();
    }

    fn append(&self, record: &Record) -> Result<(), Error> {
        let appended = self.log.append(record, Urgency::Ordinary);
        appended.map(|_| ()).map_err(|error| {
            self.counters.audit_failed();
            Error::Audit(error)
        })
    }

    fn check(&self, draft: Draft) -> Result<Spec, Error> {
        draft.check_new(&self.own).map_err(|problems| Error::Drafts(Faulty::one(&problems)))
    }

    /// What names our own token issuer: its tokens every tool takes, and what is for it is for none.
    fn check_names(&self, spec: &ItemSpec) -> Result<(), Error> {
        let (ItemSpec::Tool(tool), Some(issuer)) = (spec, self.judge.as_ref().map(revoke::Judge::issuer)) else {
            return Ok(());
        };
        if tool.accepts.issuers.iter().any(|name| name.as_str() == issuer) {
            return Err(Error::OwnIssuer(tool.name.clone()));
        }
        match tool.audience.strip_prefix(issuer) {
            Some("" | "/token") => Err(Error::OwnAudience(tool.name.clone())),
            _ => Ok(()),
        }
    }

    /// Once it is in the queue an order is carried out, whether or not anybody waits for its outcome.
    async fn order(&self, author: Author, order: Checked) -> Result<Outcome, Error> {
        orders::ask(&self.orders, &self.counters, author, order).await
    }
}

impl From<Author> for audit::Caller {
    fn from(author: Author) -> Self {
        Self { pid: author.pid, uid: author.uid, gid: author.gid, exe: None }
    }
}
