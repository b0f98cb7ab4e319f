//! Connections to tools: TCP, and TLS where the URL says https.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Uri, uri::Authority};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tower::{BoxError, Service as _, util::BoxCloneSyncService};

use crate::cli::{exit::Exit, failure::Failure, validate};

/// What asks over it.
pub(super) type Web = Client<HttpsConnector<Tcp>, Full<Bytes>>;

/// What connects to where a URL says, or somewhere else.
type Tcp = BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>;

const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// The most certificates of a file.
const ROOTS_MAX: usize = 1_000;

/// A client that believes the certificates of a file, or else those of the system, and connects to where the URL says if
/// nothing else is said.
///
/// # Errors
/// When there are none in the file.
pub(super) fn client(cacert: Option<&Path>, elsewhere: Option<Authority>) -> Result<Web, Failure> {
    let roots = match cacert {
        Some(path) => of_file(path)?,
        None => of_system(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failure::because("TLS cannot be spoken", &error))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tls = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    Ok(Client::builder(TokioExecutor::new()).build(tls.wrap_connector(tcp(elsewhere))))
}

fn tcp(elsewhere: Option<Authority>) -> Tcp {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_WAIT));
    tcp.enforce_http(false);
    BoxCloneSyncService::new(tower::service_fn(move |url: Uri| {
        let (mut tcp, elsewhere) = (tcp.clone(), elsewhere.clone());
        async move {
            let url = match elsewhere {
                Some(authority) => Uri::builder().scheme("http").authority(authority).path_and_query("/").build()?,
                None => url,
            };
            Ok(tcp.call(url).await?)
        }
    }))
}

fn of_file(path: &Path) -> Result<RootCertStore, Failure> {
    let wrong = |words: String| Failure::new(Exit::Usage, format!("{}: {words}", path.display()));
    let found = validate::certificates(&validate::read(path)?, ROOTS_MAX).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(CertificateDer::from(certificate.to_vec())).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(roots)
}

/// Those that cannot be read are left out; without any, nobody is believed.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
