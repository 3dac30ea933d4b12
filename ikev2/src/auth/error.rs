use std::fmt;

use const_oid::ObjectIdentifier;

use super::{AlgorithmError, Identification, UnixTime};
use crate::{
    crypto::{KeyAlgorithm, SignatureScheme},
    wire::codes::{AuthMethod, IdType},
};

/// Why a peer's AUTH payload was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AuthError {
    /// A method 14 value whose AlgorithmIdentifier is not acceptable.
    Algorithm(AlgorithmError),
    /// The signature does not verify: wrong key, or altered messages.
    BadSignature,
    /// The end entity certificate gives no usable key.
    Certificate(CertificateError),
    /// The method needs another kind of key than the certificate has.
    KeyMethodMismatch {
        /// The AUTH payload's method.
        method: AuthMethod,
        /// The certificate's key.
        key: KeyAlgorithm,
    },
    /// A raw ECDSA signature (methods 9 and 10) of the wrong length; octets.
    RawLength {
        /// What the method needs.
        expected: usize,
        /// What came.
        actual: usize,
    },
    /// The crypto provider has no entry for the scheme.
    SchemeUnavailable(SignatureScheme),
    /// A method 14 value that ends before its signature.
    Truncated,
    /// A method that this library does not take: SHA-1 heritage (1), or nothing that a certificate can verify.
    UnsupportedMethod(AuthMethod),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(cause) => write!(f, "AUTH: {cause}"),
            Self::BadSignature => f.write_str(
                "AUTH: the signature does not verify with the key of the presented certificate",
            ),
            Self::Certificate(cause) => write!(
                f,
                "AUTH: no usable key in the end entity certificate: {cause}"
            ),
            Self::KeyMethodMismatch { method, key } => write!(
                f,
                "AUTH: method {method} does not go with the certificate's {key} key"
            ),
            Self::RawLength { expected, actual } => write!(
                f,
                "AUTH: a raw ECDSA signature of {actual} octets, expected {expected}"
            ),
            Self::SchemeUnavailable(scheme) => {
                write!(f, "AUTH: the crypto provider cannot verify {scheme:?}")
            }
            Self::Truncated => f.write_str("AUTH: the value ends before its signature"),
            Self::UnsupportedMethod(method) => {
                write!(
                    f,
                    "AUTH: method {method} is not accepted; use Digital Signature (14), or ECDSA (9, 10)"
                )
            }
        }
    }
}

