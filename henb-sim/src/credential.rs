//! Certificates and keys in files: PEM or DER, bounded, and keys that only their owner may read.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

/// Octets of a private key: wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    pub(crate) fn extend(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// Reads the certificates of a file: one in DER, or any number in PEM, in order.
///
/// # Errors
///
/// [`CredentialError`] names the file, and what is wrong with it.
pub fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, CredentialError> {
    let content = read(file)?;
    if is_der(&content) {
        return Ok(vec![content.to_vec()]);
    }
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&content)
        .map(|item| item.map(|certificate| certificate.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|e| CredentialError::malformed(file, &e))?;
    if found.is_empty() {
        return Err(CredentialError::Empty {
            file: file.to_owned(),
            wanted: "CERTIFICATE",
        });
    }
    Ok(found)
}

/// Reads the private keys of a file: one PKCS#8 in DER, or any number in PEM, in order.
///
/// # Errors
///
/// [`CredentialError`]; a file that others than its owner may read is refused.
pub fn keys(file: &Path) -> Result<Vec<Secret>, CredentialError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(file).map_err(|e| CredentialError::file(file, &e))?;
    if !metadata.is_file() {
        return Err(CredentialError::File {
            file: file.to_owned(),
            reason: "not a file, expected a private key (PKCS#8, PEM or DER)".to_owned(),
        });
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CredentialError::Permissions {
            file: file.to_owned(),
            mode: mode & 0o777,
        });
    }
    let content = read(file)?;
    if is_der(&content) {
        return Ok(vec![Secret::new(content.to_vec())]);
    }
    let found: Vec<Secret> = PrivatePkcs8KeyDer::pem_slice_iter(&content)
        .map(|item| item.map(|key| Secret::new(key.secret_pkcs8_der().to_vec())))
        .collect::<Result<_, _>>()
        .map_err(|e| CredentialError::malformed(file, &e))?;
    if found.is_empty() {
        return Err(CredentialError::Empty {
            file: file.to_owned(),
            wanted: "PRIVATE KEY",
        });
    }
    Ok(found)
}

/// Reads the one private key of a file.
///
/// # Errors
///
/// As [`keys`]; the first of several is taken.
pub fn key(file: &Path) -> Result<Secret, CredentialError> {
    keys(file)?
        .into_iter()
        .next()
        .ok_or_else(|| CredentialError::Empty {
            file: file.to_owned(),
            wanted: "PRIVATE KEY",
        })
}

/// The first dNSName of a certificate's subjectAltName.
pub fn dns_name(certificate: &[u8]) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let (_, names) = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .ok()??;
    names.0.iter().find_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    })
}

/// DER as PEM under a label.
pub fn to_pem(label: &'static str, der: &[u8]) -> String {
    // The label is one of ours and the length is in memory already: neither can be refused.
    x509_cert::der::pem::encode_string(label, x509_cert::der::pem::LineEnding::LF, der)
        .unwrap_or_default()
}

/// Why a certificate or key file is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is nothing of the wanted kind in it.
    #[error("{}: no PEM block \"{wanted}\" and no DER in it (a key must be PKCS#8: `openssl pkcs8 -topk8 -nocrypt`)", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// The PEM label that was looked for.
        wanted: &'static str,
    },
    /// It cannot be read.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Its PEM is broken.
    #[error("{}: not PEM: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The decoder's words.
        reason: String,
    },
    /// Others than the owner may read the key.
    #[error("{}: mode {mode:03o} lets others read this key; `chmod 600` it", file.display())]
    Permissions {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large.
    #[error("{}: larger than {MAX_FILE} octets", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

impl CredentialError {
    fn file(file: &Path, error: &std::io::Error) -> Self {
        Self::File {
            file: file.to_owned(),
            reason: error.to_string(),
        }
    }

    fn malformed(file: &Path, error: &pem::Error) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            reason: match error {
                pem::Error::MissingSectionEnd { .. } => {
                    "a block has no END line; is the file cut off?".to_owned()
                }
                other => other.to_string(),
            },
        }
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let size = std::fs::metadata(file)
        .map_err(|e| CredentialError::file(file, &e))?
        .len();
    if size > MAX_FILE {
        return Err(CredentialError::TooLarge {
            file: file.to_owned(),
        });
    }
    std::fs::read(file)
        .map(Zeroizing::new)
        .map_err(|e| CredentialError::file(file, &e))
}

/// DER of a certificate or PKCS#8 key begins with a SEQUENCE of more than 127 octets or so; PEM is text.
fn is_der(content: &[u8]) -> bool {
    content.first() == Some(&0x30)
}

/// Octets in one file: a hundred thousand certificates in PEM, and room.
pub const MAX_FILE: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::enrolment::{DeviceIdentity, KeyKind};

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.key");
        let identity = DeviceIdentity::self_signed("a.example", "Acme", KeyKind::P256).unwrap();
        std::fs::write(&file, to_pem("PRIVATE KEY", identity.key.as_ref())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = key(&file).unwrap_err().to_string();
        assert!(
            error.contains("a.key") && error.contains("640") && error.contains("chmod 600"),
            "{error}"
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(key(&file).unwrap().as_ref(), identity.key.as_ref());
    }

    #[test]
    fn der_and_pem_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let identity = DeviceIdentity::self_signed("a.example", "Acme", KeyKind::P256).unwrap();
        let (der, pem) = (folder.path().join("der"), folder.path().join("pem"));
        std::fs::write(&der, &identity.chain[0]).unwrap();
        std::fs::write(&pem, to_pem("CERTIFICATE", &identity.chain[0])).unwrap();
        assert_eq!(certificates(&der).unwrap(), identity.chain);
        assert_eq!(certificates(&pem).unwrap(), identity.chain);
        assert_eq!(dns_name(&identity.chain[0]).as_deref(), Some("a.example"));
    }

    #[test]
    fn a_folder_is_no_key_and_half_a_file_is_said_to_be_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let message = keys(folder.path()).unwrap_err().to_string();
        assert!(message.contains("not a file"), "{message}");
        let file = folder.path().join("cut.pem");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        let message = certificates(&file).unwrap_err().to_string();
        assert!(
            message.contains("cut.pem") && message.contains("cut off"),
            "{message}"
        );
    }

    #[test]
    fn files_without_what_is_wanted_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pem");
        std::fs::write(&file, "no PEM at all").unwrap();
        assert!(matches!(
            certificates(&file),
            Err(CredentialError::Empty { .. })
        ));
        std::fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        assert!(matches!(
            certificates(&file),
            Err(CredentialError::Malformed { .. })
        ));
        assert!(matches!(
            certificates(&folder.path().join("absent")),
            Err(CredentialError::File { .. })
        ));
    }
}
