//! Two ends in one process, with identities of an authority that is made here.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{net::TcpListener, thread};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::HandshakeKind;

use super::*;
use crate::{
    cli::identity::Update,
    pb::workload::{X509svid, X509svidResponse},
    spiffe::x509::Bundle,
    sys::{Clock, Secret},
};

const ORDERS: &str = "spiffe://example.org/orders";
const LEDGER: &str = "spiffe://example.org/ledger";

/// An authority of `example.org`.
struct Ca {
    pair: KeyPair,
    der: Vec<u8>,
}

impl Ca {
    /// Its name is a workload's, as no authority's may be.
    fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        let der = Self::params().self_signed(&pair).unwrap().der().to_vec();
        Self { pair, der }
    }

    fn params() -> CertificateParams {
        let mut params = alive(ORDERS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    /// A workload's identity, as the Workload API gives it.
    fn identity(&self, id: &str) -> Identity {
        let mut params = alive(id);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&pair, &Issuer::from_params(&Self::params(), &self.pair)).unwrap();
        let svid = X509svid {
            spiffe_id: id.to_owned(),
            x509_svid: leaf.der().to_vec().into(),
            x509_svid_key: pair.serialize_der().into(),
            bundle: self.der.clone().into(),
            ..X509svid::default()
        };
        let response = X509svidResponse { svids: vec![svid], ..X509svidResponse::default() };
        Update::read(response, now()).unwrap().identities.remove(0)
    }
}

fn now() -> SystemTime {
    Clock::system().now()
}

fn alive(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "demo");
    params.not_before = (now() - Duration::from_secs(60)).into();
    params.not_after = (now() + Duration::from_secs(600)).into();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params
}

/// An end that talks to this ID, and the hand that changes what it shows and believes.
fn party(identity: Identity, expected: &str) -> (Party, watch::Sender<Arc<Identity>>) {
    let (sender, present) = watch::channel(Arc::new(identity));
    (Party::new(present, Id::parse(expected).unwrap()), sender)
}

/// Lets one end serve one connection, which says one line, and the other do what it wants.
fn meet<T>(server: &Party, client: impl FnOnce(u16) -> T) -> (io::Result<Leaf>, T) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        let served = scope.spawn(|| {
            let mut caller = server.accept(listener.accept()?.0)?;
            caller.say("welcome")?;
            Ok(caller.peer)
        });
        let came = client(port);
        (served.join().unwrap(), came)
    })
}

/// What a caller hears that connects as it should.
fn hear(client: &Party, port: u16) -> io::Result<Option<String>> {
    client.connect(port)?.hear()
}

#[test]
fn an_authority_is_nobody() {
    let ca = Ca::new();
    let ((ledger, _), (orders, hand)) = (party(ca.identity(LEDGER), ORDERS), party(ca.identity(ORDERS), LEDGER));
    let (served, heard) = meet(&ledger, |port| hear(&orders, port));
    assert_eq!((served.unwrap().id.as_str(), heard.unwrap().as_deref()), (ORDERS, Some("welcome")));

    // The authority itself, with its own key: the chain that it shows is the trust anchor.
    let mut authority = ca.identity(ORDERS);
    authority.chain = vec![ca.der.clone().into()];
    authority.key = Secret::new(ca.pair.serialize_der());
    hand.send_replace(Arc::new(authority));
    let (served, _) = meet(&ledger, |port| hear(&orders, port));
    assert!(served.unwrap_err().to_string().contains("an authority's certificate"), "it is no caller");
    let (served, heard) = meet(&orders, |port| hear(&ledger, port));
    assert!(served.is_err(), "and no server");
    assert!(heard.unwrap_err().to_string().contains("an authority's certificate"));
}

#[test]
fn no_session_is_resumed_so_each_is_judged() {
    let ca = Ca::new();
    let ((ledger, hand), (orders, _hand)) = (party(ca.identity(LEDGER), ORDERS), party(ca.identity(ORDERS), LEDGER));
    // A caller that would resume if it could.
    let config = ClientConfig::builder_with_provider(Arc::clone(&orders.provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(orders.clone()))
        .with_client_cert_resolver(Arc::new(orders.clone()));
    let config = Arc::new(config);
    let connect = |port: u16| {
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, TcpStream::connect((Ipv4Addr::LOCALHOST, port))?));
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok::<_, io::Error>((line, stream.get_ref().conn.handshake_kind()))
    };
    for _ in 0..3 {
        let (served, came) = meet(&ledger, connect);
        assert_eq!(served.unwrap().id.as_str(), ORDERS);
        assert_eq!(came.unwrap(), ("welcome\n".to_owned(), Some(HandshakeKind::Full)));
    }
    // Nothing of the trust domain is believed any more.
    let revoked =
        Identity { bundle: Bundle::new(orders.expected.trust_domain(), Vec::new()).unwrap(), ..ca.identity(LEDGER) };
    hand.send_replace(Arc::new(revoked));
    let (served, came) = meet(&ledger, connect);
    assert!(served.is_err() && came.is_err());
}
