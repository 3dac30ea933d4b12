//! Keys on PKCS#11 tokens (OASIS PKCS#11 v2.40 and later).
//!
//! The private key never leaves its token. Each signature under way has a session of its own; sessions are kept for the
//! next one. What stops a token from signing (it was removed, its login was lost, its network is down) ends when the
//! token comes back: sessions are opened and logged in anew. One thing is not tried again: a PIN that the token
//! refused, since tokens lock themselves after some wrong ones.

mod certify;
mod module;
mod public_key;
mod token;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use ocsp::{HashAlgorithm, SignatureAlgorithm, wire};
use settings::credential::CredentialFileError;
use thiserror::Error;
use tokio::runtime::Handle;

use self::public_key::PublicKey;
use self::token::{Open, Token};
use super::{SignError, SigningCost, SigningKey};
use crate::config::TokenKey;

/// A private key on a token.
pub struct Pkcs11Key {
    token: Arc<Token>,
    public_key: PublicKey,
    algorithms: Vec<SignatureAlgorithm>,
    /// Sessions that are logged in and not in use.
    idle: Mutex<Vec<Open>>,
    /// Held while a session is opened: when the token is away, one finds out for all.
    opening: Mutex<()>,
    state: Mutex<State>,
}

/// How the token did the last time.
#[derive(Clone, Debug)]
enum State {
    Works,
    /// Nothing is tried again before a pause is over.
    Lost {
        at: Instant,
        detail: String,
    },
}

impl Pkcs11Key {
    /// The key that this certificate is for.
    ///
    /// # Errors
    ///
    /// [`Pkcs11Error`], [`NotItsKey`](Pkcs11Error::NotItsKey) when the token's key does not sign for the certificate.
    pub fn for_certificate(place: &TokenKey, certificate: &[u8]) -> Result<Self, Pkcs11Error> {
        let public_key = PublicKey::of_certificate(certificate)?;
        let token = Token::new(place)?;
        let open = token.open()?;
        Self::new(token, open, public_key)
    }

    /// The key with the public key that the token has beside it, for those who make a certificate.
    ///
    /// # Errors
    ///
    /// [`Pkcs11Error`], [`NoPublicKey`](Pkcs11Error::NoPublicKey) when the token does not tell it.
    pub fn with_its_public_key(place: &TokenKey) -> Result<Self, Pkcs11Error> {
        let token = Token::new(place)?;
        let open = token.open()?;
        match token.public_key(&open) {
            Ok(public_key) => Self::new(token, open, public_key),
            Err(error) => {
                token.close(open);
                Err(error)
            }
        }
    }

    fn new(token: Token, open: Open, public_key: PublicKey) -> Result<Self, Pkcs11Error> {
        // Whole before it is checked, so that its session is closed if it fails.
        let mut key = Self {
            token: Arc::new(token),
            public_key,
            algorithms: Vec::new(),
            idle: Mutex::new(vec![open]),
            opening: Mutex::new(()),
            state: Mutex::new(State::Works),
        };
        let offered = key.token.mechanisms()?;
        let own = key.public_key.algorithms().iter().copied();
        key.algorithms = own
            .filter(|algorithm| offered.contains(&mechanism(*algorithm).mechanism_type()))
            .collect();
        let Some(first) = key.algorithms.first().copied() else {
            return Err(Pkcs11Error::NoMechanism);
        };
        // Nothing else shows that the private key is the one of the certificate: a token need not tell its public key.
        let signature = match key.sign_idle(first, PROBE) {
            Some(signature) => signature,
            None => key.sign_anew(first, PROBE)?,
        };
        if !key.public_key.verifies(first, PROBE, &signature) {
            return Err(Pkcs11Error::NotItsKey);
        }
        Ok(key)
    }

    /// Signs in a session that is idle; `None` where there is none, or where they are dead.
    fn sign_idle(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
        let open = lock(&self.idle).pop()?;
        match sign(&self.token, &open, algorithm, message) {
            Ok(signature) => {
                self.keep(open);
                Some(signature)
            }
            Err(error) => {
                tracing::debug!(place = %self.token.place(), %error, "a session is dead");
                self.token.close(open);
                // A lost login, or a token that was away, ends all of them.
                self.close_idle();
                None
            }
        }
    }

