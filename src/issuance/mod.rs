//! The spine.

mod standing;

pub(crate) use standing::{AuthorityStanding, Stand, Standing};
