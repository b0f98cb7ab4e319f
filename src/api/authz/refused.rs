//! What is answered to whose request does not pass, whatever the door speaks.

use super::request::Malformed;
use crate::oauth::challenge::Challenge;

/// A status, the headers that go with it, and words for people, which may be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) words: String,
}

impl From<Challenge> for Refused {
    fn from(challenge: Challenge) -> Self {
        Self { status: challenge.status, headers: challenge.headers().collect(), words: String::new() }
    }
}

impl From<Malformed> for Refused {
    fn from(error: Malformed) -> Self {
        Self { status: 400, headers: vec![("cache-control", "no-store".to_owned())], words: format!("{error}\n") }
    }
}
