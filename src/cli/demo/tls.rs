//! Mutual TLS between workloads: each shows its X.509-SVID and takes only the SPIFFE ID it expects at the other end.
//!
//! A renewed identity is used from the next handshake on; connections that are up go on. Sessions are never resumed,
//! since a resumed one would not be verified again.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::sync::watch;

use crate::{
    cli::identity::Identity,
    spiffe::{
        Id,
        x509::{self, Leaf, Purpose},
    },
};

/// One end of connections between two workloads.
#[derive(Clone, Debug)]
pub(super) struct Party {
    present: watch::Receiver<Arc<Identity>>,
    expected: Id,
    provider: Arc<CryptoProvider>,
}

/// A connection whose other end is who was expected.
pub(super) struct Conversation<C: rustls::SideData, T: std::ops::DerefMut<Target = rustls::ConnectionCommon<C>>> {
    stream: BufReader<StreamOwned<T, TcpStream>>,
    /// What the other end has shown.
    pub(super) peer: Leaf,
}

impl Party {
    /// `present` is what this end shows, `expected` whom it talks to.
    pub(super) fn new(present: watch::Receiver<Arc<Identity>>, expected: Id) -> Self {
        Self { present, expected, provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// Whom this end talks to.
    pub(super) fn expected(&self) -> &Id {
        &self.expected
    }

    /// Connects to the other end on this machine.
    ///
    /// # Errors
    /// When nobody listens, or somebody else does than was expected.
    pub(super) fn connect(
        &self,
        port: u16,
    ) -> io::Result<Conversation<rustls::client::ClientConnectionData, ClientConnection>> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.clone()));
        let mut config = config.with_client_cert_resolver(Arc::new(self.clone()));
        config.resumption = Resumption::disabled();
        // A SPIFFE ID says who it is, so the name in the handshake means nothing.
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        self.greet(connection, TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    /// Takes a connection of the other end.
    ///
    /// # Errors
    /// When somebody else connected than was expected.
    pub(super) fn accept(
        &self,
        socket: TcpStream,
    ) -> io::Result<Conversation<rustls::server::ServerConnectionData, ServerConnection>> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_client_cert_verifier(Arc::new(self.clone()))
            .with_cert_resolver(Arc::new(self.clone()));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        self.greet(ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?, socket)
    }

    fn greet<C, T>(&self, mut connection: T, mut socket: TcpStream) -> io::Result<Conversation<C, T>>
    where
        C: rustls::SideData,
        T: std::ops::DerefMut<Target = rustls::ConnectionCommon<C>>,
    {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        socket.set_write_timeout(Some(SILENCE_MAX))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let leaf = shown.ok_or_else(|| io::Error::other("the other end has shown nothing"))?;
        let peer = x509::check_profile(leaf).map_err(io::Error::other)?;
        Ok(Conversation { stream: BufReader::new(StreamOwned::new(connection, socket)), peer })
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<Bytes> = [leaf].into_iter().chain(rest).map(|der| Bytes::copy_from_slice(der)).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let bundles = self.present.borrow().bundles();
        match x509::verify(&chain, &bundles, purpose, now) {
            Ok(leaf) if leaf.id == self.expected => Ok(()),
            Ok(leaf) => Err(Error::General(format!("this is {}, not {}", leaf.id, self.expected))),
            Err(error) => Err(Error::General(error.to_string())),
        }
    }

    fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        let present = Arc::clone(&self.present.borrow());
        let chain = present.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(present.key.expose()));
        let key = self.provider.key_provider.load_private_key(key.clone_key()).ok()?;
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

impl<C: rustls::SideData, T: std::ops::DerefMut<Target = rustls::ConnectionCommon<C>>> Conversation<C, T> {
    /// Says one line.
    ///
    /// # Errors
    /// When the other end has gone.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\n").as_bytes())?;
        stream.flush()
    }

    /// Hears one line; `None` when the other end has finished.
    ///
    /// # Errors
    /// When the other end has gone, or says nothing for too long.
    pub(super) fn hear(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What both verifiers have to say of signatures, word for word. They are judged by the key in the leaf, which
/// [`Party::judge`] has found good; there is no TLS 1.2.
macro_rules! judge_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Party {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, rest, Purpose::Server, now).map(|()| ServerCertVerified::assertion())
    }

    judge_signatures!();
}

impl ClientCertVerifier for Party {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, rest, Purpose::Client, now).map(|()| ClientCertVerified::assertion())
    }

    judge_signatures!();
}

impl ResolvesServerCert for Party {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificate()
    }
}

impl ResolvesClientCert for Party {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificate()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const SILENCE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
