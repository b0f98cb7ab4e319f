//! A TLS client of our own, for what the tools do not tell: which certificate a server has.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use x509_parser::{extensions::ParsedExtension, parse_x509_certificate};

pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What one side of TLS begins with.
#[derive(Clone, Copy)]
pub(super) enum Preface {
    Nothing,
    /// The client asks for TLS, and the server says yes.
    Postgres,
    /// The server says who it is.
    Nats,
}

/// Whom to connect to, and how.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) port: u16,
    pub(super) name: &'static str,
    pub(super) preface: Preface,
    /// Where the client's files are, and whom it believes.
    pub(super) certs: PathBuf,
}

impl Probe {
    /// The serial number of the server's certificate, which a client that is let in has verified.
    pub(super) fn serial(&self) -> io::Result<String> {
        let stream = self.connect(Some(&self.certs))?;
        serial(stream.conn.peer_certificates().and_then(<[_]>::first))
    }

    /// Whose key has signed the server's certificate.
    pub(super) fn authority(&self) -> io::Result<Vec<u8>> {
        let stream = self.connect(Some(&self.certs))?;
        let leaf = stream.conn.peer_certificates().and_then(<[_]>::first).ok_or(io::ErrorKind::InvalidData)?;
        let (_, leaf) = parse_x509_certificate(leaf).map_err(io::Error::other)?;
        let key = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
            _ => None,
        });
        key.map(|key| key.0.to_vec()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// A connection by the certificate in that folder, or by none.
    pub(super) fn connect(&self, identity: Option<&Path>) -> io::Result<Stream> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        match self.preface {
            Preface::Nothing => {}
            Preface::Postgres => {
                socket.write_all(&SSL_REQUEST)?;
                let mut answer = [0];
                socket.read_exact(&mut answer)?;
                if &answer != b"S" {
                    return Err(io::Error::other("no TLS"));
                }
            }
            // One byte at a time: what follows the line is TLS.
            Preface::Nats => {
                let mut byte = [0];
                while byte != *b"\n" {
                    socket.read_exact(&mut byte)?;
                }
            }
        }
        let name = ServerName::try_from(self.name).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::new(self.config(identity)?), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    fn config(&self, identity: Option<&Path>) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.certs.canonicalize()?.join("bundle.pem"))? {
            roots.add(root).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let Some(identity) = identity else { return Ok(config.with_no_client_auth()) };
        // The folder of this moment, so that both are of one version.
        let now = identity.canonicalize()?;
        let key = PrivateKeyDer::from_pem_file(now.join("svid_key.pem")).map_err(io::Error::other)?;
        config.with_client_auth_cert(certificates(&now.join("svid.pem"))?, key).map_err(io::Error::other)
    }
}

/// The serial number of the first certificate in a file.
pub(super) fn serial_in(file: &Path) -> io::Result<String> {
    serial(certificates(file)?.first())
}

fn serial(leaf: Option<&CertificateDer<'_>>) -> io::Result<String> {
    let (_, leaf) = parse_x509_certificate(leaf.ok_or(io::ErrorKind::InvalidData)?).map_err(io::Error::other)?;
    Ok(leaf.raw_serial_as_string())
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The length of the message, and the number of the request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);
