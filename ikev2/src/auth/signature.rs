//! The AUTH payload ([RFC 7296 §2.15], RFC 7427, RFC 4754, RFC 8420).
//!
//! [RFC 7296 §2.15]: https://www.rfc-editor.org/rfc/rfc7296#section-2.15

use super::{
    AuthError, AuthVerified, Certificate, CertificateDer, Identification, LocalCredential,
    SignError, algorithm,
};
use crate::{
    crypto::{CryptoProvider, KeyAlgorithm, SecretBytes, SignatureScheme, SupportedPrf},
    wire::codes::{AuthMethod, HashAlgorithm},
};

/// The octets that a signer's AUTH payload covers: its first message (from the first octet of the header, without a non-ESP marker), the *other* side's
/// nonce, and `prf(SK_p, ID body)` with the signer's SK_pi or SK_pr and the signer's identity ([RFC 7296 §2.15]).
///
/// [RFC 7296 §2.15]: https://www.rfc-editor.org/rfc/rfc7296#section-2.15
#[must_use]
pub fn auth_octets(
    prf: &dyn SupportedPrf,
    sk_p: &SecretBytes,
    message: &[u8],
    peer_nonce: &[u8],
    identity: &Identification,
) -> Vec<u8> {
    let maced_id = prf.key(sk_p.as_bytes()).compute(&[&identity.body()]);
    [message, peer_nonce, maced_id.as_bytes()].concat()
}

/// The content of an AUTH payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthValue {
    /// Auth Method.
    pub method: AuthMethod,
    /// Authentication Data.
    pub value: Vec<u8>,
}

/// Signs `octets` (see [`auth_octets`]) in a way that the peer takes: method 14 with the credential's first scheme whose hash is in `peer_hashes`, what the
/// peer announced in SIGNATURE_HASH_ALGORITHMS ([RFC 7427 §4]); else, or when it announced nothing (`None`), method 9 or 10 with an ECDSA key.
/// Method 1 is never used: it means RSA over SHA-1.
///
/// # Errors
/// [`SignError::NoCommonScheme`], or what the credential says.
///
/// [RFC 7427 §4]: https://www.rfc-editor.org/rfc/rfc7427#section-4
pub fn sign_auth(
    credential: &dyn LocalCredential,
    peer_hashes: Option<&[HashAlgorithm]>,
    octets: &[u8],
) -> Result<AuthValue, SignError> {
    let hashes = peer_hashes.unwrap_or_default();
    for scheme in credential
        .schemes()
        .iter()
        .copied()
        .filter(|scheme| hashes.contains(&scheme.hash()))
    {
        if let Some(identifier) = algorithm::identifier_of(scheme)
            && let Ok(len) = u8::try_from(identifier.len())
        {
            let signature = credential.sign(scheme, octets)?;
            return Ok(AuthValue {
                method: AuthMethod::DIGITAL_SIGNATURE,
                value: [&[len], identifier, &signature].concat(),
            });
        }
    }
    for scheme in credential.schemes().iter().copied() {
        let method = match scheme {
            SignatureScheme::EcdsaP256Sha256Raw => AuthMethod::ECDSA_P256,
            SignatureScheme::EcdsaP384Sha384Raw => AuthMethod::ECDSA_P384,
            _ => continue,
        };
        return Ok(AuthValue {
            method,
            value: credential.sign(scheme, octets)?,
        });
    }
    Err(SignError::NoCommonScheme)
}

/// A peer's AUTH payload and what is needed to judge it.
#[derive(Clone, Copy, Debug)]
pub struct PeerAuth<'a> {
    /// Auth Method.
    pub method: AuthMethod,
    /// Authentication Data.
    pub value: &'a [u8],
    /// The certificate that the peer presented first.
    pub end_entity: &'a CertificateDer,
    /// What must have been signed, from [`auth_octets`].
    pub octets: &'a [u8],
}

/// Verifies a peer's AUTH payload with the key of the certificate that it presented. Whether that certificate is in force, names the peer and is trusted
/// are other questions: [`PeerVerifier`](super::PeerVerifier) and the application answer them.
///
/// # Errors
/// [`AuthError`], one variant per check; every one means AUTHENTICATION_FAILED on the wire.
pub fn verify_auth(
    provider: &CryptoProvider,
    auth: &PeerAuth<'_>,
) -> Result<AuthVerified, AuthError> {
    let end_entity = Certificate::parse(auth.end_entity)?;
    let key = end_entity.public_key();
    let (scheme, signature) = match auth.method {
        AuthMethod::DIGITAL_SIGNATURE => {
            let (identifier, signature) = split_signature(auth.value)?;
            (algorithm::scheme_of(identifier, key.algorithm)?, signature)
        }
        AuthMethod::ECDSA_P256 => {
            raw(auth, key.algorithm, SignatureScheme::EcdsaP256Sha256Raw, 64)?
        }
        AuthMethod::ECDSA_P384 => {
            raw(auth, key.algorithm, SignatureScheme::EcdsaP384Sha384Raw, 96)?
        }
        method => return Err(AuthError::UnsupportedMethod(method)),
    };
    provider
        .signature(scheme)
        .ok_or(AuthError::SchemeUnavailable(scheme))?
        .verify(key.bits, auth.octets, signature)
        .map_err(|_| AuthError::BadSignature)?;
    Ok(AuthVerified::mint())
}

/// Length octet | AlgorithmIdentifier | signature ([RFC 7427 §3]).
///
/// [RFC 7427 §3]: https://www.rfc-editor.org/rfc/rfc7427#section-3
fn split_signature(value: &[u8]) -> Result<(&[u8], &[u8]), AuthError> {
    let (len, rest) = value.split_first().ok_or(AuthError::Truncated)?;
    let (identifier, signature) = rest
        .split_at_checked(usize::from(*len))
        .ok_or(AuthError::Truncated)?;
    if signature.is_empty() {
        Err(AuthError::Truncated)
    } else {
        Ok((identifier, signature))
    }
}

/// `r | s`, each padded to the curve's length (RFC 4754 §7).
fn raw<'a>(
    auth: &PeerAuth<'a>,
    key: KeyAlgorithm,
    scheme: SignatureScheme,
    expected: usize,
) -> Result<(SignatureScheme, &'a [u8]), AuthError> {
    if scheme.key_algorithm() != key {
        return Err(AuthError::KeyMethodMismatch {
            method: auth.method,
            key,
        });
    }
    if auth.value.len() != expected {
        return Err(AuthError::RawLength {
            expected,
            actual: auth.value.len(),
        });
    }
    Ok((scheme, auth.value))
}
