//! A key that signs responses, and its certificate.

#[cfg(feature = "pkcs11")]
pub(crate) mod pkcs11;
mod pkcs8;
mod watched;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use der::Decode;
use ocsp::{
    HashAlgorithm, SignatureAlgorithm, UnixTime,
    wire::{self, tag},
};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

pub(crate) use self::watched::WatchedKey;

use self::pkcs8::Pkcs8Key;
use crate::config::TokenKey;

/// A signing key with the certificate that says so: the issuing authority's own, a delegate of it with
/// id-kp-OCSPSigning, or one that relying parties trust locally (RFC 6960 §4.2.2.2).
pub struct Signer {
    key: Arc<WatchedKey>,
    certificate: Vec<u8>,
    /// `[0] EXPLICIT SEQUENCE OF Certificate`, ready for every response.
    certificates: Vec<u8>,
    key_hash: [u8; 20],
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Signer {
    /// A signer with a PKCS#8 key: ECDSA on P-256 or P-384, Ed25519, or RSA of at least 2048 bits.
    ///
    /// # Errors
    ///
    /// [`SignerError`] when the key or the certificate cannot be read or used, do not belong together, or the
    /// certificate is not valid at `now`.
    pub fn from_pkcs8(
        now: UnixTime,
        pkcs8: &[u8],
        certificate: &[u8],
    ) -> Result<Self, SignerError> {
        Self::new(now, Box::new(Pkcs8Key::new(pkcs8)?), certificate)
    }

    /// A signer with a key that is kept elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`from_pkcs8`](Self::from_pkcs8).
    pub fn new(
        now: UnixTime,
        key: Box<dyn SigningKey>,
        certificate: &[u8],
    ) -> Result<Self, SignerError> {
        let parsed = Certificate::from_der(certificate).map_err(SignerError::Certificate)?;
        let tbs = parsed.tbs_certificate();
        let public_key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
        if public_key != key.public_key() {
            return Err(SignerError::KeyMismatch);
        }
        if key.algorithms().is_empty() {
            return Err(SignerError::NoAlgorithm);
        }
        check_purpose(&parsed)?;
        let mut key_hash = [0; 20];
        key_hash.copy_from_slice(HashAlgorithm::Sha1.digest(public_key).as_ref());
        let validity = tbs.validity();
        let mut certificates = Vec::with_capacity(certificate.len() + 8);
        wire::nested(&mut certificates, tag::constructed(0), |out| {
            wire::tlv(out, tag::SEQUENCE, certificate);
        });
        let signer = Self {
            key: Arc::new(WatchedKey::new(key)),
            certificate: certificate.to_vec(),
            certificates,
            key_hash,
            not_before: UnixTime(validity.not_before.to_unix_duration().as_secs()),
            not_after: UnixTime(validity.not_after.to_unix_duration().as_secs()),
        };
        signer.check_validity(now)?;
        Ok(signer)
    }

    /// The DER certificate.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The last second in which it signs.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether its certificate is valid at `now`.
    #[must_use]
    pub fn is_usable(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// What it can sign with, the default first.
    #[must_use]
    pub fn algorithms(&self) -> &[SignatureAlgorithm] {
        self.key.algorithms()
    }

    /// Whether its key can be used as far as is known: the last attempt did not fail, and its key answers.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.key.is_available()
    }

    /// Its key, for those who try it.
    pub(crate) const fn key(&self) -> &Arc<WatchedKey> {
        &self.key
    }

    /// Tries whether its key can be used now. It may block for as long as a signature takes.
    ///
    /// # Errors
    ///
    /// [`SignError`], as for a signature.
    pub fn check(&self) -> Result<(), SignError> {
        self.key.check()
    }

    /// What a signature costs.
    #[must_use]
    pub fn cost(&self) -> SigningCost {
        self.key.cost()
    }

    /// SHA-1 over the public key, for `responderID` byKey (RFC 6960 §4.2.1).
    pub(crate) const fn key_hash(&self) -> &[u8; 20] {
        &self.key_hash
    }

    /// Signs, unless the certificate is not valid at `now`.
    pub(crate) fn sign(
        &self,
        now: UnixTime,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        self.check_validity(now)?;
        self.key.sign(algorithm, message)
    }

    /// The signed `OCSPResponse` of a `ResponseData`.
    pub(crate) fn respond(
        &self,
        now: UnixTime,
        algorithm: SignatureAlgorithm,
        data: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let signature = self.sign(now, algorithm, data)?;
        Ok(ocsp::successful(
            data,
            algorithm,
            &signature,
            &self.certificates,
        ))
    }

    fn check_validity(&self, now: UnixTime) -> Result<(), SignError> {
        if now < self.not_before {
            return Err(SignError::NotYetValid {
                not_before: self.not_before,
            });
        }
        if now > self.not_after {
            return Err(SignError::Expired {
                not_after: self.not_after,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithms", &self.algorithms())
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A key in memory, from PKCS#8, for those who sign something else than responses.
pub(crate) fn pkcs8_key(pkcs8: &[u8]) -> Result<Box<dyn SigningKey>, SignerError> {
    Ok(Box::new(Pkcs8Key::new(pkcs8)?))
}

/// A key on a token, that this certificate is for. It may block for as long as the token takes.
#[cfg(feature = "pkcs11")]
pub(crate) fn token_key(
    place: &TokenKey,
    certificate: &[u8],
) -> Result<Box<dyn SigningKey>, SignerError> {
    let key = pkcs11::Pkcs11Key::for_certificate(place, certificate)?;
    Ok(Box::new(key))
}

/// The configuration's check says which build is needed before it comes to this.
#[cfg(not(feature = "pkcs11"))]
pub(crate) fn token_key(_: &TokenKey, _: &[u8]) -> Result<Box<dyn SigningKey>, SignerError> {
    Err(SignerError::NoPkcs11)
}

/// A private key that can sign, wherever it is kept. Its `Debug` must not show the key.
pub trait SigningKey: fmt::Debug + Send + Sync {
    /// What it can sign with, the default first; at least one.
    fn algorithms(&self) -> &[SignatureAlgorithm];

    /// The public key as in a certificate: the content of `subjectPublicKey` without the octet of unused bits.
    fn public_key(&self) -> &[u8];

    /// What a signature costs; always the same.
    fn cost(&self) -> SigningCost;

    /// Whether the key can be used as far as is known. One in memory always can.
    fn is_available(&self) -> bool {
        true
    }

    /// Tries whether the key can be used now. It may block for as long as a signature takes.
    ///
    /// # Errors
    ///
    /// As for [`sign`](Self::sign).
    fn check(&self) -> Result<(), SignError> {
        Ok(())
    }

    /// Signs a message, as the algorithm's X.509 form wants it.
    ///
    /// # Errors
    ///
    /// [`SignError::Algorithm`] for one that is not among [`algorithms`](Self::algorithms),
    /// [`SignError::Unavailable`] when the key cannot be used now, [`SignError::Failed`] when signing went wrong.
    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What a signature costs, which decides where it is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigningCost {
    /// Some 20 us of computing (ECDSA on P-256, Ed25519): made at once, by whoever needs it.
    Quick,
    /// Half a millisecond of computing and more (RSA, ECDSA on P-384): made on other threads than those that serve
    /// requests.
    Slow,
    /// Waiting for a device: made on other threads, too, with places of its own.
    Remote {
        /// How many signatures the device is given at one time.
        at_once: NonZeroUsize,
    },
}

/// Why a signer cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SignerError {
    /// The certificate is no X.509 certificate in DER.
    #[error("the signer certificate cannot be read as DER: {0}")]
    Certificate(der::Error),
    /// The delegate's issuer certificate cannot be read.
    #[error("the issuer's certificate cannot be read as DER: {0}")]
    IssuerCertificate(der::Error),
    /// The private key is of no kind that is served.
    #[error(
        "the private key cannot be used ({0}): it must be PKCS#8 with ECDSA P-256 or P-384 (with its public key), Ed25519, or RSA of at least 2048 bits"
    )]
    Key(String),
    /// The certificate is for another key.
    #[error("the signer certificate is not for this private key")]
    KeyMismatch,
    /// Key usage forbids signatures.
    #[error("the signer certificate's key usage does not include digitalSignature")]
    KeyUsage,
    /// The key can sign with nothing.
    #[error(
        "the private key offers no signature algorithm that OCSP responses are signed with here"
    )]
    NoAlgorithm,
    /// Keys on tokens need another build.
    #[cfg(not(feature = "pkcs11"))]
    #[error("this program was built without PKCS#11 (the cargo feature pkcs11)")]
    NoPkcs11,
    /// Neither an authority's certificate nor one for OCSP signing.
    #[error(
        "the signer certificate is not for OCSP: it needs the extended key usage OCSPSigning, unless it is the issuing CA's own"
    )]
    NotForOcsp,
    /// The delegate was not issued by the authority that it shall sign for.
    #[error("the signer certificate was not issued by the CA that it is configured for")]
    NotIssuedBy,
    /// The key on the token cannot be used.
    #[cfg(feature = "pkcs11")]
    #[error(transparent)]
    Pkcs11(#[from] pkcs11::Pkcs11Error),
    /// Its time is over, or has not come.
    #[error(transparent)]
    Validity(#[from] SignError),
}

/// Why nothing was signed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SignError {
    /// The key cannot sign with this algorithm.
    #[error("the key cannot sign with {0:?}")]
    Algorithm(SignatureAlgorithm),
    /// Too many signatures wait for their turn.
    #[error("too many signatures are waited for: the key is too slow for this load")]
    Busy,
    /// The signer certificate's time is over.
    #[error("the signer certificate expired at {} s since 1970: renew it and reload", not_after.0)]
    Expired {
        /// Its last second.
        not_after: UnixTime,
    },
    /// The key could not be used.
    #[error("signing failed: {0}")]
    Failed(String),
    /// The signer certificate's time has not come.
    #[error("the signer certificate is not valid before {} s since 1970: check the clock", not_before.0)]
    NotYetValid {
        /// Its first second.
        not_before: UnixTime,
    },
    /// The key cannot be reached now.
    #[error("the key cannot be used now: {0}")]
    Unavailable(String),
}

/// RFC 6960 §4.2.2.2: OCSPSigning, unless it is an authority's own certificate; and its key usage lets it sign.
fn check_purpose(certificate: &Certificate) -> Result<(), SignerError> {
    let tbs = certificate.tbs_certificate();
    let is_ca = tbs
        .get_extension::<BasicConstraints>()
        .map_err(SignerError::Certificate)?
        .is_some_and(|(_, constraints)| constraints.ca);
    let for_ocsp = tbs
        .get_extension::<ExtendedKeyUsage>()
        .map_err(SignerError::Certificate)?
        .is_some_and(|(_, usages)| {
            usages
                .0
                .iter()
                .any(|usage| usage.as_bytes() == wire::ID_KP_OCSP_SIGNING.as_bytes())
        });
    if !is_ca && !for_ocsp {
        return Err(SignerError::NotForOcsp);
    }
    let forbids = tbs
        .get_extension::<KeyUsage>()
        .map_err(SignerError::Certificate)?
        .is_some_and(|(_, usage)| !usage.digital_signature());
    if forbids && !is_ca {
        return Err(SignerError::KeyUsage);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;
    use crate::fixture::{NOW, local_signer, params, self_signed, signer_params};

    #[test]
    fn a_certificate_must_be_for_the_key_and_for_ocsp() {
        let (key, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, signer_params("signer"));
        let (other_key, _) = self_signed(&PKCS_ED25519, signer_params("other"));
        let new = |key: &[u8], certificate: &[u8]| Signer::from_pkcs8(NOW, key, certificate);
        assert!(new(&key, &certificate).is_ok());
        assert_eq!(
            new(&other_key, &certificate).unwrap_err(),
            SignerError::KeyMismatch
        );
        assert!(matches!(new(&key, &key), Err(SignerError::Certificate(_))));
        for key in [&certificate[..], b"", &key[..key.len() - 1]] {
            assert!(matches!(new(key, &certificate), Err(SignerError::Key(_))));
        }

        let with = |change: fn(&mut rcgen::CertificateParams)| {
            let mut params = params("signer");
            change(&mut params);
            let (key, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, params);
            new(&key, &certificate).map(|signer| signer.not_after())
        };
        let end = UnixTime(1_893_455_999);
        assert_eq!(with(|_| {}), Err(SignerError::NotForOcsp));
        assert_eq!(
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            Err(SignerError::NotForOcsp)
        );
        assert_eq!(
            with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            Ok(end)
        );
        let only_agreement = with(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
            params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        });
        assert_eq!(only_agreement, Err(SignerError::KeyUsage));
        let no_usage =
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning]);
        assert_eq!(no_usage, Ok(end));
    }

    #[test]
    fn the_certificates_time_is_kept() {
        let (key, certificate) = self_signed(&PKCS_ED25519, signer_params("signer"));
        // 2026-01-01T00:00:00Z and 2029-12-31T23:59:59Z.
        let (not_before, not_after) = (UnixTime(1_767_225_600), UnixTime(1_893_455_999));
        let at = |now: u64| {
            Signer::from_pkcs8(UnixTime(now), &key, &certificate).map(|signer| signer.not_after())
        };
        let early = SignError::NotYetValid { not_before };
        assert_eq!(at(not_before.0 - 1), Err(early.clone().into()));
        assert_eq!(at(not_before.0), Ok(not_after));
        assert_eq!(at(not_after.0), Ok(not_after));
        let late = SignError::Expired { not_after };
        assert_eq!(at(not_after.0 + 1), Err(late.clone().into()));
        // The same of one that was loaded in time.
        let signer = Signer::from_pkcs8(NOW, &key, &certificate).unwrap();
        let sign = |now| signer.sign(UnixTime(now), SignatureAlgorithm::Ed25519, b"x");
        assert_eq!(sign(not_before.0 - 1), Err(early));
        assert!(sign(not_after.0).is_ok());
        assert_eq!(sign(not_after.0 + 1), Err(late));
    }

    #[test]
    fn a_key_signs_with_its_own_algorithms_only() {
        for (key, own) in [
            (&PKCS_ECDSA_P256_SHA256, SignatureAlgorithm::EcdsaSha256),
            (&PKCS_ECDSA_P384_SHA384, SignatureAlgorithm::EcdsaSha384),
            (&PKCS_ED25519, SignatureAlgorithm::Ed25519),
        ] {
            let signer = local_signer(key);
            assert_eq!(signer.algorithms(), [own]);
            for algorithm in SignatureAlgorithm::ALL {
                let signed = signer.sign(NOW, algorithm, b"x");
                assert_eq!(signed.is_ok(), algorithm == own);
                if algorithm != own {
                    assert_eq!(signed, Err(SignError::Algorithm(algorithm)));
                }
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let (key, certificate) = self_signed(&PKCS_ED25519, signer_params("signer"));
        let signer = Signer::from_pkcs8(NOW, &key, &certificate).unwrap();
        let pair = Pkcs8Key::new(&key).unwrap();
        assert_eq!(
            format!("{pair:?}"),
            "Pkcs8Key { algorithms: [Ed25519], .. }"
        );
        assert_eq!(
            format!("{signer:?}"),
            "Signer { algorithms: [Ed25519], not_before: UnixTime(1767225600), not_after: UnixTime(1893455999), .. }"
        );
    }
}
