//! Who signs CRLs.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use der::Decode as _;
use ledger::{CertificateError, HashAlgorithm, IssuerId, ParsedCertificate};
use ocsp::{SignatureAlgorithm, UnixTime};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{KeyUsages, SubjectKeyIdentifier};

use crate::signer::{SignError, SignerError, SigningCost, SigningKey, WatchedKey, pkcs8_key};
use crate::signing_queue::{RemoteQueue, Trial, Wanted};

/// A key that signs an issuer's CRLs, and in whose name.
pub struct CrlSigner {
    key: Arc<WatchedKey>,
    /// Where signatures are made, and the key is tried.
    queue: RemoteQueue,
    /// Held while a full CRL is made.
    full: Arc<Semaphore>,
    /// Held while a delta CRL is made.
    delta: Arc<Semaphore>,
    /// What the last trial of the key said, if it failed.
    unable: Mutex<Option<SignError>>,
    algorithm: SignatureAlgorithm,
    issuer: Vec<u8>,
    id: IssuerId,
    key_hashes: [String; 2],
    key_id: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl CrlSigner {
    /// A signer with a PKCS#8 key, for the CRLs of the authority with the certificate `issuer`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn from_pkcs8(
        now: UnixTime,
        issuer: &[u8],
        certificate: &[u8],
        pkcs8: &[u8],
    ) -> Result<Self, CrlSignerError> {
        Self::new(now, issuer, certificate, pkcs8_key(pkcs8)?)
    }

    /// A signer whose certificate is the issuer's own, or one with the issuer's name that the issuer signed for cRLSign.
    ///
    /// # Errors
    ///
    /// [`CrlSignerError`] when a certificate cannot be read, may not do this, or is not valid at `now`.
    pub fn new(
        now: UnixTime,
        issuer: &[u8],
        certificate: &[u8],
        key: Box<dyn SigningKey>,
    ) -> Result<Self, CrlSignerError> {
        let issuer = ParsedCertificate::parse(issuer).map_err(CrlSignerError::Issuer)?;
        let signer = ParsedCertificate::parse(certificate).map_err(CrlSignerError::Certificate)?;
        if !issuer.is_authority() {
            return Err(CrlSignerError::NotAuthority);
        }
        if signer.public_key() != key.public_key() {
            return Err(SignerError::KeyMismatch.into());
        }
        if signer.subject() != issuer.subject() {
            return Err(CrlSignerError::OtherName);
        }
        // The issuer's own key, whichever of its certificates it is, or one that it certified.
        let is_own = signer.public_key() == issuer.public_key();
        let is_certified =
            || signer.issuer_hash() == issuer.subject_hash() && signer.is_signed_by(&issuer);
        if !is_own && !is_certified() {
            return Err(SignerError::NotIssuedBy.into());
        }
        // RFC 5280 §4.2.1.3. Without the extension an authority's own key may do anything.
        let may = signer
            .key_usage()
            .map_or(is_own, |usage| usage.0.contains(KeyUsages::CRLSign));
        if !may {
            return Err(CrlSignerError::KeyUsage);
        }
        let algorithm = *key.algorithms().first().ok_or(SignerError::NoAlgorithm)?;
        let hashes = [HashAlgorithm::Sha1, HashAlgorithm::Sha256];
        let at_once = match key.cost() {
            SigningCost::Remote { at_once } => at_once,
            // A full and a delta CRL.
            SigningCost::Quick | SigningCost::Slow => LOCAL_AT_ONCE,
        };
        let made = Self {
            queue: RemoteQueue::new(at_once, WAITING),
            full: Arc::new(Semaphore::new(1)),
            delta: Arc::new(Semaphore::new(1)),
            unable: Mutex::new(None),
            algorithm,
            issuer: issuer.subject().to_vec(),
            id: IssuerId::of(HashAlgorithm::Sha256, &issuer),
            key_hashes: hashes.map(|algorithm| hex(&algorithm.hash(issuer.public_key()))),
            key_id: key_id(certificate, &signer),
            not_before: UnixTime(signer.not_before()),
            not_after: UnixTime(signer.not_after().min(issuer.not_after())),
            key: Arc::new(WatchedKey::new(key)),
        };
        made.check_validity(now).map_err(SignerError::from)?;
        Ok(made)
    }

