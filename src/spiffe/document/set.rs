//! Reading the JWK Set of one trust domain for one kind of token, as the Workload API hands it out (§6.5, §7.3).
//!
//! Unlike in a document all keys of such a set are for one use, so that endpoints may leave `use` out (SPIRE does).

use crate::spiffe::{
    TrustDomain,
    jose::{self, Jwk, Usage},
    json::{self, Object, Value},
};

use super::{
    DOCUMENT_BYTES_MAX, ENTRIES_MAX, Error, LeftOut, Reason,
    read::{named_key, repeated_among, usage},
};

/// Reads a JWK Set as the keys of a trust domain for one kind of token. What is wrong with one key costs that key.
///
/// # Errors
/// When it is too long, is not JSON that has one meaning, has no list of `keys`, or has more than [`ENTRIES_MAX`].
pub fn parse_set<U: Usage>(trust_domain: TrustDomain, set: &[u8]) -> Result<(jose::Bundle<U>, Vec<LeftOut>), Error> {
    let set = json::parse(set, DOCUMENT_BYTES_MAX)?;
    let keys = set.as_object().ok_or(Error::NotObject)?.member("keys").and_then(Value::as_array);
    let keys = keys.ok_or(Error::NoKeys)?;
    if keys.len() > ENTRIES_MAX {
        return Err(Error::TooManyEntries(keys.len()));
    }
    let is_meant = |entry: &&Object| !entry.has("use") || usage(entry) == Some(U::USE);
    let twice = repeated_among(keys.iter().filter_map(Value::as_object).filter(is_meant));
    let (mut used, mut left_out) = (Vec::new(), Vec::new());
    for (index, key) in keys.iter().enumerate() {
        let read = match key.as_object() {
            None => Err(Reason::NotObject),
            Some(entry) if is_meant(&entry) => named_key(entry, &twice),
            Some(entry) => Jwk::check_public(entry).map_err(Reason::Key).and(Err(Reason::Use)),
        };
        match read {
            Ok(key) => used.push(key),
            Err(reason) => left_out.push(LeftOut { index, reason }),
        }
    }
    let bundle = jose::Bundle::new(trust_domain, used).map_err(|_| Error::KeyIdTwice)?;
    Ok((bundle, left_out))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::spiffe::jwt;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn key(more: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
    }

    fn read(keys: &[String]) -> (Vec<String>, Vec<Reason>) {
        let set = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let domain = TrustDomain::parse("example.org").unwrap();
        let (bundle, left_out) = parse_set::<jwt::Profile>(domain, set.as_bytes()).unwrap();
        let used = bundle.keys().map(|(id, _)| id.to_owned()).collect();
        (used, left_out.into_iter().map(|left_out| left_out.reason).collect())
    }

    #[test]
    fn a_key_without_a_use_is_for_the_kind_that_was_asked_for() {
        let keys = [r#","kid":"a""#, r#","kid":"b","use":"jwt-svid""#].map(key);
        assert_eq!(read(&keys), (vec!["a".into(), "b".into()], Vec::new()));
    }

    #[test]
    fn what_is_wrong_with_a_key_costs_that_key() {
        let keys = [
            key(r#","kid":"a""#),
            key(r#","kid":"w","use":"wit-svid""#),
            key(r#","kid":"s","use":7"#),
            key(""),
            key(r#","kid":"p","use":"sig","d":"AA""#),
            key(r#","kid":"t""#),
            key(r#","kid":"t""#),
            "7".into(),
        ];
        let (used, reasons) = read(&keys);
        assert_eq!(used, ["a"]);
        assert!(
            matches!(
                reasons.as_slice(),
                [
                    Reason::Use,
                    Reason::Use,
                    Reason::KeyId,
                    Reason::Key(_),
                    Reason::KeyIdTwice,
                    Reason::KeyIdTwice,
                    Reason::NotObject
                ]
            ),
            "{reasons:?}"
        );
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let parse = |set: &str| parse_set::<jwt::Profile>(TrustDomain::parse("a").unwrap(), set.as_bytes());
        assert!(parse(r#"{"keys":[]}"#).unwrap().0.is_empty());
        for wrong in ["", "[]", "{}", r#"{"keys":null}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let many = vec!["1"; ENTRIES_MAX + 1].join(",");
        assert_eq!(parse(&format!(r#"{{"keys":[{many}]}}"#)).unwrap_err(), Error::TooManyEntries(ENTRIES_MAX + 1));
    }
}
