//! What a request with an access token costs to judge, and a token to issue: the library's own functions, in this process,
//! in thread CPU time. Each proof is another, as in life; a token is new, or known from the call before.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use dayfly::{
    oauth::{
        Scopes, TokenHash,
        access::{self, Draft, Keys, Subject, TokenId},
        dpop::{Expected, Prover, Unproved},
        freshness::{Freshness, Settings},
        target::Target,
        verify::{Accepts, AgentState, Credential, Registry, Request, Resource, Revocation, Verifier},
    },
    spiffe::{
        Id, TrustDomain,
        jose::{Jwk, Signer, SigningAlgorithm},
    },
};
use zeroize::Zeroizing;

use crate::{
    Plan,
    goals::Goal,
    process::own_cpu,
    table::{Runs, Table, short},
};

const ISSUER: &str = "https://example.org/oauth";
const AUDIENCE: &str = "https://tickets.example.org";
const URL: &str = "https://tickets.example.org/api/items/7";
const ENDPOINT: &str = "https://example.org/oauth/token";
const AGENT: &str = "spiffe://example.org/reporter";
/// Calls between two looks at the clock.
const BATCH: usize = 200;

pub(crate) fn run(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut bench = Bench::new()?;
    let [mut full, mut known, mut issued, mut verify, mut sign] = <[Runs; 5]>::default();
    // In turn, so that a ratio is of one moment: what else the machine does is in both.
    for _ in 0..plan.pick(25, 8) {
        full.push(bench.judge(BATCH)?);
        verify.push(bench.raw_verify()?);
        known.push(bench.judge(1)?);
        sign.push(bench.raw_sign()?);
        issued.push(bench.issue()?);
    }
    let (verify, sign) = (verify.median(), sign.median());
    // 8,500 and 16,000 a second and core, where V is 49.5 µs.
    let goal = |most: f64, in_verifies: f64| Goal::at_most(most).or_portable(in_verifies * verify);
    for (name, figure, each, goal) in [
        ("verify_full", "requests judged, a new token each", &full, goal(117.6, 2.38)),
        ("verify_known", "… with a token that is known", &known, goal(62.5, 1.27)),
        ("issue", "access tokens issued, with their proofs", &issued, Goal::at_most(1.2 * (verify + sign))),
    ] {
        table.runs(&format!("cpu_{name}_us"), figure, "µs", each, goal, "");
    }
    let rate = |runs: &Runs| short(1e6 / runs.median());
    table.note(format!(
        "requests judged: {} a second and core, {} where the token is known",
        rate(&full),
        rate(&known)
    ));
    let in_verifies = |runs: &Runs| short(runs.median() / verify);
    let (issue, verify, sign) = (short(issued.median() / (verify + sign)), short(verify), short(sign));
    table.note(format!(
        "beside them: V = {verify} µs, S = {sign} µs; judged {} V, {} V where known; issued {issue} (V + S)",
        in_verifies(&full),
        in_verifies(&known)
    ));
    Ok(())
}

/// A door, a token endpoint, and a client of both.
struct Bench {
    known: Known,
    key: Key,
    prover: Prover,
    verifier: Verifier,
    freshness: Freshness,
    now: SystemTime,
    next: u128,
}

impl Bench {
    fn new() -> Result<Self> {
        let key = Key::new()?;
        let keys = Keys::new(TrustDomain::parse("example.org")?, [(key.id.clone(), key.public.clone())])?;
        // Any time will do, as long as all proofs from before the start are too old.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let (secret, began) = (Zeroizing::new([7; 32]), now - Duration::from_secs(3_600));
        Ok(Self {
            known: Known { keys },
            key,
            prover: Prover::generate()?,
            verifier: Verifier::new(&secret, Settings::default(), began),
            freshness: Freshness::new("token", &secret, Settings::default(), began),
            now,
            next: 0,
        })
    }

    fn token(&mut self) -> Result<String> {
        self.next += 1;
        let draft = Draft {
            issuer: ISSUER,
            subject: &Subject::Agent(Id::parse(AGENT)?),
            audience: AUDIENCE,
            client: "reporter",
            scopes: &Scopes::parse("read")?,
            key: self.prover.thumbprint(),
            session: None,
            token_id: TokenId(self.next.to_be_bytes()),
            expires_at: self.now + Duration::from_secs(300),
        };
        Ok(access::issue(&draft, &self.key, self.now)?)
    }

