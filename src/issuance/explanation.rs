//! Why a process has the identities it has, and what keeps it from having more.

use std::{error::Error, sync::Arc, time::SystemTime};

use futures_util::future::BoxFuture;

use crate::{
    registry::{Entry, IDENTITIES_MAX, Selector, Selectors, Snapshot, granted},
    spiffe::Id,
};

/// The most entries told that nearly match.
const NEAR_MAX: usize = 10;
/// The most entries of which it is told why they give nothing.
const WITHHELD_MAX: usize = 20;

/// A process as the daemon sees it from outside, with no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// In the daemon's pid namespace.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The path of its executable; empty where it cannot be told.
    pub(crate) executable: String,
    /// Each of its selectors, with the condition under which it would hold on a connection.
    pub(crate) selectors: Vec<(Selector, Option<String>)>,
    /// Sentences: what kept it from having more.
    pub(crate) notes: Vec<String>,
    /// When it was looked at.
    pub(crate) at: SystemTime,
}

/// An entry that lacks something, and what.
pub(crate) type Near = (Arc<Entry>, Vec<Selector>);

/// What the registry has for a process if every condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// The entries that match, oldest first, each with what it gives to this process.
    pub(crate) matching: Vec<(Arc<Entry>, Option<Id>)>,
    /// Those that lack least.
    pub(crate) near: Vec<Near>,
    /// Sentences: why what matches gives nothing.
    pub(crate) notes: Vec<String>,
}

impl Explanation {
    /// Compares it with the entries.
    pub(crate) fn against(&self, registry: &Snapshot) -> Compared {
        let have: Selectors = self.selectors.iter().map(|(selector, _)| selector.clone()).collect();
        let granted = granted(registry, &have, self.at);
        // Both are in the same order.
        let mut given = granted.given.iter().peekable();
        let with_given = |entry: Arc<Entry>| {
            let id = given.next_if(|grant| grant.id == entry.id).map(|grant| grant.spiffe_id().clone());
            (entry, id)
        };
        let matching = registry.matching(&have).into_iter().map(with_given).collect();
        let mut notes: Vec<_> = granted.withheld.iter().take(WITHHELD_MAX).map(ToString::to_string).collect();
        if let more @ 1.. = granted.withheld.len().saturating_sub(WITHHELD_MAX) + granted.more_withheld {
            notes.push(format!("{more} more of the matching entries give it nothing"));
        }
        if granted.beyond > 0 {
            notes.push(format!("of the matching entries only the {IDENTITIES_MAX} oldest are issued to one caller"));
        }
        Compared { matching, near: registry.near(&have, NEAR_MAX), notes }
    }
}

/// Why a process cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unexplained {
    /// There is none of that number.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It could not be looked at.
    #[error("the process could not be looked at")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// Looks at the process of a number.
pub(crate) type Explain = Arc<dyn Fn(u32) -> BoxFuture<'static, Result<Explanation, Unexplained>> + Send + Sync>;
