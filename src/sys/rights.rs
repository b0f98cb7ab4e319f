//! One message from a Unix socket: its bytes, who sent it, and the descriptors that came with it.
//!
//! Written out, since what is lost here stays open for good: also of a message that was cut short, every descriptor
//! that the kernel gave us has an owner.
#![expect(unsafe_code, reason = "control messages, and descriptors taken over from the kernel")]

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use nix::sys::socket::UnixCredentials;

/// Room for the credentials and for 253 descriptors, the most that one message may carry (`SCM_MAX_FD`).
const CONTROL_BYTES: usize = 1_200;

/// Where the kernel puts control messages; aligned as their heads are.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What one `recvmsg` gave.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: usize,
    /// Who sent it, in our own namespaces' numbers.
    pub(crate) sender: Option<UnixCredentials>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether the kernel left nothing out.
    pub(crate) is_whole: bool,
}

/// Receives once, without waiting.
///
/// # Errors
/// What the system said; `WouldBlock` when there is nothing.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Message> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: plain numbers and pointers, of which zero is a value.
    let mut head: libc::msghdr = unsafe { mem::zeroed() };
    head.msg_iov = &raw mut part;
    head.msg_iovlen = 1;
    head.msg_control = control.0.as_mut_ptr().cast();
    head.msg_controllen = CONTROL_BYTES;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the head points to a buffer and to room for control messages, both ours, with their sizes.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut head, flags) };
    let bytes = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut message =
        Message { bytes, sender: None, descriptors: Vec::new(), is_whole: head.msg_flags & libc::MSG_CTRUNC == 0 };
    // SAFETY: the kernel has filled in the head.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const head) };
    // SAFETY: null, or a control message inside `control`, which is aligned for it.
    while let Some(one) = unsafe { at.as_ref() } {
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(at) };
        match (one.cmsg_level, one.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                // SAFETY: the kernel writes a whole ucred, or no such message; there is no smaller one.
                message.sender = Some(unsafe { data.cast::<libc::ucred>().read_unaligned() }.into());
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                // SAFETY: only arithmetic.
                let before = usize::try_from(unsafe { libc::CMSG_LEN(0) }).unwrap_or(usize::MAX);
                let count = one.cmsg_len.saturating_sub(before) / size_of::<libc::c_int>();
                for place in 0..count {
                    // SAFETY: the message has `count` of them, by its own length.
                    let number = unsafe { data.cast::<libc::c_int>().add(place) };
                    // SAFETY: as above; their alignment is not promised.
                    let number = unsafe { number.read_unaligned() };
                    // SAFETY: the kernel has just put it into our table for this message; nobody else knows it.
                    message.descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
                }
            }
            _ => {}
        }
        // SAFETY: `at` is a control message of this head.
        at = unsafe { libc::CMSG_NXTHDR(&raw const head, at) };
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        io::IoSlice,
        os::{fd::AsFd as _, unix::net::UnixStream},
    };

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt::PassCred};

    use super::*;

    #[test]
    fn descriptors_and_sender_come_with_their_message() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        setsockopt(&ours, PassCred, &true).unwrap();
        let given = [theirs.as_raw_fd(); 253];
        let rights = [ControlMessage::ScmRights(&given)];
        sendmsg::<()>(theirs.as_raw_fd(), &[IoSlice::new(b"hello")], &rights, MsgFlags::empty(), None).unwrap();
        let mut buffer = [0; 16];
        let message = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!((message.bytes, message.descriptors.len(), message.is_whole), (5, 253, true));
        assert_eq!(message.sender.unwrap().pid(), nix::unistd::getpid().as_raw());
        assert_eq!(receive(ours.as_fd(), &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
