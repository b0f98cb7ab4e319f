//! What stands in the subject of an entry's certificates. Whose they are says their URI, and nothing else.

use thiserror::Error;

use super::draft::shown;

/// How the certificates of an entry name it to those who do not read SPIFFE IDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `spiffe`: the common name is the first DNS name, as SPIRE has it; without one the subject is empty.
    #[default]
    Spiffe,
    /// `database`: this common name, by which PostgreSQL and MySQL know an account.
    Database(Box<str>),
}

impl Profile {
    /// The longest common name, in bytes. X.520 counts characters (ub-common-name), of which there are never more.
    pub(crate) const COMMON_NAME_BYTES_MAX: usize = 64;

    /// Reads what an operator wrote; `""` is `spiffe`.
    ///
    /// # Errors
    /// When there is no such profile, or the common name is missing, out of place, or none.
    pub(super) fn check(profile: &str, common_name: &str) -> Result<Self, ProfileError> {
        match (profile, common_name) {
            ("" | "spiffe", "") => Ok(Self::Spiffe),
            ("" | "spiffe", _) => Err(ProfileError::CommonNameUnused),
            ("database", "") => Err(ProfileError::NoCommonName),
            ("database", name) => check_common_name(name).map(|()| Self::Database(name.into())),
            _ => Err(ProfileError::Unknown(shown(profile))),
        }
    }

    /// What it is called; the default is `""`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Spiffe => "",
            Self::Database(_) => "database",
        }
    }

    /// The common name that was chosen.
    pub(super) fn chosen(&self) -> Option<&str> {
        match self {
            Self::Spiffe => None,
            Self::Database(name) => Some(name),
        }
    }
}

fn check_common_name(name: &str) -> Result<(), ProfileError> {
    if name.len() > Profile::COMMON_NAME_BYTES_MAX {
        return Err(ProfileError::TooLong(name.len()));
    }
    if !name.chars().all(is_printable) {
        return Err(ProfileError::Unprintable);
    }
    // Comparisons of names pass over such spaces, and people do not see them (RFC 4518 §2.6.1).
    match name.trim_matches(' ') == name {
        true => Ok(()),
        false => Err(ProfileError::Spaces),
    }
}

/// Whether a person sees it, and as what it is: no control character, no NUL, no other space, nothing that turns the
/// direction of writing.
pub(super) fn is_printable(char: char) -> bool {
    matches!(char, '\'' | '"' | '\\') || char.escape_debug().len() == 1
}

/// Why a certificate profile is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ProfileError {
    /// Neither `spiffe` nor `database`.
    #[error("it must be `spiffe` or `database`, not `{0}`")]
    Unknown(String),
    /// The profile that needs one has none.
    #[error("`database` needs a common name")]
    NoCommonName,
    /// The other profile has one.
    #[error("a common name can be chosen with the profile `database` only")]
    CommonNameUnused,
    /// Longer than [`Profile::COMMON_NAME_BYTES_MAX`].
    #[error("the common name has {0} bytes, at most {max} are allowed", max = Profile::COMMON_NAME_BYTES_MAX)]
    TooLong(usize),
    /// Something that nobody sees.
    #[error("the common name has a character that cannot be seen")]
    Unprintable,
    /// A space at either end.
    #[error("the common name begins or ends with a space")]
    Spaces,
}
