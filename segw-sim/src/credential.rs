//! The gateway's own certificate and key, read from files.

use core::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ikev2::auth::{
    CertificateError, CredentialError, Identification, LocalCredential as _, PeerVerifier as _,
    Pkcs8Credential, PresentedChain, ProfileVerifier, UnixTime,
};
use ikev2::crypto::RING;
use pkcs8::{Document, SecretDocument};

use crate::config::IdentityFiles;

/// Reads certificate and key and joins them with the identity.
///
/// # Errors
///
/// [`CredentialFileError`], which names the file and what is wrong with it; a certificate that peers
/// would refuse, since it has expired or does not hold the identity, is refused here first.
pub fn load(files: &IdentityFiles, now: UnixTime) -> Result<Pkcs8Credential, CredentialFileError> {
    let chain = read_chain(&files.certificate)?;
    let key = read_key(&files.key)?;
    let credential = Pkcs8Credential::from_der(chain, key.as_bytes(), identification(&files.id))
        .map_err(|error| CredentialFileError {
            file: files.key.clone(),
            problem: Problem::Unusable {
                certificate: files.certificate.clone(),
                error,
            },
        })?;
    let presented = PresentedChain {
        identity: credential.identity(),
        chain: credential.chain(),
    };
    ProfileVerifier::new(RING.clone())
        .verify(&presented, now)
        .map_err(|error| CredentialFileError {
            file: files.certificate.clone(),
            problem: Problem::Refusable {
                id: files.id.clone(),
                error,
            },
        })?;
    Ok(credential)
}

/// The identity that a text in the configuration means: an address, a mail address, else a host name.
pub fn identification(text: &str) -> Identification {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Identification::ipv4(address),
        Ok(IpAddr::V6(address)) => Identification::ipv6(address),
        Err(_) if text.contains('@') => Identification::email(text),
        Err(_) => Identification::fqdn(text),
    }
}

/// Certificates from a PEM file, in its order, or the one of a DER file.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, is too long, or holds no certificate.
pub fn read_chain(path: &Path) -> Result<Vec<Vec<u8>>, CredentialFileError> {
    let octets = read(path, open(path)?)?;
    let bad = |problem| CredentialFileError {
        file: path.to_path_buf(),
        problem,
    };
    let Some(text) = pem_text(&octets) else {
        return Ok(vec![octets]);
    };
    let mut chain = Vec::new();
    for block in pem_blocks(text) {
        let (label, document) =
            Document::from_pem(block).map_err(|e| bad(Problem::Pem(e.to_string())))?;
        if label == "CERTIFICATE" {
            chain.push(document.into_vec());
        }
    }
    if chain.is_empty() {
        return Err(bad(Problem::NoCertificate));
    }
    Ok(chain)
}

/// A PKCS#8 key from a PEM or DER file that nobody but its owner may read.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, if others can read it, or if it is not PKCS#8.
pub fn read_key(path: &Path) -> Result<SecretDocument, CredentialFileError> {
    let bad = |problem| CredentialFileError {
        file: path.to_path_buf(),
        problem,
    };
    let file = open(path)?;
    // Of the open file, so that it cannot be exchanged between the look and the reading.
    let metadata = file
        .metadata()
        .map_err(|e| bad(Problem::Io(e.to_string())))?;
    if !metadata.is_file() {
        return Err(bad(Problem::Io("it is no file".to_owned())));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad(Problem::Exposed(mode & 0o777)));
    }
    let octets = zeroize::Zeroizing::new(read(path, file)?);
    match pem_text(&octets) {
        Some(text) => {
            let (label, document) = SecretDocument::from_pem(text.trim())
                .map_err(|e| bad(Problem::Pem(e.to_string())))?;
            if label == "PRIVATE KEY" {
                Ok(document)
            } else {
                Err(bad(Problem::NotPkcs8(label.chars().take(40).collect())))
            }
        }
        None => SecretDocument::try_from(&octets[..]).map_err(|e| bad(Problem::Pem(e.to_string()))),
    }
}

