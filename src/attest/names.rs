//! Names of users and groups, for the selectors that are written with names.
//!
//! Only asked where an entry uses one, on a thread that may wait (a directory service may be slow), and remembered
//! briefly.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::unistd::{Gid, Group, Uid, User};

/// How long a name is believed.
const FRESH: Duration = Duration::from_secs(5);
/// How many names are remembered.
pub(crate) const NAMES_MAX: usize = 4_096;

/// Names that were looked up not long ago.
#[derive(Debug, Default)]
pub(crate) struct Names {
    users: Mutex<Known>,
    groups: Mutex<Known>,
}

type Known = HashMap<u32, (Instant, Option<String>)>;

impl Names {
    /// The name of a user; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) fn user(&self, uid: u32) -> io::Result<Option<String>> {
        remembered(&self.users, uid, || Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name)))
    }

    /// The name of a group; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) fn group(&self, gid: u32) -> io::Result<Option<String>> {
        remembered(&self.groups, gid, || Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name)))
    }
}

fn remembered(
    known: &Mutex<Known>,
    id: u32,
    look_up: impl FnOnce() -> io::Result<Option<String>>,
) -> io::Result<Option<String>> {
    let now = Instant::now();
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((since, name)) = lock().get(&id)
        && now.duration_since(*since) < FRESH
    {
        return Ok(name.clone());
    }
    let name = look_up()?;
    let mut known = lock();
    if known.len() >= NAMES_MAX {
        known.retain(|_, (since, _)| now.duration_since(*since) < FRESH);
    }
    if known.len() < NAMES_MAX {
        known.insert(id, (now, name.clone()));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn root_has_a_name_and_a_made_up_uid_has_none() {
        let names = Names::default();
        assert_eq!(names.user(0).unwrap().as_deref(), Some("root"));
        assert_eq!(names.user(3_999_999_999).unwrap(), None);
    }

    #[test]
    fn a_name_is_asked_for_once_while_it_is_fresh() {
        let known = Mutex::default();
        let ask = || remembered(&known, 1, || Ok(Some("one".to_owned())));
        assert_eq!(ask().unwrap().as_deref(), Some("one"));
        let again = remembered(&known, 1, || Err(io::ErrorKind::Other.into()));
        assert_eq!(again.unwrap().as_deref(), Some("one"));
    }

    #[test]
    fn beyond_its_limit_nothing_more_is_remembered() {
        let known = Mutex::default();
        for id in 0..=u32::try_from(NAMES_MAX).unwrap() {
            remembered(&known, id, || Ok(None)).unwrap();
        }
        assert_eq!(known.lock().unwrap().len(), NAMES_MAX);
    }
}