    /// One batch of requests with so many tokens among them; microseconds each.
    fn judge(&mut self, tokens: usize) -> Result<f64> {
        let tokens = (0..tokens).map(|_| self.token()).collect::<Result<Vec<_>>>()?;
        let prove = |token: &String| {
            let proof = self.prover.prove("GET", URL, Some(TokenHash::of(token)), None, self.now)?;
            Ok((format!("DPoP {token}"), proof))
        };
        let calls = tokens.iter().cycle().take(BATCH + 1).map(prove).collect::<Result<Vec<_>>>()?;
        let ask = |(authorization, proof): &(String, String)| -> Result<()> {
            // As each door does.
            let target = Target::parse(URL)?;
            let (authorization, proofs) = ([authorization.as_bytes()], [proof.as_bytes()]);
            let request = Request { authorization: &authorization, proofs: &proofs, ..Request::new("GET", &target) };
            let judged = self.verifier.verify(&request, &self.known, self.now);
            ensure!(judged.is_ok_and(|verified| verified.agent() == "reporter"), "a good request was refused");
            Ok(())
        };
        let (first, rest) = calls.split_first().context("no call")?;
        // The first of a token's calls makes it known.
        if tokens.len() == 1 {
            ask(first)?;
        }
        let began = own_cpu()?;
        rest.iter().try_for_each(ask)?;
        Ok(micros(own_cpu()? - began))
    }

    /// One batch of signatures checked, of as many bytes as a proof has; microseconds each.
    fn raw_verify(&self) -> Result<f64> {
        let message = [7_u8; 500];
        let signature = self.key.pair.sign(&SystemRandom::new(), &message)?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.pair.public_key().as_ref());
        timed(|| Ok(public.verify(&message, signature.as_ref())?))
    }

    /// One batch of signatures made; microseconds each.
    fn raw_sign(&self) -> Result<f64> {
        let message = [7_u8; 500];
        timed(|| self.key.sign(&message).map(drop).context("no signature"))
    }

    /// One batch of tokens, each for a proof of its own; microseconds each.
    fn issue(&mut self) -> Result<f64> {
        let prove = |_| Ok(self.prover.prove("POST", ENDPOINT, None, None, self.now)?);
        let proofs = (0..BATCH).map(prove).collect::<Result<Vec<_>>>()?;
        let target = Target::parse_htu(ENDPOINT)?;
        let began = own_cpu()?;
        for proof in &proofs {
            let (window, now) = (self.freshness.window(), self.now);
            let expected = Expected { method: "POST", target: &target, token: None, window, now };
            self.freshness.take(Unproved::parse(proof)?, &expected)?;
            self.token()?;
        }
        Ok(micros(own_cpu()? - began))
    }
}

fn timed(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let began = own_cpu()?;
    (0..BATCH).try_for_each(|_| call())?;
    Ok(micros(own_cpu()? - began))
}

fn micros(batch: Duration) -> f64 {
    batch.as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).unwrap_or(u32::MAX))
}

/// A registry of one tool and one agent.
struct Known {
    keys: Keys,
}

impl Registry for Known {
    fn issuer(&self) -> &str {
        ISSUER
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn resource(&self, _: &Target, _: &str, _: Option<&str>) -> Option<Resource<'_>> {
        let (takes_encoded_slash, tells_metadata) = (false, true);
        Some(Resource {
            tool: "tickets",
            audience: AUDIENCE,
            scope: Some("read"),
            takes_encoded_slash,
            accepts: Accepts::default(),
            tells_metadata,
        })
    }

    fn agent(&self, _: &str) -> AgentState {
        AgentState::Active
    }

    fn revocation(&self, _: &Credential) -> Option<Revocation> {
        None
    }

    fn epoch(&self) -> u64 {
        1
    }
}

/// What signs tokens.
struct Key {
    pair: EcdsaKeyPair,
    public: Jwk,
    id: String,
}

impl Key {
    fn new() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let public = Jwk::from_point(pair.public_key().as_ref())?;
        let id = access::key_id(&public);
        Ok(Self { pair, public, id })
    }
}

impl Signer for Key {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn key_id(&self) -> &str {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}
