//! How a try and its actors talk: one message there, one back, each with a descriptor if need be.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
    },
};

use crate::kernel::adopt;

/// One end.
pub struct Link(OwnedFd);

/// What came: the parts, and a descriptor.
pub struct Message {
    pub parts: Vec<Vec<u8>>,
    pub descriptor: Option<OwnedFd>,
}

impl Message {
    /// A part as text; empty when there is none.
    pub fn text(&self, at: usize) -> String {
        self.parts.get(at).map(|part| String::from_utf8_lossy(part).into_owned()).unwrap_or_default()
    }

    /// A part as bytes; empty when there is none.
    pub fn bytes(&self, at: usize) -> &[u8] {
        self.parts.get(at).map_or(&[], Vec::as_slice)
    }

    /// A part as a number.
    pub fn number<T: std::str::FromStr>(&self, at: usize) -> io::Result<T> {
        self.text(at).parse().map_err(|_| io::Error::other(format!("{:?} is no number", self.text(at))))
    }
}

impl From<OwnedFd> for Link {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

const MESSAGE_BYTES_MAX: usize = 160 * 1024;

impl Link {
    /// Two ends, closed by an exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// An end that was left open across an exec.
    pub fn at(number: i32) -> Self {
        Self(adopt(number))
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn send(&self, parts: &[&[u8]], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut text = Vec::new();
        for part in parts {
            text.extend(u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes());
            text.extend(*part);
        }
        let raw: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        let control: &[_] = if raw.is_empty() { &[] } else { &[ControlMessage::ScmRights(&raw)] };
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&text)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The next message; `None` when the other end is closed.
    pub fn receive(&self, patience: Option<Duration>) -> io::Result<Option<Message>> {
        let limit = patience.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
        if poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut text = vec![0; MESSAGE_BYTES_MAX];
        let mut slices = [IoSliceMut::new(&mut text)];
        let mut control = nix::cmsg_space!([i32; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
            received => received?,
        };
        let count = received.bytes;
        let descriptor = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(numbers) => numbers.first().copied(),
            _ => None,
        });
        let descriptor = descriptor.map(adopt);
        if count == 0 {
            return Ok(None);
        }
        let mut parts = Vec::new();
        let mut rest = text.get(..count).unwrap_or_default();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?;
            let (part, after) = after.split_at_checked(length).ok_or(io::ErrorKind::InvalidData)?;
            parts.push(part.to_vec());
            rest = after;
        }
        Ok(Some(Message { parts, descriptor }))
    }
}
