//! Where a private key is: in a file, or on a PKCS#11 token.

use core::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use settings::credential::{CredentialFileError, read_secret};
use settings::{ConfigError, SourceText};
use zeroize::Zeroizing;

/// Where a private key is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyPlace {
    /// A file: PKCS#8 in PEM or DER, readable by its owner only.
    File(PathBuf),
    /// A token.
    Token(TokenKey),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Token(key) => key.fmt(f),
        }
    }
}

/// A key on a PKCS#11 token (OASIS PKCS#11 v2.40 and later).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenKey {
    /// The module (shared library) of the token's vendor.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// Which of its private keys.
    pub key: KeySelector,
    /// The file with the user PIN, readable by its owner only.
    pub pin_file: PathBuf,
    /// How many signatures the token is given at one time, each in a session of its own.
    pub sessions: NonZeroUsize,
}

impl TokenKey {
    /// The user PIN: what is in its file, without the ends of lines after it.
    pub(crate) fn read_pin(&self) -> Result<Zeroizing<Vec<u8>>, CredentialFileError> {
        let mut octets = read_secret(&self.pin_file)?;
        let end = octets
            .iter()
            .rposition(|octet| !matches!(octet, b'\n' | b'\r'))
            .map_or(0, |last| last + 1);
        octets.truncate(end);
        Ok(octets)
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on token \"{}\"", self.key, self.token)
    }
}

/// Which private key of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySelector {
    /// By `CKA_ID`.
    Id(Vec<u8>),
    /// By `CKA_LABEL`.
    Label(String),
}

impl fmt::Display for KeySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => {
                f.write_str("the key with id ")?;
                id.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            Self::Label(label) => write!(f, "the key \"{label}\""),
        }
    }
}

impl KeySelector {
    /// From the hexadecimal digits of a `CKA_ID`.
    #[must_use]
    pub fn from_hex_id(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        if digits.is_empty() || !digits.len().is_multiple_of(2) || !is_hex {
            return None;
        }
        let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let id: Option<_> = digits.chunks_exact(2).map(octet).collect();
        id.map(Self::Id)
    }
}

/// How many signatures a token is given at one time, by default.
pub const TOKEN_SESSIONS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// `pkcs11 = { ... }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokenKey {
    module: PathBuf,
    token: String,
    key: Option<String>,
    id: Option<String>,
    pin_file: PathBuf,
    sessions: Option<usize>,
}

/// Where the key of `[signer]`, a `[[delegate]]` or a `[[crl]]` is: exactly one place.
pub(super) fn check(
    source: &SourceText<'_>,
    at: &str,
    folder: &Path,
    key: Option<PathBuf>,
    pkcs11: Option<RawTokenKey>,
) -> Result<KeyPlace, ConfigError> {
    match (key, pkcs11) {
        (Some(key), None) => Ok(KeyPlace::File(folder.join(key))),
        (None, Some(raw)) => raw.check(source, at, folder).map(KeyPlace::Token),
        (None, None) => Err(source.error(
            &[at, "key"],
            "nothing was found, expected a key file (key = \"signer.key\") or a key on a token (pkcs11 = { ... })",
        )),
        (Some(_), Some(_)) => Err(source.error(
            &[at, "pkcs11"],
            "key is there as well, expected one of both: remove that which is not used",
        )),
    }
}

impl RawTokenKey {
    fn check(
        self,
        source: &SourceText<'_>,
        at: &str,
        folder: &Path,
    ) -> Result<TokenKey, ConfigError> {
        let field = |name: &'static str| [at, "pkcs11", name];
        if cfg!(not(feature = "pkcs11")) {
            return Err(source.error(
                &[at, "pkcs11"],
                "this program was built without PKCS#11: build it with `cargo build --release -p ocsp-bridge --features pkcs11`, or use a key file",
            ));
        }
        let key = match (self.key, self.id) {
            (Some(label), None) => KeySelector::Label(label),
            (None, Some(id)) => KeySelector::from_hex_id(&id).ok_or_else(|| {
                source.error(
                    &field("id"),
                    format!(
                        "\"{id}\" was found, expected the key's CKA_ID in hexadecimal, as in \"01af\""
                    ),
                )
            })?,
            _ => {
                return Err(source.error(
                    &field("key"),
                    "expected either key, the private key's label, or id, its CKA_ID in hexadecimal",
                ));
            }
        };
        let sessions = match self.sessions {
            Some(count) => source.within(&field("sessions"), count, 1..=1_024, "sessions")?,
            None => TOKEN_SESSIONS.get(),
        };
        Ok(TokenKey {
            module: folder.join(self.module),
            token: self.token,
            key,
            pin_file: folder.join(self.pin_file),
            sessions: NonZeroUsize::new(sessions).unwrap_or(TOKEN_SESSIONS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(signer: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "[listen]\naddress = \"[::1]:1\"\n[ledger]\nnodes = [\"http://a\"]\n[signer]\ncertificate = \"s.pem\"\n{signer}\n"
        );
        Config::parse(Path::new("conf/bridge.toml"), &text)
    }

    const PLACE: &str = "module = \"/lib/m.so\", token = \"lab\", pin_file = \"pin\"";

    #[test]
    fn a_key_is_in_one_place() {
        for (signer, says) in [
            ("", "signer.key: nothing was found, expected a key file"),
            (
                &*format!("key = \"s.key\"\npkcs11 = {{ {PLACE}, key = \"k\" }}"),
                "signer.pkcs11: key is there as well",
            ),
            (
                "pkcs11 = { module = \"m\", token = \"t\", key = \"k\" }",
                "missing field `pin_file`",
            ),
        ] {
            let text = parse(signer).unwrap_err().to_string();
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_key_on_a_token_is_named_by_label_or_id() {
        let parsed = |rest: &str| {
            let signer = format!("pkcs11 = {{ {PLACE}{rest} }}");
            parse(&signer).map(|config| config.signer.unwrap().key)
        };
        if cfg!(not(feature = "pkcs11")) {
            let text = parsed(", key = \"k\"").unwrap_err().to_string();
            assert!(
                text.contains("signer.pkcs11: this program was built without PKCS#11")
                    && text.contains("--features pkcs11"),
                "{text}"
            );
            return;
        }
        let key = |key, sessions| {
            KeyPlace::Token(TokenKey {
                module: "/lib/m.so".into(),
                token: "lab".to_owned(),
                key,
                pin_file: "conf/pin".into(),
                sessions: NonZeroUsize::new(sessions).unwrap(),
            })
        };
        let label = KeySelector::Label("k".to_owned());
        assert_eq!(parsed(", key = \"k\""), Ok(key(label, 4)));
        let id = KeySelector::Id(vec![1, 0xaf]);
        assert_eq!(id.to_string(), "the key with id 01af");
        assert_eq!(parsed(", id = \"01aF\", sessions = 9"), Ok(key(id, 9)));
        for (rest, says) in [
            ("", "either key"),
            (", key = \"k\", id = \"01\"", "either key"),
            (", id = \"01a\"", "\"01a\" was found"),
            (", id = \"\"", "CKA_ID in hexadecimal"),
            (", id = \"+1\"", "CKA_ID in hexadecimal"),
            (", key = \"k\", sessions = 0", "1 to 1024 sessions"),
        ] {
            let text = parsed(rest).unwrap_err().to_string();
            assert!(text.contains(says), "{rest}: {text}");
        }
    }
}