fn open(path: &Path) -> Result<File, CredentialFileError> {
    File::open(path).map_err(|error| CredentialFileError {
        file: path.to_path_buf(),
        problem: Problem::Io(error.to_string()),
    })
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, CredentialFileError> {
    let bad = |problem| CredentialFileError {
        file: path.to_path_buf(),
        problem,
    };
    // Room for most files at once, so that no copy of a key is left behind by growing.
    let mut octets = Vec::with_capacity(USUAL_FILE);
    file.take(MAX_FILE + 1)
        .read_to_end(&mut octets)
        .map_err(|e| bad(Problem::Io(e.to_string())))?;
    if octets.len() as u64 > MAX_FILE {
        return Err(bad(Problem::TooLong));
    }
    Ok(octets)
}

fn pem_text(octets: &[u8]) -> Option<&str> {
    core::str::from_utf8(octets)
        .ok()
        .filter(|text| text.contains(PEM_BEGIN))
}

/// Each encapsulated block, without the text between blocks.
fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PEM_BEGIN).map(|(begin, _)| {
        let rest = &text[begin..];
        let end = rest.find(PEM_END).and_then(|end| {
            rest[end + PEM_END.len()..]
                .find(PEM_DASHES)
                .map(|dashes| end + PEM_END.len() + dashes + PEM_DASHES.len())
        });
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// What is wrong with a certificate or key file.
#[derive(Debug)]
pub struct CredentialFileError {
    /// The file.
    pub file: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Exposed(u32),
    Io(String),
    NoCertificate,
    NotPkcs8(String),
    Pem(String),
    Refusable {
        id: String,
        error: CertificateError,
    },
    TooLong,
    Unusable {
        certificate: PathBuf,
        error: CredentialError,
    },
}

impl fmt::Display for CredentialFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.problem {
            Problem::Exposed(mode) => {
                write!(
                    f,
                    "{file}: others can read this key (mode {mode:03o}); make it yours alone: chmod 600 {file}"
                )
            }
            Problem::Io(error) => write!(f, "{file}: cannot be read: {error}"),
            Problem::NoCertificate => write!(
                f,
                "{file}: no certificate in it, expected a PEM block CERTIFICATE, or DER"
            ),
            Problem::NotPkcs8(label) => write!(
                f,
                "{file}: a PEM block \"{label}\" was found, expected \"PRIVATE KEY\" (PKCS#8); convert it: openssl pkcs8 -topk8 -nodes"
            ),
            Problem::Pem(error) => write!(f, "{file}: neither PEM nor DER as expected: {error}"),
            Problem::Refusable { id, error } => write!(
                f,
                "{file}: every peer would refuse this certificate for identity.id \"{id}\": {error}"
            ),
            Problem::TooLong => write!(
                f,
                "{file}: longer than {MAX_FILE} octets, which no certificate or key is"
            ),
            Problem::Unusable { certificate, error } => {
                write!(
                    f,
                    "{file} with {}: cannot be used: {error}",
                    certificate.display()
                )
            }
        }
    }
}

impl core::error::Error for CredentialFileError {}

/// Keys and short chains are no longer than this, in octets.
const USUAL_FILE: usize = 16 * 1024;

