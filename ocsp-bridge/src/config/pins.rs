//! One token, one PIN: tokens lock themselves after some wrong ones.

use std::fs;
use std::path::PathBuf;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{Config, KeyPlace, TokenKey};

/// Two entries give one token different PINs.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{first} and {second} hold different PINs for the token \"{token}\": none was tried, since tokens lock after some wrong ones; give both the same pin_file"
)]
pub struct PinConflict {
    /// The token's label.
    pub token: String,
    /// The first entry, with its `pin_file`.
    pub first: String,
    /// The other one.
    pub second: String,
}

impl Config {
    /// Whether the entries with keys on one token agree on its PIN: at most one of two can be right, and each wrong one
    /// counts against the token. It reads their `pin_file`s where these are not the same; one that cannot be read
    /// is told where it is needed.
    ///
    /// # Errors
    ///
    /// [`PinConflict`] for the first two that differ.
    pub fn check_pins(&self) -> Result<(), PinConflict> {
        let keys: Vec<_> = self.token_keys().collect();
        for (at, (second, key)) in keys.iter().enumerate() {
            let same_token = |(_, other): &&(String, &TokenKey)| {
                other.token == key.token && file(&other.module) == file(&key.module)
            };
            for (first, other) in keys.iter().take(at).filter(same_token) {
                if other.pin_file == key.pin_file {
                    continue;
                }
                if let (Some(ours), Some(theirs)) = (pin(other), pin(key))
                    && ours != theirs
                {
                    return Err(PinConflict {
                        token: key.token.clone(),
                        first: format!("{first}: {}", other.pin_file.display()),
                        second: format!("{second}: {}", key.pin_file.display()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Each key on a token, with the entry that names it.
    fn token_keys(&self) -> impl Iterator<Item = (String, &TokenKey)> {
        let signer = self.signer.iter().map(|signer| {
            let entry = format!("[signer] {}", signer.certificate.display());
            (entry, &signer.key)
        });
        let delegates = self.delegates.iter().map(|delegate| {
            let signer = &delegate.signer;
            let entry = format!("[[delegate]] {}", signer.certificate.display());
            (entry, &signer.key)
        });
        let crls = self.crls.iter().map(|crl| {
            let entry = format!("[[crl]] {}", crl.certificate.display());
            (entry, &crl.key)
        });
        let all = signer.chain(delegates).chain(crls);
        all.filter_map(|(entry, place)| match place {
            KeyPlace::File(_) => None,
            KeyPlace::Token(key) => Some((entry, key)),
        })
    }
}

/// One file may have several names.
fn file(module: &PathBuf) -> PathBuf {
    fs::canonicalize(module).unwrap_or_else(|_| module.clone())
}

fn pin(key: &TokenKey) -> Option<Zeroizing<Vec<u8>>> {
    key.read_pin().ok()
}

#[cfg(all(test, feature = "pkcs11"))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::bridge::Bridge;

    const PLACE: &str = "module = \"m.so\", key = \"k\", token =";

    #[tokio::test]
    async fn a_token_has_one_pin_before_any_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        for (name, pin) in [
            ("a", "1234\n"),
            ("same", "1234"),
            ("b", "4321"),
            ("open", "9"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, pin).unwrap();
            let mode = if name == "open" { 0o644 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let parse = |token: &str, pin: &str| {
            let text = format!(
                "[listen]\naddress = \"[::1]:0\"\n[ledger]\nnodes = [\"http://[::1]:1\"]\n[signer]\ncertificate = \"s.pem\"\npkcs11 = {{ {PLACE} \"lab\", pin_file = \"a\" }}\n[[crl]]\nissuer = \"c.pem\"\ncertificate = \"c.pem\"\npkcs11 = {{ {PLACE} \"{token}\", pin_file = \"{pin}\" }}\n"
            );
            Config::parse(&folder.path().join("bridge.toml"), &text).unwrap()
        };
        for (token, pin) in [
            ("lab", "a"),
            ("lab", "same"),
            ("lab", "open"),
            ("other", "b"),
        ] {
            assert_eq!(parse(token, pin).check_pins(), Ok(()), "{token} {pin}");
        }
        let conflict = parse("lab", "b").check_pins().unwrap_err();
        assert_eq!(conflict.token, "lab");
        let name = |entry: &str, file: &str, pin: &str| {
            let at = |name: &str| folder.path().join(Path::new(name)).display().to_string();
            format!("{entry} {}: {}", at(file), at(pin))
        };
        assert_eq!(conflict.first, name("[signer]", "s.pem", "a"));
        assert_eq!(conflict.second, name("[[crl]]", "c.pem", "b"));
        // The bridge says so before it reads or loads anything else.
        let error = Bridge::start(parse("lab", "b")).await.err().unwrap();
        assert_eq!(error.to_string(), conflict.to_string());
        assert!(!error.to_string().contains("4321"));
    }
}
