//! The algorithms of keys and signatures: which are accepted, and ring's verification for them.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, UintRef};
use der::{Decode, Sequence, Tag, Tagged};
use ring::signature::{self, VerificationAlgorithm};
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};

// RFC 5480 §2.1.1, RFC 8410 §3, RFC 8017 appendix C.
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The RSA modulus sizes that are accepted, in bits.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a key or a signature algorithm is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlgorithmError {
    /// A key on a curve that is not accepted, or of an unknown form.
    #[error("the key's curve is not P-256 or P-384")]
    Curve,
    /// The key's octets do not fit its algorithm.
    #[error("the public key's octets do not fit its algorithm")]
    KeyForm,
    /// An unknown key algorithm.
    #[error("the key algorithm {0} is not ECDSA, Ed25519 or RSA")]
    Key(ObjectIdentifier),
    /// Parameters that do not fit.
    #[error("the parameters of the signature algorithm {0} are not accepted")]
    Parameters(ObjectIdentifier),
    /// An RSA key that is too small or too large.
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
    /// An RSA key with a small, even or very large exponent.
    #[error("the RSA key's public exponent is not an odd number from 65537 to 2^33")]
    RsaExponent,
    /// An unknown or broken signature algorithm.
    #[error("the signature algorithm {0} is not accepted; use ECDSA, Ed25519 or RSA with SHA-2")]
    Signature(ObjectIdentifier),
}

/// A public key's algorithm.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa {
        /// The modulus' size.
        bits: usize,
    },
}

impl KeyKind {
    pub(crate) fn of(spki: &SubjectPublicKeyInfo) -> Result<Self, AlgorithmError> {
        let key = spki.subject_public_key.raw_bytes();
        let parameters = spki.algorithm.parameters.as_ref().map(AnyRef::from);
        match spki.algorithm.oid {
            EC_PUBLIC_KEY => {
                let curve = parameters
                    .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                    .ok_or(AlgorithmError::Curve)?;
                let (kind, length) = match curve {
                    P256 => (Self::P256, 65),
                    P384 => (Self::P384, 97),
                    _ => return Err(AlgorithmError::Curve),
                };
                // An uncompressed point, SEC 1 §2.3.3; the compressed form is optional, RFC 5480 §2.2.
                if key.len() == length && key.first() == Some(&0x04) {
                    Ok(kind)
                } else {
                    Err(AlgorithmError::KeyForm)
                }
            }
            // RFC 8410 §3: parameters must be absent.
            ED25519 if parameters.is_none() && key.len() == 32 => Ok(Self::Ed25519),
            ED25519 => Err(AlgorithmError::KeyForm),
            RSA => rsa_key(key),
            other => Err(AlgorithmError::Key(other)),
        }
    }
}

/// A certificate signature's algorithm.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureKind {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same, and a salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with the same, and a salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with the same, and a salt of 64 octets.
    RsaPssSha512,
}

impl SignatureKind {
    pub(crate) fn of(algorithm: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let oid = algorithm.oid;
        let parameters = algorithm.parameters.as_ref().map(AnyRef::from);
        let kind = match oid {
            ECDSA_SHA256 => Self::EcdsaSha256,
            ECDSA_SHA384 => Self::EcdsaSha384,
            ED25519 => Self::Ed25519,
            RSA_SHA256 => Self::RsaPkcs1Sha256,
            RSA_SHA384 => Self::RsaPkcs1Sha384,
            RSA_SHA512 => Self::RsaPkcs1Sha512,
            RSA_PSS => {
                return parameters
                    .and_then(pss)
                    .ok_or(AlgorithmError::Parameters(oid));
            }
            other => return Err(AlgorithmError::Signature(other)),
        };
        let fits = match kind {
            // RFC 5758 §3.2 and RFC 8410 §3: absent.
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::Ed25519 => parameters.is_none(),
            // RFC 4055 §5: NULL, and absent must be accepted too.
            _ => parameters.is_none_or(|any| any.tag() == Tag::Null),
        };
        if fits {
            Ok(kind)
        } else {
            Err(AlgorithmError::Parameters(oid))
        }
    }
}

/// ring's algorithm for a key and a signature, if they fit each other.
pub(crate) fn verification(
    key: KeyKind,
    signature: SignatureKind,
) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (key, signature) {
        (KeyKind::P256, SignatureKind::EcdsaSha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::P256, SignatureKind::EcdsaSha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::P384, SignatureKind::EcdsaSha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::P384, SignatureKind::EcdsaSha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::Ed25519, SignatureKind::Ed25519) => &signature::ED25519,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha256) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha384) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha512) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha256) => &signature::RSA_PSS_2048_8192_SHA256,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha384) => &signature::RSA_PSS_2048_8192_SHA384,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha512) => &signature::RSA_PSS_2048_8192_SHA512,
        (KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 | KeyKind::Rsa { .. }, _) => return None,
    })
}

/// `RSAPublicKey`, RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_key(octets: &[u8]) -> Result<KeyKind, AlgorithmError> {
    let key = RsaPublicKey::from_der(octets).map_err(|_| AlgorithmError::KeyForm)?;
    let modulus = key.modulus.as_bytes();
    let unused = modulus
        .first()
        .map_or(0, |octet| octet.leading_zeros() as usize);
    let bits = (8 * modulus.len()).saturating_sub(unused);
    if !RSA_BITS.contains(&bits) {
        return Err(AlgorithmError::RsaBits(bits));
    }
    let exponent = key.exponent.as_bytes();
    if exponent.len() > 5 {
        return Err(AlgorithmError::RsaExponent);
    }
    let exponent = exponent
        .iter()
        .fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    // FIPS 186-5 §5.1 wants 2^16 < e and odd; ring verifies up to 33 bits.
    if !(65_537..1 << 33).contains(&exponent) || exponent % 2 == 0 {
        return Err(AlgorithmError::RsaExponent);
    }
    Ok(KeyKind::Rsa { bits })
}

/// `RSASSA-PSS-params`, RFC 4055 §3.1. Its defaults are SHA-1's, so all but the trailer must be there.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: HashAlgorithm<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: MaskAlgorithm<'a>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: u8,
}

#[derive(Sequence)]
struct HashAlgorithm<'a> {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct MaskAlgorithm<'a> {
    oid: ObjectIdentifier,
    hash: HashAlgorithm<'a>,
}

fn pss(parameters: AnyRef<'_>) -> Option<SignatureKind> {
    let parameters = parameters.decode_as::<PssParameters<'_>>().ok()?;
    let plain = |hash: &HashAlgorithm<'_>| hash.parameters.is_none_or(|any| any.tag() == Tag::Null);
    let same = parameters.mask.oid == MGF1
        && parameters.mask.hash.oid == parameters.hash.oid
        && plain(&parameters.hash)
        && plain(&parameters.mask.hash);
    match (parameters.hash.oid, parameters.salt) {
        (SHA256, 32) if same => Some(SignatureKind::RsaPssSha256),
        (SHA384, 48) if same => Some(SignatureKind::RsaPssSha384),
        (SHA512, 64) if same => Some(SignatureKind::RsaPssSha512),
        _ => None,
    }
}
