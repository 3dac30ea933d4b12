//! AlgorithmIdentifiers of signatures, in certificates and in method 14 AUTH payloads ([RFC 7427 appendix A]).
//!
//! [RFC 7427 appendix A]: https://www.rfc-editor.org/rfc/rfc7427#appendix-A

use std::fmt;

use const_oid::ObjectIdentifier;
use der::{Decode, Reader, SliceReader, TagMode, TagNumber, Tagged, asn1::AnyRef};
use spki::AlgorithmIdentifierRef;

use crate::{
    crypto::{KeyAlgorithm, SignatureScheme},
    wire::codes::HashAlgorithm,
};

/// Why an AlgorithmIdentifier was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AlgorithmError {
    /// The algorithm needs another kind of key than the certificate has.
    KeyMismatch {
        /// The algorithm.
        algorithm: ObjectIdentifier,
        /// The certificate's key.
        key: KeyAlgorithm,
    },
    /// Not the DER of an AlgorithmIdentifier, or octets after it.
    Malformed,
    /// The parameters are not those of the algorithm, or not ones that are supported.
    Parameters(ObjectIdentifier),
    /// A signature over SHA-1, which is never accepted ([RFC 8247 §3.2]).
    ///
    /// [RFC 8247 §3.2]: https://www.rfc-editor.org/rfc/rfc8247#section-3.2
    Sha1(ObjectIdentifier),
    /// No signature algorithm of this library.
    Unsupported(ObjectIdentifier),
}

impl fmt::Display for AlgorithmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMismatch { algorithm, key } => write!(
                f,
                "signature algorithm {algorithm} does not go with the certificate's {key} key"
            ),
            Self::Malformed => {
                f.write_str("the signature's AlgorithmIdentifier is not well-formed DER")
            }
            Self::Parameters(algorithm) => write!(
                f,
                "unsupported parameters of signature algorithm {algorithm}"
            ),
            Self::Sha1(algorithm) => write!(
                f,
                "signature algorithm {algorithm} uses SHA-1; sign with SHA2-256 or SHA2-384"
            ),
            Self::Unsupported(algorithm) => {
                write!(
                    f,
                    "signature algorithm {algorithm} is not supported; use ECDSA with SHA2-256 or SHA2-384, Ed25519 or RSA with SHA2"
                )
            }
        }
    }
}

impl std::error::Error for AlgorithmError {}

const ECDSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const DSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The scheme that `der`, one AlgorithmIdentifier, means together with a key of kind `key`.
pub(super) fn scheme_of(der: &[u8], key: KeyAlgorithm) -> Result<SignatureScheme, AlgorithmError> {
    let identifier =
        AlgorithmIdentifierRef::from_der(der).map_err(|_| AlgorithmError::Malformed)?;
    let oid = identifier.oid;
    let absent = || {
        if identifier.parameters.is_none() {
            Ok(())
        } else {
            Err(AlgorithmError::Parameters(oid))
        }
    };
    // RFC 4055 §5: NULL, and absent must be taken too.
    let null_or_absent = || {
        if identifier.parameters.is_none_or(AnyRef::is_null) {
            Ok(())
        } else {
            Err(AlgorithmError::Parameters(oid))
        }
    };
    let mismatch = AlgorithmError::KeyMismatch {
        algorithm: oid,
        key,
    };
    match oid {
        ECDSA_SHA256 => {
            absent()?;
            match key {
                KeyAlgorithm::EcdsaP256 => Ok(SignatureScheme::EcdsaP256Sha256),
                KeyAlgorithm::EcdsaP384 => Ok(SignatureScheme::EcdsaP384Sha256),
                KeyAlgorithm::Ed25519 | KeyAlgorithm::Rsa => Err(mismatch),
            }
        }
        ECDSA_SHA384 => {
            absent()?;
            match key {
                KeyAlgorithm::EcdsaP256 => Ok(SignatureScheme::EcdsaP256Sha384),
                KeyAlgorithm::EcdsaP384 => Ok(SignatureScheme::EcdsaP384Sha384),
                KeyAlgorithm::Ed25519 | KeyAlgorithm::Rsa => Err(mismatch),
            }
        }
        ED25519 => absent().map(|()| SignatureScheme::Ed25519),
        RSA_SHA256 => null_or_absent().map(|()| SignatureScheme::RsaPkcs1Sha256),
        RSA_SHA384 => null_or_absent().map(|()| SignatureScheme::RsaPkcs1Sha384),
        RSA_SHA512 => null_or_absent().map(|()| SignatureScheme::RsaPkcs1Sha512),
        RSA_PSS => match pss_hash(
            identifier
                .parameters
                .ok_or(AlgorithmError::Parameters(oid))?,
        )? {
            HashAlgorithm::SHA2_256 => Ok(SignatureScheme::RsaPssSha256),
            HashAlgorithm::SHA2_384 => Ok(SignatureScheme::RsaPssSha384),
            _ => Ok(SignatureScheme::RsaPssSha512),
        },
        ECDSA_SHA1 | RSA_SHA1 | DSA_SHA1 => Err(AlgorithmError::Sha1(oid)),
        _ => Err(AlgorithmError::Unsupported(oid)),
    }
    .and_then(|scheme| {
        if scheme.key_algorithm() == key {
            Ok(scheme)
        } else {
            Err(mismatch)
        }
    })
}

