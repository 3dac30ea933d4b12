//! Judging a response about one certificate: who signed it, for which certificate, and whether it is in force
//! (RFC 6960 §3.2, §4.2.2).

use std::time::Duration;

use der::Decode;
use ledger::{AlgorithmError, CertificateError, CertificateHash, ParsedCertificate};
use thiserror::Error;
use x509_cert::AlgorithmIdentifier;

use crate::cert_id::{CertId, HashAlgorithm};
use crate::response::{ResponderId, Response, ResponseError, SingleResponse};
use crate::status::CertStatus;
use crate::time::UnixTime;
use crate::wire;

/// A certificate whose status is asked, together with its issuer's.
#[derive(Clone, Debug)]
pub struct TargetCertificate {
    hash: CertificateHash,
    serial: Vec<u8>,
    public_key: Vec<u8>,
    /// DER, and parsed before.
    issuer: Vec<u8>,
}

impl TargetCertificate {
    /// A certificate and its issuer's, both DER; the same twice for a self-signed one.
    ///
    /// # Errors
    ///
    /// [`TargetError`] when one of them cannot be parsed, or the second did not issue the first. Validity is not
    /// looked at.
    pub fn new(certificate: &[u8], issuer: &[u8]) -> Result<Self, TargetError> {
        let target = ParsedCertificate::parse(certificate).map_err(TargetError::Certificate)?;
        let parsed = ParsedCertificate::parse(issuer).map_err(TargetError::Issuer)?;
        if target.issuer_hash() != parsed.subject_hash() || !target.is_signed_by(&parsed) {
            return Err(TargetError::NotIssued);
        }
        Ok(Self {
            hash: target.hash(),
            serial: target.serial().to_vec(),
            public_key: target.public_key().to_vec(),
            issuer: issuer.to_vec(),
        })
    }

    /// Its DER CertID, to ask with.
    ///
    /// # Errors
    ///
    /// Never for a target that could be made; the issuer is parsed again.
    pub fn cert_id(&self, algorithm: HashAlgorithm) -> Result<Vec<u8>, TargetError> {
        let issuer = ParsedCertificate::parse(&self.issuer).map_err(TargetError::Issuer)?;
        let mut serial = self.serial.clone();
        if serial.first().is_some_and(|first| first & 0x80 != 0) {
            // A positive INTEGER.
            serial.insert(0, 0);
        }
        Ok(CertId::encode(
            algorithm,
            issuer.subject(),
            issuer.public_key(),
            &serial,
        ))
    }

    fn is_meant_by(&self, issuer: &ParsedCertificate<'_>, id: &CertId<'_>) -> bool {
        let algorithm = id.algorithm();
        id.serial() == self.serial
            && id.issuer_name_hash() == algorithm.digest(issuer.subject()).as_ref()
            && id.issuer_key_hash() == algorithm.digest(issuer.public_key()).as_ref()
    }
}

/// Why a certificate and its issuer's cannot be asked about.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TargetError {
    /// The certificate.
    #[error("the certificate: {0}")]
    Certificate(CertificateError),
    /// The issuer's certificate.
    #[error("the issuer's certificate: {0}")]
    Issuer(CertificateError),
    /// Another name, or its key did not make the signature.
    #[error("the certificate was not issued by the issuer that is given with it")]
    NotIssued,
}

/// A signer that is trusted because the configuration says so (RFC 6960 §2.2, the Trusted Responder).
#[derive(Clone, Debug)]
pub struct TrustedSigner {
    /// DER, and parsed before.
    certificate: Vec<u8>,
}

impl TrustedSigner {
    /// From its DER certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] when it cannot be parsed. Validity is looked at when it has signed.
    pub fn new(certificate: &[u8]) -> Result<Self, CertificateError> {
        ParsedCertificate::parse(certificate)?;
        Ok(Self {
            certificate: certificate.to_vec(),
        })
    }

