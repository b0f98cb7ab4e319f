//! A request as a door was sent it: the one place where it is put together for the verifier, whatever the door speaks.

use std::borrow::Cow;

use thiserror::Error;

use crate::oauth::{
    Certificate,
    target::{self, Target},
    verify::Request,
};

/// The longest method, in bytes. No route has one that is longer.
const METHOD_BYTES_MAX: usize = 32;

/// What a proxy or a service says of a request.
pub(crate) struct Sent<'a> {
    method: &'a str,
    /// Absolute.
    url: Cow<'a, str>,
    tool: Option<&'a str>,
    authorization: Vec<&'a [u8]>,
    proofs: Vec<&'a [u8]>,
    workload_tokens: Vec<&'a [u8]>,
    workload_proofs: Vec<&'a [u8]>,
    transaction_tokens: Vec<&'a [u8]>,
    certificates: Vec<Certificate<'a>>,
}

/// Why that is no request. It says nothing of what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// There is no method, or no URL, or more than one.
    #[error("one method and one URL of the request are needed, over HTTP as X-Original-Method and X-Original-URL")]
    Missing,
    /// The method is no token (RFC 9110 §5.6.2), or too long for any route.
    #[error("the method is no token of at most {METHOD_BYTES_MAX} bytes")]
    Method,
    /// Scheme, host and path cannot be put together without one of them being read as a part of another.
    #[error("scheme, host and path of the request are no URL")]
    Parts,
    /// The URL is none that has one meaning.
    #[error(transparent)]
    Url(#[from] target::Error),
}

