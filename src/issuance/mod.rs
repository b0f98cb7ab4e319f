//! The spine: connection → peer → selectors → entries → policy → credential → record → stream.
//!
//! It decides in that order and knows no wire. Doors ask a feed for what its caller is entitled to now, and again for
//! each change; nothing leaves that was not judged, recorded, and proved to go to the process that was attested.

mod bundles;
pub(crate) mod desk;
mod error;
mod explanation;
mod feed;
pub(crate) mod foreign;
mod issuer;
mod jitter;
mod pace;
mod standing;
#[cfg(test)]
mod tests;

pub(crate) use bundles::{BundleFeed, Bundles};
pub(crate) use error::Error;
pub(crate) use explanation::{Explain, Explanation, Unexplained};
pub(crate) use feed::{Update, X509Feed};
pub(crate) use issuer::{Issuer, Sources};
pub(crate) use standing::{AuthorityStanding, Stand, Standing};