/// The DER AlgorithmIdentifier that method 14 carries for `scheme`; `None` for the raw forms of methods 9 and 10, which have none.
pub(super) fn identifier_of(scheme: SignatureScheme) -> Option<&'static [u8]> {
    // RFC 7427 appendix A, RFC 8420 §2 for Ed25519.
    Some(match scheme {
        SignatureScheme::EcdsaP256Sha256 | SignatureScheme::EcdsaP384Sha256 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
        SignatureScheme::EcdsaP256Sha384 | SignatureScheme::EcdsaP384Sha384 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
        SignatureScheme::EcdsaP256Sha256Raw | SignatureScheme::EcdsaP384Sha384Raw => return None,
        SignatureScheme::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
        SignatureScheme::RsaPkcs1Sha256 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
        SignatureScheme::RsaPkcs1Sha384 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
        SignatureScheme::RsaPkcs1Sha512 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
        SignatureScheme::RsaPssSha256 => {
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
              \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
              \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
              \xa2\x03\x02\x01\x20"
        }
        SignatureScheme::RsaPssSha384 => {
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
              \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
              \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
              \xa2\x03\x02\x01\x30"
        }
        SignatureScheme::RsaPssSha512 => {
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
              \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
              \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
              \xa2\x03\x02\x01\x40"
        }
    })
}

/// The hash of RSASSA-PSS parameters (RFC 4055 §3.1), when MGF1 uses the same one, the salt is as long as it, and the trailer is the usual one.
fn pss_hash(parameters: AnyRef<'_>) -> Result<HashAlgorithm, AlgorithmError> {
    let refused = AlgorithmError::Parameters(RSA_PSS);
    let (hash, mask, salt, trailer) = pss_fields(parameters).map_err(|_| refused)?;
    // Absent fields mean SHA-1.
    let (Some(hash), Some(mask)) = (hash, mask) else {
        return Err(AlgorithmError::Sha1(RSA_PSS));
    };
    let mask_hash = mask
        .parameters
        .filter(|_| mask.oid == MGF1)
        .and_then(|any| any.decode_as::<AlgorithmIdentifierRef<'_>>().ok())
        .ok_or(refused)?;
    let (id, salt_len) = match hash.oid {
        SHA256 => (HashAlgorithm::SHA2_256, 32),
        SHA384 => (HashAlgorithm::SHA2_384, 48),
        SHA512 => (HashAlgorithm::SHA2_512, 64),
        SHA1 => return Err(AlgorithmError::Sha1(RSA_PSS)),
        _ => return Err(refused),
    };
    let null_or_absent = [hash, mask_hash]
        .iter()
        .all(|identifier| identifier.parameters.is_none_or(AnyRef::is_null));
    if mask_hash.oid == hash.oid
        && null_or_absent
        && salt == Some(salt_len)
        && trailer.is_none_or(|trailer| trailer == 1)
    {
        Ok(id)
    } else {
        Err(refused)
    }
}

type PssFields<'a> = (
    Option<AlgorithmIdentifierRef<'a>>,
    Option<AlgorithmIdentifierRef<'a>>,
    Option<u8>,
    Option<u8>,
);

