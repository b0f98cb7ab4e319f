//! JWT-SVIDs, good and bad. Rows bear the numbers of the adversarial table that the project keeps of the standard.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod issued;
mod judged;
mod world;