    /// The issuer, as a ledger node knows it.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerId {
        &self.id
    }

    /// The last second in which it signs.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// SHA-1 and SHA-256 over the issuer's key, hexadecimal.
    pub(crate) const fn key_hashes(&self) -> &[String; 2] {
        &self.key_hashes
    }

    /// The issuer's DER name.
    pub(crate) fn issuer_name(&self) -> &[u8] {
        &self.issuer
    }

    /// The identifier of the key, for authorityKeyIdentifier.
    pub(crate) fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    pub(crate) const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Signs, unless a certificate is not valid at `now`.
    pub(crate) fn sign(&self, now: UnixTime, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.check_validity(now)?;
        self.key.sign(self.algorithm, message)
    }

    /// Makes a full CRL where this one's signatures are made: one at a time, on a thread that serves nobody.
    ///
    /// # Errors
    ///
    /// [`SignError::Unavailable`] when the key cannot be used, when the last full CRL is not signed yet, or when this one
    /// is not within five seconds; then `job` goes on, and nobody waits for what it says.
    pub(crate) async fn make_full<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        let only = Arc::clone(&self.full)
            .try_acquire_owned()
            .map_err(|_| SignError::Unavailable("it has not signed the last CRL yet".to_owned()))?;
        self.make(only, FULL_TIME, job).await
    }

    /// The same for a delta CRL. One after the other; who waits may find it made.
    pub(crate) async fn make_delta<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        let limit = DELTA_TIME;
        let turn = Arc::clone(&self.delta).acquire_owned();
        let turn = if self.is_remote() {
            timeout(limit, turn).await.map_err(|_| late(limit))?
        } else {
            turn.await
        };
        let only = turn.map_err(|_| SignError::Failed("the queue is closed".to_owned()))?;
        self.make(only, limit, job).await
    }

    async fn make<T: Send + 'static>(
        &self,
        only: OwnedSemaphorePermit,
        limit: Duration,
        job: impl FnOnce() -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        // A list is not encoded, nor a thread taken, for a key that is known to be away: its trials say when it is back.
        if !self.key.is_available() {
            return Err(self.unable());
        }
        let made = self.queue.signatures().run(Wanted::ByMany, move || {
            let made = job();
            drop(only);
            made
        });
        if self.is_remote() {
            timeout(limit, made).await.map_err(|_| late(limit))?
        } else {
            // The length of the list decides, not a device.
            made.await
        }
    }

    fn is_remote(&self) -> bool {
        matches!(self.key.cost(), SigningCost::Remote { .. })
    }

    /// Tries the key, if it is kept elsewhere. It ends within two seconds. Tells whether it is back.
    pub(crate) async fn check_remote_key(&self) -> bool {
        if !self.is_remote() {
            return false;
        }
        let unable = match self.queue.try_key(&self.key).await {
            Trial::Able => None,
            Trial::Busy => return false,
            Trial::Unable(error) => Some(error),
        };
        let [issuer, _] = &self.key_hashes;
        let mut last = self.unable.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &unable) {
            (None, Some(error)) => {
                tracing::error!(issuer, %error, "the key that signs CRLs cannot be used");
            }
            (Some(_), None) => tracing::info!(issuer, "the key that signs CRLs can be used again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let is_back = last.is_some() && unable.is_none();
        *last = unable;
        is_back
    }

    /// Whether its key can be used as far as is known.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.key.is_available()
    }

    /// What keeps its key from being used, if that is known to be so.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = || format!("the next one cannot be signed: {}", self.unable());
        (!self.is_available()).then(problem)
    }

    fn unable(&self) -> SignError {
        let last = self.unable.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || SignError::Unavailable("it failed".to_owned());
        last.clone().unwrap_or_else(unknown)
    }

    pub(crate) const fn check_validity(&self, now: UnixTime) -> Result<(), SignError> {
        if now.0 < self.not_before.0 {
            return Err(SignError::NotYetValid {
                not_before: self.not_before,
            });
        }
        if now.0 > self.not_after.0 {
            return Err(SignError::Expired {
                not_after: self.not_after,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for CrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlSigner")
            .field("issuer", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Why a signer cannot sign an issuer's CRLs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CrlSignerError {
    /// The signer's certificate cannot be read.
    #[error("the signer certificate cannot be used: {0}")]
    Certificate(CertificateError),
    /// The issuer's certificate cannot be read.
    #[error("the issuer's certificate cannot be used: {0}")]
    Issuer(CertificateError),
    /// Key usage forbids it.
    #[error("the signer certificate's key usage does not include cRLSign")]
    KeyUsage,
    /// A device, say.
    #[error(
        "the issuer's certificate is no CA's (basicConstraints): a self-signed device has no CRL"
    )]
    NotAuthority,
    /// The name is another one.
    #[error(
        "the signer certificate has another subject than the CA: it must be the CA's own certificate, or one that the CA issued in its own name for cRLSign; relying parties such as strongSwan do not read indirect CRLs"
    )]
    OtherName,
    /// The key cannot be used, is not the certificate's, or was not certified by the issuer; or a certificate has run
    /// out.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// The key's identifier: the one in the signer's certificate, by which relying parties look for it, or else the SHA-1 of
/// the key (RFC 5280 §4.2.1.2).
fn key_id(certificate: &[u8], signer: &ParsedCertificate<'_>) -> Vec<u8> {
    let extension = Certificate::from_der(certificate).ok().and_then(|parsed| {
        parsed
            .tbs_certificate()
            .get_extension::<SubjectKeyIdentifier>()
            .ok()
            .flatten()
    });
    extension.map_or_else(
        || HashAlgorithm::Sha1.hash(signer.public_key()),
        |(_, id)| id.0.as_bytes().to_vec(),
    )
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn late(limit: Duration) -> SignError {
    SignError::Unavailable(format!("no signature came within {} s", limit.as_secs()))
}

/// How long a key that is kept elsewhere is waited for with a full CRL.
const FULL_TIME: Duration = Duration::from_secs(5);

/// The same with a delta CRL, for which a client waits: less than `limits.answer_ms` is by default.
const DELTA_TIME: Duration = Duration::from_secs(1);

/// How many CRLs a key in memory signs at one time: a full and a delta one.
const LOCAL_AT_ONCE: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// How many signatures may wait for others: never more than a full one, a delta one and a trial.
const WAITING: usize = 3;
