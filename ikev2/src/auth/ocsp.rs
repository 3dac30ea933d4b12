//! OCSP inside IKE ([RFC 4806]): what is asked of a peer, and what stands beside our certificate when a peer asks.
//! The octets of a response mean nothing here; who verifies them is the application.
//!
//! [RFC 4806]: https://www.rfc-editor.org/rfc/rfc4806

use std::{
    fmt::{self, Debug},
    sync::{Arc, PoisonError, RwLock},
};

use super::{CertificateDer, LocalCredential, SignError, UnixTime};
use crate::{
    crypto::SignatureScheme,
    wire::{CertEncoding, CertReqPayload, Payloads},
};

/// The longest OCSP response that is sent or taken, in octets: one with a signer's certificate is seldom longer than 2000.
/// A peer that sends a longer one is refused.
pub const MAX_OCSP_RESPONSE_LEN: usize = 8 * 1_024;
/// The most OCSP responses that are taken from one peer: for its certificate, and for those above it. One that sends more is refused.
pub const MAX_OCSP_RESPONSES: usize = 4;
/// The most responders that a request names, or that are read of a peer's.
pub const MAX_OCSP_RESPONDERS: usize = 32;

/// A request for the status of the other side's certificate ([RFC 4806 §3.1]).
///
/// [RFC 4806 §3.1]: https://www.rfc-editor.org/rfc/rfc4806#section-3.1
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OcspRequest {
    responders: Vec<[u8; 20]>,
}

impl OcspRequest {
    /// A request that names no responder: right where the certificate's issuer, or a delegate of it, signs the response.
    #[must_use]
    pub const fn any_responder() -> Self {
        Self {
            responders: Vec::new(),
        }
    }

    /// A request that names locally trusted responders, each by the [`authority`](super::authority) of its certificate: SHA-1 over its
    /// SubjectPublicKeyInfo, as an identifier only. Beyond [`MAX_OCSP_RESPONDERS`] they are left out, since they are a hint.
    #[must_use]
    pub fn naming(responders: impl IntoIterator<Item = [u8; 20]>) -> Self {
        Self {
            responders: responders.into_iter().take(MAX_OCSP_RESPONDERS).collect(),
        }
    }

    /// The responders that the asking side trusts by itself; none means that the issuer's own and its delegates will do.
    #[must_use]
    pub fn responders(&self) -> &[[u8; 20]] {
        &self.responders
    }

    /// What a peer asked for; `None` if it did not ask. Several requests count as one.
    pub(crate) fn read(payloads: &Payloads<'_>) -> Option<Self> {
        let mut requests = payloads
            .cert_requests()
            .filter(|request| request.encoding == CertEncoding::OCSP_CONTENT)
            .peekable();
        requests.peek()?;
        Some(Self::naming(
            requests
                .flat_map(CertReqPayload::hashes)
                .filter_map(|hash| <[u8; 20]>::try_from(hash).ok()),
        ))
    }

    /// The Certification Authority field.
    pub(crate) fn field(&self) -> Vec<u8> {
        self.responders.concat()
    }
}

/// An OCSP response to stand beside our certificate, and until when.
#[derive(Clone, Eq, PartialEq)]
pub struct OcspStaple {
    response: Vec<u8>,
    expires: UnixTime,
}

impl OcspStaple {
    /// Takes the DER of an OCSPResponse, and its nextUpdate. From that moment on it is not sent any more.
    ///
    /// # Errors
    /// [`StapleError`] for what cannot be one.
    pub fn new(response: Vec<u8>, expires: UnixTime) -> Result<Self, StapleError> {
        match response.len() {
            0 => Err(StapleError::Empty),
            len if len > MAX_OCSP_RESPONSE_LEN => Err(StapleError::TooLong {
                len,
                limit: MAX_OCSP_RESPONSE_LEN,
            }),
            _ => Ok(Self { response, expires }),
        }
    }

    /// The DER of the OCSPResponse.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        &self.response
    }

    /// When it ceases to be sent.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

impl Debug for OcspStaple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OcspStaple")
            .field("octets", &self.response.len())
            .field("expires", &self.expires)
            .finish()
    }
}

