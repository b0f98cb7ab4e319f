//! The owner of the registry. It makes orders one after the other:
//! check → record → disk → snapshot → watches.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Author, Batch, CHANGES_MAX, Checked, ENTRIES_MAX, Error, Outcome, ROUNDS_MAX, items, lines, revoke};
use crate::{
    audit::{self, Record, Urgency},
    issuance::orders::{self, Owner, Pending},
    registry::{self, Change, Entry, EntryId, Name, Snapshot, Spec, next_second},
    store::{self, Store},
    sys::{
        Clock, chain,
        counters::Counters,
        threads::{self, Undone},
    },
};

/// The owner task of the registry.
pub(crate) struct Clerk {
    queue: mpsc::Receiver<Pending<Self>>,
    registry: watch::Sender<Arc<Snapshot>>,
    batches: broadcast::Sender<Arc<Batch>>,
    store: Store,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
    /// When the youngest entry there ever was came.
    youngest: SystemTime,
    /// From when on the names of agents, tools and grants that went are free: a token says no more of its time than the
    /// second.
    free_from: SystemTime,
    /// The same of SPIFFE IDs of entries that went or became others.
    ids_free_from: SystemTime,
    /// Entries that became others, as long as it is not certain that what they gave before is of an earlier second.
    begun: Vec<EntryId>,
    /// The most entries there can be.
    entries_max: usize,
    /// A plan that the disk neither confirmed nor refused, and whose it is.
    unsure: Option<(Author, Plan)>,
}

impl Clerk {
    pub(super) fn new(
        queue: mpsc::Receiver<Pending<Self>>,
        registry: watch::Sender<Arc<Snapshot>>,
        batches: broadcast::Sender<Arc<Batch>>,
        store: Store,
        log: audit::Log,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Self {
        let youngest = registry.borrow().entries().map(|entry| entry.created_at).max();
        let youngest = youngest.unwrap_or(SystemTime::UNIX_EPOCH);
        let entries_max = ENTRIES_MAX;
        Self {
            queue,
            registry,
            batches,
            store,
            log,
            clock,
            counters,
            youngest,
            free_from: SystemTime::UNIX_EPOCH,
            ids_free_from: SystemTime::UNIX_EPOCH,
            begun: Vec::new(),
            entries_max,
            unsure: None,
        }
    }

    /// Carries out orders until the daemon stops. One that has begun is brought to its end.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        orders::run(self, stopping).await;
    }
}

impl Owner for Clerk {
    type Order = Checked;
    type Outcome = Outcome;
    type Error = Error;
    const OF: &'static str = "registry";

    fn queue(&mut self) -> &mut mpsc::Receiver<Pending<Self>> {
        &mut self.queue
    }

    async fn carry_out(&mut self, author: Author, order: Checked) -> Result<Outcome, Error> {
        let (begin, dry_run) = (self.clock.now(), order.dry_run);
        self.settle().await?;
        let outcome = self.make(author, order).await?;
        if !dry_run {
            self.set_apart(author, begin).await?;
        }
        Ok(outcome)
    }
}

impl Clerk {
    async fn make(&mut self, author: Author, order: Checked) -> Result<Outcome, Error> {
        let (present, log, times) = (self.registry.borrow().clone(), self.log.clone(), self.times());
        let (dry_run, most) = (order.dry_run, self.entries_max);
        // Filing many entries takes milliseconds, and so does a strict log: not on a thread that serves.
        let planned = threads::aside(move || {
            let plan = Plan::of(&present, order, author, times, most)?;
            if !dry_run {
                plan.record(&log, author)?;
            }
            Ok(plan)
        });
        let planned = planned.await.unwrap_or_else(|undone| match undone {
            Undone::NoThread => Err(Error::NoThread),
            Undone::Broken => Err(Error::Fault),
        });
        let mut plan = planned.inspect_err(|error| {
            if let Error::Audit(_) = error {
                tracing::error!(error = %chain(error), "audit log takes no record, so nothing is changed");
                self.counters.audit_failed();
            }
        })?;
        if dry_run || plan.changes.is_empty() {
            return Ok(plan.outcome);
        }
        let revision = plan.next.revision();
        match self.store.commit_entries(revision, std::mem::take(&mut plan.changes)).await {
            Ok(()) => Ok(self.publish(author, plan)),
            Err(error @ store::Error::Unconfirmed { .. }) => {
                tracing::error!(error = %chain(&error), "it is not known whether a change is on the disk");
                self.unsure = Some((author, plan));
                match self.settle().await {
                    Ok(Some(outcome)) => Ok(outcome),
                    Ok(None) => Err(Error::Store(error)),
                    Err(_) => Err(Error::Unsure(error)),
                }
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "a change could not be written");
                self.counters.store_failed();
                plan.take_back(&self.log, author, usize::MAX);
                Err(Error::Store(error))
            }
        }
    }
}

