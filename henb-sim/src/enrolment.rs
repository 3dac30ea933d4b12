//! Devices as a manufacturer makes them: a key, a self-signed certificate, an identity.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ledger::CertificateHash;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};

use settings::credential::CredentialFileError;

use crate::credential::{self, Secret};

/// The kind of a device's key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum KeyKind {
    /// ECDSA on P-256, signatures with SHA-256.
    #[default]
    P256,
    /// Ed25519.
    Ed25519,
}

/// One device: what its manufacturer puts into it.
#[derive(Clone)]
pub struct DeviceIdentity {
    /// The FQDN that is its IKE identity, and the certificate's subject alternative name.
    pub name: String,
    /// Certificates in DER, the end entity first.
    pub chain: Vec<Vec<u8>>,
    /// The private key, PKCS#8 in DER.
    pub key: Secret,
}

impl DeviceIdentity {
    /// Makes a key and a self-signed certificate that names the device and its organisation. Valid
    /// from a day ago for ten years.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`] if a name cannot stand in a certificate, or no key can be made.
    pub fn self_signed(
        name: &str,
        organisation: &str,
        kind: KeyKind,
    ) -> Result<Self, EnrolmentError> {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        };
        let failed = |error: rcgen::Error| EnrolmentError::Certificate {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        let key = KeyPair::generate_for(algorithm).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names =
            vec![SanType::DnsName(Ia5String::try_from(name).map_err(failed)?)];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
        params.distinguished_name.push(DnType::CommonName, name);
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::days(3650);
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            chain: vec![certificate.der().to_vec()],
            key: Secret::new(key.serialize_der()),
        })
    }

    /// H(CERT) of the end entity: what the ledger knows the device by.
    pub fn hash(&self) -> CertificateHash {
        CertificateHash::of(self.chain.first().map_or(&[], Vec::as_slice))
    }
}

impl fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceIdentity")
            .field("name", &self.name)
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

/// The name of the `index`-th device: a locally administered EUI-48 as the first label, in the form
/// that 3GPP TS 23.003 gives HNB identities in certificates (`<EUI>.<realm>`).
pub fn device_name(index: u32, realm: &str) -> String {
    format!("0200{index:08x}.{realm}")
}

/// Makes `devices` identities and calls `progress` with the number done after each.
///
/// # Errors
///
/// As [`DeviceIdentity::self_signed`].
pub fn make(
    devices: u32,
    realm: &str,
    organisation: &str,
    kind: KeyKind,
    mut progress: impl FnMut(u32),
) -> Result<Vec<DeviceIdentity>, EnrolmentError> {
    (0..devices)
        .map(|index| {
            let identity =
                DeviceIdentity::self_signed(&device_name(index, realm), organisation, kind)?;
            progress(index + 1);
            Ok(identity)
        })
        .collect()
}

/// Writes identities to a folder: `certificates.pem` (for `ledger-node submit`) and `keys.pem`, which
/// only the owner may read, in the same order. Files that are there already are not overwritten.
///
/// # Errors
///
/// [`EnrolmentError::File`] names the file.
pub fn save(folder: &Path, identities: &[DeviceIdentity]) -> Result<(), EnrolmentError> {
    std::fs::create_dir_all(folder).map_err(|e| EnrolmentError::file(folder, &e))?;
    let mut certificates = String::new();
    let mut keys = Secret::new(Vec::new());
    for identity in identities {
        for certificate in &identity.chain {
            certificates.push_str(&credential::to_pem("CERTIFICATE", certificate));
        }
        keys.extend(credential::to_pem("PRIVATE KEY", identity.key.as_ref()).as_bytes());
    }
    let keys_file = folder.join(KEYS);
    create(&keys_file, 0o600, keys.as_ref())?;
    create(&folder.join(CERTIFICATES), 0o644, certificates.as_bytes()).inspect_err(|_| {
        // Ours, just written, and of no use without the certificates.
        drop(std::fs::remove_file(&keys_file));
    })
}

