//! Who signs for which issuer.

use std::collections::HashMap;
use std::sync::Arc;

use der::{Decode, Encode, Tag};
use ocsp::{CertId, HashAlgorithm, SignatureAlgorithm, UnixTime, wire::Tlv};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::Certificate;

use crate::signer::{Signer, SignerError};

/// The signers in use: those that relying parties trust locally for every issuer, and delegates of single issuers.
#[derive(Debug, Default)]
pub struct Signers {
    local: Vec<Arc<Signer>>,
    /// By the hash of the issuer's key, of any function; several names may share a key.
    delegates: HashMap<Vec<u8>, Vec<Delegation>>,
    all: Vec<Arc<Signer>>,
}

#[derive(Debug)]
struct Delegation {
    issuer_name_hash: Vec<u8>,
    signers: Vec<Arc<Signer>>,
}

impl Signers {
    /// None yet: every request is answered as `unauthorized`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one that signs for every issuer that has no delegate. The first is the default; the others serve those
    /// who prefer their algorithm (RFC 6960 §4.4.7).
    pub fn add_local(&mut self, signer: Signer) {
        let signer = Arc::new(signer);
        self.local.push(Arc::clone(&signer));
        self.all.push(signer);
    }

    /// Adds one that signs for the authority with this DER certificate: its delegate, or the authority itself.
    ///
    /// # Errors
    ///
    /// [`SignerError::IssuerCertificate`] when that cannot be read, [`SignerError::NotIssuedBy`] when it did not
    /// issue the signer's certificate.
    pub fn add_delegate(&mut self, issuer: &[u8], signer: Signer) -> Result<(), SignerError> {
        let parsed = Certificate::from_der(issuer).map_err(SignerError::IssuerCertificate)?;
        let tbs = parsed.tbs_certificate();
        let name = tbs
            .subject()
            .to_der()
            .map_err(SignerError::IssuerCertificate)?;
        let key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
        if signer.certificate() != issuer {
            check_issued_by(signer.certificate(), &name, key)?;
        }
        let signer = Arc::new(signer);
        for algorithm in HashAlgorithm::ALL {
            let delegations = self
                .delegates
                .entry(algorithm.digest(key).as_ref().to_vec())
                .or_default();
            let name_hash = algorithm.digest(&name);
            match delegations
                .iter_mut()
                .find(|delegation| delegation.issuer_name_hash == name_hash.as_ref())
            {
                Some(delegation) => delegation.signers.push(Arc::clone(&signer)),
                None => delegations.push(Delegation {
                    issuer_name_hash: name_hash.as_ref().to_vec(),
                    signers: vec![Arc::clone(&signer)],
                }),
            }
        }
        self.all.push(signer);
        Ok(())
    }

    /// All of them, for watching their expiry.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.all.iter()
    }

    /// Those that sign for the issuer of this certificate, the default first.
    pub(crate) fn for_issuer(&self, id: &CertId<'_>) -> &[Arc<Signer>] {
        if !self.delegates.is_empty()
            && let Some(delegations) = self.delegates.get(id.issuer_key_hash())
            && let Some(delegation) = delegations
                .iter()
                .find(|delegation| delegation.issuer_name_hash == id.issuer_name_hash())
        {
            return &delegation.signers;
        }
        &self.local
    }
}

/// Those of `signers` whose certificate is valid at `now`, and of these those whose keys can be used, where there are
/// any.
pub(crate) fn usable(
    signers: &[Arc<Signer>],
    now: UnixTime,
) -> impl Iterator<Item = &Arc<Signer>> + Clone {
    let any = signers
        .iter()
        .any(|signer| signer.is_usable(now) && signer.is_available());
    signers
        .iter()
        .filter(move |signer| signer.is_usable(now) && (signer.is_available() || !any))
}

/// Which signer, of those that can sign now, signs with what (RFC 6960 §4.4.7.2): the best match of the relying
/// party's preferences, else the first one's default.
pub(crate) fn choose<'s>(
    signers: &'s [Arc<Signer>],
    preferred: &[SignatureAlgorithm],
    now: UnixTime,
) -> Option<(&'s Arc<Signer>, SignatureAlgorithm)> {
    preferred
        .iter()
        .find_map(|algorithm| {
            usable(signers, now)
                .find(|signer| signer.algorithms().contains(algorithm))
                .map(|signer| (signer, *algorithm))
        })
        .or_else(|| {
            let signer = usable(signers, now).next()?;
            Some((signer, *signer.algorithms().first()?))
        })
}

/// Whether the holder of `name` and `key` signed this certificate.
fn check_issued_by(certificate: &[u8], name: &[u8], key: &[u8]) -> Result<(), SignerError> {
    let parsed = Certificate::from_der(certificate).map_err(SignerError::Certificate)?;
    let issuer = parsed
        .tbs_certificate()
        .issuer()
        .to_der()
        .map_err(SignerError::Certificate)?;
    let signed = Tlv::only(certificate)
        .and_then(|outer| outer.open(Tag::Sequence))
        .and_then(|mut fields| fields.expect(Tag::Sequence))
        .map_err(|kind| SignerError::Certificate(kind.into()))?;
    let algorithm =
        SignatureAlgorithm::from_oid_octets(parsed.signature_algorithm().oid.as_bytes());
    let verified = algorithm.is_some_and(|algorithm| {
        UnparsedPublicKey::new(verification(algorithm, key), key)
            .verify(signed.raw, parsed.signature().raw_bytes())
            .is_ok()
    });
    if issuer == name && verified {
        Ok(())
    } else {
        Err(SignerError::NotIssuedBy)
    }
}

/// Keys of the two curves are told apart by their length: 65 and 97 octets.
pub(crate) fn verification(
    algorithm: SignatureAlgorithm,
    key: &[u8],
) -> &'static dyn VerificationAlgorithm {
    match (algorithm, key.len()) {
        (SignatureAlgorithm::EcdsaSha256, 97) => &signature::ECDSA_P384_SHA256_ASN1,
        (SignatureAlgorithm::EcdsaSha256, _) => &signature::ECDSA_P256_SHA256_ASN1,
        (SignatureAlgorithm::EcdsaSha384, 65) => &signature::ECDSA_P256_SHA384_ASN1,
        (SignatureAlgorithm::EcdsaSha384, _) => &signature::ECDSA_P384_SHA384_ASN1,
        (SignatureAlgorithm::Ed25519, _) => &signature::ED25519,
        (SignatureAlgorithm::RsaSha256, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (SignatureAlgorithm::RsaSha384, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (SignatureAlgorithm::RsaSha512, _) => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}