impl Clerk {
    /// What an entry gave before it became another must be of an earlier second than what counts of it now, also where the
    /// disk was slow: then it counts from a later one. It is seen by everybody since `begin` at the earliest.
    async fn set_apart(&mut self, author: Author, begin: SystemTime) -> Result<(), Error> {
        for round in 0.. {
            let (now, registry) = (self.clock.now(), self.registry.borrow().clone());
            self.begun.retain(|id| registry.entry(id).is_some_and(|entry| entry.since <= now));
            if self.begun.is_empty() {
                return Ok(());
            }
            if round == ROUNDS_MAX {
                break;
            }
            let ahead = 2 * now.duration_since(begin).unwrap_or_default();
            self.make(author, Checked { begin: self.begun.clone(), ahead, ..Checked::default() }).await?;
        }
        Err(Error::Slow)
    }

    /// Asks the store whether a change that it did not confirm was made, and goes on from there. Until that is known
    /// nothing else is changed: the registry and the disk would part.
    async fn settle(&mut self) -> Result<Option<Outcome>, Error> {
        let Some((author, plan)) = self.unsure.take() else { return Ok(None) };
        match self.store.load().await {
            Ok(loaded) if loaded.registry_revision >= plan.next.revision() => Ok(Some(self.publish(author, plan))),
            Ok(_) => {
                self.counters.store_failed();
                plan.take_back(&self.log, author, usize::MAX);
                Ok(None)
            }
            Err(error) => {
                self.unsure = Some((author, plan));
                Err(Error::Store(error))
            }
        }
    }

    /// From here on it is true for everybody.
    fn publish(&mut self, author: Author, plan: Plan) -> Outcome {
        let Plan { next, outcome, begun, .. } = plan;
        self.counters.store_committed();
        self.youngest = outcome.created.iter().map(|entry| entry.created_at).fold(self.youngest, SystemTime::max);
        self.counters.entries_are(next.len());
        let revision = next.revision();
        tracing::info!(
            revision,
            created = outcome.created.len(),
            updated = outcome.updated.len(),
            deleted = outcome.deleted.len(),
            items = outcome.put.len() + outcome.removed.len(),
            revoked = outcome.revoked.len(),
            uid = author.uid,
            pid = author.pid,
            "registry changed"
        );
        // The snapshot first: see `Desk::watch`. That nobody watches is no error.
        self.registry.send_replace(Arc::new(next));
        let later = next_second(self.clock.now());
        if !outcome.removed.is_empty() {
            self.free_from = later;
        }
        if !outcome.deleted.is_empty() || !begun.is_empty() {
            self.ids_free_from = later;
        }
        self.begun.extend(begun);
        self.batches.send(Arc::new(Batch { revision, outcome: outcome.clone() })).ok();
        outcome
    }

    fn times(&self) -> Times {
        let since_epoch = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // The store keeps whole microseconds.
        let whole = Duration::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX));
        let now = SystemTime::UNIX_EPOCH + whole;
        let entries = now.max(self.youngest + STEP);
        // A clock that was set back is not waited for.
        let not_before = |free_from: SystemTime| match free_from <= next_second(now) {
            true => entries.max(free_from),
            false => entries,
        };
        Times { now, entries, ids: not_before(self.ids_free_from), items: not_before(self.free_from) }
    }
}

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// On the clock; whole microseconds.
    pub(super) now: SystemTime,
    /// For new entries. The oldest entry of a caller is its default identity and stays it, whatever the clock does, so
    /// none is ever as old as one that was there before.
    entries: SystemTime,
    /// From when on new entries count. Nothing was issued then by one that gave the same SPIFFE ID before.
    ids: SystemTime,
    /// For new agents, tools and grants. No token of one that had the name before was issued then.
    pub(super) items: SystemTime,
}

