//! What the two say to each other on the private channel: one JSON object in each message.

use serde::{Deserialize, Serialize};

use crate::sys::{activation::PASSED_MAX, packets::PACKET_BYTES_MAX};

/// Which way of speaking this is. Another number is another way.
pub(crate) const PROTOCOL: u32 = 1;

/// The longest reason, in bytes.
const WHY_BYTES_MAX: usize = 1_024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Message {
    /// The new one: all that can be checked beforehand is right.
    Ready {},
    /// The old one: everything is closed, and these are the descriptors, in this order.
    Yours { sockets: Vec<Handed> },
    /// The old one: it goes on itself.
    Staying { why: String },
    /// The new one: it serves.
    Serving {},
    /// The new one: it cannot, and ends.
    Failed { why: String },
}

/// What goes with a descriptor. Where it listens the descriptor says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handed {
    /// Whether the socket and its file are the service manager's.
    pub(crate) is_borrowed: bool,
}

impl Message {
    /// Reads a message; nothing where it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > PACKET_BYTES_MAX {
            return None;
        }
        let message: Self = serde_json::from_slice(bytes).ok()?;
        let is_within = match &message {
            Self::Yours { sockets } => sockets.len() <= PASSED_MAX,
            Self::Staying { why } | Self::Failed { why } => why.len() <= WHY_BYTES_MAX,
            Self::Ready {} | Self::Serving {} => true,
        };
        is_within.then_some(message)
    }

    /// As it is sent.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Maps with string keys are always JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// That it cannot be done, with as much of the reason as there is room for.
    pub(super) fn failed(why: &str) -> Self {
        Self::Failed { why: short(why) }
    }

    /// That nothing is handed over.
    pub(super) fn staying(why: &str) -> Self {
        Self::Staying { why: short(why) }
    }
}

fn short(why: &str) -> String {
    let end = (0..=why.len().min(WHY_BYTES_MAX)).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    why.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let most = vec![Handed { is_borrowed: true }; PASSED_MAX];
        for message in [
            Message::Ready {},
            Message::Yours { sockets: most },
            Message::staying("a \"reason\"\nof two lines"),
            Message::Serving {},
            Message::failed(&"é".repeat(2_000)),
            Message::failed(&"\u{1}".repeat(600)),
        ] {
            let bytes = message.to_bytes();
            assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes: {message:?}", bytes.len());
            assert_eq!(Message::parse(&bytes).unwrap(), message);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let many = Message::Yours { sockets: vec![Handed { is_borrowed: true }; PASSED_MAX + 1] }.to_bytes();
        let long = Message::Failed { why: "x".repeat(WHY_BYTES_MAX + 1) }.to_bytes();
        let deep = "[".repeat(3_000);
        for bytes in [
            &b""[..],
            b"ready",
            b"{}",
            b"{\"step\":\"ready\",\"more\":1}",
            b"{\"step\":\"Ready\"}",
            b"{\"step\":\"yours\"}",
            b"{\"step\":\"yours\",\"sockets\":[{\"is_borrowed\":1}]}",
            b"{\"step\":\"yours\",\"sockets\":[{\"is_borrowed\":true,\"path\":\"/etc\"}]}",
            b"{\"step\":\"ready\"}{\"step\":\"ready\"}",
            &many,
            &long,
            deep.as_bytes(),
        ] {
            assert_eq!(Message::parse(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
        let mut padded = Message::Ready {}.to_bytes();
        padded.resize(PACKET_BYTES_MAX, b' ');
        assert!(Message::parse(&padded).is_some());
        padded.push(b' ');
        assert_eq!(Message::parse(&padded), None);
    }
}
