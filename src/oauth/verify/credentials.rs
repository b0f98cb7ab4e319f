//! What stands in the headers of a request: one token, and one proof.

use super::Reason;

/// The token of the one `Authorization` header, which must be of the scheme `DPoP` (RFC 9449 §7.1).
pub(super) fn token<'a>(authorization: &[&'a [u8]]) -> Result<&'a str, Reason> {
    let value = match authorization {
        [] => return Err(Reason::NoCredentials),
        [one] => str::from_utf8(one).map_err(|_| Reason::Credentials)?,
        _ => return Err(Reason::SeveralCredentials),
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Reason::Bearer);
    }
    if !scheme.eq_ignore_ascii_case("DPoP") {
        return Err(Reason::NoCredentials);
    }
    let token = rest.trim_start_matches(' ');
    match token.bytes().all(is_token_byte) {
        true if !token.is_empty() => Ok(token),
        // Two headers that somebody has made one.
        _ if token.contains(',') => Err(Reason::SeveralCredentials),
        _ => Err(Reason::Credentials),
    }
}

/// The value of the one `DPoP` header.
pub(super) fn proof<'a>(proofs: &[&'a [u8]]) -> Result<&'a str, Reason> {
    match proofs {
        [] => Err(Reason::NoProof),
        [one] => str::from_utf8(one).map_err(|_| Reason::ProofNotAscii),
        _ => Err(Reason::SeveralProofs),
    }
}

/// token68 (RFC 9110 §11.2)
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}
