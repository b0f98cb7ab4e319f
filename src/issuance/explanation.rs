//! Why a process has the identities it has, and what keeps it from having more.

use std::{error::Error, sync::Arc};

use futures_util::future::BoxFuture;

use crate::registry::{Entry, Selector, Selectors, Snapshot};

/// The most entries told that nearly match.
const NEAR_MAX: usize = 10;

/// A process as the daemon sees it from outside, with no connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}

/// An entry that lacks something, and what.
pub(crate) type Near = (Arc<Entry>, Vec<Selector>);

impl Explanation {
    /// The entries that match if every condition holds, oldest first, and those that lack least.
    pub(crate) fn against(&self, registry: &Snapshot) -> (Vec<Arc<Entry>>, Vec<Near>) {
        let have: Selectors = self.selectors.iter().map(|(selector, _)| selector.clone()).collect();
        (registry.matching(&have), registry.near(&have, NEAR_MAX))
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
