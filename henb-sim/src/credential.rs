//! Certificates and keys in files: PEM or DER, bounded, and keys that only their owner may read.

use std::fmt;
use std::path::Path;

use settings::credential::{
    CredentialFileError, read_certificates_within, read_key, read_keys_within,
};
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
/// [`CredentialFileError`] names the file, and what is wrong with it.
pub fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, CredentialFileError> {
    read_certificates_within(file, MAX_FILE)
}

/// Reads the private keys of a file: one PKCS#8 in DER, or any number in PEM, in order.
///
/// # Errors
///
/// [`CredentialFileError`]; a file that others than its owner may read is refused.
pub fn keys(file: &Path) -> Result<Vec<Secret>, CredentialFileError> {
    let keys = read_keys_within(file, MAX_FILE)?.into_iter();
    Ok(keys
        .map(|key| Secret::new(key.as_bytes().to_vec()))
        .collect())
}

/// Reads the one private key of a file.
///
/// # Errors
///
/// As [`keys`]; the first of several is taken.
pub fn key(file: &Path) -> Result<Secret, CredentialFileError> {
    read_key(file).map(|key| Secret::new(key.as_bytes().to_vec()))
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
        for (content, says) in [
            ("no PEM at all", "no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
                "PEM is broken",
            ),
        ] {
            std::fs::write(&file, content).unwrap();
            let message = certificates(&file).unwrap_err().to_string();
            assert!(
                message.contains("x.pem: ") && message.contains(says),
                "{message}"
            );
        }
        let message = certificates(&folder.path().join("absent"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("absent: cannot be read: No such file"),
            "{message}"
        );
    }
}