    /// Its DER certificate.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// Whose signatures are believed, and how exact clocks are.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Those that are trusted for whatever certificate.
    pub signers: Vec<TrustedSigner>,
    /// Whether the issuer of the certificate itself, and delegates that it certified with id-kp-OCSPSigning, are
    /// believed too. Whether a delegate is revoked itself is not asked. No key vouches for its own certificate.
    pub issuer: bool,
    /// How much the clocks of signer and verifier may differ.
    pub skew: Duration,
}

/// What a verified response says of the certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The status.
    pub status: CertStatus,
    /// When that was so.
    pub this_update: UnixTime,
    /// Until when the response may be relied upon: if it says several things of the certificate, the first to end.
    pub next_update: UnixTime,
}

/// Judges the octets of a response. A status other than good is no error but in the answer.
///
/// # Errors
///
/// [`VerifyError`], one variant for each check, the signature's before those of what is signed.
pub fn verify(
    response: &[u8],
    target: &TargetCertificate,
    trust: &Trust,
    nonce: Option<&[u8]>,
    now: UnixTime,
) -> Result<Verified, VerifyError> {
    let response = Response::decode(response)?;
    let issuer = ParsedCertificate::parse(&target.issuer).map_err(VerifyError::Issuer)?;
    check_signature(&response, target, &issuer, trust, now)?;
    if nonce.is_some() && response.nonce != nonce {
        return Err(VerifyError::Nonce);
    }
    let latest = now.plus(trust.skew);
    if response.produced_at > latest {
        return Err(VerifyError::ProducedInFuture {
            produced_at: response.produced_at,
            now,
        });
    }
    // Usually one; RFC 9919 §3.2.1 allows one for each hash function. The worst is believed.
    let mut worst: Option<Verified> = None;
    for single in &response.singles {
        if !target.is_meant_by(&issuer, &single.cert_id) {
            continue;
        }
        let mut verified = judge(single, target, trust.skew, now)?;
        if let Some(worst) = worst {
            // Once one of them is over, the whole response is refused.
            let next_update = worst.next_update.min(verified.next_update);
            if severity(worst.status) >= severity(verified.status) {
                verified = worst;
            }
            verified.next_update = next_update;
        }
        worst = Some(verified);
    }
    worst.ok_or(VerifyError::NoStatus)
}

