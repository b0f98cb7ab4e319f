//! What one update is as files: their names, what is in them, and who may read them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::{Zeroize as _, Zeroizing};

/// The files of one update. Names are relative, with one folder at most, and come from here or from a trust domain.
#[derive(Default)]
pub(super) struct Files {
    pub(super) list: Vec<File>,
    /// Whose it is and until when, for the person.
    pub(super) subject: String,
    /// Of an identity.
    pub(super) spiffe_id: Option<String>,
}

/// One file.
pub(super) struct File {
    pub(super) name: String,
    /// Wiped when dropped.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) is_secret: bool,
}

/// Who may read the files with keys and tokens.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Modes {
    /// Mode of the files with keys and tokens: 0600, or 0640 for a group; others never get a right. The rest have 0644
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = secret_mode, requires = "write")]
    pub(super) secret_mode: u32,
}

impl Files {
    pub(super) fn new(subject: String) -> Self {
        Self { subject, ..Self::default() }
    }

    /// Of this identity.
    pub(super) fn of(self, id: &impl ToString) -> Self {
        Self { spiffe_id: Some(id.to_string()), ..self }
    }

    /// With a file that everybody may read.
    pub(super) fn public(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let bytes = Zeroizing::new(text.into().into_bytes());
        self.list.push(File { name: name.into(), bytes, is_secret: false });
        self
    }

    /// With a file for those who are meant only.
    pub(super) fn secret(mut self, name: impl Into<String>, text: &str) -> Self {
        let bytes = Zeroizing::new(text.as_bytes().to_vec());
        self.list.push(File { name: name.into(), bytes, is_secret: true });
        self
    }

    /// What a command is told: `DAYFLY_DIR`, a path for each file outside folders (`DAYFLY_SVID_KEY` for
    /// `svid_key.pem`), and `DAYFLY_SPIFFE_ID` where there is one.
    pub(super) fn environment(&self, dir: &Path) -> Vec<(String, PathBuf)> {
        let mut all = vec![("DAYFLY_DIR".to_owned(), dir.to_owned())];
        all.extend(self.spiffe_id.iter().map(|id| ("DAYFLY_SPIFFE_ID".to_owned(), id.into())));
        // A folder's files are named by trust domains, and such a name could be that of another variable.
        let files = self.list.iter().filter(|file| !file.name.contains('/'));
        all.extend(files.map(|file| (variable(&file.name), dir.join(&file.name))));
        all
    }
}

fn variable(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("DAYFLY_{}", stem.replace(|each: char| !each.is_ascii_alphanumeric(), "_").to_ascii_uppercase())
}

fn secret_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o660 == 0 && mode & 0o400 != 0 => Ok(mode),
        _ => Err("it is one of 0400, 0440, 0600, 0640, 0660".into()),
    }
}

/// Certificates in PEM, one after the other.
pub(in crate::cli) fn certificates(ders: &[Bytes]) -> String {
    ders.iter().map(|der| encode(&Pem::new("CERTIFICATE", der.as_ref()))).collect()
}

/// A PKCS#8 key in PEM; wiped when dropped.
pub(super) fn private_key(pkcs8: &[u8]) -> Zeroizing<String> {
    let pem = Pem::new("PRIVATE KEY", pkcs8);
    let text = Zeroizing::new(encode(&pem));
    pem.into_contents().zeroize();
    text
}

fn encode(pem: &Pem) -> String {
    pem::encode_config(pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_of_each_file_outside_folders() {
        let files = Files::new(String::new())
            .of(&"spiffe://example.org/web")
            .public("svid.pem", "")
            .secret("jwt_svid.0.token", "")
            .public("federated/home.pem", "");
        let told = files.environment(Path::new("/certs"));
        let told: Vec<_> = told.iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
        assert_eq!(
            told,
            [
                "DAYFLY_DIR=/certs",
                "DAYFLY_SPIFFE_ID=spiffe://example.org/web",
                "DAYFLY_SVID=/certs/svid.pem",
                "DAYFLY_JWT_SVID_0=/certs/jwt_svid.0.token",
            ]
        );
    }

    #[test]
    fn others_never_get_a_right_on_a_secret() {
        for (text, mode) in [("0600", 0o600), ("640", 0o640), ("0440", 0o440)] {
            assert_eq!(secret_mode(text), Ok(mode));
        }
        for wrong in ["0644", "0604", "0700", "0060", "0", "rw", "-600", "1600"] {
            assert!(secret_mode(wrong).is_err(), "{wrong}");
        }
    }
}
