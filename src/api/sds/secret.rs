//! Secrets as Envoy takes them: certificates with their keys, and whom to trust.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use prost::Message;
use tonic::Status;
use zeroize::Zeroizing;

use super::node::Validator;
use crate::{
    authority::Svid,
    pb::{
        Any,
        envoy::{
            config::core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier},
            extensions::transport_sockets::tls::v3::{
                CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret::Type,
                spiffe_cert_validator_config,
            },
        },
    },
    spiffe::{TrustDomain, x509},
};

/// The type of all that is handed out here.
pub(super) const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_TYPE_URL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// What is behind a name at one moment.
#[derive(Clone)]
pub(super) enum Material {
    Certificate(Arc<Svid>),
    /// Trust domains with their authorities, DER, one after the other.
    Trust {
        domains: Vec<(TrustDomain, Bytes)>,
        validator: Validator,
    },
}

impl Material {
    /// Tells it from what else was or will be under its name. It is the same after a restart if nothing has changed.
    pub(super) fn version(&self) -> String {
        let mut hash = Context::new(&SHA256);
        match self {
            Self::Certificate(svid) => hash.update(&svid.chain),
            Self::Trust { domains, validator } => {
                hash.update(&[u8::from(*validator == Validator::Spiffe)]);
                for (domain, authorities) in domains {
                    hash.update(domain.to_string().as_bytes());
                    hash.update(&[0]);
                    hash.update(digest(&SHA256, authorities).as_ref());
                }
            }
        }
        short(hash.finish().as_ref())
    }

    /// It under its name, as a message within a message.
    ///
    /// # Errors
    /// When certificates of ours cannot be read: a fault.
    pub(super) fn to_any(&self, name: &str) -> Result<Any, Status> {
        let r#type = match self {
            Self::Certificate(svid) => Type::TlsCertificate(TlsCertificate {
                certificate_chain: Some(inline(certificates(&svid.chain)?)),
                private_key: Some(inline(private_key(svid.key.expose()))),
            }),
            Self::Trust { domains, validator } => Type::ValidationContext(trust(domains, *validator)?),
        };
        let secret = Secret { name: name.to_owned(), r#type: Some(r#type) };
        Ok(Any { type_url: TYPE_URL.to_owned(), value: encoded(&secret) })
    }
}

/// The version of several together.
pub(super) fn version_of_all<'v>(versions: impl Iterator<Item = (&'v str, &'v str)>) -> String {
    let mut hash = Context::new(&SHA256);
    for part in versions.flat_map(|(name, version)| [name, "\0", version, "\0"]) {
        hash.update(part.as_bytes());
    }
    short(hash.finish().as_ref())
}

fn short(hash: &[u8]) -> String {
    HEXLOWER.encode(hash.get(..8).unwrap_or_default())
}

fn trust(domains: &[(TrustDomain, Bytes)], validator: Validator) -> Result<CertificateValidationContext, Status> {
    if validator == Validator::Plain {
        let mut all = Vec::new();
        for (_, authorities) in domains {
            all.extend_from_slice(&certificates(authorities)?);
        }
        return Ok(CertificateValidationContext {
            trusted_ca: Some(inline(all.into())),
            custom_validator_config: None,
        });
    }
    let trust_domains = domains.iter().map(|(domain, authorities)| {
        let trust_bundle = Some(inline(certificates(authorities)?));
        Ok(spiffe_cert_validator_config::TrustDomain { name: domain.to_string(), trust_bundle })
    });
    let config = SpiffeCertValidatorConfig { trust_domains: trust_domains.collect::<Result<_, Status>>()? };
    let typed_config = Some(Any { type_url: VALIDATOR_TYPE_URL.to_owned(), value: encoded(&config) });
    let custom_validator_config = Some(TypedExtensionConfig { name: VALIDATOR.to_owned(), typed_config });
    Ok(CertificateValidationContext { trusted_ca: None, custom_validator_config })
}

fn inline(bytes: Bytes) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)) }
}

/// The bytes are wiped when the last of them has left.
fn encoded(message: &impl Message) -> Bytes {
    let mut bytes = Zeroizing::new(Vec::with_capacity(message.encoded_len()));
    // A vector takes all.
    message.encode(&mut *bytes).ok();
    Bytes::from_owner(bytes)
}

/// Certificates, DER one after the other, in PEM.
fn certificates(der: &Bytes) -> Result<Bytes, Status> {
    // However many there are, they were taken once.
    let each = x509::split_at_most(der, usize::MAX).map_err(|_| Status::internal("a certificate cannot be read"))?;
    Ok(each.iter().flat_map(|one| pem("CERTIFICATE", one).to_vec()).collect::<Vec<_>>().into())
}

/// A PKCS#8 key in PEM; wiped when dropped.
fn private_key(pkcs8: &[u8]) -> Bytes {
    Bytes::from_owner(pem("PRIVATE KEY", pkcs8))
}

/// How many bytes a line of PEM stands for (RFC 7468 §2).
const LINE: usize = 48;

/// PEM in a buffer that is large enough from the beginning: nothing of it stays elsewhere.
fn pem(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let lines = der.chunks(LINE);
    let room = BASE64.encode_len(der.len()) + lines.len() + 2 * ("-----BEGIN -----\n".len() + label.len());
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in lines {
        BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}
