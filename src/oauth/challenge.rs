//! What a resource answers when it refuses (RFC 9449 §7.1, RFC 6750 §3): status, challenge, nonce. The words are the
//! same for all faults of a class; which it was, is for the records.

use std::time::Duration;

use super::{Scope, dpop::ALGORITHMS};

/// An answer without a body. It goes with `Cache-Control: no-store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The HTTP status.
    pub status: u16,
    /// The value of `WWW-Authenticate`.
    pub authenticate: Option<String>,
    /// The value of `DPoP-Nonce`.
    pub nonce: Option<String>,
    /// The value of `Retry-After`, in whole seconds when written.
    pub retry_after: Option<Duration>,
}

impl Challenge {
    /// The headers of the answer, by their names in lower case: `Cache-Control` always, the others where there is a value.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let retry_after = self.retry_after.map(|after| after.as_secs().max(1).to_string());
        let headers = [
            ("cache-control", Some("no-store".to_owned())),
            ("www-authenticate", self.authenticate.clone()),
            ("dpop-nonce", self.nonce.clone()),
            ("retry-after", retry_after),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// No credentials that the tool takes: which ones it would.
    pub(super) fn no_credentials(bearer: bool) -> Self {
        // First: what is added behind belongs to the other.
        let bearer = if bearer { "Bearer, " } else { "" };
        Self::with(401, format!("{bearer}DPoP algs=\"{ALGORITHMS}\""))
    }

    /// Two kinds of credentials at once, or none that can be read.
    pub(super) fn invalid_request() -> Self {
        let error = "error=\"invalid_request\", error_description=\"send one Authorization header, DPoP and a token\"";
        Self::with(400, format!("DPoP {error}, algs=\"{ALGORITHMS}\", Bearer {error}"))
    }

    /// The token is not good, or not with this key.
    pub(super) fn invalid_token() -> Self {
        Self::error(401, "invalid_token", "the token is not valid here, or not with the key of the proof")
    }

    /// A bound token was sent as if it were not.
    pub(super) fn bearer() -> Self {
        Self::error(401, "invalid_token", "tokens are bound to keys here: send it as DPoP, with a proof")
    }

    /// A token that may come as `Bearer` is not good.
    pub(super) fn invalid_bearer() -> Self {
        let words = "the token is not valid here";
        Self::with(401, format!("Bearer error=\"invalid_token\", error_description=\"{words}\""))
    }

    /// The proof is missing or not good.
    pub(super) fn invalid_proof() -> Self {
        let words = "exactly one DPoP header is needed, with a new proof for this method, URL, token and time";
        Self::error(401, "invalid_dpop_proof", words)
    }

    /// The proof must be made anew with this nonce.
    pub(super) fn use_nonce(nonce: String) -> Self {
        let words = "make the proof with the nonce of the DPoP-Nonce header";
        Self { nonce: Some(nonce), ..Self::error(401, "use_dpop_nonce", words) }
    }

    /// The token is good, and not for this.
    pub(super) fn insufficient_scope(scope: &str, is_bearer: bool) -> Self {
        let error =
            "error=\"insufficient_scope\", error_description=\"the token does not have the scope of this request\"";
        // What is no scope has no place between quotes.
        let scope = Scope::parse(scope).map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
        match is_bearer {
            true => Self::with(403, format!("Bearer {error}{scope}")),
            false => Self::with(403, format!("DPoP {error}{scope}, algs=\"{ALGORITHMS}\"")),
        }
    }

    /// Where the metadata of the resource is (RFC 9728 §5.1), for challenges that say what is missing.
    pub(super) fn with_metadata(mut self, url: Option<String>) -> Self {
        if let (Some(authenticate), Some(url)) = (&mut self.authenticate, url) {
            authenticate.push_str(&format!(", resource_metadata=\"{url}\""));
        }
        self
    }

    /// Nothing that a credential could change.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, authenticate: None, nonce: None, retry_after: None }
    }

    /// Not now.
    pub(super) fn later(status: u16, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::status(status) }
    }

    fn error(status: u16, code: &str, words: &str) -> Self {
        Self::with(status, format!("DPoP error=\"{code}\", error_description=\"{words}\", algs=\"{ALGORITHMS}\""))
    }

    fn with(status: u16, authenticate: String) -> Self {
        Self { authenticate: Some(authenticate), ..Self::status(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_scope_does_not_leave_its_quotes() {
        let challenge = |scope| Challenge::insufficient_scope(scope, false).authenticate.unwrap_or_default();
        assert!(challenge("read:all").contains(r#", scope="read:all", algs="#));
        for odd in ["", "a\", error=\"x", "a b", "a\r\nb", "é"] {
            let challenge = challenge(odd);
            assert!(
                !challenge.contains("scope=\"") && challenge.is_ascii() && !challenge.contains('\n'),
                "{challenge}"
            );
        }
    }
}
