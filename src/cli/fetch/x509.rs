//! `dayfly fetch x509`: certificate, key and bundle.

use std::path::Path;

use clap::Args;
use serde_json::json;
use tonic::Streaming;

use crate::{
    cli::{
        failure::Failure,
        identity::{Identity, Update},
        link, moment,
        print::Printer,
    },
    pb::workload::{X509svidRequest, X509svidResponse},
    spiffe::{Id, x509::Bundle},
    sys::Clock,
};

use super::{
    choice::{Choice, Named},
    delivery::{Delivery, Door},
    files::{Files, certificates, private_key},
};

/// `fetch x509`
#[derive(Debug, Args)]
pub(crate) struct FetchX509 {
    /// Write svid_combined.pem too: certificates and key in one file
    #[arg(long, requires = "write")]
    combined: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pub(super) delivery: Delivery,
}

impl Named for Identity {
    fn id(&self) -> &Id {
        &self.id
    }

    fn hint(&self) -> &str {
        &self.hint
    }
}

impl Door for FetchX509 {
    type Feed = Streaming<X509svidResponse>;
    type Update = Update;

    async fn open(&self, socket: &Path) -> Result<Self::Feed, Failure> {
        let mut client = link::workload(socket).await?;
        link::stream(client.fetch_x509svid(X509svidRequest {})).await
    }

    async fn next(&self, feed: &mut Self::Feed) -> Result<Update, Failure> {
        Update::read(link::next(feed).await?, Clock::system().now())
    }

    fn files(&self, update: &Update) -> Result<Files, Failure> {
        let identity = self.choice.choose(&update.identities)?;
        Ok(files(identity, &update.federated, self.combined))
    }

    fn show(&self, print: &Printer, update: &Update, again: bool) -> Result<(), Failure> {
        let shown = self.choice.shown(&update.identities)?;
        if print.is_json() {
            let document = json!({
                "svids": shown.into_iter().map(view).collect::<Vec<_>>(),
                "federated_bundles": update.federated.iter().map(federated).collect::<serde_json::Map<_, _>>(),
            });
            return print.json_of(&document, again);
        }
        let now = Clock::system().now();
        if again {
            return shown.iter().try_for_each(|identity| {
                let end = moment::text_and_distance(moment::unix(identity.leaf.not_after), now);
                print.line(format_args!("{}  {}  until {end}", identity.id, identity.serial()))
            });
        }
        print.table(
            ["SPIFFE ID", "UNTIL", "SERIAL", "HINT"],
            shown.iter().map(|identity| {
                let end = moment::text_and_distance(moment::unix(identity.leaf.not_after), now);
                [identity.id.to_string(), end, identity.serial(), identity.hint.clone()]
            }),
        )
    }
}

fn files(identity: &Identity, federated: &[Bundle], combined: bool) -> Files {
    let (chain, key) = (certificates(&identity.chain), private_key(identity.key.expose()));
    let end = moment::text(moment::unix(identity.leaf.not_after));
    let mut files = Files::new(format!("{} until {end}", identity.id))
        .of(&identity.id)
        .public("svid.pem", chain.as_str())
        .secret("svid_key.pem", &key)
        .public("bundle.pem", certificates(identity.bundle.authorities()));
    if combined {
        let both = zeroize::Zeroizing::new([chain.as_str(), &key].concat());
        files = files.secret("svid_combined.pem", &both);
    }
    federated.iter().fold(files, |files, bundle| {
        // The name of a trust domain has no slash, so with its ending it is always a file's name.
        files.public(format!("federated/{}.pem", bundle.trust_domain()), certificates(bundle.authorities()))
    })
}

/// Without the key: that leaves only into files.
fn view(identity: &Identity) -> serde_json::Value {
    json!({
        "spiffe_id": identity.id.as_str(),
        "hint": identity.hint,
        "serial": identity.serial(),
        "not_before": moment::unix(identity.leaf.not_before),
        "not_after": moment::unix(identity.leaf.not_after),
        "x509_svid": certificates(&identity.chain),
        "bundle": certificates(identity.bundle.authorities()),
    })
}

fn federated(bundle: &Bundle) -> (String, serde_json::Value) {
    (bundle.trust_domain().id(), certificates(bundle.authorities()).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::SystemTime;

    use bytes::Bytes;

    use crate::{
        spiffe::{TrustDomain, x509::Leaf},
        sys::Secret,
    };

    use super::*;

    #[test]
    fn the_combined_file_has_the_chain_and_then_the_key() {
        let id = Id::parse("spiffe://example.org/web").unwrap();
        let (not_before, not_after) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        let leaf = Leaf {
            id: id.clone(),
            not_before,
            not_after,
            serial: vec![1],
            public_key: Bytes::new(),
            common_name: None,
            dns_names: Vec::new(),
            authority_key_id: None,
        };
        let identity = Identity {
            id,
            hint: String::new(),
            chain: vec![Bytes::from_static(b"one"), Bytes::from_static(b"intermediate")],
            key: Secret::new(b"one".to_vec()),
            leaf,
            bundle: Bundle::new(TrustDomain::parse("example.org").unwrap(), Vec::new()).unwrap(),
        };
        let files = files(&identity, &[], true);
        let names: Vec<_> = files.list.iter().map(|file| (file.name.as_str(), file.is_secret)).collect();
        assert_eq!(
            names,
            [("svid.pem", false), ("svid_key.pem", true), ("bundle.pem", false), ("svid_combined.pem", true)]
        );
        let both = std::str::from_utf8(&files.list.last().unwrap().bytes).unwrap();
        assert_eq!(both.matches("-----BEGIN").count(), 3);
        assert!(both.ends_with("-----BEGIN PRIVATE KEY-----\nb25l\n-----END PRIVATE KEY-----\n"), "{both}");
    }
}