/// Reads what [`save`] wrote; each certificate's common name or alternative name is the identity.
///
/// # Errors
///
/// [`EnrolmentError`] names the file, and what is wrong with it.
pub fn load(folder: &Path) -> Result<Vec<DeviceIdentity>, EnrolmentError> {
    let certificates_file = folder.join(CERTIFICATES);
    let keys_file = folder.join(KEYS);
    let certificates = credential::certificates(&certificates_file)?;
    let keys = credential::keys(&keys_file)?;
    if certificates.len() != keys.len() {
        return Err(EnrolmentError::Mismatch {
            folder: folder.to_owned(),
            certificates: certificates.len(),
            keys: keys.len(),
        });
    }
    certificates
        .into_iter()
        .zip(keys)
        .map(|(certificate, key)| {
            let name =
                credential::dns_name(&certificate).ok_or_else(|| EnrolmentError::NoName {
                    file: certificates_file.clone(),
                    hash: CertificateHash::of(&certificate),
                })?;
            Ok(DeviceIdentity {
                name,
                chain: vec![certificate],
                key,
            })
        })
        .collect()
}

/// Why devices could not be made, saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The certificate could not be made.
    #[error("cannot make a certificate for \"{name}\": {reason}")]
    Certificate {
        /// The device.
        name: String,
        /// What the certificate library says.
        reason: String,
    },
    /// A file could not be written.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A key or certificate file is no good.
    #[error(transparent)]
    Credential(#[from] CredentialFileError),
    /// The two files of a folder do not belong together.
    #[error(
        "{}: {certificates} certificates in {CERTIFICATES}, but {keys} keys in {KEYS}; make the folder anew with `henb-sim enrol`",
        folder.display()
    )]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// Certificates found.
        certificates: usize,
        /// Keys found.
        keys: usize,
    },
    /// A certificate has no name to use as an identity.
    #[error("{}: the certificate {hash} has no dNSName in its subjectAltName to use as the identity", file.display())]
    NoName {
        /// The file.
        file: PathBuf,
        /// Which certificate.
        hash: CertificateHash,
    },
}

impl EnrolmentError {
    fn file(file: &Path, error: &std::io::Error) -> Self {
        Self::File {
            file: file.to_owned(),
            reason: error.to_string(),
        }
    }
}

fn create(file: &Path, mode: u32, content: &[u8]) -> Result<(), EnrolmentError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut open = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => EnrolmentError::File {
                file: file.to_owned(),
                reason: "is there already, and is not overwritten; choose another folder"
                    .to_owned(),
            },
            _ => EnrolmentError::file(file, &e),
        })?;
    open.write_all(content).map_err(|e| {
        // Half of it is of no use, and would stand in the way of the next attempt.
        drop(std::fs::remove_file(file));
        EnrolmentError::file(file, &e)
    })
}

const CERTIFICATES: &str = "certificates.pem";
const KEYS: &str = "keys.pem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_identities_load_again_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let made = make(3, "hnb.example", "Acme", KeyKind::Ed25519, |_| ()).unwrap();
        save(folder.path(), &made).unwrap();
        let loaded = load(folder.path()).unwrap();
        assert_eq!(loaded.len(), 3);
        for (made, loaded) in made.iter().zip(&loaded) {
            assert_eq!(made.name, loaded.name);
            assert_eq!(made.hash(), loaded.hash());
            assert_eq!(made.key.as_ref(), loaded.key.as_ref());
        }
        assert_eq!(loaded[2].name, "020000000002.hnb.example");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let made = make(1, "hnb.example", "Acme", KeyKind::P256, |_| ()).unwrap();
        save(folder.path(), &made).unwrap();
        let error = save(folder.path(), &made).unwrap_err().to_string();
        assert!(error.contains(KEYS), "{error}");
    }

    #[test]
    fn folders_that_do_not_fit_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = make(2, "hnb.example", "Acme", KeyKind::P256, |_| ()).unwrap();
        save(folder.path(), &made).unwrap();
        let one = credential::to_pem("CERTIFICATE", &made[0].chain[0]);
        std::fs::write(folder.path().join(CERTIFICATES), one).unwrap();
        assert!(matches!(
            load(folder.path()),
            Err(EnrolmentError::Mismatch {
                certificates: 1,
                keys: 2,
                ..
            })
        ));
    }

    #[test]
    fn debug_shows_no_key() {
        let made = DeviceIdentity::self_signed("a.example", "Acme", KeyKind::P256).unwrap();
        let shown = format!("{made:?} {:?}", made.key);
        assert!(
            !shown.contains(&format!("{:?}", &made.key.as_ref()[..4])),
            "{shown}"
        );
    }
}
