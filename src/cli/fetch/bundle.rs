//! `dayfly fetch bundle`: what others are verified with. Keys of two trust domains never come into one file: each
//! speaks for its own domain only.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::{
    cli::{
        bundles::{self, Kind, Known},
        context::Context,
        exit::Exit,
        failure::{Failure, counted},
        print::Printer,
    },
    spiffe::{TrustDomain, document::Document, jwt, wit, x509},
};

use super::{
    delivery::{Delivery, Door},
    files::{Files, certificates},
};

/// `fetch bundle`
#[derive(Debug, Args)]
pub(crate) struct FetchBundle {
    /// Of which kind [default: x509, or all that are offered with `--format spiffe`]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// In which form [default: pem for x509, jwks for jwt and wit]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Of this trust domain only
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    #[command(flatten)]
    pub(super) delivery: Delivery,
}

/// What keys are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Certificates in PEM
    Pem,
    /// A JWK Set
    Jwks,
    /// A SPIFFE bundle document, as federation has it
    Spiffe,
}

/// What is asked for.
pub(super) struct BundleDoor {
    print: Printer,
    kind: Option<Kind>,
    form: Form,
    trust_domain: Option<TrustDomain>,
}

/// A kind in one of its formats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Pem,
    JwtSet,
    WitSet,
    Document,
}

impl FetchBundle {
    pub(super) fn door(&self, context: &Context) -> Result<BundleDoor, Failure> {
        let form = match (self.kind, self.format) {
            (_, Some(Format::Spiffe)) => Form::Document,
            (None | Some(Kind::X509), None | Some(Format::Pem)) => Form::Pem,
            (Some(Kind::Jwt), None | Some(Format::Jwks)) => Form::JwtSet,
            (Some(Kind::Wit), None | Some(Format::Jwks)) => Form::WitSet,
            (None | Some(Kind::X509), Some(Format::Jwks)) => {
                return Err(Failure::new(Exit::Usage, "authorities of X.509-SVIDs are no JWK Set by themselves")
                    .hint("`--format spiffe` has them as JWKs"));
            }
            (Some(Kind::Jwt | Kind::Wit), Some(Format::Pem)) => {
                return Err(Failure::new(Exit::Usage, "keys of tokens have no PEM form here")
                    .hint("leave `--format` out, or say `jwks` or `spiffe`"));
            }
        };
        Ok(BundleDoor { print: context.print, kind: self.kind, form, trust_domain: self.trust_domain.clone() })
    }
}

impl Door for BundleDoor {
    type Feed = bundles::Feed;
    type Update = Known;

    async fn open(&self, socket: &Path) -> Result<Self::Feed, Failure> {
        let kinds = match (self.kind, self.form) {
            (Some(kind), _) => vec![kind],
            (None, Form::Document) => Kind::ALL.into(),
            (None, _) => vec![Kind::X509],
        };
        bundles::Feed::open(self.print, socket, &kinds, self.kind.is_some()).await
    }

    async fn next(&self, feed: &mut Self::Feed) -> Result<Known, Failure> {
        feed.next().await
    }

    fn files(&self, update: &Known) -> Result<Files, Failure> {
        let texts = self.texts(update)?;
        let files = Files::new(counted(texts.len(), "trust domain", "trust domains"));
        let (name, ending) = match self.form {
            Form::Pem => ("bundle.pem", "pem"),
            Form::JwtSet => ("jwt_bundle.json", "json"),
            Form::WitSet => ("wit_bundle.json", "json"),
            Form::Document => ("bundle.json", "json"),
        };
        Ok(texts.into_iter().fold(files, |files, (domain, text)| match self.trust_domain {
            Some(_) => Files { subject: domain.id(), ..files }.public(name, text),
            // With its ending a trust domain's name is always a file's.
            None => files.public(format!("bundles/{domain}.{ending}"), text),
        }))
    }

    fn show(&self, print: &Printer, update: &Known, again: bool) -> Result<(), Failure> {
        let texts = self.texts(update)?;
        if print.is_json() {
            let document = document(self.form, &texts)?;
            return print.json_of(&document, again);
        }
        match texts.as_slice() {
            [(_, text)] => print.data(text.as_bytes()),
            several => {
                let names: Vec<_> = several.iter().map(|(domain, _)| domain.to_string()).collect();
                Err(Failure::new(Exit::Usage, "bundles of several trust domains are not printed as one").hint(format!(
                    "name one with `--trust-domain`: {}; or use `--write` or `--output json`",
                    names.join(", ")
                )))
            }
        }
    }
}

impl BundleDoor {
    /// Each trust domain's bundle, or that of the one that was named.
    fn texts(&self, known: &Known) -> Result<Vec<(TrustDomain, String)>, Failure> {
        let all = known.trust_domains();
        if let Some(wanted) = &self.trust_domain
            && !all.contains(wanted)
        {
            let has: Vec<_> = all.iter().map(ToString::to_string).collect();
            return Err(Failure::new(Exit::Missing, format!("there is no such bundle of the trust domain {wanted}"))
                .hint(format!("this process has bundles of {}", has.join(", "))));
        }
        let wanted = all.into_iter().filter(|domain| self.trust_domain.as_ref().is_none_or(|wanted| wanted == *domain));
        wanted.map(|domain| Ok((domain.clone(), self.text(known, domain)?))).collect()
    }