/// hashAlgorithm, maskGenAlgorithm, saltLength, trailerField.
fn pss_fields(parameters: AnyRef<'_>) -> der::Result<PssFields<'_>> {
    parameters.tag().assert_eq(der::Tag::Sequence)?;
    let mut reader = SliceReader::new(parameters.value())?;
    let fields = (
        reader.context_specific(TagNumber(0), TagMode::Explicit)?,
        reader.context_specific(TagNumber(1), TagMode::Explicit)?,
        reader.context_specific(TagNumber(2), TagMode::Explicit)?,
        reader.context_specific(TagNumber(3), TagMode::Explicit)?,
    );
    reader.finish()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [SignatureScheme; 11] = [
        SignatureScheme::EcdsaP256Sha256,
        SignatureScheme::EcdsaP256Sha384,
        SignatureScheme::EcdsaP384Sha256,
        SignatureScheme::EcdsaP384Sha384,
        SignatureScheme::Ed25519,
        SignatureScheme::RsaPkcs1Sha256,
        SignatureScheme::RsaPkcs1Sha384,
        SignatureScheme::RsaPkcs1Sha512,
        SignatureScheme::RsaPssSha256,
        SignatureScheme::RsaPssSha384,
        SignatureScheme::RsaPssSha512,
    ];

    #[test]
    fn identifiers_come_back_as_their_scheme() {
        for scheme in EVERY {
            let der = identifier_of(scheme).unwrap();
            assert_eq!(scheme_of(der, scheme.key_algorithm()), Ok(scheme));
            for len in 0..der.len() {
                assert_eq!(
                    scheme_of(&der[..len], scheme.key_algorithm()),
                    Err(AlgorithmError::Malformed),
                    "{scheme:?} cut to {len}"
                );
            }
            let longer = [der, &[0]].concat();
            assert_eq!(
                scheme_of(&longer, scheme.key_algorithm()),
                Err(AlgorithmError::Malformed)
            );
        }
    }

    #[test]
    fn the_key_must_fit() {
        let ecdsa = identifier_of(SignatureScheme::EcdsaP256Sha256).unwrap();
        assert_eq!(
            scheme_of(ecdsa, KeyAlgorithm::Rsa),
            Err(AlgorithmError::KeyMismatch {
                algorithm: ECDSA_SHA256,
                key: KeyAlgorithm::Rsa
            })
        );
        let ed25519 = identifier_of(SignatureScheme::Ed25519).unwrap();
        assert_eq!(
            scheme_of(ed25519, KeyAlgorithm::EcdsaP256),
            Err(AlgorithmError::KeyMismatch {
                algorithm: ED25519,
                key: KeyAlgorithm::EcdsaP256
            })
        );
    }

    #[test]
    fn sha1_is_refused_by_name() {
        let rsa_sha1 = hex::decode("300d06092a864886f70d0101050500").unwrap();
        assert_eq!(
            scheme_of(&rsa_sha1, KeyAlgorithm::Rsa),
            Err(AlgorithmError::Sha1(RSA_SHA1))
        );
        let ecdsa_sha1 = hex::decode("300906072a8648ce3d0401").unwrap();
        assert_eq!(
            scheme_of(&ecdsa_sha1, KeyAlgorithm::EcdsaP256),
            Err(AlgorithmError::Sha1(ECDSA_SHA1))
        );
        // RFC 7427 A.4.1: RSASSA-PSS with empty parameters is SHA-1 by default.
        let pss_default = hex::decode("300d06092a864886f70d01010a3000").unwrap();
        assert_eq!(
            scheme_of(&pss_default, KeyAlgorithm::Rsa),
            Err(AlgorithmError::Sha1(RSA_PSS))
        );
    }

    #[test]
    fn pss_parameters_in_the_forms_peers_use() {
        // Hash parameters absent; an explicit trailerField of 1.
        let absent = "303d 06092a864886f70d01010a 3030 a00d300b0609608648016503040201 a11a301806092a864886f70d010108300b0609608648016503040201 a203020120";
        let trailer = "3046 06092a864886f70d01010a 3039 a00f300d06096086480165030402010500 a11c301a06092a864886f70d010108300d06096086480165030402010500 a203020120 a303020101";
        for text in [absent, trailer] {
            let der = hex::decode(text.replace(' ', "")).unwrap();
            assert_eq!(
                scheme_of(&der, KeyAlgorithm::Rsa),
                Ok(SignatureScheme::RsaPssSha256)
            );
        }
        // Salt of 20; MGF1 over SHA2-384 with SHA2-256.
        let salt = "3041 06092a864886f70d01010a 3034 a00f300d06096086480165030402010500 a11c301a06092a864886f70d010108300d06096086480165030402010500 a203020114";
        let mixed = "3041 06092a864886f70d01010a 3034 a00f300d06096086480165030402010500 a11c301a06092a864886f70d010108300d06096086480165030402020500 a203020120";
        for text in [salt, mixed] {
            let der = hex::decode(text.replace(' ', "")).unwrap();
            assert_eq!(
                scheme_of(&der, KeyAlgorithm::Rsa),
                Err(AlgorithmError::Parameters(RSA_PSS))
            );
        }
    }

    #[test]
    fn ecdsa_takes_no_parameters() {
        let with_null = hex::decode("300c06082a8648ce3d0403020500").unwrap();
        assert_eq!(
            scheme_of(&with_null, KeyAlgorithm::EcdsaP256),
            Err(AlgorithmError::Parameters(ECDSA_SHA256))
        );
    }
}
