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

/// The supplementary groups that the process had when it connected (`SO_PEERGROUPS`, Linux 4.13).
pub(super) fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 32];
    loop {
        let room = groups.len() * size_of::<u32>();
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
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
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE says how many there are.
        if error.raw_os_error() != Some(libc::ERANGE) || count > GROUPS_MAX || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
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
    fn a_digest_is_small_however_many_groups_there_are() {
        assert!(size_of::<GroupsDigest>() <= 40);
    }
}