    fn text(&self, known: &Known, domain: &TrustDomain) -> Result<String, Failure> {
        let x509 = known.x509.as_ref().and_then(|all| all.get(domain));
        let jwt = known.jwt.as_ref().and_then(|all| all.get(domain));
        let wit = known.wit.as_ref().and_then(|all| all.get(domain));
        Ok(match self.form {
            Form::Pem => x509.map(|bundle| certificates(bundle.authorities())).unwrap_or_default(),
            Form::JwtSet => line(jwt.map(jwt::Bundle::to_json).unwrap_or_else(no_keys)),
            Form::WitSet => line(wit.map(wit::Bundle::to_json).unwrap_or_else(no_keys)),
            Form::Document => {
                let wrong = |error: &dyn std::error::Error| {
                    Failure::because(format_args!("the bundle of {domain} cannot be written as a document"), error)
                };
                // None of a kind is an empty list of that kind, as the document has no other way to say it.
                let x509 = x509.cloned().map_or_else(|| x509::Bundle::new(domain.clone(), Vec::new()), Ok);
                let jwt = jwt.cloned().map_or_else(|| jwt::Bundle::new(domain.clone(), []), Ok);
                let wit = wit.cloned().map_or_else(|| wit::Bundle::new(domain.clone(), []), Ok);
                let (x509, jwt) = (x509.map_err(|error| wrong(&error))?, jwt.map_err(|error| wrong(&error))?);
                let wit = wit.map_err(|error| wrong(&error))?;
                let document = Document::new(x509, jwt, wit, None, None).map_err(|error| wrong(&error))?;
                line(document.to_json())
            }
        })
    }
}

fn no_keys() -> String {
    r#"{"keys":[]}"#.into()
}

fn line(json: String) -> String {
    json + "\n"
}

/// By trust domain ID, as the Workload API has them.
fn document(form: Form, texts: &[(TrustDomain, String)]) -> Result<serde_json::Value, Failure> {
    let each = texts.iter().map(|(domain, text)| {
        let value = match form {
            Form::Pem => text.as_str().into(),
            _ => serde_json::from_str(text).map_err(|error| Failure::because("JSON cannot be written", &error))?,
        };
        Ok((domain.id(), value))
    });
    Ok(serde_json::json!({ "bundles": each.collect::<Result<serde_json::Map<_, _>, Failure>>()? }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::cli::{bundles::Map, print::Output};

    use super::*;

    fn door(form: Form, trust_domain: Option<&str>) -> BundleDoor {
        let trust_domain = trust_domain.map(|name| TrustDomain::parse(name).unwrap());
        BundleDoor { print: Printer::new(Output::Table), kind: None, form, trust_domain }
    }

    fn known(domains: &[&str]) -> Known {
        let bundle = |name: &&str| {
            let domain = TrustDomain::parse(name).unwrap();
            (domain.clone(), jwt::Bundle::new(domain, []).unwrap())
        };
        Known { jwt: Some(Map::from_iter(domains.iter().map(bundle))), ..Known::default() }
    }

    #[test]
    fn two_trust_domains_never_come_into_one_file_or_text() {
        let known = known(&["example.org", "home"]);
        let all = door(Form::JwtSet, None);
        let files = all.files(&known).unwrap();
        let names: Vec<_> = files.list.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["bundles/example.org.json", "bundles/home.json"]);
        let told = files.environment(Path::new("/b"));
        assert_eq!(told.len(), 1, "no variable is named by a trust domain: {told:?}");
        let failure = all.show(&all.print, &known, false).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.advice().unwrap().contains("example.org, home"));
    }

    #[test]
    fn the_one_that_is_named_has_a_name_of_its_kind() {
        for (form, name) in [
            (Form::Pem, "bundle.pem"),
            (Form::JwtSet, "jwt_bundle.json"),
            (Form::WitSet, "wit_bundle.json"),
            (Form::Document, "bundle.json"),
        ] {
            let files = door(form, Some("home")).files(&known(&["example.org", "home"])).unwrap();
            let names: Vec<_> = files.list.iter().map(|file| (file.name.as_str(), file.is_secret)).collect();
            assert_eq!(names, [(name, false)]);
        }
        let missing = door(Form::JwtSet, Some("elsewhere")).files(&known(&["home"])).err().unwrap();
        assert_eq!(missing.exit(), Exit::Missing);
    }

    #[test]
    fn a_document_has_each_kind_that_is_known() {
        let text = door(Form::Document, Some("home")).texts(&known(&["home"])).unwrap();
        assert_eq!(text.first().unwrap().1, "{\"keys\":[]}\n");
    }
}
