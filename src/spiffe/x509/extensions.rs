//! The extensions that decide what a certificate is (RFC 5280 §4.2). One that cannot be read exactly is
//! an error, never the same as an absent one.

use super::{
    Error,
    der::{BIT_STRING, Element, OCTET_STRING, OID, Reader},
};

/// The most extensions in one certificate; twelve are many.
const EXTENSIONS_MAX: usize = 64;

/// What the extensions say. `None` is: not there.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<Marked<BasicConstraints>>,
    pub(super) key_usage: Option<Marked<KeyUsage>>,
    pub(super) extended_key_usage: Option<Marked<ExtendedKeyUsage>>,
    pub(super) alternative_name: Option<Marked<AlternativeName<'a>>>,
    pub(super) subject_key_id: Option<Marked<&'a [u8]>>,
    pub(super) authority_key_id: Option<Marked<Option<&'a [u8]>>>,
    /// Whether there are name constraints of any kind.
    pub(super) name_constraints: bool,
    /// The first critical extension that is not one of these.
    unknown_critical: Option<&'a [u8]>,
}

/// An extension's value, and whether it was marked critical.
pub(super) struct Marked<T> {
    pub(super) critical: bool,
    pub(super) value: T,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BasicConstraints {
    pub(super) authority: bool,
    /// How many authorities may follow below.
    pub(super) path_length: Option<u32>,
    /// Whether it is the empty SEQUENCE, as a leaf should have it.
    pub(super) is_empty: bool,
}

/// The named bits of RFC 5280 §4.2.1.3, the first in the highest bit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUsage(u16);

impl KeyUsage {
    pub(super) const DIGITAL_SIGNATURE: Self = Self(0x8000);
    pub(super) const KEY_ENCIPHERMENT: Self = Self(0x2000);
    pub(super) const KEY_AGREEMENT: Self = Self(0x0800);
    pub(super) const KEY_CERT_SIGN: Self = Self(0x0400);
    pub(super) const CRL_SIGN: Self = Self(0x0200);

    pub(super) fn has(self, bit: Self) -> bool {
        self.0 & bit.0 != 0
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExtendedKeyUsage {
    pub(super) server: bool,
    pub(super) client: bool,
}

/// The subject alternative name, as far as it matters here.
#[derive(Default)]
pub(super) struct AlternativeName<'a> {
    /// The first URI.
    pub(super) uri: Option<&'a [u8]>,
    pub(super) uris: usize,
    pub(super) dns_names: Vec<&'a str>,
}

impl<'a> Extensions<'a> {
    /// Reads the content of the list.
    pub(super) fn read(mut list: Reader<'a>) -> Result<Self, Error> {
        const WHAT: &str = "an extension";
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut found = Self::default();
        if list.is_empty() {
            return Err(Error::Malformed("the extensions"));
        }
        while !list.is_empty() {
            let mut extension = list.sequence(WHAT)?.reader();
            let name = extension.expect(OID, WHAT)?.content;
            let critical = extension.boolean_or_false(WHAT)?;
            let value = extension.expect(OCTET_STRING, WHAT)?;
            extension.finish(WHAT)?;
            if seen.contains(&name) {
                return Err(Error::DuplicateExtension(dotted(name)));
            }
            if seen.len() == EXTENSIONS_MAX {
                return Err(Error::Malformed("the number of extensions"));
            }
            seen.push(name);
            found.take(name, critical, value.reader())?;
        }
        Ok(found)
    }

    fn take(&mut self, name: &'a [u8], critical: bool, mut value: Reader<'a>) -> Result<(), Error> {
        let what = match name {
            BASIC_CONSTRAINTS => {
                self.basic_constraints = Some(Marked { critical, value: basic_constraints(&mut value)? });
                "the basic constraints"
            }
            KEY_USAGE => {
                self.key_usage = Some(Marked { critical, value: key_usage(&mut value)? });
                "the key usage"
            }
            EXTENDED_KEY_USAGE => {
                self.extended_key_usage = Some(Marked { critical, value: extended_key_usage(&mut value)? });
                "the extended key usage"
            }
            ALTERNATIVE_NAME => {
                self.alternative_name = Some(Marked { critical, value: alternative_name(&mut value)? });
                "the subject alternative name"
            }
            SUBJECT_KEY_ID => {
                let id = value.expect(OCTET_STRING, "the subject key identifier")?.content;
                self.subject_key_id = Some(Marked { critical, value: id });
                "the subject key identifier"
            }
            AUTHORITY_KEY_ID => {
                self.authority_key_id = Some(Marked { critical, value: authority_key_id(&mut value)? });
                "the authority key identifier"
            }
            NAME_CONSTRAINTS => {
                value.sequence("the name constraints")?;
                self.name_constraints = true;
                "the name constraints"
            }
            _ => {
                if critical {
                    self.unknown_critical = self.unknown_critical.or(Some(name));
                }
                // Its value is anybody's: not even DER has to be in it.
                return Ok(());
            }
        };
        value.finish(what)
    }

    /// Everything that was marked critical is understood (RFC 5280 §4.2).
    pub(super) fn check_critical(&self) -> Result<(), Error> {
        match self.unknown_critical {
            Some(name) => Err(Error::CriticalExtension(dotted(name))),
            None => Ok(()),
        }
    }

