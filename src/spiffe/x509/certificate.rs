//! One certificate, read whole and strictly: what cannot be read exactly is refused (RFC 5280 §4.1).
//!
//! Reading says nothing about trust, and little about use: an expired certificate, or one with an unknown
//! critical extension, can be read. A signature or key of a kind that is not believed cannot.

use std::time::SystemTime;

use super::{
    Error,
    algorithm::{self, Key},
    der::{Element, INTEGER, OID, PRINTABLE_STRING, Reader, SEQUENCE, SET, UTF8_STRING},
    extensions::Extensions,
    time,
};

/// The longest certificate that is read, in bytes. One with a SPIFFE ID of 2048 bytes and a hundred DNS
/// names is under a quarter of it.
pub const CERTIFICATE_BYTES_MAX: usize = 32 * 1024;

/// The most octets of a serial number (RFC 5280 §4.1.2.2).
const SERIAL_OCTETS_MAX: usize = 20;

/// What a certificate says, borrowed from its bytes.
pub(super) struct Certificate<'a> {
    /// All of its bytes.
    pub(super) der: &'a [u8],
    /// The part that is signed.
    signed: &'a [u8],
    /// The content of the signature's `AlgorithmIdentifier`.
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    /// The content of the INTEGER; never negative.
    serial: &'a [u8],
    /// Chaining compares names byte by byte (RFC 5280 §7.1 allows that; what differs does not chain).
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) public_key: &'a [u8],
    pub(super) key: Key<'a>,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads exactly one certificate.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Error> {
        const WHAT: &str = "the certificate";
        check_size(der)?;
        let mut reader = Reader::new(der);
        let whole = reader.sequence(WHAT)?;
        reader.finish(WHAT)?;
        let mut reader = whole.reader();
        let signed = reader.sequence(WHAT)?;
        let outer_algorithm = reader.sequence("the signature algorithm")?;
        let signature = reader.whole_bits("the signature")?;
        reader.finish(WHAT)?;

        const SIGNED: &str = "the signed part";
        let mut reader = signed.reader();
        check_version(&mut reader)?;
        let serial = check_serial(reader.integer("the serial number")?)?;
        let signature_algorithm = reader.sequence("the signature algorithm")?;
        if signature_algorithm.whole != outer_algorithm.whole {
            return Err(Error::AlgorithmsDiffer);
        }
        if !algorithm::is_allowed(signature_algorithm.content) {
            return Err(Error::Algorithm);
        }
        let issuer = check_name(reader.sequence("the issuer's name")?)?;
        let (not_before, not_after) = read_validity(&mut reader)?;
        let subject = check_name(reader.sequence("the subject's name")?)?;
        let public_key = reader.sequence("the public key")?;
        let key = Key::read(&public_key)?;
        let extensions = read_extensions(&mut reader)?;
        // The unique identifiers of version 2 are refused by this: nobody makes them any more.
        reader.finish(SIGNED)?;
        Ok(Self {
            der,
            signed: signed.whole,
            signature_algorithm: signature_algorithm.content,
            signature,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            public_key: public_key.whole,
            key,
            extensions,
        })
    }

    /// Whether this key signed the certificate.
    pub(super) fn check_signature(&self, issuer: &Key<'_>) -> Result<(), Error> {
        issuer.check(self.signature_algorithm, self.signed, self.signature)
    }

    /// Whether it lives at this time. X.509 knows no leeway.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), Error> {
        if now < self.not_before {
            return Err(Error::NotYetValid);
        }
        if now > self.not_after {
            return Err(Error::Expired);
        }
        Ok(())
    }

    /// The serial number, big-endian, without its sign byte.
    pub(super) fn serial(&self) -> &'a [u8] {
        match self.serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        }
    }

    /// Whether its subject is the empty name.
    pub(super) fn has_empty_subject(&self) -> bool {
        self.subject == EMPTY_NAME
    }

    /// The first common name of its subject; `None` where it has none, or it is not text of a kind in use.
    pub(super) fn common_name(&self) -> Option<&'a str> {
        const WHAT: &str = "a name";
        let mut sets = Reader::new(self.subject).sequence(WHAT).ok()?.reader();
        while !sets.is_empty() {
            let mut attributes = sets.expect(SET, WHAT).ok()?.reader();
            while !attributes.is_empty() {
                let mut attribute = attributes.sequence(WHAT).ok()?.reader();
                if attribute.expect(OID, WHAT).ok()?.content == COMMON_NAME {
                    let value = attribute.element(WHAT).ok()?;
                    let is_text = matches!(value.tag, UTF8_STRING | PRINTABLE_STRING);
                    return is_text.then(|| str::from_utf8(value.content).ok()).flatten();
                }
            }
        }
        None
    }

    /// Whether issuer and subject are the same name (RFC 5280 §6.1: such ones do not count for path lengths).
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// 2.5.4.3 (X.520).
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// A SEQUENCE without anything.
const EMPTY_NAME: &[u8] = &[SEQUENCE, 0];

pub(super) fn check_size(der: &[u8]) -> Result<(), Error> {
    match der.len() {
        0 => Err(Error::NoCertificate),
        length if length > CERTIFICATE_BYTES_MAX => Err(Error::TooLarge(length)),
        _ => Ok(()),
    }
}

fn check_version(reader: &mut Reader<'_>) -> Result<(), Error> {
    /// `[0] EXPLICIT INTEGER 2`: version 3.
    const VERSION_3: &[u8] = &[0xa0, 3, INTEGER, 1, 2];
    match reader.optional(0xa0, "the version")? {
        Some(version) if version.whole == VERSION_3 => Ok(()),
        _ => Err(Error::Version),
    }
}

fn check_serial(serial: &[u8]) -> Result<&[u8], Error> {
    match serial {
        [0x80..=0xff, ..] => Err(Error::Serial("negative")),
        _ if serial.len() > SERIAL_OCTETS_MAX => Err(Error::Serial("longer than 20 octets")),
        _ => Ok(serial),
    }
}

/// A name is a SEQUENCE of SETs of attributes; what they say is not looked at.
fn check_name(name: Element<'_>) -> Result<&[u8], Error> {
    const WHAT: &str = "a name";
    let mut sets = name.reader();
    while !sets.is_empty() {
        let set = sets.expect(SET, WHAT)?;
        let mut attributes = set.reader();
        if attributes.is_empty() {
            return Err(Error::Malformed(WHAT));
        }
        while !attributes.is_empty() {
            let mut attribute = attributes.sequence(WHAT)?.reader();
            attribute.expect(OID, WHAT)?;
            attribute.element(WHAT)?;
            attribute.finish(WHAT)?;
        }
    }
    Ok(name.whole)
}

fn read_validity(reader: &mut Reader<'_>) -> Result<(SystemTime, SystemTime), Error> {
    const WHAT: &str = "the validity";
    let mut validity = reader.sequence(WHAT)?.reader();
    let both = (time::read(&mut validity)?, time::read(&mut validity)?);
    validity.finish(WHAT)?;
    Ok(both)
}

fn read_extensions<'a>(reader: &mut Reader<'a>) -> Result<Extensions<'a>, Error> {
    const WHAT: &str = "the extensions";
    let Some(tagged) = reader.optional(0xa3, WHAT)? else {
        return Ok(Extensions::default());
    };
    let mut tagged = tagged.reader();
    let list = tagged.sequence(WHAT)?;
    tagged.finish(WHAT)?;
    Extensions::read(list.reader())
}
