//! A stable code for each reason. Scripts compare them, so that they never change their meaning; words may.

use std::error::Error;

use crate::{
    cli::failure::whole,
    spiffe::{ClaimError, jose, jwt, wit, x509},
};

/// Why something is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) code: &'static str,
    pub(super) words: String,
}

impl Reason {
    pub(super) fn new(code: &'static str, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    fn of(code: &'static str, error: &dyn Error) -> Self {
        Self::new(code, whole(error))
    }
}

impl From<jwt::Error> for Reason {
    fn from(error: jwt::Error) -> Self {
        use jwt::Error as E;
        let code = match &error {
            E::Token(error) => token(error),
            E::Type => "type",
            E::Claim(error) => claim(error),
            E::NoBundle(_) => "unknown_trust_domain",
            E::EmptyBundle(_) => "no_keys",
            E::UnknownHeader => "header",
            E::AudienceMalformed => "audience_malformed",
            E::TooManyAudiences(_) => "too_many_audiences",
            E::Audience => "audience",
            E::UnknownKey => "unknown_key",
            E::NoFittingKey => "no_fitting_key",
            E::TooManyKeys(_) => "too_many_keys",
        };
        Self::of(code, &error)
    }
}

impl From<wit::Error> for Reason {
    fn from(error: wit::Error) -> Self {
        use wit::Error as E;
        let code = match &error {
            E::Token(error) => token(error),
            E::Type => "type",
            E::Claim(error) => claim(error),
            E::Audience => "audience_present",
            E::NoConfirmation => "no_confirmation",
            E::ConfirmationKey(_) | E::ConfirmationAlgorithm => "confirmation_key",
            E::NoBundle(_) => "unknown_trust_domain",
            E::EmptyBundle(_) => "no_keys",
            E::NoKeyId => "key_id",
            E::UnknownKey => "unknown_key",
            E::Proof => "proof",
        };
        Self::of(code, &error)
    }
}

impl From<x509::Error> for Reason {
    fn from(error: x509::Error) -> Self {
        use x509::Error as E;
        let code = match &error {
            E::Malformed(_) | E::Trailing(_) => "encoding",
            E::TooMany { .. } | E::TooLarge(_) => "too_long",
            E::NoCertificate => "no_certificate",
            E::Version => "version",
            E::Serial(_) => "serial",
            E::AlgorithmsDiffer | E::Algorithm => "algorithm",
            E::Key(_) => "key",
            E::DuplicateExtension(_) | E::CriticalExtension(_) => "extension",
            E::UriNames(_) | E::Id(_) => "spiffe_id",
            E::LeafIsAuthority => "leaf_is_authority",
            E::NotAuthority => "not_an_authority",
            E::KeyUsage(_) => "key_usage",
            E::Purpose => "purpose",
            // `validate` never asks whether others read it.
            E::Profile(_) | E::Unreadable(_) => "profile",
            E::NotYetValid => "not_yet_valid",
            E::Expired => "expired",
            E::Signature => "signature",
            E::PathLength => "path_length",
            E::NameConstraints => "name_constraints",
            E::NoBundle(_) => "unknown_trust_domain",
            E::EmptyBundle(_) => "no_keys",
            E::Untrusted { .. } => "untrusted",
            E::TooMuchWork => "too_much_work",
        };
        Self::of(code, &error)
    }
}

fn token(error: &jose::Error) -> &'static str {
    use jose::Error as E;
    match error {
        E::TooLong { .. } => "too_long",
        E::Parts => "not_a_token",
        E::Base64(_) => "encoding",
        E::Json { .. } | E::NotObject(_) => "json",
        E::Algorithm => "algorithm",
        E::Header(_) => "header",
        E::KeyId => "key_id",
        E::Type => "type",
        E::KeyMismatch => "key_mismatch",
        E::Signature => "signature",
    }
}

fn claim(error: &ClaimError) -> &'static str {
    match error {
        ClaimError::Subject | ClaimError::Id(_) => "subject",
        ClaimError::ExpiryMissing => "expiry_missing",
        ClaimError::Time(_) => "time",
        ClaimError::Expired => "expired",
        ClaimError::NotYetValid => "not_yet_valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_never_change() {
        let reasons = [
            (Reason::from(jwt::Error::Audience), "audience"),
            (jwt::Error::Claim(ClaimError::Expired).into(), "expired"),
            (jwt::Error::Claim(ClaimError::NotYetValid).into(), "not_yet_valid"),
            (jwt::Error::Token(jose::Error::Signature).into(), "signature"),
            (jwt::Error::Token(jose::Error::Parts).into(), "not_a_token"),
            (jwt::Error::UnknownKey.into(), "unknown_key"),
            (wit::Error::Proof.into(), "proof"),
            (wit::Error::Audience.into(), "audience_present"),
            (x509::Error::Expired.into(), "expired"),
            (x509::Error::Purpose.into(), "purpose"),
            (x509::Error::UriNames(0).into(), "spiffe_id"),
        ];
        for (reason, code) in reasons {
            assert_eq!(reason.code, code);
            assert!(!reason.words.is_empty());
        }
    }
}
