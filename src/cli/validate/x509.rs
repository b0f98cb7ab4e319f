//! `dayfly validate x509`: a chain, up to an authority of the trust domain that its leaf names.

use std::{path::PathBuf, time::SystemTime};

use clap::{Args, ValueEnum};
use serde_json::Map;

use crate::{
    cli::{
        bundles::Kind,
        context::Context,
        failure::{Failure, whole},
        moment,
    },
    spiffe::x509::{self, Bundles, CHAIN_CERTIFICATES_MAX, Leaf},
    sys::Clock,
};

use super::{
    code::Reason,
    input,
    source::Source,
    verdict::{self, Facts},
};

/// `validate x509`
#[derive(Debug, Args)]
pub(crate) struct ValidateX509 {
    /// The certificates' file in PEM or DER, or - for stdin: the leaf first, then its intermediates. A key in it is
    /// passed over
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    chain: PathBuf,
    /// What the peer is to be believed as
    #[arg(long, value_enum, default_value_t)]
    purpose: Purpose,
    #[command(flatten)]
    source: Source,
}

/// What a certificate is to be used for.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Purpose {
    /// A TLS server
    Server,
    /// A TLS client
    Client,
    /// Either of the two
    #[default]
    Any,
}

impl From<Purpose> for x509::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Server => Self::Server,
            Purpose::Client => Self::Client,
            Purpose::Any => Self::Any,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When it is not valid, or could not be judged.
pub(super) async fn run(context: &Context, validate: ValidateX509) -> Result<(), Failure> {
    let ValidateX509 { chain, purpose, source } = validate;
    let (bytes, print) = (input::read(&chain)?, &context.print);
    let chain = match input::certificates(&bytes, CHAIN_CERTIFICATES_MAX) {
        Ok(chain) => chain,
        Err(error) => return verdict::invalid(print, &Reason::new("encoding", whole(&*error))),
    };
    let known = source.known(context, Kind::X509).await?;
    let (bundles, now) =
        (Bundles::from_iter(known.x509.into_iter().flatten().map(|(_, bundle)| bundle)), Clock::system().now());
    match x509::verify(&chain, &bundles, purpose.into(), now) {
        Ok(leaf) => verdict::valid(print, facts(&leaf, now)),
        Err(error) => verdict::invalid(print, &error.into()),
    }
}

fn facts(leaf: &Leaf, now: SystemTime) -> Facts {
    let (id, serial) = (leaf.id.as_str(), leaf.serial.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let json = [
        ("spiffe_id", id.into()),
        ("serial", serial.as_str().into()),
        ("not_before", moment::unix(leaf.not_before).into()),
        ("not_after", moment::unix(leaf.not_after).into()),
        ("dns_names", leaf.dns_names.as_slice().into()),
    ];
    let rows = [
        ("spiffe id", id.to_owned()),
        ("serial", serial.clone()),
        ("dns names", leaf.dns_names.join("\n")),
        verdict::until(leaf.not_after, now),
    ];
    Facts {
        rows: rows.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        json: Map::from_iter(json.map(|(name, value)| (name.to_owned(), value))),
    }
}
