//! A form as the token endpoint takes it (RFC 6749 §3.2, Appendix B): each name once, but for those that RFC 8707 and
//! RFC 8693 let repeat.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use zeroize::{Zeroize as _, Zeroizing};

/// More names than any grant has.
const NAMES_MAX: usize = 32;

/// The parameters of one request. Those without a value count as left out (RFC 6749 §3.2).
#[derive(Default)]
pub(super) struct Form {
    /// Wiped: one of them may be a token.
    once: BTreeMap<String, Zeroizing<String>>,
    targets: Vec<String>,
}

/// What a token is to be good for. They may be repeated, and mean the same.
const TARGETS: [&str; 2] = ["resource", "audience"];

/// Why a body is no form. It says nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("the body must be a form: Content-Type: application/x-www-form-urlencoded")]
    Kind,
    #[error("the form is not percent-encoded UTF-8")]
    Encoding,
    #[error("the form has a parameter twice")]
    Twice,
    #[error("the form has more than {NAMES_MAX} parameters")]
    TooMany,
}

impl Form {
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, FormError> {
        let mut kinds = headers.get_all(CONTENT_TYPE).iter();
        let kind = kinds.next().map(http::HeaderValue::as_bytes).unwrap_or_default();
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kinds.next().is_some() || !kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Err(FormError::Kind);
        }
        let mut form = Self::default();
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (number, pair) in pairs.enumerate() {
            if number >= NAMES_MAX {
                return Err(FormError::TooMany);
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None => (pair, &[][..]),
            };
            let (name, mut value) = (decode(name)?, Zeroizing::new(decode(value)?));
            if TARGETS.contains(&name.as_str()) {
                form.targets.push(std::mem::take(&mut *value));
            } else if form.once.insert(name, value).is_some() {
                return Err(FormError::Twice);
            }
        }
        Ok(form)
    }

    /// Each `resource` and `audience`.
    pub(super) fn targets(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(String::as_str)
    }

    /// A parameter that has a value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.once.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Strict where libraries are not: half an escape, or what is no UTF-8, is no form.
fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (high, low) = digit().zip(digit()).ok_or(FormError::Encoding)?;
                high << 4 | low
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        FormError::Encoding
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(kind: &str, body: &str) -> Result<Form, FormError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        Form::read(&headers, &Bytes::from(body.to_owned()))
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_form_is_read() {
        for kind in [FORM, "Application/X-WWW-form-urlencoded; charset=UTF-8"] {
            let form = read(kind, "grant_type=client_credentials&scope=a+b%20c&empty=&bare&%C3%A4=%26").ok().unwrap();
            assert_eq!(form.get("grant_type"), Some("client_credentials"));
            assert_eq!(form.get("scope"), Some("a b c"));
            assert_eq!(form.get("ä"), Some("&"));
            assert_eq!((form.get("empty"), form.get("bare"), form.get("none")), (None, None, None));
        }
        assert_eq!(read(FORM, "").ok().unwrap().get(""), None);
        let form = read(FORM, "resource=a&audience=b&resource=a").ok().unwrap();
        assert_eq!(form.targets().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (kind, body, expected) in [
            ("application/json", "a=b", FormError::Kind),
            ("", "a=b", FormError::Kind),
            (FORM, "a=1&a=2", FormError::Twice),
            (FORM, "a=&a=", FormError::Twice),
            (FORM, "a=1&%61=2", FormError::Twice),
            (FORM, "a=%", FormError::Encoding),
            (FORM, "a=%4", FormError::Encoding),
            (FORM, "a=%zz", FormError::Encoding),
            (FORM, "a=%+1", FormError::Encoding),
            (FORM, "a=%ff", FormError::Encoding),
        ] {
            assert_eq!(read(kind, body).err(), Some(expected), "{kind} {body}");
        }
        assert_eq!(Form::read(&HeaderMap::new(), &Bytes::new()).err(), Some(FormError::Kind));
        let many = |count: usize| (0..count).map(|number| format!("p{number}=1&")).collect::<String>();
        assert!(read(FORM, &many(NAMES_MAX)).is_ok());
        assert_eq!(read(FORM, &many(NAMES_MAX + 1)).err(), Some(FormError::TooMany));
    }
}
