//! Foreign bundles at the admin socket.

use tonic::Response;

use super::*;
use crate::{
    issuance::foreign::fixture::{anchor, json, pem, token_entry, x509_entry},
    pb::admin::bundles_client::BundlesClient,
};

impl House {
    fn bundles(&self) -> BundlesClient<impl Wire + use<>> {
        BundlesClient::new(self.calls(caller(OWN, 20, &[])))
    }

    async fn set(&self, name: &str, document: String) -> Result<pb::SetBundleResponse, Status> {
        let request = pb::SetBundleRequest { trust_domain: name.into(), document: document.into() };
        self.bundles().set(request).await.map(Response::into_inner)
    }
}

fn federating(name: &str) -> pb::Entry {
    pb::Entry { federates_with: vec!["other.test".into()], ..entry(name, &["unix:uid:1000"]) }
}

#[tokio::test]
async fn a_bundle_is_set_shown_listed_and_deleted() {
    let house = House::new();
    house.create(federating("web")).await;
    let document = json(&[x509_entry(&anchor("other.test")), token_entry("jwt-svid", "j"), "7".into()]);
    let set = house.set("spiffe://other.test", document).await.unwrap();
    assert!(set.changed);
    assert_eq!(set.warnings, ["entry 3 of its `keys` is left out: it is not a JSON object"]);
    let bundle = set.bundle.unwrap();
    assert_eq!((bundle.x509_authorities, bundle.jwt_keys, bundle.wit_keys), (1, 1, 0));
    assert_eq!((bundle.trust_domain.as_str(), bundle.revision, bundle.entries), ("other.test", 1, 1));
    assert!(bundle.document.is_empty() && bundle.changed_at > 1_700_000_000 && bundle.sequence.is_none());
    let request = || pb::ShowBundleRequest { trust_domain: "other.test".into() };
    let shown = house.bundles().show(request()).await.unwrap().into_inner();
    assert_eq!(shown, pb::Bundle { document: shown.document.clone(), ..bundle.clone() });
    assert!(shown.document.starts_with(br#"{"keys":[{"kty":"EC","use":"x509-svid""#));
    let again = house.set("other.test", String::from_utf8(shown.document.to_vec()).unwrap()).await.unwrap();
    assert!(!again.changed && again.warnings.is_empty());
    let listed = house.bundles().list(pb::ListBundlesRequest { count_only: false }).await.unwrap().into_inner();
    assert_eq!((listed.bundles, listed.total), (vec![bundle], 1));
    let counted = house.bundles().list(pb::ListBundlesRequest { count_only: true }).await.unwrap().into_inner();
    assert_eq!((counted.bundles, counted.total), (vec![], 1));

    let delete = |force| pb::DeleteBundleRequest { trust_domain: "other.test".into(), force };
    let error = house.bundles().delete(delete(false)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::FailedPrecondition, "1 entry federates with other.test"));
    assert_eq!(house.bundles().delete(delete(true)).await.unwrap().into_inner().entries, 1);
    assert_eq!(house.bundles().show(request()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(house.bundles().delete(delete(true)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_wrong_is_an_invalid_argument_and_changes_nothing() {
    let house = House::new();
    let good = pem(&[anchor("other.test")]);
    for (name, document) in [
        ("", good.clone()),
        ("other.test/", good.clone()),
        ("example.org", good.clone()),
        ("other.test", String::new()),
        ("other.test", r#"{"keys":[],"keys":[]}"#.into()),
        ("other.test", " ".repeat(600_000)),
    ] {
        let error = house.set(name, document).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(!error.message().is_empty() && error.message().len() < 4_096);
    }
    assert!(house.fixture.records("admin").is_empty());
    house.fixture.store.close();
    let error = house.set("other.test", good).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("nothing was changed"), "{error}");
}

#[tokio::test]
async fn explain_tells_what_a_caller_is_served_without() {
    let house = House::new();
    let names = ["none.test", "other.test"].map(String::from).to_vec();
    house.create(pb::Entry { federates_with: names, ..entry("web", &["unix:uid:1000"]) }).await;
    house.set("other.test", json(&[])).await.unwrap();
    let notes = house.control().explain(pb::ExplainRequest { pid: 7 }).await.unwrap().into_inner().notes;
    assert_eq!(notes.len(), 2);
    assert!(notes[1].starts_with("it federates with none.test, of which there is no bundle"), "{notes:?}");
}
