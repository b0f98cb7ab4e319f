//! A reader of DER that takes nothing else: one-byte tags, definite and minimal lengths, no bytes left
//! over (X.690 §10, §11).

use super::Error;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One element: its tag, its content, and all of its bytes.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// What is inside.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is. `what` names it in an error.
    pub(super) fn element(&mut self, what: &'static str) -> Result<Element<'a>, Error> {
        let (element, rest) = read(self.0).ok_or(Error::Malformed(what))?;
        self.0 = rest;
        Ok(element)
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, Error> {
        match self.element(what)? {
            element if element.tag == tag => Ok(element),
            _ => Err(Error::Malformed(what)),
        }
    }

    pub(super) fn sequence(&mut self, what: &'static str) -> Result<Element<'a>, Error> {
        self.expect(SEQUENCE, what)
    }

    /// The next element if it has this tag; nothing is consumed if it has not.
    pub(super) fn optional(&mut self, tag: u8, what: &'static str) -> Result<Option<Element<'a>>, Error> {
        match self.0.first() {
            Some(first) if *first == tag => self.element(what).map(Some),
            _ => Ok(None),
        }
    }

    /// A BOOLEAN that may be left out when it is false. An explicit FALSE is not DER, yet common, and
    /// harmless: it means the same.
    pub(super) fn boolean_or_false(&mut self, what: &'static str) -> Result<bool, Error> {
        match self.optional(BOOLEAN, what)?.map(|element| element.content) {
            None | Some([0x00]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(Error::Malformed(what)),
        }
    }

    /// The content of an INTEGER, minimal, with its sign.
    pub(super) fn integer(&mut self, what: &'static str) -> Result<&'a [u8], Error> {
        let content = self.expect(INTEGER, what)?.content;
        match content {
            [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Error::Malformed(what)),
            _ => Ok(content),
        }
    }

    /// The bytes of a BIT STRING that fills them all.
    pub(super) fn whole_bits(&mut self, what: &'static str) -> Result<&'a [u8], Error> {
        match self.expect(BIT_STRING, what)?.content {
            [0, bits @ ..] => Ok(bits),
            _ => Err(Error::Malformed(what)),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(self, what: &'static str) -> Result<(), Error> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Error::Trailing(what)),
        }
    }
}

/// Splits the first element off. `None` where there is none, or it is not DER.
fn read(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    // Tag numbers from 31 on take several bytes; no certificate has them.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0x00..=0x7f => (usize::from(*first), rest),
        // 0x80 is the indefinite length of BER; five bytes of length and more are no certificate.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let value =
                length.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?;
            let shortest = value > 0x7f && length.first() != Some(&0);
            (shortest.then_some(value)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { tag: *tag, content, whole }, rest))
}