/// Why octets cannot be stapled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StapleError {
    /// There are none.
    Empty,
    /// More than a peer would take.
    TooLong {
        /// How many there are.
        len: usize,
        /// The most that are sent.
        limit: usize,
    },
}

impl fmt::Display for StapleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an OCSP response of no octets"),
            Self::TooLong { len, limit } => write!(
                f,
                "an OCSP response of {len} octets, at most {limit} are sent"
            ),
        }
    }
}

impl std::error::Error for StapleError {}

/// A credential with an OCSP response beside it, which the application replaces while IKE SAs come and go.
#[derive(Debug)]
pub struct StapledCredential {
    credential: Arc<dyn LocalCredential>,
    staple: RwLock<Option<Arc<OcspStaple>>>,
}

impl StapledCredential {
    /// The credential, with nothing stapled yet.
    #[must_use]
    pub const fn new(credential: Arc<dyn LocalCredential>) -> Self {
        Self {
            credential,
            staple: RwLock::new(None),
        }
    }

    /// From now on peers that ask get this one, or none.
    pub fn replace(&self, staple: Option<OcspStaple>) {
        // The value is one pointer, which a panic elsewhere cannot leave half written.
        *self.staple.write().unwrap_or_else(PoisonError::into_inner) = staple.map(Arc::new);
    }
}

impl LocalCredential for StapledCredential {
    fn identity(&self) -> &super::Identification {
        self.credential.identity()
    }

    fn chain(&self) -> &[CertificateDer] {
        self.credential.chain()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.credential.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, octets: &[u8]) -> Result<Vec<u8>, SignError> {
        self.credential.sign(scheme, octets)
    }

    fn ocsp_staple(&self, _request: &OcspRequest) -> Option<Arc<OcspStaple>> {
        self.staple
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ExchangeType, Flags, Header, Message, MessageWriter, Payload};

    /// What is read of a message with these certificate requests.
    fn read(requests: &[(CertEncoding, &[u8])]) -> Option<OcspRequest> {
        let flags = Flags {
            initiator: false,
            response: true,
        };
        let header = Header::new(1, 2, ExchangeType::IKE_SA_INIT, flags, 0);
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header);
        for (encoding, authorities) in requests {
            let request = CertReqPayload {
                encoding: *encoding,
                authorities,
            };
            writer.payload(&Payload::CertReq(request)).unwrap();
        }
        writer.finish().unwrap();
        OcspRequest::read(&Message::decode(&datagram).unwrap().payloads)
    }

    #[test]
    fn only_encoding_14_asks_for_a_response() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(CertEncoding::X509_SIGNATURE, &[7; 20])]), None);
        let empty = read(&[(CertEncoding::OCSP_CONTENT, &[])]);
        assert_eq!(empty, Some(OcspRequest::any_responder()));
    }

    #[test]
    fn several_requests_are_one_and_their_responders_are_bounded() {
        let both = read(&[
            (CertEncoding::OCSP_CONTENT, &[1; 20]),
            (CertEncoding::X509_SIGNATURE, &[9; 20]),
            (CertEncoding::OCSP_CONTENT, &[2; 40]),
        ]);
        let expected = OcspRequest::naming([[1; 20], [2; 20], [2; 20]]);
        assert_eq!(both, Some(expected.clone()));
        assert_eq!(
            expected.field(),
            [[1; 20], [2; 20], [2; 20]].concat(),
            "and they are written as they are read"
        );
        let many = [5; 20 * (MAX_OCSP_RESPONDERS + 1)];
        let read = read(&[(CertEncoding::OCSP_CONTENT, &many)]).unwrap();
        assert_eq!(read.responders().len(), MAX_OCSP_RESPONDERS);
    }

    #[test]
    fn what_no_peer_would_take_is_not_stapled() {
        let until = UnixTime::from_secs(1);
        assert_eq!(OcspStaple::new(vec![], until), Err(StapleError::Empty));
        assert!(OcspStaple::new(vec![1; MAX_OCSP_RESPONSE_LEN], until).is_ok());
        let error = OcspStaple::new(vec![1; MAX_OCSP_RESPONSE_LEN + 1], until).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an OCSP response of 8193 octets, at most 8192 are sent"
        );
    }
}
