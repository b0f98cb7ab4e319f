//! A key in every form in which it could be written down.

use std::collections::BTreeSet;

/// What is searched for. Of each key the private number, which no other thing contains, and the whole of it.
#[derive(Default)]
pub(super) struct Needles {
    keys: BTreeSet<Vec<u8>>,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Needles {
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn forms(&self) -> usize {
        self.forms.len()
    }

    /// A key, PKCS#8 DER.
    pub(super) fn add(&mut self, der: &[u8]) {
        if !self.keys.insert(der.to_vec()) {
            return;
        }
        let private = private_number(der).expect("an EC key");
        self.form("the key in DER", der.to_vec());
        self.form("the private number", private.to_vec());
        self.spelt("the key in hex", der);
        self.spelt("the private number in hex", private);
        // A PEM body has its line ends after 64 characters: its second line alone is proof enough.
        let coded = base64(der, STANDARD);
        self.form("a PEM line", coded[64..128].to_vec());
    }

    /// A token's signature, without which it is worth nothing: base64url, as it stands in the token, and in other forms.
    pub(super) fn add_token(&mut self, token: &str) {
        let signature = token.rsplit('.').next().expect("a signature");
        self.form("a token's signature", signature.as_bytes().to_vec());
        self.spelt("a token's signature in hex", &data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap());
    }

    /// A private JWK, JSON.
    pub(super) fn add_jwk(&mut self, jwk: &str) {
        let jwk: serde_json::Value = serde_json::from_str(jwk).unwrap();
        let private = jwk["d"].as_str().expect("a private key");
        let bytes = data_encoding::BASE64URL_NOPAD.decode(private.as_bytes()).unwrap();
        if self.keys.insert(bytes.clone()) {
            self.form("the private number", bytes.clone());
            self.spelt("the private number in hex", &bytes);
        }
    }

    /// As programs write bytes down.
    fn spelt(&mut self, in_hex: &'static str, bytes: &[u8]) {
        for upper in [false, true] {
            self.form(in_hex, hex(bytes, upper));
        }
        for alphabet in [STANDARD, URL] {
            // Base64 looks different with one and two bytes before it; its first and last characters mix with others.
            for shift in 0..3 {
                let shifted = [&[0; 2][..shift], bytes].concat();
                let coded = base64(&shifted, alphabet);
                self.form("base64", coded[4..coded.len() - 4].to_vec());
            }
        }
        self.form("bytes as Debug shows them", format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    }

    /// A key as the CA keeps it: PEM or DER, PKCS#8.
    pub(super) fn add_file(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes).ok().filter(|text| text.contains("-----BEGIN")) {
            Some(text) => {
                let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
                self.add(&decode(&body));
            }
            None => self.add(bytes),
        }
        self.form("a key file", bytes.to_vec());
    }

    fn form(&mut self, what: &'static str, bytes: Vec<u8>) {
        self.forms.push((what, bytes));
    }

    /// The first form that is in these bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        // By their first eight bytes, so that a large place is gone through once.
        let mut heads: std::collections::HashMap<&[u8], Vec<usize>> = std::collections::HashMap::new();
        for (at, (_, form)) in self.forms.iter().enumerate() {
            heads.entry(&form[..8]).or_default().push(at);
        }
        bytes.windows(8).enumerate().find_map(|(at, window)| {
            let candidates = heads.get(window)?;
            candidates
                .iter()
                .find(|form| bytes[at..].starts_with(&self.forms[**form].1))
                .map(|form| self.forms[*form].0)
        })
    }
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The private number of an EC key: the first OCTET STRING of 32 or 48 bytes (RFC 5915 §3).
fn private_number(der: &[u8]) -> Option<&[u8]> {
    (0..der.len()).find_map(|at| match der.get(at..at + 2)? {
        [4, length @ (32 | 48)] => der.get(at + 2..at + 2 + usize::from(*length)),
        _ => None,
    })
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if upper { text.to_uppercase().into_bytes() } else { text.into_bytes() }
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut coded = Vec::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let characters =
            (0..=chunk.len()).map(|at| alphabet[usize::try_from(group >> (18 - 6 * at) & 63).expect("six bits")]);
        coded.extend(characters);
    }
    coded
}

fn decode(text: &str) -> Vec<u8> {
    let values = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(|byte| STANDARD.iter().position(|known| *known == byte).expect("base64"));
    let values: Vec<_> = values.collect();
    let mut bytes = Vec::new();
    for chunk in values.chunks(4) {
        let group = chunk.iter().fold(0, |group, value| group << 6 | value) << (6 * (4 - chunk.len()));
        bytes.extend((0..chunk.len() - 1).map(|at| u8::try_from(group >> (16 - 8 * at) & 255).expect("a byte")));
    }
    bytes
}