/// Why a response does not tell the status of a certificate.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum VerifyError {
    /// certHash names another certificate: two have one CertID.
    #[error(
        "it is about another certificate with the same issuer and serial number: certHash differs"
    )]
    CertHash,
    /// A certificate beside the signature cannot be parsed, and no other is the signer's.
    #[error(
        "no certificate of the signer is known, and one beside the signature cannot be read: {0}"
    )]
    Delegate(CertificateError),
    /// A delegate's certificate was not issued by the certificate's issuer.
    #[error("the signer's certificate was not issued by the certificate's issuer")]
    DelegateNotIssued,
    /// A delegate's certificate lacks id-kp-OCSPSigning, or may not sign.
    #[error("the signer's certificate does not allow OCSP signing")]
    DelegateUsage,
    /// It is over.
    #[error("it was in force until {}, now it is {}", display(*.next_update), display(*.now))]
    Expired {
        /// nextUpdate.
        next_update: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The issuer's certificate cannot be parsed.
    #[error("the issuer's certificate: {0}")]
    Issuer(CertificateError),
    /// Without nextUpdate nobody can tell how long it may be relied upon.
    #[error("it has no nextUpdate")]
    NoNextUpdate,
    /// The nonce that was asked for is not in it.
    #[error("it has not the nonce of the request")]
    Nonce,
    /// It says nothing of the certificate.
    #[error("it says nothing of the certificate")]
    NoStatus,
    /// thisUpdate lies in the future.
    #[error("it is in force from {}, now it is {}", display(*.this_update), display(*.now))]
    NotYetValid {
        /// thisUpdate.
        this_update: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// producedAt lies in the future.
    #[error("it was signed at {}, now it is {}", display(*.produced_at), display(*.now))]
    ProducedInFuture {
        /// producedAt.
        produced_at: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It is no successful response.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The signature was not made by the signer over this content.
    #[error("its signature does not verify")]
    Signature,
    /// The signature's algorithm, or the key's, is not accepted: SHA-1 for instance.
    #[error("its signature: {0}")]
    SignatureAlgorithm(AlgorithmError),
    /// The signature's algorithm cannot be read.
    #[error("its signature's AlgorithmIdentifier is malformed")]
    SignatureAlgorithmEncoding,
    /// The signer's certificate is over, or not yet in force.
    #[error("the signer's certificate is valid from {} to {}, now it is {}", display(*.not_before), display(*.not_after), display(*.now))]
    SignerValidity {
        /// notBefore.
        not_before: UnixTime,
        /// notAfter.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The certificate's own key, or that of a delegate of a self-signed one, signed.
    #[error("it is signed with the key of the certificate itself, or by a delegate of it")]
    VouchesForItself,
    /// Neither a trusted signer, nor the issuer or a delegate of it where that is allowed.
    #[error("it is signed by nobody who is trusted to")]
    UnknownSigner,
    /// nextUpdate lies before thisUpdate.
    #[error("its nextUpdate lies before its thisUpdate")]
    Window,
}

impl VerifyError {
    /// Of the reasons why each of several signers will not do, the one that tells most; the first of its kind.
    fn or_rather(self, other: Self) -> Self {
        if other.telling() > self.telling() {
            other
        } else {
            self
        }
    }

    const fn telling(&self) -> u8 {
        match self {
            Self::Delegate(_) => 1,
            Self::DelegateNotIssued => 2,
            Self::Signature => 3,
            Self::SignatureAlgorithm(_) | Self::SignatureAlgorithmEncoding => 4,
            Self::DelegateUsage => 5,
            Self::SignerValidity { .. } => 6,
            Self::VouchesForItself => 7,
            _ => 0,
        }
    }
}

/// One name or key may have several certificates, of which one will do: a renewed one with the same key beside the old
/// one, or two keys of one name. So each is tried that the responderID names; there are no more than the configuration
/// and [`MAX_RESPONSE_CERTIFICATES`](crate::MAX_RESPONSE_CERTIFICATES) allow.
fn check_signature(
    response: &Response<'_>,
    target: &TargetCertificate,
    issuer: &ParsedCertificate<'_>,
    trust: &Trust,
    now: UnixTime,
) -> Result<(), VerifyError> {
    let mut fault = VerifyError::UnknownSigner;
    for signer in &trust.signers {
        let signer =
            ParsedCertificate::parse(&signer.certificate).map_err(VerifyError::Delegate)?;
        if is_named(&signer, response.responder) {
            match made_by(response, &signer, target, trust.skew, now) {
                Ok(()) => return Ok(()),
                Err(error) => fault = fault.or_rather(error),
            }
        }
    }
    if !trust.issuer {
        return Err(fault);
    }
    if is_named(issuer, response.responder) {
        match made_by(response, issuer, target, trust.skew, now) {
            Ok(()) => return Ok(()),
            Err(error) => fault = fault.or_rather(error),
        }
    }
    for certificate in &response.certificates {
        // What is no certificate is nobody's: the signer's may stand beside it.
        let error = match ParsedCertificate::parse(certificate) {
            Ok(delegate) if !is_named(&delegate, response.responder) => continue,
            Ok(delegate) => {
                match made_by_delegate(response, &delegate, target, issuer, trust.skew, now) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                }
            }
            Err(error) => VerifyError::Delegate(error),
        };
        fault = fault.or_rather(error);
    }
    Err(fault)
}

fn made_by_delegate(
    response: &Response<'_>,
    delegate: &ParsedCertificate<'_>,
    target: &TargetCertificate,
    issuer: &ParsedCertificate<'_>,
    skew: Duration,
    now: UnixTime,
) -> Result<(), VerifyError> {
    if issuer.public_key() == target.public_key {
        return Err(VerifyError::VouchesForItself);
    }
    if delegate.issuer_hash() != issuer.subject_hash() || !delegate.is_signed_by(issuer) {
        return Err(VerifyError::DelegateNotIssued);
    }
    if !may_sign_responses(delegate) {
        return Err(VerifyError::DelegateUsage);
    }
    made_by(response, delegate, target, skew, now)
}

/// Whether the responder says that it is this one.
fn is_named(signer: &ParsedCertificate<'_>, responder: ResponderId<'_>) -> bool {
    match responder {
        ResponderId::ByKey(hash) => {
            HashAlgorithm::Sha1.digest(signer.public_key()).as_ref() == hash
        }
        ResponderId::ByName(name) => signer.subject() == name,
    }
}

/// RFC 6960 §4.2.2.2: id-kp-OCSPSigning in the certificate itself; and what key usage allows to sign data.
fn may_sign_responses(delegate: &ParsedCertificate<'_>) -> bool {
    let purpose = delegate
        .extended_key_usage()
        .is_some_and(|usage| usage.0.contains(&wire::ID_KP_OCSP_SIGNING));
    let signs = delegate
        .key_usage()
        .is_none_or(|usage| usage.digital_signature() || usage.non_repudiation());
    purpose && signs
}

fn made_by(
    response: &Response<'_>,
    signer: &ParsedCertificate<'_>,
    target: &TargetCertificate,
    skew: Duration,
    now: UnixTime,
) -> Result<(), VerifyError> {
    // Whoever has a stolen key would have good news of it for ever.
    if signer.public_key() == target.public_key {
        return Err(VerifyError::VouchesForItself);
    }
    let algorithm = AlgorithmIdentifier::from_der(response.algorithm)
        .map_err(|_| VerifyError::SignatureAlgorithmEncoding)?;
    match signer.has_signed(&algorithm, response.signed, response.signature) {
        Ok(true) => {}
        Ok(false) => return Err(VerifyError::Signature),
        Err(error) => return Err(VerifyError::SignatureAlgorithm(error)),
    }
    // After the signature, so that of several the one who signed is told to be over.
    let (not_before, not_after) = (UnixTime(signer.not_before()), UnixTime(signer.not_after()));
    if not_before > now.plus(skew) || not_after < now.minus(skew) {
        return Err(VerifyError::SignerValidity {
            not_before,
            not_after,
            now,
        });
    }
    Ok(())
}

fn judge(
    single: &SingleResponse<'_>,
    target: &TargetCertificate,
    skew: Duration,
    now: UnixTime,
) -> Result<Verified, VerifyError> {
    if single.cert_hash.is_some_and(|hash| hash != target.hash) {
        return Err(VerifyError::CertHash);
    }
    let this_update = single.this_update;
    let next_update = single.next_update.ok_or(VerifyError::NoNextUpdate)?;
    if next_update < this_update {
        return Err(VerifyError::Window);
    }
    if this_update > now.plus(skew) {
        return Err(VerifyError::NotYetValid { this_update, now });
    }
    if next_update < now.minus(skew) {
        return Err(VerifyError::Expired { next_update, now });
    }
    Ok(Verified {
        status: single.status,
        this_update,
        next_update,
    })
}

const fn severity(status: CertStatus) -> u8 {
    match status {
        CertStatus::Good => 0,
        CertStatus::Unknown => 1,
        CertStatus::Revoked { .. } => 2,
    }
}

fn display(time: UnixTime) -> String {
    der::DateTime::from_unix_duration(Duration::from_secs(time.0))
        .map_or_else(|_| format!("{} s", time.0), |date| date.to_string())
}

#[cfg(test)]
mod tests;
