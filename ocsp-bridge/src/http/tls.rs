//! TLS on the listener: TLS 1.3 and 1.2 by rustls, without client certificates.

use std::sync::{Arc, PoisonError, RwLock};

use der::Decode as _;
use ocsp::UnixTime;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use tokio_rustls::rustls::crypto::ring::{default_provider, sign::any_supported_type};
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, InconsistentKeys};
use x509_cert::Certificate;

/// A server's certificate and key for TLS, checked. What a listener uses can be replaced while it serves.
#[derive(Debug)]
pub struct Tls {
    current: RwLock<TlsIdentity>,
}

/// A certificate chain with its key, ready for handshakes.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    not_after: UnixTime,
}

impl Tls {
    /// For a listener.
    #[must_use]
    pub const fn new(identity: TlsIdentity) -> Self {
        Self {
            current: RwLock::new(identity),
        }
    }

    /// Takes another identity from the next handshake on. Connections that are open go on.
    pub fn replace(&self, identity: TlsIdentity) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.config)
    }
}

impl TlsIdentity {
    /// From certificates in DER, the server's own first, and its PKCS#8 key.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when they cannot be read or used, do not belong together, or are not valid at `now`.
    pub fn new(now: UnixTime, certificates: Vec<Vec<u8>>, pkcs8: &[u8]) -> Result<Self, TlsError> {
        let first = certificates.first().ok_or(TlsError::NoCertificate)?;
        let validity = *Certificate::from_der(first)
            .map_err(TlsError::Certificate)?
            .tbs_certificate()
            .validity();
        let not_before = UnixTime(validity.not_before.to_unix_duration().as_secs());
        let not_after = UnixTime(validity.not_after.to_unix_duration().as_secs());
        if now < not_before {
            return Err(TlsError::NotYetValid { not_before });
        }
        if now > not_after {
            return Err(TlsError::Expired { not_after });
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
        let key = any_supported_type(&key).map_err(TlsError::Key)?;
        let chain = certificates.into_iter().map(CertificateDer::from).collect();
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::KeyMismatch);
            }
            Err(error) => return Err(TlsError::Key(error)),
        }
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Key)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }

    /// The certificate's last second.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Why a certificate and a key cannot be used for TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate is no X.509 certificate in DER.
    #[error("the TLS certificate cannot be read as DER: {0}")]
    Certificate(der::Error),
    /// Its time is over.
    #[error("the TLS certificate expired at {} s since 1970: renew it", not_after.0)]
    Expired {
        /// Its last second.
        not_after: UnixTime,
    },
    /// The key cannot be used.
    #[error(
        "the TLS key cannot be used ({0}): it must be PKCS#8 with ECDSA, Ed25519 or RSA of at least 2048 bits"
    )]
    Key(rustls::Error),
    /// The certificate is for another key.
    #[error(
        "the TLS certificate is not for this key (the server's own certificate must be the first in its file)"
    )]
    KeyMismatch,
    /// There is none.
    #[error("there is no TLS certificate")]
    NoCertificate,
    /// Its time has not come.
    #[error("the TLS certificate is not valid before {} s since 1970: check the clock", not_before.0)]
    NotYetValid {
        /// Its first second.
        not_before: UnixTime,
    },
}