/// The longest certificate or key file that is read, in octets.
const MAX_FILE: u64 = 256 * 1024;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_DASHES: &str = "-----";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(folder: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn pair() -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["segw.lab.test".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (certificate, key)
    }

    #[test]
    fn a_certificate_that_peers_would_refuse_is_refused_first() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let files = |id: &str| IdentityFiles {
            id: id.to_owned(),
            certificate: file(folder.path(), "c.pem", certificate.pem().as_bytes(), 0o644),
            key: file(
                folder.path(),
                "k.pem",
                key.serialize_pem().as_bytes(),
                0o600,
            ),
        };
        let in_force = UnixTime::from_secs(1_800_000_000);
        load(&files("segw.lab.test"), in_force).unwrap();
        let other = load(&files("other.lab.test"), in_force)
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("c.pem") && other.contains("identity.id \"other.lab.test\""),
            "{other}"
        );
        let later = UnixTime::from_secs(100_000_000_000);
        let expired = load(&files("segw.lab.test"), later)
            .unwrap_err()
            .to_string();
        assert!(expired.contains("c.pem"), "{expired}");
    }

    #[test]
    fn pem_and_der_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let text = format!(
            "Subject: some text\n{}\n{}",
            certificate.pem(),
            certificate.pem()
        );
        let chain = read_chain(&file(folder.path(), "c.pem", text.as_bytes(), 0o644)).unwrap();
        assert_eq!(
            chain,
            [certificate.der().to_vec(), certificate.der().to_vec()]
        );
        let chain = read_chain(&file(folder.path(), "c.der", certificate.der(), 0o644)).unwrap();
        assert_eq!(chain, [certificate.der().to_vec()]);
        for (name, content) in [
            ("k.pem", key.serialize_pem().into_bytes()),
            ("k.der", key.serialize_der()),
        ] {
            let read = read_key(&file(folder.path(), name, &content, 0o600)).unwrap();
            assert_eq!(read.as_bytes(), key.serialize_der());
        }
        let files = IdentityFiles {
            id: "segw.lab.test".to_owned(),
            certificate: folder.path().join("c.der"),
            key: folder.path().join("k.pem"),
        };
        load(&files, UnixTime::from_secs(1_800_000_000)).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_file_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let exposed = file(
            folder.path(),
            "exposed.key",
            key.serialize_pem().as_bytes(),
            0o640,
        );
        let message = read_key(&exposed).unwrap_err().to_string();
        assert!(
            message.contains("exposed.key")
                && message.contains("mode 640")
                && message.contains("chmod 600"),
            "{message}"
        );

        let old = key.serialize_pem().replace("PRIVATE KEY", "EC PRIVATE KEY");
        let message = read_key(&file(folder.path(), "old.key", old.as_bytes(), 0o600))
            .unwrap_err()
            .to_string();
        assert!(message.contains("openssl pkcs8"), "{message}");

        let message = read_chain(&file(
            folder.path(),
            "key-only.pem",
            key.serialize_pem().as_bytes(),
            0o600,
        ))
        .unwrap_err()
        .to_string();
        assert!(message.contains("no certificate"), "{message}");

        let message = read_chain(&file(
            folder.path(),
            "long.pem",
            &vec![b'x'; 300_000],
            0o600,
        ))
        .unwrap_err()
        .to_string();
        assert!(message.contains("longer than"), "{message}");

        let message = read_chain(&folder.path().join("absent.pem"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("absent.pem: cannot be read"), "{message}");

        let (_, other) = pair();
        let files = IdentityFiles {
            id: "segw.lab.test".to_owned(),
            certificate: file(folder.path(), "c.der", certificate.der(), 0o644),
            key: file(
                folder.path(),
                "other.key",
                other.serialize_pem().as_bytes(),
                0o600,
            ),
        };
        let message = load(&files, UnixTime::from_secs(1_800_000_000))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("other.key") && message.contains("c.der"),
            "{message}"
        );
    }

    #[test]
    fn identities_are_told_apart() {
        assert_eq!(
            identification("192.0.2.1"),
            Identification::ipv4("192.0.2.1".parse().unwrap())
        );
        assert_eq!(
            identification("2001:db8::1"),
            Identification::ipv6("2001:db8::1".parse().unwrap())
        );
        assert_eq!(
            identification("a@b.example"),
            Identification::email("a@b.example")
        );
        assert_eq!(
            identification("segw.lab.test"),
            Identification::fqdn("segw.lab.test")
        );
    }
}
