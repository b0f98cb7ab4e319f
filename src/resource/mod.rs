//! For Rust services that verify requests themselves: a resource server (RFC 9068 §4, RFC 9449 §7), and a `tower` layer
//! around a service.
//!
//! It judges by keys that it was given, and by its own description of what it protects. What became of an agent or a token
//! since the token was issued it cannot know: that ends with the token, in minutes. A service that must know at once has
//! its requests verified by the daemon, over `authz.sock`.

mod follow;
mod layer;
mod server;

pub use follow::{FollowError, fetch_keys, follow_keys};
pub use layer::{Guard, GuardLayer};
pub use server::{Protected, Refused, ResourceServer, SetKeysError};

#[cfg(test)]
mod tests;
