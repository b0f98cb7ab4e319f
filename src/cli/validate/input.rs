//! What is to be judged, from stdin or a file. It may be a secret, so it is wiped, and never part of an error's words.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::{
    cli::{exit::Exit, failure::Failure},
    spiffe::x509,
};

/// The longest input, in bytes: as long as a bundle document may be.
pub(super) const INPUT_BYTES_MAX: usize = crate::spiffe::document::DOCUMENT_BYTES_MAX;

/// Reads a file, or stdin for `-`.
///
/// # Errors
/// When it cannot be read, or is longer than [`INPUT_BYTES_MAX`].
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path.as_os_str() == "-" {
        return all(io::stdin().lock(), "stdin");
    }
    let name = path.display().to_string();
    let file = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::Missing, format!("there is no file {name}")),
        _ => Failure::because(format_args!("{name} cannot be read"), &error),
    })?;
    all(file, &name)
}

/// Reads a token; a line end behind it is not part of it.
///
/// # Errors
/// As [`read`]; when it is not text, or the token itself stands in the place of a file.
pub(crate) fn token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    if is_token(&path.to_string_lossy()) {
        return Err(Failure::new(Exit::Usage, "a token on the command line can be read by every user of this machine")
            .hint("give it on stdin or in a file, and ask for a new one if this machine has other users"));
    }
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new(Exit::Usage, "the token is not text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.is_empty() {
        true => Err(Failure::new(Exit::Usage, "there is no token")),
        false => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// Certificates in PEM or DER, in their order; other things in PEM (a key) are passed over.
///
/// # Errors
/// Words that say what is wrong with it.
pub(crate) fn certificates(bytes: &[u8], most: usize) -> Result<Vec<Bytes>, Box<dyn std::error::Error>> {
    if !is_pem(bytes) {
        return Ok(x509::split_at_most(&Bytes::copy_from_slice(bytes), most)?);
    }
    let mut found = Vec::new();
    for each in pem::parse_many(bytes)? {
        if each.tag() == "CERTIFICATE" {
            found.push(Bytes::copy_from_slice(each.contents()));
        }
        drop(Zeroizing::new(each.into_contents()));
    }
    match found.len() {
        0 => Err("it has no certificate".into()),
        count if count > most => Err(format!("it has {count} certificates, at most {most} are read").into()),
        _ => Ok(found),
    }
}

pub(super) fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Whether a word is a token rather than a path: three parts, the first of which is base64url of `{"`.
fn is_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.split('.').count() == 3 && !word.contains('/')
}

fn all(from: impl Read, name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let most = u64::try_from(INPUT_BYTES_MAX).unwrap_or(u64::MAX);
    let read = from.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::because(format_args!("{name} cannot be read"), &error))?;
    match bytes.len() > INPUT_BYTES_MAX {
        true => Err(Failure::new(Exit::Usage, format!("{name} has more than {INPUT_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use crate::sys::scratch::Scratch;

    use super::*;

    #[test]
    fn a_token_on_the_command_line_is_refused_and_not_repeated() {
        let word = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        let failure = token(Path::new(word)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(!format!("{failure:?}").contains(word));
        assert!(!is_token("eyJ.d/a.b") && !is_token("web.token") && !is_token("-"));
    }

    #[test]
    fn one_line_end_is_not_part_of_a_token() {
        let folder = Scratch::new();
        let path = folder.path().join("token");
        for (text, read) in [("a.b.c", "a.b.c"), ("a.b.c\n", "a.b.c"), ("a.b.c\r\n", "a.b.c"), ("a.b.c\n\n", "a.b.c\n")]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(token(&path).unwrap().as_str(), read);
        }
        for wrong in [b"\n".as_slice(), b"", b"\xff.b.c"] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(token(&path).unwrap_err().exit(), Exit::Usage);
        }
        assert_eq!(token(&folder.path().join("none")).unwrap_err().exit(), Exit::Missing);
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let failure = all(io::repeat(b'a'), "it").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(all(io::repeat(b'a').take(4_194_304), "it").unwrap().len(), INPUT_BYTES_MAX);
    }

    #[test]
    fn a_key_beside_the_certificates_is_passed_over() {
        let both = "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n\
                    -----BEGIN PRIVATE KEY-----\na2V5\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(both.as_bytes(), 16).unwrap(), [Bytes::from_static(b"one")]);
        assert!(certificates(b"-----BEGIN PRIVATE KEY-----\na2V5\n-----END PRIVATE KEY-----\n", 16).is_err());
        assert!(certificates(both.repeat(3).as_bytes(), 2).is_err());
    }
}
