//! The mark of our tokens: by what a scanner finds them in a log, a prompt or a repository.

use crate::{oauth::Thumbprint, spiffe::jose::Jwk};

/// What every `kid` begins with. It has 2 + 3k characters, so that base64 ends with it and all before it is constant.
pub const KEY_ID_BRAND: &str = "dfly-";
/// The longest `kid`, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// What every token begins with.
pub const CONSTANT_PREFIX: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImRmbHkt";

/// The characters of a token's signature: 64 bytes.
const SIGNATURE_CHARS: usize = 86;

/// A `kid` for this key: the brand and the key's thumbprint.
pub fn key_id(key: &Jwk) -> String {
    format!("{KEY_ID_BRAND}{}", Thumbprint::of(key))
}

/// Whether a text can be a `kid` of ours: the brand, then letters, digits, `-` and `_`.
pub fn is_key_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() <= KEY_ID_BYTES_MAX
        && text.strip_prefix(KEY_ID_BRAND).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_plain))
}

/// The regular expression that finds our tokens and nothing else, for scanners of secrets. It is in the syntax that RE2,
/// Rust, Python, PCRE and JavaScript share.
pub fn pattern() -> String {
    // The rest of the header is a `kid` of up to 64 bytes and `"}`.
    let header_max = (KEY_ID_BYTES_MAX - KEY_ID_BRAND.len() + 2).div_ceil(3) * 4;
    format!(
        r"{CONSTANT_PREFIX}[A-Za-z0-9]{{2,{header_max}}}\.eyJ[A-Za-z0-9_-]{{100,}}\.[A-Za-z0-9_-]{{{SIGNATURE_CHARS}}}",
    )
}