impl<'a> Sent<'a> {
    /// A request for a URL. Of the headers, by name and value and each line by itself, those are taken that say who asks;
    /// names in any case. `tool` is the tool's name, where the proxy's configuration says it.
    pub(crate) fn new<'n>(
        method: &'a str,
        url: impl Into<Cow<'a, str>>,
        tool: Option<&'a str>,
        headers: impl Iterator<Item = (&'n str, &'a [u8])>,
    ) -> Self {
        let mut sent = Self {
            method,
            url: url.into(),
            tool,
            authorization: Vec::new(),
            proofs: Vec::new(),
            workload_tokens: Vec::new(),
            workload_proofs: Vec::new(),
            transaction_tokens: Vec::new(),
            certificates: Vec::new(),
        };
        for (name, value) in headers {
            let values = match name.to_ascii_lowercase().as_str() {
                "authorization" => &mut sent.authorization,
                "dpop" => &mut sent.proofs,
                "workload-identity-token" => &mut sent.workload_tokens,
                "workload-proof-token" => &mut sent.workload_proofs,
                "txn-token" => &mut sent.transaction_tokens,
                _ => continue,
            };
            values.push(value);
        }
        sent
    }

    /// With what the door says itself of the client's certificate, as PEM, percent-encoded or not; one that is empty is
    /// none. Of several not one counts, be they empty: it may be the client who has written the other.
    pub(crate) fn with_certificates(self, pem: impl Iterator<Item = &'a [u8]>) -> Self {
        let all: Vec<_> = pem.collect();
        let said = if matches!(all[..], [[]]) { &[][..] } else { &all };
        Self { certificates: said.iter().copied().map(Certificate::Pem).collect(), ..self }
    }

    /// The URL of a request whose parts are known.
    ///
    /// # Errors
    /// [`Malformed::Parts`] when one of them reaches into the next: a host with a slash would move the path.
    pub(crate) fn url(scheme: &str, host: &str, path: &str) -> Result<String, Malformed> {
        let is_scheme = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        match is_scheme && !host.contains(['/', '?', '#', '\\', '@']) && path.starts_with('/') {
            true => Ok(format!("{scheme}://{host}{path}")),
            false => Err(Malformed::Parts),
        }
    }

    /// The URL, in its one spelling.
    ///
    /// # Errors
    /// [`Malformed::Method`], [`Malformed::Url`].
    pub(crate) fn target(&self) -> Result<Target, Malformed> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=METHOD_BYTES_MAX).contains(&self.method.len()) || !self.method.bytes().all(is_token) {
            return Err(Malformed::Method);
        }
        Ok(Target::parse(&self.url)?)
    }

    /// What the verifier is asked.
    pub(crate) fn request<'r>(&'r self, target: &'r Target) -> Request<'r> {
        Request {
            method: self.method,
            target,
            tool: self.tool,
            authorization: &self.authorization,
            proofs: &self.proofs,
            workload_tokens: &self.workload_tokens,
            workload_proofs: &self.workload_proofs,
            transaction_tokens: &self.transaction_tokens,
            certificates: &self.certificates,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn sent<'a>(method: &'a str, url: &'a str) -> Sent<'a> {
        Sent::new(method, url, None, [].into_iter())
    }

    #[test]
    fn headers_are_taken_line_by_line_whatever_the_case_of_their_names() {
        let headers = [("Authorization", "a"), ("dpop", "b"), ("x-dpop", "c"), ("DPoP", "d"), ("authorization", "")];
        let headers = headers.map(|(name, value)| (name, value.as_bytes()));
        let sent = Sent::new("GET", "https://a.example/", Some("t"), headers.into_iter());
        let target = sent.target().unwrap();
        let request = sent.request(&target);
        assert_eq!(request.authorization, [&b"a"[..], b""]);
        assert_eq!(request.proofs, [&b"b"[..], b"d"]);
        assert_eq!((request.method, request.tool), ("GET", Some("t")));
    }

    /// A proxy that adds its line has an empty one beside what the client wrote.
    #[test]
    fn of_two_lines_of_a_certificate_none_counts_alone() {
        let target = Target::parse("https://a.example/").unwrap();
        for (lines, expected) in
            [(&[][..], 0), (&[""], 0), (&["a"], 1), (&["a", "b"], 2), (&["", "a"], 2), (&["a", ""], 2), (&["", ""], 2)]
        {
            let sent = sent("GET", "https://a.example/").with_certificates(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(sent.request(&target).certificates.len(), expected, "{lines:?}");
        }
    }

    #[test]
    fn no_part_of_a_url_reaches_into_the_next() {
        for (scheme, host, path, expected) in [
            ("https", "a.example", "/x?y", Ok("https://a.example/x?y")),
            ("HTTP", "a.example:8080", "/", Ok("HTTP://a.example:8080/")),
            ("https", "a.example/api/items/7?x=", "/admin", Err(Malformed::Parts)),
            ("https", "a.example#", "/admin", Err(Malformed::Parts)),
            ("https", "a.example?", "/admin", Err(Malformed::Parts)),
            ("https", "user@a.example", "/", Err(Malformed::Parts)),
            ("https", "a.example\\b", "/", Err(Malformed::Parts)),
            ("https", "a.example", ".evil.example/", Err(Malformed::Parts)),
            ("https", "a.example", "*", Err(Malformed::Parts)),
            ("https", "a.example", "", Err(Malformed::Parts)),
            ("https://b.example/", "a.example", "/", Err(Malformed::Parts)),
            ("ftp", "a.example", "/", Err(Malformed::Parts)),
            ("", "a.example", "/", Err(Malformed::Parts)),
        ] {
            assert_eq!(Sent::url(scheme, host, path).as_deref(), expected.as_ref().copied(), "{scheme} {host} {path}");
        }
        assert_eq!(sent("GET", "https:///x").target(), Err(Malformed::Url(target::Error::Host)));
    }

    #[test]
    fn a_method_is_a_token() {
        for (method, is_one) in
            [("GET", true), ("M-SEARCH", true), ("", false), ("GE T", false), ("GET\n", false), ("é", false)]
        {
            assert_eq!(sent(method, "https://a.example/").target().is_ok(), is_one, "{method:?}");
        }
        assert!(sent(&"A".repeat(METHOD_BYTES_MAX), "https://a.example/").target().is_ok());
        let longer = "A".repeat(METHOD_BYTES_MAX + 1);
        assert_eq!(sent(&longer, "https://a.example/").target(), Err(Malformed::Method));
    }
}
