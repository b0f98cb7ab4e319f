//! The judgement: whether an entry's identity may be issued now, and for how long; and whether an agent may have an
//! access token ([`access`]).
//!
//! Everything is refused that no rule permits. A [`Permit`] can be made nowhere else, cannot be copied,
//! and is spent by value: nothing is signed without one.
//!
//! Pure: the time is an argument.

pub(crate) mod access;
mod credential;
mod judge;
mod permit;
mod reason;

pub(crate) use credential::Credential;
pub(crate) use judge::{Judgement, Lifetimes, Request, Rules, judge};
pub(crate) use permit::Permit;
pub(crate) use reason::Reason;

#[cfg(test)]
mod tests;