    fn sign_anew(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Pkcs11Error> {
        let open = self.token.open()?;
        let signature = sign(&self.token, &open, algorithm, message);
        if signature.is_ok() {
            self.keep(open);
        } else {
            self.token.close(open);
        }
        signature
    }

    fn keep(&self, open: Open) {
        let mut idle = lock(&self.idle);
        if idle.len() < self.token.sessions().get() {
            idle.push(open);
        } else {
            drop(idle);
            self.token.close(open);
        }
    }

    fn close_idle(&self) {
        for open in std::mem::take(&mut *lock(&self.idle)) {
            self.token.close(open);
        }
    }

    /// Whether anything shall be tried now.
    fn check_state(&self) -> Result<(), SignError> {
        match &*lock(&self.state) {
            State::Lost { at, detail } if at.elapsed() < RETRY_PAUSE => {
                Err(SignError::Unavailable(detail.clone()))
            }
            State::Lost { .. } | State::Works => Ok(()),
        }
    }
}

impl SigningKey for Pkcs11Key {
    fn algorithms(&self) -> &[SignatureAlgorithm] {
        &self.algorithms
    }

    fn public_key(&self) -> &[u8] {
        self.public_key.octets()
    }

    fn cost(&self) -> SigningCost {
        SigningCost::Remote {
            at_once: self.token.sessions(),
        }
    }

    fn is_available(&self) -> bool {
        matches!(*lock(&self.state), State::Works)
    }

    fn check(&self) -> Result<(), SignError> {
        match self.algorithms.first() {
            Some(algorithm) => self.sign(*algorithm, PROBE).map(drop),
            None => Ok(()),
        }
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if !self.algorithms.contains(&algorithm) {
            return Err(SignError::Algorithm(algorithm));
        }
        self.check_state()?;
        if let Some(signature) = self.sign_idle(algorithm, message) {
            // Another thread's session may have failed while this one's was well.
            *lock(&self.state) = State::Works;
            return Ok(signature);
        }
        let _one = lock(&self.opening);
        self.check_state()?;
        match self.sign_anew(algorithm, message) {
            Ok(signature) => {
                *lock(&self.state) = State::Works;
                Ok(signature)
            }
            Err(error) => {
                let detail = format!("{}: {error}", self.token.place());
                *lock(&self.state) = State::Lost {
                    at: Instant::now(),
                    detail: detail.clone(),
                };
                if matches!(error, Pkcs11Error::NoToken { .. } | Pkcs11Error::Token(_)) {
                    self.token.begin_anew();
                }
                Err(SignError::Unavailable(detail))
            }
        }
    }
}

impl Drop for Pkcs11Key {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        if idle.is_empty() {
            return;
        }
        let token = Arc::clone(&self.token);
        let close = move || {
            for open in idle {
                token.close(open);
            }
        };
        // A token that does not answer must not keep the threads that serve.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(close)),
            Err(_) => close(),
        }
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Key")
            .field("place", self.token.place())
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Why a key on a token cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The certificate cannot be read.
    #[error("the signer certificate cannot be read as DER: {0}")]
    Certificate(der::Error),
    /// The key is of no kind that is served.
    #[error(
        "the key cannot be used: it must be ECDSA P-256 or P-384, Ed25519, or RSA of at least 2048 bits"
    )]
    KeyKind,
    /// The module cannot be used.
    #[error("the module cannot be loaded: {0}")]
    Module(String),
    /// No private key has the label or identifier.
    #[error(
        "the token has no such private key for signing (pkcs11-tool --list-objects --login shows all)"
    )]
    NoKey,
    /// The token offers no mechanism for the key.
    #[error("the token offers no signature mechanism for this key (pkcs11-tool -M shows all)")]
    NoMechanism,
    /// The public key is not on the token.
    #[error(
        "the token does not tell the public key: store it beside the private key, with the same label or id"
    )]
    NoPublicKey,
    /// No token has the label.
    #[error("no token has the label \"{label}\"; there are: {}", found.join(", "))]
    NoToken {
        /// The label.
        label: String,
        /// The labels that there are.
        found: Vec<String>,
    },
    /// The certificate is for another key.
    #[error("the signer certificate is not for this key")]
    NotItsKey,
    /// The PIN's file cannot be used.
    #[error("the PIN: {0}")]
    PinFile(#[from] CredentialFileError),
    /// The PIN was refused, now or before.
    #[error(
        "the token refused the PIN ({0}); this one is not tried again, since tokens lock after some wrong ones: put the right one into pin_file"
    )]
    PinRefused(String),
    /// An RSA key is too short, or so long that nobody verifies what it signs.
    #[error(
        "the key cannot be used (RSA of {bits} bits): it must be ECDSA P-256 or P-384, Ed25519, or RSA of at least 2048 bits, 8192 at most"
    )]
    RsaLength {
        /// The length of its modulus, in bits, rounded up to octets.
        bits: usize,
    },
    /// The label or identifier is not unique.
    #[error("{0} have this label or id: give another one")]
    Several(&'static str),
    /// The token failed.
    #[error("the token failed: {0}")]
    Token(String),
}

