//! Keys and signed tokens, good and bad, by the RFCs' own vectors and by another library.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cross;
mod keys;
pub(crate) mod kit;
mod tokens;
