//! `dayfly validate wit`: a token and, where it is shown, the proof that its key is held.

use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, json};

use crate::{
    cli::{bundles::Kind, context::Context, exit::Exit, failure::Failure},
    spiffe::wit::{self, Proof, Unproved, Validated},
    sys::Clock,
};

use super::{
    LEEWAY, input,
    source::Source,
    verdict::{self, Facts},
};

/// `validate wit`
#[derive(Debug, Args)]
pub(crate) struct ValidateWit {
    /// The token's file, or - for stdin
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    token: PathBuf,
    /// What the holder has signed with the token's key. Whether that was meant for you, and is fresh, is yours to know
    #[arg(long, value_name = "FILE", requires = "proof_signature")]
    proof: Option<PathBuf>,
    /// The signature over it, in base64url without padding; of ECDSA r and s at full width, as JWS has it
    #[arg(long, value_name = "FILE", requires = "proof")]
    proof_signature: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Runs the verb.
///
/// # Errors
/// When it is not valid, not proved, or could not be judged.
pub(super) async fn run(context: &Context, validate: ValidateWit) -> Result<(), Failure> {
    let (token, print) = (input::token(&validate.token)?, &context.print);
    let proof = match (&validate.proof, &validate.proof_signature) {
        (Some(message), Some(signature)) => Some((input::read(message)?, input::token(signature)?)),
        _ => None,
    };
    let known = validate.source.known(context, Kind::Wit).await?;
    let now = Clock::system().now();
    let bundle_of = |domain: &_| known.wit.as_ref().and_then(|all| all.get(domain));
    let unproved = match wit::verify(&token, now, LEEWAY, bundle_of) {
        Ok(unproved) => unproved,
        Err(error) => return verdict::invalid(print, &error.into()),
    };
    let key = unproved.key().thumbprint();
    let Some((message, signature)) = proof else {
        return not_proved(context, &key);
    };
    // What is no base64url is no signature either.
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap_or_default();
    match Unproved::prove(unproved, Proof { message: &message, signature: &signature }) {
        Ok(validated) => verdict::valid(print, facts(&validated, &key, now)),
        Err(error) => verdict::invalid(print, &error.into()),
    }
}

fn not_proved(context: &Context, key: &str) -> Result<(), Failure> {
    const WORDS: &str = "signature right, possession not proved";
    if context.print.is_json() {
        let document = json!({ "valid": false, "code": "unproved", "reason": WORDS, "key_thumbprint": key });
        context.print.json(&document)?;
    }
    Err(Failure::new(Exit::Unproved, format!("{WORDS} (unproved)"))
        .hint("its holder signs something for you with the token's key: `--proof FILE --proof-signature FILE`"))
}

fn facts(validated: &Validated, key: &str, now: std::time::SystemTime) -> Facts {
    let id = validated.id.as_str();
    Facts {
        rows: vec![("spiffe id", id.to_owned()), ("key", key.to_owned()), verdict::until(validated.expires_at, now)],
        json: Map::from_iter([
            ("spiffe_id".to_owned(), id.into()),
            ("key_thumbprint".to_owned(), key.into()),
            ("claims".to_owned(), verdict::claims(&validated.claims)),
        ]),
    }
}
