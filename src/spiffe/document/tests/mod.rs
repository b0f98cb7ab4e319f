//! Bundle documents, good and bad. Rows bear the numbers of the adversarial table that the project keeps of the
//! standard; 34, 35 and the transport's half of 40 are for whoever compares and fetches.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod entries;
mod kit;
mod whole;
mod written;
