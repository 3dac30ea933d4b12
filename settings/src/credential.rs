//! Certificates and keys in files: PEM or DER, bounded, and keys that only their owner may read.

use core::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pkcs8::{Document, SecretDocument};
use zeroize::Zeroizing;

/// Certificates from a PEM file, in its order, or the one of a DER file.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, is too long, or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let octets = read(path, open(path)?)?;
    let Some(text) = pem_text(&octets) else {
        // Every certificate is a SEQUENCE; no text begins so.
        return if octets.first() == Some(&0x30) {
            Ok(vec![octets])
        } else {
            Err(bad(Problem::NoCertificate))
        };
    };
    let mut certificates = Vec::new();
    for block in pem_blocks(text) {
        let (label, document) =
            Document::from_pem(block).map_err(|error| bad(Problem::Encoding(error.to_string())))?;
        if label == "CERTIFICATE" {
            certificates.push(document.into_vec());
        }
    }
    if certificates.is_empty() {
        return Err(bad(Problem::NoCertificate));
    }
    Ok(certificates)
}

/// A PKCS#8 key from a PEM or DER file that nobody but its owner may read.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, if others can read it, or if it is not PKCS#8.
pub fn read_key(path: &Path) -> Result<SecretDocument, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let octets = read_secret(path)?;
    let Some(text) = pem_text(&octets) else {
        return SecretDocument::try_from(octets.as_slice())
            .map_err(|error| bad(Problem::Encoding(error.to_string())));
    };
    let (label, document) = SecretDocument::from_pem(text.trim())
        .map_err(|error| bad(Problem::Encoding(error.to_string())))?;
    if label != "PRIVATE KEY" {
        return Err(bad(Problem::NotPkcs8(label.chars().take(40).collect())));
    }
    Ok(document)
}

/// The octets of a file that nobody but its owner may read, such as a PIN.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, is too long, or if others can read it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let file = open(path)?;
    // Of the open file, so that it cannot be exchanged between the look and the reading.
    let metadata = file
        .metadata()
        .map_err(|error| bad(Problem::Io(error.to_string())))?;
    if !metadata.is_file() {
        return Err(bad(Problem::Io("it is no file".to_owned())));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad(Problem::Exposed(mode & 0o777)));
    }
    read(path, file).map(Zeroizing::new)
}

fn open(path: &Path) -> Result<File, CredentialFileError> {
    File::open(path).map_err(|error| CredentialFileError::new(path, Problem::Io(error.to_string())))
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    // Room for most files at once, so that no copy of a key is left behind by growing.
    let mut octets = Vec::with_capacity(USUAL_FILE);
    file.take(MAX_FILE + 1)
        .read_to_end(&mut octets)
        .map_err(|error| bad(Problem::Io(error.to_string())))?;
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

/// Each encapsulated block, without the text between blocks. A block without an end is left to the PEM
/// reader to refuse.
fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PEM_BEGIN).map(|(begin, _)| {
        let rest = &text[begin..];
        let end = rest.find(PEM_END).and_then(|end| {
            let label = end + PEM_END.len();
            let dashes = rest[label..].find(PEM_DASHES)?;
            Some(label + dashes + PEM_DASHES.len())
        });
        end.map_or(rest, |end| &rest[..end])
    })
}

/// A file that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialFileError {
    file: PathBuf,
    problem: Problem,
}

impl CredentialFileError {
    fn new(file: &Path, problem: Problem) -> Self {
        Self {
            file: file.to_path_buf(),
            problem,
        }
    }
}

impl fmt::Display for CredentialFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.problem {
            Problem::Encoding(detail) => {
                write!(f, "neither PEM nor DER of what is expected: {detail}")
            }
            Problem::Exposed(mode) => write!(
                f,
                "others can read it (mode {mode:o}): chmod 600, and consider what it holds known"
            ),
            Problem::Io(detail) => write!(f, "cannot be read: {detail}"),
            Problem::NoCertificate => {
                f.write_str("it holds no certificate; expected PEM (\"BEGIN CERTIFICATE\") or DER")
            }
            Problem::NotPkcs8(label) => write!(
                f,
                "\"{label}\" was found, expected an unencrypted PKCS#8 key (\"PRIVATE KEY\"): openssl pkcs8 -topk8 -nocrypt"
            ),
            Problem::TooLong => write!(f, "it is longer than {MAX_FILE} octets"),
        }
    }
}

impl core::error::Error for CredentialFileError {}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Problem {
    Encoding(String),
    Exposed(u32),
    Io(String),
    NoCertificate,
    NotPkcs8(String),
    TooLong,
}

/// A PEM file of a key or a certificate has some hundred to some thousand octets.
const USUAL_FILE: usize = 16 * 1024;

/// The longest file that is read, in octets.
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

    #[test]
    fn pem_and_der_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let text = format!("text\n{}\n{}", certificate.pem(), certificate.pem());
        let path = file(folder.path(), "c.pem", text.as_bytes(), 0o644);
        let der = certificate.der().to_vec();
        assert_eq!(
            read_certificates(&path).unwrap(),
            [der.clone(), der.clone()]
        );
        let path = file(folder.path(), "c.der", &der, 0o644);
        assert_eq!(read_certificates(&path).unwrap(), [der]);
        for (name, content) in [
            ("k.pem", key.serialize_pem().into_bytes()),
            ("k.der", key.serialize_der()),
        ] {
            let read = read_key(&file(folder.path(), name, &content, 0o600)).unwrap();
            assert_eq!(read.as_bytes(), key.serialize_der());
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_file_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let old = key.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let exposed = file(folder.path(), "exposed.key", key.as_bytes(), 0o640);
        let sec1 = file(folder.path(), "sec1.key", old.as_bytes(), 0o600);
        for (path, parts) in [
            (exposed, ["exposed.key", "mode 640", "chmod 600"]),
            (sec1, ["sec1.key", "EC PRIVATE KEY", "openssl pkcs8"]),
            (
                folder.path().join("absent"),
                ["absent", "cannot be read", "No such"],
            ),
        ] {
            let text = read_key(&path).unwrap_err().to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        for (name, content, says) in [
            ("key.pem", key.as_bytes(), "no certificate"),
            ("text.pem", b"nothing", "no certificate"),
            ("empty.pem", b"", "no certificate"),
            (
                "cut.pem",
                b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n",
                "neither PEM nor DER",
            ),
            ("long.pem", &[b'x'; 300_000], "longer than"),
        ] {
            let path = file(folder.path(), name, content, 0o644);
            let text = read_certificates(&path).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(says), "{text}");
        }
    }
}
