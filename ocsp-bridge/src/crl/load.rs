//! The CRL issuers that a configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocsp::UnixTime;
use settings::credential::{CredentialFileError, read_certificates, read_key};
use thiserror::Error;

use super::{CrlIssuer, CrlSigner, CrlSignerError, Crls};
use crate::config::{Config, CrlConfig, KeyPlace};
use crate::signer::token_key;

/// Why the CRLs of a configuration cannot be issued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CrlLoadError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] CredentialFileError),
    /// Two of them have one key.
    #[error(
        "{}: another [[crl]] has a CA with the same key, and a CRL's URL names nothing else", issuer.display()
    )]
    SameKey {
        /// The second one's certificate.
        issuer: PathBuf,
    },
    /// The key cannot sign the CRLs of this issuer.
    #[error("{} with {}, for the CRLs of {}: {error}", files.certificate.display(), files.key, files.issuer.display())]
    Signer {
        /// The files.
        files: Box<CrlConfig>,
        /// What is wrong.
        error: Box<CrlSignerError>,
    },
}

impl Crls {
    /// Those that a configuration names. Nothing is known of them yet.
    ///
    /// # Errors
    ///
    /// [`CrlLoadError`], which names the file and what is wrong with it.
    pub fn load(config: &Config, now: UnixTime) -> Result<Self, CrlLoadError> {
        let issuers = config
            .crls
            .iter()
            .map(|crl| {
                Ok(Arc::new(CrlIssuer::new(
                    crl.policy.clone(),
                    load_signer(crl, now)?,
                    config.ledger.chain,
                    config.ledger.index.ttl,
                )))
            })
            .collect::<Result<_, CrlLoadError>>()?;
        Self::new(issuers).map_err(|at| CrlLoadError::SameKey {
            issuer: config
                .crls
                .get(at)
                .map_or_else(PathBuf::new, |crl| crl.issuer.clone()),
        })
    }

    /// Takes over the signers of `newer`, as far as its issuers are the same.
    pub fn replace_signers(&self, newer: &Self) {
        for issuer in self.iter() {
            if let Some(other) = newer.iter().find(|other| other.id() == issuer.id()) {
                issuer.replace_signer(other.signer());
            }
        }
    }
}

fn load_signer(crl: &CrlConfig, now: UnixTime) -> Result<CrlSigner, CrlLoadError> {
    let issuer = first_certificate(&crl.issuer)?;
    let certificate = first_certificate(&crl.certificate)?;
    let signer = match &crl.key {
        KeyPlace::File(path) => {
            let key = read_key(path)?;
            CrlSigner::from_pkcs8(now, &issuer, &certificate, key.as_bytes())
        }
        KeyPlace::Token(place) => token_key(place, &certificate)
            .map_err(CrlSignerError::from)
            .and_then(|key| CrlSigner::new(now, &issuer, &certificate, key)),
    };
    signer.map_err(|error| CrlLoadError::Signer {
        files: Box::new(crl.clone()),
        error: Box::new(error),
    })
}

fn first_certificate(path: &Path) -> Result<Vec<u8>, CredentialFileError> {
    // A file without any is an error already.
    let certificates = read_certificates(path)?;
    Ok(certificates.into_iter().next().unwrap_or_default())
}