/// What is between two entries of one order.
const STEP: Duration = Duration::from_micros(1);

/// An order that fits the registry, worked out to the end.
struct Plan {
    next: Snapshot,
    changes: Vec<Change>,
    /// A verb, an id, and what is different; one for each change.
    words: Vec<(&'static str, String, Vec<String>)>,
    outcome: Outcome,
    /// Entries that count from a second on that is to come.
    begun: Vec<EntryId>,
}

impl Plan {
    fn of(present: &Snapshot, mut order: Checked, author: Author, times: Times, most: usize) -> Result<Self, Error> {
        let now = times.entries;
        let begins = next_second(times.now + order.ahead);
        let mut named = BTreeSet::new();
        for id in order.delete.iter().chain(order.update.iter().map(|(id, ..)| id)) {
            if !named.insert(id.clone()) {
                return Err(Error::Twice(format!("entry {id}")));
            }
        }
        let mut items = items::plan(present.catalog(), &mut order, author, times)?;
        if order.cascade {
            let agents = items.removed_agents();
            let entries = present.entries_of(&agents).map(|entry| entry.id.clone());
            order.delete.extend(entries.filter(|id| !named.contains(id)));
        }
        let (mut changes, mut words) = (std::mem::take(&mut items.changes), std::mem::take(&mut items.words));
        let mut outcome = Outcome { removed: items.removed, ..Outcome::default() };
        let revoking = revoke::plan(present.revocations(), &mut order, times.now);
        changes.extend(revoking.changes);
        words.extend(revoking.words);
        let there = |id: &EntryId| present.entry(id).cloned().ok_or_else(|| registry::Error::UnknownEntry(id.clone()));
        let anew = anew(present, &order, there)?;
        let (mut begun, mut touched) = (Vec::new(), anew.touched.clone());
        for id in order.delete {
            let entry = there(&id)?;
            words.push(("entry_delete", id.to_string(), lines::whole(&entry.spec)));
            outcome.deleted.push(entry);
            changes.push(Change::Delete(id));
        }
        let is_past = |spec: &Spec| order.ends_ahead && spec.expires_at.is_some_and(|end| end <= now);
        let mut updated = Vec::new();
        for (id, spec, expected) in order.update {
            let entry = there(&id)?;
            if is_past(&spec) && spec.expires_at != entry.spec.expires_at {
                return Err(Error::Past);
            }
            if let Some(expected) = expected.filter(|expected| *expected != entry.revision) {
                return Err(Error::Stale { what: format!("entry {id}"), expected, present: entry.revision });
            }
            words.push(("entry_update", id.to_string(), lines::difference(&entry.spec, &spec)));
            updated.push(id.clone());
            let (revision, created_at) = (entry.revision.saturating_add(1), entry.created_at);
            let since = if touched.remove(&id) || !entry.spec.is_same_identity(&spec) {
                begun.push(id.clone());
                entry.since.max(begins)
            } else {
                entry.since
            };
            changes.push(Change::Update(Entry { id, spec, revision, created_at, since }));
        }
        for id in touched {
            let entry = there(&id)?;
            let since = entry.since.max(begins);
            words.push(("entry_update", id.to_string(), vec![told(since)]));
            begun.push(id);
            changes.push(Change::Update(Entry { since, ..Entry::clone(&entry) }));
        }
        let mut created = Vec::new();
        for (spec, index) in order.create.into_iter().zip(0..) {
            if is_past(&spec) {
                return Err(Error::Past);
            }
            let id = new_id()?;
            words.push(("entry_create", id.to_string(), lines::whole(&spec)));
            created.push(id.clone());
            let created_at = now + STEP * index;
            // From now on it has what a template gave.
            let is_taken_over = |name: &Name| matches!(name, Name::Id(id) if present.could_be_made(id));
            let since = if anew.has_gone || spec.agent.is_some() && is_taken_over(&spec.spiffe_id) {
                begun.push(id.clone());
                created_at.max(begins)
            } else {
                created_at.max(times.ids)
            };
            changes.push(Change::Create(Entry { id, spec, revision: 1, created_at, since }));
        }
        if changes.len() > CHANGES_MAX {
            return Err(Error::TooManyChanges(changes.len()));
        }
        // What has ended is forgotten by the way.
        if !changes.is_empty() {
            let ended = present.revocations().ended(times.now);
            changes.splice(0..0, ended.into_iter().map(Change::Restore));
        }
        let next = present.apply(present.revision().saturating_add(1), &changes)?;
        if next.len() > most {
            return Err(Error::TooManyEntries(next.len()));
        }
        let found = |ids: Vec<EntryId>| ids.iter().filter_map(|id| next.entry(id).cloned()).collect();
        outcome.created = found(created);
        outcome.updated = found(updated);
        outcome.revoked = revoking.wanted.iter().filter_map(|id| next.revocations().at(id).copied()).collect();
        outcome.put = items.put.iter().filter_map(|id| next.catalog().item(id)).collect();
        Ok(Self { changes, words, outcome, begun, next })
    }

