//! The selectors that hold whatever program runs: ids, groups, and their names.
//!
//! A caller may have 65,536 groups. Of these only what entries ask is looked up and kept, so that it costs what the
//! entries name and not what the caller brings.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, timeout};

use super::{
    Attestor, Error,
    names::{self, LOOKUPS_MAX, Names},
    unix::written,
};
use crate::{
    registry::{Asked, Selector, Selectors, Snapshot},
    sys::{
        looks::Looks,
        peer::{Facts, Peer},
    },
};

/// Who has no more groups than this has each of them named, where entries have more names than that.
const GROUPS_NAMED_MAX: usize = 32;
/// Supplementary groups that a person who explains is shown, beside those that entries ask for.
const GROUPS_SHOWN_MAX: usize = 64;

impl Attestor {
    /// What is true of a caller now, its groups only where an entry asks for any.
    pub(super) async fn facts(&self, peer: &Arc<Peer>, looks: &Looks, asked: &Asked) -> Result<Facts, Error> {
        let with_groups = asked.has_groups();
        Ok(match peer.is_read(with_groups) {
            true => self.look_at(peer, looks, move |_, peer| peer.facts(with_groups)).await??,
            false => peer.facts(with_groups)?,
        })
    }

    /// The same, and those of its selectors that entries ask for.
    pub(super) async fn plain(
        &self,
        peer: &Arc<Peer>,
        looks: &Looks,
        asked: &Asked,
    ) -> Result<(Facts, Selectors), Error> {
        let (wait, begun) = (self.waits.attestation, Instant::now());
        let sought = self.within(wait, sought(&self.names, asked, peer.groups_count())).await?;
        // The look has its own time.
        let left = wait.saturating_sub(begun.elapsed());
        let (facts, held) = match asked.has_groups() {
            true => {
                let (asked, sought) = (asked.clone(), sought.clone());
                let look = move |_: &_, peer: &Peer| {
                    let (facts, groups) = peer.facts_and_groups()?;
                    Ok::<_, Error>((facts, wanted(&groups, &asked, &sought)))
                };
                self.look_at(peer, looks, look).await??
            }
            false => (self.facts(peer, looks, asked).await?, BTreeSet::new()),
        };
        let named = held.iter().copied().filter(|gid| sought.has(*gid));
        let named = self.within(left, named_selectors(&self.names, asked, &facts, named)).await?;
        let numbers = held.iter().copied().filter(|gid| asked.has_gid(*gid)).map(Selector::supplementary_gid);
        let selectors = ids(&facts).into_iter().chain(numbers).chain(named).collect();
        Ok((facts, selectors))
    }

    /// For a person: the selectors of a process with these groups, also those that no entry asks for; of very many
    /// groups the first, and how many were left out.
    pub(super) async fn plain_outside(
        &self,
        facts: &Facts,
        groups: &[u32],
        snapshot: &Snapshot,
    ) -> Result<(Selectors, usize), Error> {
        let mut asked = snapshot.asked_of(facts.uid, facts.gid);
        (asked.user, asked.group) = (true, true);
        let looking_up = async {
            let sought = sought(&self.names, &asked, groups.len()).await?;
            let mut shown: BTreeSet<u32> = groups.iter().copied().filter(|gid| sought.has(*gid)).collect();
            shown.extend(groups.iter().take(GROUPS_SHOWN_MAX));
            let mut selectors = own_names(&self.names, &asked, facts).await?;
            for gid in &shown {
                selectors.extend(group_selector(&self.names, *gid, facts.uid).await?);
            }
            shown.extend(groups.iter().filter(|gid| asked.has_gid(**gid)));
            Ok((selectors, shown))
        };
        let (named, shown) = self.within(self.waits.attestation, looking_up).await?;
        let numbers = shown.iter().copied().map(Selector::supplementary_gid);
        let selectors = ids(facts).into_iter().chain(numbers).chain(named).collect();
        Ok((selectors, groups.len() - shown.len()))
    }

    /// All names together may take as long as one alone; of that, this is `left`.
    async fn within<T>(
        &self,
        left: Duration,
        looking_up: impl Future<Output = Result<T, names::Error>>,
    ) -> Result<T, Error> {
        let late = names::Error::Late(self.waits.attestation);
        timeout(left, looking_up).await.unwrap_or(Err(late)).map_err(Error::Names)
    }
}

/// Groups whose names matter.
#[derive(Clone, Debug)]
enum Sought {
    /// Every one that the caller has: they are few.
    All,
    /// Those that the names in entries lead to.
    Gids(BTreeSet<u32>),
}

impl Sought {
    fn has(&self, gid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Gids(gids) => gids.contains(&gid),
        }
    }
}

/// What is kept of a caller's groups when the look is over.
fn wanted(groups: &[u32], asked: &Asked, sought: &Sought) -> BTreeSet<u32> {
    groups.iter().copied().filter(|gid| asked.has_gid(*gid) || sought.has(*gid)).collect()
}

/// Among which of a caller's groups those are to be found that entries name by name, when it has so many groups.
async fn sought(names: &Names, asked: &Asked, groups: usize) -> Result<Sought, names::Error> {
    if groups <= GROUPS_NAMED_MAX && asked.names().nth(groups).is_some() {
        return Ok(Sought::All);
    }
    // As many at once as may be looked up: a directory may take its time for each.
    let asking: Vec<_> = asked.names().map(|name| names.gid(name)).collect();
    let found: Vec<Option<u32>> = stream::iter(asking).buffered(LOOKUPS_MAX).try_collect().await?;
    Ok(Sought::Gids(found.into_iter().flatten().collect()))
}

/// Selectors with names that entries ask for, of a caller with these groups of those that are sought. As SPIRE means
/// them: it is the name that the directory gives the number. That another name leads to the number too is not enough.
async fn named_selectors(
    names: &Names,
    asked: &Asked,
    facts: &Facts,
    groups: impl Iterator<Item = u32>,
) -> Result<Vec<Selector>, names::Error> {
    let mut selectors = own_names(names, asked, facts).await?;
    for gid in groups {
        selectors.extend(group_selector(names, gid, facts.uid).await?.filter(|selector| asked.has_named(selector)));
    }
    Ok(selectors)
}

/// The names of its user and of its primary group, one of each: to ask for these costs less than for an entry's.
async fn own_names(names: &Names, asked: &Asked, facts: &Facts) -> Result<Vec<Selector>, names::Error> {
    let mut selectors = Vec::new();
    if asked.user {
        selectors.extend(names.user(facts.uid).await?.and_then(|name| written("user", &name)));
    }
    if asked.group {
        selectors.extend(names.group(facts.gid, facts.uid).await?.and_then(|name| written("group", &name)));
    }
    Ok(selectors)
}

async fn group_selector(names: &Names, gid: u32, uid: u32) -> Result<Option<Selector>, names::Error> {
    Ok(names.group(gid, uid).await?.and_then(|name| written("supplementary_group", &name)))
}

fn ids(facts: &Facts) -> [Selector; 2] {
    [Selector::uid(facts.uid), Selector::gid(facts.gid)]
}

#[cfg(test)]
mod tests;
