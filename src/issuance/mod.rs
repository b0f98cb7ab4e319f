//! The spine: connection → peer → selectors → entries → policy → credential → record → stream.
//!
//! It decides in that order and knows no wire. Doors ask a feed for what its caller is entitled to now, and again for
//! each change; nothing leaves that was not judged, recorded, and proved to go to the process that was attested.

mod access;
mod alive;
mod bundles;
mod credential;
pub(crate) mod desk;
mod error;
mod explanation;
mod feed;
pub(crate) mod foreign;
mod held;
mod issuer;
mod jitter;
mod kind;
mod orders;
mod pace;
mod proxies;
mod rates;
mod recorded;
mod refusals;
mod reuse;
mod secrets;
mod standing;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;
mod verdict;
mod wit;
mod x509;

pub(crate) use access::{AccessAsked, Malformed, Ungranted};
pub(crate) use alive::{Alive, LiveToken};
pub(crate) use bundles::{BundleFeed, Bundles};
pub(crate) use error::Error;
pub(crate) use explanation::{Compared, Explain, Explanation, Unexplained};
pub(crate) use feed::{Feed, Identity, Update};
pub(crate) use issuer::{Issuer, Sources};
pub(crate) use kind::Kind;
pub(crate) use proxies::{Proxies, ProxyStream, Seat};
pub(crate) use secrets::{Certificates, Secrets};
pub(crate) use standing::{AuthorityStanding, Stand, Standing};
#[cfg(any(fuzzing, test))]
pub(crate) use tokens::AUDIENCE_BYTES_MAX;
pub(crate) use tokens::{Audiences, Labelled, Misasked, Wanted};
pub(crate) use verdict::{JwtRules, Question};
pub(crate) use wit::{Held as WitSvid, HolderKeys};

/// How often a caller that changes between attestation and release is attested again for one answer.
const ROUNDS_MAX: usize = 8;