/// Signs in a session, in the form that X.509 wants.
fn sign(
    token: &Token,
    open: &Open,
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, Pkcs11Error> {
    let mechanism = mechanism(algorithm);
    match algorithm {
        // The token signs a digest, and gives r and s of the same length one after the other.
        SignatureAlgorithm::EcdsaSha256 => {
            let digest = HashAlgorithm::Sha256.digest(message);
            ecdsa_der(&token.sign(open, &mechanism, digest.as_ref())?, 32)
        }
        SignatureAlgorithm::EcdsaSha384 => {
            let digest = HashAlgorithm::Sha384.digest(message);
            ecdsa_der(&token.sign(open, &mechanism, digest.as_ref())?, 48)
        }
        SignatureAlgorithm::Ed25519
        | SignatureAlgorithm::RsaSha256
        | SignatureAlgorithm::RsaSha384
        | SignatureAlgorithm::RsaSha512 => token.sign(open, &mechanism, message),
    }
}

fn mechanism(algorithm: SignatureAlgorithm) -> Mechanism<'static> {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 => Mechanism::Ecdsa,
        SignatureAlgorithm::Ed25519 => {
            Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
        }
        SignatureAlgorithm::RsaSha256 => Mechanism::Sha256RsaPkcs,
        SignatureAlgorithm::RsaSha384 => Mechanism::Sha384RsaPkcs,
        SignatureAlgorithm::RsaSha512 => Mechanism::Sha512RsaPkcs,
    }
}

/// `ECDSA-Sig-Value` (RFC 3279 §2.2.3) of the octets of r and s, each `length` long.
fn ecdsa_der(signature: &[u8], length: usize) -> Result<Vec<u8>, Pkcs11Error> {
    let Some((r, s)) = signature
        .split_at_checked(length)
        .filter(|(_, s)| s.len() == length)
    else {
        return Err(Pkcs11Error::Token(format!(
            "{} octets were found, expected an ECDSA signature of {}",
            signature.len(),
            2 * length
        )));
    };
    let mut out = Vec::with_capacity(2 * length + 9);
    wire::nested(&mut out, wire::tag::SEQUENCE, |out| {
        for number in [r, s] {
            unsigned_integer(out, number);
        }
    });
    Ok(out)
}

/// A DER INTEGER of big-endian octets: the shortest that is not negative (X.690 §8.3).
fn unsigned_integer(out: &mut Vec<u8>, octets: &[u8]) {
    let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    wire::nested(out, wire::tag::INTEGER, |out| {
        if significant.first().is_none_or(|&first| first >= 0x80) {
            out.push(0);
        }
        out.extend_from_slice(significant);
    });
}

/// What is signed to see whether a key signs.
const PROBE: &[u8] = b"ledgate ocsp-bridge: does this key sign?";

/// How long a token that failed is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
