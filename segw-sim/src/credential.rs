//! The gateway's own certificate and key, read from files.

use std::net::IpAddr;
use std::path::PathBuf;

use ikev2::auth::{
    CertificateError, Identification, LocalCredential as _, PeerVerifier as _, Pkcs8Credential,
    PresentedChain, ProfileVerifier, UnixTime,
};
use ikev2::crypto::RING;
use settings::credential::{CredentialFileError, read_certificates, read_key};
use thiserror::Error;

use crate::config::IdentityFiles;

/// Reads certificate and key and joins them with the identity.
///
/// # Errors
///
/// [`CredentialError`], which names the file and what is wrong with it; a certificate that peers
/// would refuse, since it has expired or does not hold the identity, is refused here first.
pub fn load(files: &IdentityFiles, now: UnixTime) -> Result<Pkcs8Credential, CredentialError> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_key(&files.key)?;
    let credential = Pkcs8Credential::from_der(chain, key.as_bytes(), identification(&files.id))
        .map_err(|error| CredentialError::Unusable {
            key: files.key.clone(),
            certificate: files.certificate.clone(),
            error,
        })?;
    let presented = PresentedChain {
        identity: credential.identity(),
        chain: credential.chain(),
    };
    ProfileVerifier::new(RING.clone())
        .verify(&presented, now)
        .map_err(|error| CredentialError::Refusable {
            file: files.certificate.clone(),
            id: files.id.clone(),
            error,
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

/// What is wrong with the gateway's certificate or key.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// A file cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] CredentialFileError),
    /// Every peer would refuse the certificate.
    #[error(
        "{}: every peer would refuse this certificate for identity.id \"{id}\": {error}",
        file.display()
    )]
    Refusable {
        /// The certificate.
        file: PathBuf,
        /// The identity that it should hold.
        id: String,
        /// Why.
        error: CertificateError,
    },
    /// Certificate and key cannot be used together.
    #[error("{} with {}: cannot be used: {error}", key.display(), certificate.display())]
    Unusable {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
        /// Why.
        error: ikev2::auth::CredentialError,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

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
    fn a_key_of_another_certificate_is_refused_with_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, _) = pair();
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
