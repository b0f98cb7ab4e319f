//! The keys to judge by: the Workload API's, or those in a file.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::{
        bundles::{self, Feed, Kind, Known, Map},
        context::Context,
        exit::Exit,
        failure::{Failure, whole},
        link,
        print::Printer,
    },
    spiffe::{TrustDomain, document, x509},
};

use super::input;

/// Where the keys come from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Judge by the keys in FILE, and ask nobody: PEM or DER for X.509, or a SPIFFE bundle document
    #[arg(long, value_name = "FILE", requires = "trust_domain")]
    bundle: Option<PathBuf>,
    /// Whose keys those in FILE are: a file does not say it
    #[arg(long, value_name = "NAME", requires = "bundle")]
    trust_domain: Option<TrustDomain>,
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "bundle")]
    pub(super) socket: Option<String>,
}

impl Source {
    /// Whether nobody is to be asked.
    pub(super) fn is_file(&self) -> bool {
        self.bundle.is_some()
    }

    /// The keys of this kind.
    ///
    /// # Errors
    /// When the file is no bundle, or the daemon does not give any.
    pub(super) async fn known(&self, context: &Context, kind: Kind) -> Result<Known, Failure> {
        if let (Some(path), Some(trust_domain)) = (&self.bundle, &self.trust_domain) {
            let bytes = input::read(path)?;
            return read(&context.print, trust_domain, &bytes).map_err(|error| {
                Failure::new(Exit::Usage, format!("{} is no bundle: {}", path.display(), whole(&*error)))
            });
        }
        let socket = context.workload_socket(self.socket.as_deref())?;
        link::first(async { Feed::open(context.print, &socket, &[kind], true).await?.next().await }).await
    }
}

/// A bundle of one trust domain in any of the forms it may have in a file.
fn read(print: &Printer, trust_domain: &TrustDomain, bytes: &[u8]) -> Result<Known, Box<dyn std::error::Error>> {
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !is_json {
        let authorities = input::certificates(bytes, x509::AUTHORITIES_MAX)?;
        let bundle = x509::Bundle::new(trust_domain.clone(), authorities)?;
        return Ok(Known { x509: Some(Map::from([(trust_domain.clone(), bundle)])), ..Known::default() });
    }
    let outcome = document::parse(trust_domain.clone(), bytes)?;
    bundles::warn(print, trust_domain, &outcome.left_out);
    let document = outcome.document;
    Ok(Known {
        x509: Some(Map::from([(trust_domain.clone(), document.x509().clone())])),
        jwt: Some(Map::from([(trust_domain.clone(), document.jwt().clone())])),
        wit: Some(Map::from([(trust_domain.clone(), document.wit().clone())])),
    })
}
