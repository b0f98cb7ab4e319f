//! From a process to what is true of it: peer → selectors.
//!
//! A failing look is an error, never a smaller set of selectors. What an image selector says is told only of a
//! process whose running image has answered on this very connection; one that cannot show its image keeps its other
//! selectors. How long an answer holds is [`Caller::holds`]'s to say, before anything leaves.

mod caller;
mod error;
mod hash;
mod names;
mod plain;
mod queue;
mod unix;

pub(crate) use caller::{Attested, Caller};
pub(crate) use error::Error;
pub(crate) use unix::{Attestor, Waits};