impl std::error::Error for AuthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Algorithm(cause) => Some(cause),
            Self::Certificate(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<CertificateError> for AuthError {
    fn from(cause: CertificateError) -> Self {
        Self::Certificate(cause)
    }
}

impl From<AlgorithmError> for AuthError {
    fn from(cause: AlgorithmError) -> Self {
        Self::Algorithm(cause)
    }
}

/// Why a certificate was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The signature algorithm is not acceptable.
    Algorithm(AlgorithmError),
    /// The algorithm inside the signed part is another than outside ([RFC 5280 §4.1.1.2]).
    ///
    /// [RFC 5280 §4.1.1.2]: https://www.rfc-editor.org/rfc/rfc5280#section-4.1.1.2
    AlgorithmMismatch,
    /// The certificate's signature does not verify with the issuer's key (its own, when self-signed).
    BadSignature,
    /// No certificate was presented.
    ChainEmpty,
    /// More certificates than are looked at.
    ChainTooLong {
        /// How many came.
        len: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// The extension occurs twice ([RFC 5280 §4.2]).
    ///
    /// [RFC 5280 §4.2]: https://www.rfc-editor.org/rfc/rfc5280#section-4.2
    DuplicateExtension(ObjectIdentifier),
    /// The validity has ended.
    Expired {
        /// notAfter.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// A critical extended key usage that does not allow IKE.
    ExtendedKeyUsage,
    /// The peer's identity is not in the certificate.
    IdentityMismatch {
        /// IDi or IDr.
        identity: Identification,
    },
    /// Identities of this type cannot be matched with a certificate.
    IdentityUnsupported(IdType),
    /// The certificate that issued the one before it in the path was refused.
    Issuer {
        /// Its place among the presented certificates, 0 for the end entity.
        index: usize,
        /// What is wrong with it.
        cause: Box<Self>,
    },
    /// Key usage is present and lacks digitalSignature (end entity) or keyCertSign (issuer).
    KeyUsage {
        /// The bit that is missing.
        missing: &'static str,
    },
    /// Not the DER of a certificate, or octets after it; with the offset of the fault where it is known.
    Malformed {
        /// Octets from the start of the structure that did not parse.
        offset: Option<u32>,
    },
    /// An issuer without the basic constraint cA.
    NotCa,
    /// Not version 3.
    NotV3,
    /// The validity has not begun.
    NotYetValid {
        /// notBefore.
        not_before: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// An RSA key too short to be safe, or too long to be worth the time; bits.
    RsaKeySize {
        /// The modulus.
        bits: usize,
    },
    /// The crypto provider has no entry for the scheme of the signature.
    SchemeUnavailable(SignatureScheme),
    /// More extensions than are looked at.
    TooManyExtensions {
        /// How many there are.
        len: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// Longer than a certificate may be; octets.
    TooLarge {
        /// What came.
        len: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A critical extension that this library does not enforce ([RFC 5280 §4.2]).
    ///
    /// [RFC 5280 §4.2]: https://www.rfc-editor.org/rfc/rfc5280#section-4.2
    UnknownCriticalExtension(ObjectIdentifier),
    /// The public key is of another algorithm, curve or form than the supported ones.
    UnsupportedKey(ObjectIdentifier),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(cause) => write!(f, "certificate: {cause}"),
            Self::AlgorithmMismatch => f.write_str("certificate: signature algorithm inside and outside the signed part differ"),
            Self::BadSignature => f.write_str("certificate: its signature does not verify with its issuer's key"),
            Self::ChainEmpty => f.write_str("no certificate was presented"),
            Self::ChainTooLong { len, limit } => write!(f, "{len} certificates presented, at most {limit} are taken"),
            Self::DuplicateExtension(oid) => write!(f, "certificate: extension {oid} occurs twice"),
            Self::Expired { not_after, now } => write!(f, "certificate: expired at {not_after}, now it is {now}"),
            Self::ExtendedKeyUsage => f.write_str("certificate: critical extended key usage without IKE, TLS server or client, or any"),
            Self::IdentityMismatch { identity } => {
                write!(f, "certificate: identity {identity} is neither in the subject alternative name nor the subject")
            }
            Self::IdentityUnsupported(kind) => write!(f, "identity of type {kind} cannot be matched with a certificate"),
            Self::Issuer { index, cause } => write!(f, "issuer, certificate {index} of those presented: {cause}"),
            Self::KeyUsage { missing } => write!(f, "certificate: key usage lacks {missing}"),
            Self::Malformed { offset: Some(offset) } => write!(f, "certificate: malformed DER at octet {offset}"),
            Self::Malformed { offset: None } => f.write_str("certificate: malformed DER"),
            Self::NotCa => f.write_str("certificate: issues others without the basic constraint cA"),
            Self::NotV3 => f.write_str("certificate: not version 3"),
            Self::NotYetValid { not_before, now } => write!(f, "certificate: valid from {not_before}, now it is {now}"),
            Self::RsaKeySize { bits } => write!(f, "certificate: RSA key of {bits} bits, 2048 to 8192 are taken"),
            Self::SchemeUnavailable(scheme) => write!(f, "certificate: the crypto provider cannot verify {scheme:?}"),
            Self::TooManyExtensions { len, limit } => write!(f, "certificate: {len} extensions, at most {limit} are taken"),
            Self::TooLarge { len, limit } => write!(f, "certificate: {len} octets, at most {limit} are taken"),
            Self::UnknownCriticalExtension(oid) => write!(f, "certificate: critical extension {oid} is not supported"),
            Self::UnsupportedKey(oid) => {
                write!(f, "certificate: public key {oid} is not supported; use ECDSA P-256 or P-384 (uncompressed), Ed25519 or RSA")
            }
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Algorithm(cause) => Some(cause),
            Self::Issuer { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<AlgorithmError> for CertificateError {
    fn from(cause: AlgorithmError) -> Self {
        Self::Algorithm(cause)
    }
}

impl From<der::Error> for CertificateError {
    fn from(cause: der::Error) -> Self {
        Self::Malformed {
            offset: cause.position().map(u32::from),
        }
    }
}