    /// Records each change before it is made, so that nothing is in effect that the log does not know of.
    fn record(&self, log: &audit::Log, author: Author) -> Result<(), Error> {
        for (index, (verb, object, changes)) in self.words.iter().enumerate() {
            let (object, changes) = (object.clone(), changes.clone());
            let record = Record::Admin { caller: author.into(), verb, object, result: "ok", changes };
            if let Err(error) = log.append(&record, Urgency::Ordinary) {
                self.take_back(log, author, index);
                return Err(Error::Audit(error));
            }
        }
        Ok(())
    }

    /// Says of the first `count` records that what they tell was not made after all.
    fn take_back(&self, log: &audit::Log, author: Author, count: usize) {
        for (verb, object, _) in self.words.iter().take(count) {
            let (caller, object) = (author.into(), object.clone());
            let record = Record::Admin { caller, verb, object, result: "not_made", changes: Vec::new() };
            // It may use the reserve. Where that is used up too, the database tells what is so.
            log.append(&record, Urgency::Renewal).ok();
        }
    }
}

/// What an order makes of who is whom, beside what it says of each entry.
#[derive(Debug, Default)]
struct Anew {
    /// Whether an entry goes, or becomes another.
    has_gone: bool,
    /// Entries that must begin anew: what another one gave whose SPIFFE ID they have, and which was another's, would count
    /// as theirs once it is away.
    touched: BTreeSet<EntryId>,
}

fn anew(
    present: &Snapshot,
    order: &Checked,
    there: impl Fn(&EntryId) -> Result<Arc<Entry>, registry::Error>,
) -> Result<Anew, registry::Error> {
    let mut gone = order.delete.iter().map(&there).collect::<Result<Vec<_>, _>>()?;
    for (id, spec, _) in &order.update {
        let entry = there(id)?;
        if !entry.spec.is_same_identity(spec) {
            gone.push(entry);
        }
    }
    let mut touched: BTreeSet<_> = order.begin.iter().cloned().collect();
    for entry in &gone {
        let Name::Id(id) = &entry.spec.spiffe_id else { continue };
        let others = present.entries_saying(id).filter(|other| other.spec.agent != entry.spec.agent);
        touched.extend(others.filter(|other| other.spec.agent.is_some()).map(|other| other.id.clone()));
    }
    for id in &order.delete {
        touched.remove(id);
    }
    Ok(Anew { has_gone: !gone.is_empty(), touched })
}

/// From which second on an entry counts, in words.
fn told(since: SystemTime) -> String {
    format!("since: {}", since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn new_id() -> Result<EntryId, Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(EntryId::from_random(bytes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use crate::{
        issuance::desk::{
            Desk, Order, Stand,
            fixture::{self, ADMIN, draft, trust_domain},
            open,
        },
        registry::{AgentDraft, Draft, ItemDraft},
        sys::scratch::Scratch,
    };

    /// An empty desk, and its clerk, who does not run yet.
    fn desk(home: &Scratch) -> (Desk, Clerk) {
        let (store, _) = Store::open(home.path(), &trust_domain()).unwrap();
        let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), Clock::system()).unwrap();
        open(trust_domain(), Snapshot::empty(), store, log, Clock::system(), Arc::default())
    }

    #[tokio::test]
    async fn there_are_never_more_entries_than_the_most() {
        let home = Scratch::new();
        let (desk, mut clerk) = desk(&home);
        assert_eq!(clerk.entries_max, ENTRIES_MAX);
        // A million take too long here.
        clerk.entries_max = 2;
        tokio::spawn(clerk.run(CancellationToken::new()));
        let first = desk.create(ADMIN, draft("one", 1)).await.unwrap();
        desk.create(ADMIN, draft("two", 2)).await.unwrap();
        for dry_run in [true, false] {
            let order = Order { create: vec![draft("three", 3)], dry_run, ..Order::default() };
            let error = desk.apply(ADMIN, order).await.unwrap_err();
            assert!(matches!(error, Error::TooManyEntries(3)), "{error}");
        }
        assert_eq!(desk.registry().borrow().revision(), 2, "nothing was changed");
        // What goes makes room in the same order.
        let order = Order { create: vec![draft("three", 3)], delete: vec![first.id.clone()], ..Order::default() };
        desk.apply(ADMIN, order).await.unwrap();
        assert_eq!(desk.registry().borrow().len(), 2);
    }

    #[test]
    fn without_a_thread_nothing_is_changed_or_recorded_and_the_clerk_goes_on() {
        let home = Scratch::new();
        threads::runtime_without().block_on(async {
            let (desk, clerk) = desk(&home);
            let (log, stopping) = (clerk.log.clone(), CancellationToken::new());
            let clerk = tokio::spawn(clerk.run(stopping.clone()));
            for _ in 0..2 {
                let error = desk.create(ADMIN, draft("one", 1)).await.unwrap_err();
                assert!(matches!(error, Error::NoThread), "{error}");
            }
            assert_eq!(desk.registry().borrow().len(), 0);
            stopping.cancel();
            clerk.await.unwrap();
            log.close();
        });
        assert!(fixture::records(&home.path().join("audit"), "admin").is_empty());
    }

    /// The disk took longer than the second that was chosen.
    #[tokio::test]
    async fn what_is_seen_too_late_begins_once_more() {
        let home = Scratch::new();
        let (_, mut clerk) = desk(&home);
        let agent = AgentDraft { name: "crew".into(), owner: "ops".into(), ..AgentDraft::default() };
        let put = vec![(ItemDraft::Agent(agent).check().unwrap(), Stand::New)];
        clerk.make(ADMIN, Checked { put, ..Checked::default() }).await.unwrap();
        let spec = Draft { agent: "crew".into(), ..draft("web", 1) }.check(&trust_domain()).unwrap();
        let made = clerk.make(ADMIN, Checked { create: vec![spec], ..Checked::default() }).await.unwrap();
        let id = made.created[0].id.clone();
        clerk.begun = vec![id.clone(), EntryId::from_random([9; 16])];
        let begin = clerk.clock.now() - Duration::from_secs(3);
        clerk.set_apart(ADMIN, begin).await.unwrap();
        let entry = clerk.registry.borrow().entry(&id).unwrap().clone();
        assert!(entry.since > clerk.clock.now() + Duration::from_secs(5), "twice as long as it took");
        assert_eq!((entry.revision, clerk.begun.len()), (1, 0), "it says the same");
        let kept = clerk.store.load().await.unwrap();
        assert_eq!(kept.entries[0].since, entry.since);
    }

    #[tokio::test]
    async fn what_the_disk_did_not_confirm_is_settled_before_anything_else() {
        for was_made in [true, false] {
            let home = Scratch::new();
            let (desk, mut clerk) = desk(&home);
            let (none, store) = (Snapshot::empty(), clerk.store.clone());
            let create = vec![draft("unsure", 1).check(&trust_domain()).unwrap()];
            let plan =
                Plan::of(&none, Checked { create, ..Checked::default() }, ADMIN, clerk.times(), ENTRIES_MAX).unwrap();
            if was_made {
                store.commit_entries(1, plan.changes.clone()).await.unwrap();
            }
            clerk.unsure = Some((ADMIN, plan));
            tokio::spawn(clerk.run(CancellationToken::new()));
            desk.create(ADMIN, draft("next", 2)).await.unwrap();
            let seen = desk.registry().borrow().clone();
            let (entries, revision) = if was_made { (2, 2) } else { (1, 1) };
            assert_eq!((seen.len(), seen.revision()), (entries, revision));
            let kept = store.load().await.unwrap();
            assert_eq!((kept.entries.len(), kept.registry_revision), (entries, revision));
        }
    }
}
