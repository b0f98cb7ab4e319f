//! Which uids and gids the daemon's own user namespace can tell apart.
//!
//! In a namespace that does not map all ids the kernel shows every id that has none there as one: the overflow id,
//! 65534. It stands for many, so nobody is known by it.

use std::{fs, io};

/// The id that stands for all that are not mapped; `None` where all are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmapped {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

impl Unmapped {
    /// Looks at the daemon's own namespace.
    ///
    /// # Errors
    /// When that cannot be seen: then nobody's ids mean anything.
    pub(super) fn look() -> io::Result<Self> {
        Ok(Self {
            uid: overflow("/proc/self/uid_map", "/proc/sys/kernel/overflowuid")?,
            gid: overflow("/proc/self/gid_map", "/proc/sys/kernel/overflowgid")?,
        })
    }

    /// Whether all ids are told apart.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Groups without the one that stands for many.
    pub(super) fn groups_known(self, mut groups: Vec<u32>) -> Vec<u32> {
        groups.retain(|gid| self.gid != Some(*gid));
        groups
    }
}

fn overflow(map: &str, overflow: &str) -> io::Result<Option<u32>> {
    match fs::read_to_string(map) {
        Ok(map) if is_whole(&map)? => Ok(None),
        Ok(_) => number(&fs::read_to_string(overflow)?).map(Some),
        // A kernel without user namespaces; that /proc itself is there, the rest of the daemon needs too.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::exists("/proc/self")? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a map covers every id. Its lines are `inside outside length`, and never overlap.
fn is_whole(map: &str) -> io::Result<bool> {
    let mut covered = 0_u64;
    for line in map.lines() {
        let length = line.split_ascii_whitespace().nth(2).ok_or(io::ErrorKind::InvalidData)?;
        covered = covered.saturating_add(number(length)?.into());
    }
    // The last of the 2³² numbers is no id.
    Ok(covered >= u64::from(u32::MAX))
}

fn number(text: &str) -> io::Result<u32> {
    text.trim().parse().map_err(io::Error::other)
}

/// How this is named in status.
pub(crate) const NAME: &str = "whole_id_map";
/// What is done where it does not hold.
pub(crate) const WITHOUT: &str = "callers whose uid or gid has no number in the daemon's user namespace are refused";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_map_is_whole_when_no_id_is_left_out() {
        let table = [
            ("         0          0 4294967295\n", true),
            ("0 0 1000\n1000 1000 4294966295\n", true),
            ("0 1000 1\n", false),
            // 65534 is mapped, and stands for all the others too.
            ("0 1000 1\n1 100000 65536\n", false),
            ("0 0 4294967294\n", false),
            ("", false),
        ];
        for (map, whole) in table {
            assert_eq!(is_whole(map).unwrap(), whole, "{map}");
        }
        assert!(is_whole("0 0\n").is_err() && is_whole("0 0 many\n").is_err());
    }
}
