//! Which credentials a tool takes: what its operator wrote, read.

use std::collections::BTreeSet;

use super::{
    draft::shown,
    flaw::{Flaw, Flaws},
};
use crate::oauth::issuer::IssuerName;

/// Beside access tokens of our own with DPoP proofs, which every tool takes. None of them, unless somebody says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// `wit`: a WIT-SVID with a proof of its key.
    pub(crate) wit: bool,
    /// `jwt-svid`: a JWT-SVID, which is good for whoever has it.
    pub(crate) jwt_svid: bool,
    /// `mtls`: tokens of the issuers that are bound to the certificate of a TLS client.
    pub(crate) mtls: bool,
    /// Other issuers by their URLs: their access tokens with DPoP proofs. Sorted, none twice. Their keys are pinned in the
    /// configuration; as long as they are not, no token of theirs is taken.
    pub(crate) issuers: Vec<IssuerName>,
}

impl Accepts {
    /// What every tool takes. It may be written, and says nothing.
    pub(crate) const ALWAYS: &'static str = "dpop";
    /// The most words in a tool.
    pub(crate) const WORDS_MAX: usize = 16;

    /// Reads what is written, each word once.
    pub(super) fn read(words: &[String], flaws: &mut Flaws) -> Self {
        const FIELD: &str = "accepted credential";
        let (mut accepts, mut seen) = (Self::default(), BTreeSet::new());
        if !flaws.few("accepted credentials", words.len(), Self::WORDS_MAX) {
            return accepts;
        }
        for word in words {
            match word.as_str() {
                Self::ALWAYS => {}
                "wit" => accepts.wit = true,
                "jwt-svid" => accepts.jwt_svid = true,
                "mtls" => accepts.mtls = true,
                url if url.contains(':') => {
                    let issuer = IssuerName::parse(url).map_err(|error| error.to_string());
                    accepts.issuers.extend(flaws.read(FIELD, url, issuer));
                }
                _ => {
                    let reason = "it is none of dpop, wit, jwt-svid, mtls, and no issuer's URL".into();
                    flaws.add(Flaw::Value { field: FIELD, value: shown(word), reason });
                }
            }
            if !seen.insert(word) {
                flaws.add(Flaw::Repeated { field: FIELD, value: shown(word) });
            }
        }
        accepts.issuers.sort();
        if accepts.mtls && accepts.issuers.is_empty() {
            let reason = "only tokens of another issuer are bound to certificates: accept one, by its URL".into();
            flaws.add(Flaw::Value { field: FIELD, value: "mtls".into(), reason });
        }
        accepts
    }

    /// It as words, in one order, without that which is always.
    pub(crate) fn words(&self) -> Vec<String> {
        let words = [("wit", self.wit), ("jwt-svid", self.jwt_svid), ("mtls", self.mtls)];
        let words = words.into_iter().filter(|(_, is_taken)| *is_taken).map(|(word, _)| word.to_owned());
        words.chain(self.issuers.iter().map(IssuerName::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::registry::ToolDraft;

    const ISSUER: &str = "https://login.example.org/realms/q";

    fn read(words: &[&str]) -> Result<Accepts, String> {
        let accepts = words.iter().map(|word| (*word).to_owned()).collect();
        let scopes = vec![("read".to_owned(), "read".to_owned())];
        let draft =
            ToolDraft { name: "t".into(), audience: "https://t".into(), scopes, accepts, ..ToolDraft::default() };
        draft.check().map(|spec| spec.accepts).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_tool_takes_what_it_says_and_it_is_written_in_one_way() {
        assert_eq!(read(&[]), Ok(Accepts::default()));
        assert_eq!(read(&["dpop"]).unwrap().words(), [""; 0]);
        let all = read(&[ISSUER, "mtls", "jwt-svid", "http://localhost:8080", "dpop", "wit"]).unwrap();
        assert!(all.wit && all.jwt_svid && all.mtls);
        let words = all.words();
        assert_eq!(words, ["wit", "jwt-svid", "mtls", "http://localhost:8080", ISSUER]);
        assert_eq!(read(&words.iter().map(String::as_str).collect::<Vec<_>>()), Ok(all));
    }

    #[test]
    fn what_is_no_credential_is_refused_with_its_reason() {
        let many = ["wit"; Accepts::WORDS_MAX + 1];
        for (words, expected) in [
            (&["bearer"][..], "`bearer` is not valid: it is none of dpop, wit, jwt-svid, mtls, and"),
            (&["bearer:x"], "does not begin with http:// or https://"),
            (&["http://login.example.org"], "an http URL of another machine"),
            (&["https://login.example.org?a"], "query"),
            (&["mtls", "wit"], "`mtls` is not valid: only tokens of another issuer"),
            (&[ISSUER, ISSUER], "is there twice"),
            (&["WIT"], "it is none of"),
            (&[""], "it is none of"),
            (&["wit", "wit"], "`wit` is there twice"),
            (&many, "there are 17 accepted credentials, at most 16"),
        ] {
            let said = read(words).unwrap_err();
            assert!(said.contains(expected), "{words:?}: {said}");
        }
    }
}
