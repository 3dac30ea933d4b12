//! Members' keys in files: PKCS#8, PEM, readable by their owner only.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ledger::MemberKey;
use pkcs8::{LineEnding, SecretDocument};
use ring::signature::Ed25519KeyPair;
use settings::credential::{CredentialFileError, read_key};

use crate::endorser::Endorser;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key file {}: {problem}", file.display())]
pub struct KeyError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: KeyProblem,
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// The file is there already.
    #[error("it exists already and is not overwritten; name another, or move it away")]
    Exists,
    /// It cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It cannot be read, others can read it, or it holds no key in PKCS#8.
    #[error("{}", .0.reason())]
    File(CredentialFileError),
    /// The system has no randomness, or the new key cannot be encoded.
    #[error("a key cannot be made: {0}")]
    Generation(String),
    /// A key of another kind.
    #[error(
        "it is not an Ed25519 key in PKCS#8 ({0}); members sign with Ed25519: `openssl genpkey -algorithm ed25519` makes one"
    )]
    NotEd25519(String),
}

/// Reads a member's key.
///
/// # Errors
///
/// When the file cannot be read, when its group or others may read it, or when it holds no Ed25519
/// key in PKCS#8.
pub fn read(path: &Path) -> Result<Ed25519KeyPair, KeyError> {
    read_pair(path).map_err(|problem| KeyError {
        file: path.to_path_buf(),
        problem,
    })
}

/// Makes a key and writes it to a new file that only its owner may read.
///
/// # Errors
///
/// When the file exists or cannot be written, or the system has no randomness.
pub fn generate(path: &Path) -> Result<MemberKey, KeyError> {
    write_new(path).map_err(|problem| KeyError {
        file: path.to_path_buf(),
        problem,
    })
}

fn read_pair(path: &Path) -> Result<Ed25519KeyPair, KeyProblem> {
    let key = read_key(path).map_err(KeyProblem::File)?;
    // "Maybe unchecked", since openssl writes version 1, without the public half to check against.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes())
        .map_err(|error| KeyProblem::NotEd25519(error.to_string()))
}

fn write_new(path: &Path) -> Result<MemberKey, KeyProblem> {
    let generation = |error: &dyn core::fmt::Display| KeyProblem::Generation(error.to_string());
    let der = Endorser::generate_pkcs8().map_err(|error| generation(&error))?;
    let pair =
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|error| generation(&error))?;
    let pem = SecretDocument::try_from(der.as_slice())
        .and_then(|document| document.to_pem("PRIVATE KEY", LineEnding::LF))
        .map_err(|error| generation(&error))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyProblem::Exists,
            _ => error.into(),
        })?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    Ok(MemberKey::of(&pair))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// RFC 8410 §10.3, as openssl writes it: version 1, without the public key.
    const VERSION_1: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("x.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_new_key_is_its_owners_only_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.key");
        let public = generate(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(MemberKey::of(&read(&path).unwrap()), public);
        let before = fs::read(&path).unwrap();
        assert!(matches!(
            generate(&path).unwrap_err().problem,
            KeyProblem::Exists
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_that_openssl_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pair = read(&file(folder.path(), VERSION_1, 0o400)).unwrap();
        assert_eq!(
            MemberKey::of(&pair).to_string(),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
    }

    #[test]
    fn unusable_files_are_named_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        for (text, mode, says) in [
            (VERSION_1, 0o640, "chmod 600"),
            (VERSION_1, 0o604, "mode 604"),
            ("", 0o600, "no key"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", 0o600, "cut off"),
            (
                "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
                0o600,
                "Ed25519",
            ),
            (&"x".repeat(300_000), 0o600, "longer"),
        ] {
            let error = read(&file(folder.path(), text, mode))
                .unwrap_err()
                .to_string();
            assert!(error.contains(says) && error.contains("x.key"), "{error}");
        }
        let error = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(
            error.contains("none") && error.contains("No such file"),
            "{error}"
        );
    }
}
