//! The supplementary groups of a process: told apart from any others without being kept.
//!
//! Whoever has a line in `/etc/subgid` can have 65,536 of them (256 KiB) in each of his processes, so a list lives only
//! while somebody looks at it.
#![expect(unsafe_code, reason = "a socket option that nix does not have")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::proc::GROUPS_MAX;

/// A set of groups, as far as it can be compared with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupsDigest {
    count: usize,
    /// Of their numbers, sorted.
    sha256: [u8; SHA256_OUTPUT_LEN],
}

impl GroupsDigest {
    /// Of groups that are sorted.
    pub(super) fn of_sorted(groups: &[u32]) -> Self {
        let mut context = Context::new(&SHA256);
        for piece in groups.chunks(PIECE) {
            let bytes: Vec<u8> = piece.iter().flat_map(|gid| gid.to_le_bytes()).collect();
            context.update(&bytes);
        }
        let mut sha256 = [0; SHA256_OUTPUT_LEN];
        sha256.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self { count: groups.len(), sha256 }
    }

    /// How many groups there are.
    pub(crate) fn count(self) -> usize {
        self.count
    }
}

/// Groups that are hashed at once.
const PIECE: usize = 1_024;

/// What a process had when it connected. To list thousands of groups takes the kernel milliseconds, for each
/// connection, before anybody has asked for them; of so many only the number is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Few(GroupsDigest),
    Many(usize),
}

/// Groups that are noted one by one when a process connects.
pub(super) const GROUPS_NOTED_MAX: usize = 64;

/// All supplementary groups that the process had when it connected (`SO_PEERGROUPS`, Linux 4.13).
pub(super) fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    match peer_groups_up_to(GROUPS_NOTED_MAX, socket)? {
        Ok(groups) => Ok(groups),
        Err(count) => peer_groups_up_to(count, socket)?.map_err(|_| io::ErrorKind::InvalidData.into()),
    }
}

/// The same, if there are no more than that; else how many.
pub(super) fn peer_groups_up_to(most: usize, socket: &impl AsFd) -> io::Result<Result<Vec<u32>, usize>> {
    let mut groups = vec![0_u32; most];
    let mut length = libc::socklen_t::try_from(most * size_of::<u32>()).map_err(io::Error::other)?;
    // SAFETY: the buffer has `length` bytes, which the kernel does not exceed, and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<u32>();
    if done == 0 {
        groups.truncate(count);
        return Ok(Ok(groups));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ERANGE) if count > most && count <= GROUPS_MAX => Ok(Err(count)),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn other_groups_have_another_digest() {
        let many: Vec<u32> = (100_000..165_536).collect();
        let digest = GroupsDigest::of_sorted(&many);
        assert_eq!(digest, GroupsDigest::of_sorted(&many));
        assert_eq!(digest.count(), GROUPS_MAX);
        let (first, rest) = many.split_first().unwrap_or((&0, &[]));
        let changed = [&[first - 1], rest].concat();
        assert_ne!(digest, GroupsDigest::of_sorted(&changed));
        assert_ne!(digest, GroupsDigest::of_sorted(rest));
        assert_ne!(GroupsDigest::of_sorted(&[]), GroupsDigest::of_sorted(&[0]));
        assert_ne!(GroupsDigest::of_sorted(&[0, 1]), GroupsDigest::of_sorted(&[1]));
    }

    #[test]
    fn of_too_many_the_kernel_says_how_many() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let all = peer_groups(&socket).unwrap();
        assert_eq!(
            peer_groups_up_to(GROUPS_NOTED_MAX, &socket).unwrap().map_or_else(|count| count, |few| few.len()),
            all.len()
        );
        match peer_groups_up_to(0, &socket).unwrap() {
            Ok(none) => assert!(none.is_empty() && all.is_empty()),
            Err(count) => assert_eq!(count, all.len()),
        }
    }

    #[test]
    fn a_digest_is_small_however_many_groups_there_are() {
        assert!(size_of::<GroupsDigest>() <= 40);
    }
}