    /// Whether this is an authority's certificate by its basic constraints.
    pub(super) fn is_authority(&self) -> bool {
        self.basic_constraints.as_ref().is_some_and(|constraints| constraints.value.authority)
    }
}

fn basic_constraints(value: &mut Reader<'_>) -> Result<BasicConstraints, Error> {
    const WHAT: &str = "the basic constraints";
    let sequence = value.sequence(WHAT)?;
    let mut inside = sequence.reader();
    let authority = inside.boolean_or_false(WHAT)?;
    let path_length = match inside.is_empty() {
        true => None,
        false => Some(path_length(inside.integer(WHAT)?).ok_or(Error::Malformed(WHAT))?),
    };
    inside.finish(WHAT)?;
    // RFC 5280 §4.2.1.9: without `cA` there must be no path length.
    if path_length.is_some() && !authority {
        return Err(Error::Malformed(WHAT));
    }
    Ok(BasicConstraints { authority, path_length, is_empty: sequence.content.is_empty() })
}

/// A path length that is not negative. Longer ones than 255 are as good as 255: no chain is that long.
fn path_length(content: &[u8]) -> Option<u32> {
    match content {
        [length @ 0..=0x7f] => Some(u32::from(*length)),
        [0x80..=0xff, ..] => None,
        _ => Some(255),
    }
}

fn key_usage(value: &mut Reader<'_>) -> Result<KeyUsage, Error> {
    const WHAT: &str = "the key usage";
    let (unused, bits) = match value.expect(BIT_STRING, WHAT)?.content {
        [unused @ 0..=7, high] => (*unused, u16::from_be_bytes([*high, 0])),
        [unused @ 0..=7, high, low] if *low != 0 => (*unused, u16::from_be_bytes([*high, *low])),
        _ => return Err(Error::Malformed(WHAT)),
    };
    // Named bits are cut after the last one that is set (X.690 §11.2.2), so it says how many are unused.
    match bits.trailing_zeros() % 8 == u32::from(unused) && bits != 0 {
        true => Ok(KeyUsage(bits)),
        false => Err(Error::Malformed(WHAT)),
    }
}

fn extended_key_usage(value: &mut Reader<'_>) -> Result<ExtendedKeyUsage, Error> {
    const WHAT: &str = "the extended key usage";
    let mut purposes = value.sequence(WHAT)?.reader();
    if purposes.is_empty() {
        return Err(Error::Malformed(WHAT));
    }
    let mut usage = ExtendedKeyUsage::default();
    while !purposes.is_empty() {
        match purposes.expect(OID, WHAT)?.content {
            SERVER_AUTH => usage.server = true,
            CLIENT_AUTH => usage.client = true,
            // Also `anyExtendedKeyUsage`: TLS libraries do not agree on what it allows.
            _ => {}
        }
    }
    Ok(usage)
}

fn alternative_name<'a>(value: &mut Reader<'a>) -> Result<AlternativeName<'a>, Error> {
    const WHAT: &str = "the subject alternative name";
    let mut names = value.sequence(WHAT)?.reader();
    if names.is_empty() {
        return Err(Error::Malformed(WHAT));
    }
    let mut found = AlternativeName::default();
    while !names.is_empty() {
        let Element { tag, content, .. } = names.element(WHAT)?;
        match tag {
            // otherName, x400Address, directoryName, ediPartyName; e-mail; registeredID
            0xa0 | 0xa3..=0xa5 | 0x88 => {}
            0x81 => drop(ascii(content)?),
            0x82 => found.dns_names.push(ascii(content)?),
            0x86 => {
                ascii(content)?;
                found.uri = found.uri.or(Some(content));
                found.uris += 1;
            }
            0x87 if matches!(content.len(), 4 | 16) => {}
            _ => return Err(Error::Malformed(WHAT)),
        }
    }
    Ok(found)
}

/// An IA5String.
fn ascii(content: &[u8]) -> Result<&str, Error> {
    match str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(Error::Malformed("a name in the subject alternative name")),
    }
}

fn authority_key_id<'a>(value: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Error> {
    const WHAT: &str = "the authority key identifier";
    let mut inside = value.sequence(WHAT)?.reader();
    let id = inside.optional(0x80, WHAT)?.map(|element| element.content);
    // The issuer's name and serial, both or none (RFC 5280 §4.2.1.1).
    if inside.optional(0xa1, WHAT)?.is_some() != inside.optional(0x82, WHAT)?.is_some() {
        return Err(Error::Malformed(WHAT));
    }
    inside.finish(WHAT)?;
    Ok(id)
}

/// An object identifier as people write it: `2.5.29.15`.
fn dotted(content: &[u8]) -> String {
    let mut arcs: Vec<String> = Vec::new();
    let mut arc = 0_u64;
    for byte in content {
        // Longer numbers than a u64 are shown wrong, not refused: this is for an error's text only.
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first.to_string());
                arc -= first * 40;
            }
            arcs.push(arc.to_string());
            arc = 0;
        }
    }
    arcs.join(".")
}

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
