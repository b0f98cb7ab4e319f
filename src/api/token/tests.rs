//! An exchange while the issuers of users change: what was read of a token before its presenter was attested must be so
//! still when the new one leaves.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    issuance::tests::{
        ISSUER, Scene,
        access::{ORDERS, meddled, scene},
        records,
    },
    oauth::{
        dpop::Prover,
        issuer::{self, IssuerName},
    },
    spiffe::jose::{
        Algorithm,
        tests::kit::{Key, object},
    },
};

const LOGIN: &str = "https://login.test";

/// An endpoint, an issuer of users that it believes, and the token of one of them.
struct World {
    endpoint: Endpoint,
    believed: watch::Sender<Arc<Issuers>>,
    login: Key,
    token: String,
    prover: Prover,
}

impl World {
    fn new(scene: &Scene) -> Self {
        let login = Key::new("login-1", Algorithm::Es256);
        let (believed, issuers) = watch::channel(only(&login));
        let (issuer, clock) = (scene.issuer.clone(), scene.clock.clone());
        let secret = Zeroizing::new([7; 32]);
        let endpoint = Endpoint::new(issuer, ISSUER.into(), &secret, Settings::default(), issuers, clock).unwrap();
        let end = scene.clock.now() + Duration::from_secs(300);
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        let claims = object(&[
            ("iss", r#""https://login.test""#),
            ("sub", r#""ada""#),
            ("aud", r#""https://example.org/oauth""#),
            ("exp", &end),
        ]);
        let token = login.token(r#"{"alg":"ES256","kid":"login-1","typ":"JWT"}"#, claims);
        Self { endpoint, believed, login, token, prover: Prover::generate().unwrap() }
    }

    /// The user's token is exchanged for one for orders.
    async fn exchange(&self, scene: &Scene) -> Result<AccessToken, Refusal> {
        let (url, nonce) = (self.endpoint.url(), self.endpoint.nonce());
        let proof = self.prover.prove("POST", url, None, nonce.as_deref(), scene.clock.now()).unwrap();
        let asked = AccessAsked::new("", [ORDERS], "", 0).unwrap();
        let presented = Presented { token: &self.token, kind: TokenType::AccessToken };
        self.endpoint.issue(&scene.caller, &[proof.as_bytes()], asked, Some(presented)).await
    }
}

/// That issuer with the key, and no other.
fn only(login: &Key) -> Arc<Issuers> {
    let set = format!(r#"{{"keys":[{}]}}"#, login.jwk().to_json().replacen('{', r#"{"kid":"login-1","#, 1));
    let (issuer, _) = issuer::Issuer::read(IssuerName::parse(LOGIN).unwrap(), set.as_bytes()).unwrap();
    Arc::new(Issuers::new([issuer]).unwrap())
}

fn alive(scene: &Scene) -> usize {
    scene.issuer.alive().of("crew", &scene.registry.borrow(), scene.clock.now()).tokens.len()
}

/// The issuer goes when the new token is signed and recorded already. With a rate of one a minute, what was counted would be
/// missed.
#[tokio::test(start_paused = true)]
async fn what_is_made_from_a_token_whose_issuer_went_meanwhile_neither_leaves_nor_counts() {
    let other_key = only(&Key::new("login-1", Algorithm::Es256));
    for (then, code) in [(Arc::default(), "subject_issuer"), (other_key, "subject_signature")] {
        for attempt in 0.. {
            let Some(scene) = scene(1).await else { return };
            let world = World::new(&scene);
            let (believed, then) = (world.believed.clone(), Arc::clone(&then));
            let outcome = meddled(move || drop(believed.send_replace(then)), world.exchange(&scene)).await;
            let Some(outcome) = outcome else {
                assert!(attempt < 100, "{code}: nobody was told");
                continue;
            };
            assert_eq!(outcome.unwrap_err(), Refusal::subject(), "{code}");
            assert_eq!(records(&scene, "issued").len(), 1, "{code}: it was signed");
            let last = records(&scene, "refused").pop().unwrap();
            assert_eq!((&last["reasons"], alive(&scene)), (&serde_json::json!([code]), 0), "{code}");
            world.believed.send_replace(only(&world.login));
            world.exchange(&scene).await.unwrap();
            assert_eq!(alive(&scene), 1, "{code}");
            break;
        }
    }
}

/// Keys are read again, and the token is as good by them.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_read_again_meanwhile_stays_believed() {
    for attempt in 0.. {
        let Some(scene) = scene(1).await else { return };
        let world = World::new(&scene);
        let (believed, again) = (world.believed.clone(), only(&world.login));
        let outcome = meddled(move || drop(believed.send_replace(again)), world.exchange(&scene)).await;
        if let Some(outcome) = outcome {
            assert_eq!((outcome.is_ok(), alive(&scene)), (true, 1), "{outcome:?}");
            break;
        }
        assert!(attempt < 100, "nobody was told");
    }
}
