//! What an entry names: a SPIFFE ID, or a template of them.

use std::fmt;

use super::template::{Template, TemplateError};
use crate::spiffe::{Id, IdError, TrustDomain};

/// The SPIFFE ID of an entry, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// One for everybody.
    Id(Id),
    /// Each caller's own.
    Template(Template),
}

impl Name {
    /// Reads either; what has a brace is meant as a template.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        match Template::is_meant(text) {
            true => Template::parse(text).map(Self::Template).map_err(NameError::Template),
            false => Id::parse(text).map(Self::Id).map_err(NameError::Id),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Template(template) => template.as_str(),
        }
    }

    /// In which trust domain the identity is.
    pub(crate) fn trust_domain(&self) -> TrustDomain {
        match self {
            Self::Id(id) => id.trust_domain(),
            Self::Template(template) => template.trust_domain().clone(),
        }
    }

    /// The template, if it is one.
    pub(super) fn template(&self) -> Option<&Template> {
        match self {
            Self::Id(_) => None,
            Self::Template(template) => Some(template),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// It is no SPIFFE ID.
    #[error(transparent)]
    Id(IdError),
    /// It is no template of them.
    #[error(transparent)]
    Template(TemplateError),
}
