//! An OCSP request, decoded strictly and without copying.

use der::{ErrorKind, Tag};
use thiserror::Error;

use crate::algorithm::SignatureAlgorithm;
use crate::cert_id::CertId;
use crate::extension::{Extension, ExtensionsError, for_each_extension, object_identifier};
use crate::status::ResponseStatus;
use crate::wire::{self, Elements, Tlv, context, tag};

/// The most preferred signature algorithms that are read.
const MAX_PREFERRED: usize = 32;
/// RFC 9654 §2.1.
const MAX_NONCE: usize = 128;

/// An `OCSPRequest` (RFC 6960 §4.1.1), borrowed from its octets. Signatures on requests are not verified: anybody
/// may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// The first certificate asked about.
    pub first: CertId<'a>,
    /// The others, in order; most requests have none.
    pub rest: Vec<CertId<'a>>,
    /// The nonce, 1 to 128 octets.
    pub nonce: Option<&'a [u8]>,
    /// The signature algorithms that the relying party prefers, best first, as far as they are known here.
    pub preferred: Vec<SignatureAlgorithm>,
}

impl<'a> Request<'a> {
    /// Reads one request with nothing after it. Requests for one certificate allocate nothing.
    ///
    /// # Errors
    ///
    /// [`RequestError`], which names the check that failed.
    pub fn decode(octets: &'a [u8], limits: Limits) -> Result<Self, RequestError> {
        if octets.len() > limits.octets {
            return Err(RequestError::TooLong {
                limit: limits.octets,
            });
        }
        let der = RequestError::der("OCSPRequest");
        let mut fields = Tlv::only(octets)
            .and_then(|request| request.open(Tag::Sequence))
            .map_err(der)?;
        let tbs = fields.expect(Tag::Sequence).map_err(der)?;
        if let Some(signature) = fields.optional(context(0)).map_err(der)? {
            check_signature(signature).map_err(RequestError::der("optionalSignature"))?;
        }
        fields.finish().map_err(der)?;
        Self::from_tbs(tbs, limits)
    }

    /// A DER `OCSPRequest` for these DER CertIDs, for those who ask; see [`CertId::encode`].
    #[must_use]
    pub fn encode(cert_ids: &[&[u8]], nonce: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        wire::nested(&mut out, tag::SEQUENCE, |out| {
            wire::nested(out, tag::SEQUENCE, |out| {
                wire::nested(out, tag::SEQUENCE, |out| {
                    for id in cert_ids {
                        wire::tlv(out, tag::SEQUENCE, id);
                    }
                });
                if let Some(nonce) = nonce {
                    wire::nested(out, tag::constructed(2), |out| {
                        wire::nested(out, tag::SEQUENCE, |out| {
                            wire::nested(out, tag::SEQUENCE, |out| {
                                wire::oid(out, wire::ID_PKIX_OCSP_NONCE);
                                wire::nested(out, tag::OCTET_STRING, |out| {
                                    wire::tlv(out, tag::OCTET_STRING, nonce);
                                });
                            });
                        });
                    });
                }
            });
        });
        out
    }

    /// All certificates asked about, in order.
    pub fn cert_ids(&self) -> impl Iterator<Item = &CertId<'a>> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn from_tbs(tbs: Tlv<'a>, limits: Limits) -> Result<Self, RequestError> {
        let der = RequestError::der("tbsRequest");
        let mut fields = tbs.open(Tag::Sequence).map_err(der)?;
        if let Some(version) = fields.optional(context(0)).map_err(der)? {
            // DER leaves the default out, but some clients send it.
            match Tlv::only(version.value).map_err(der)? {
                Tlv {
                    tag: Tag::Integer,
                    value: [0],
                    ..
                } => {}
                _ => return Err(RequestError::Version),
            }
        }
        if let Some(name) = fields.optional(context(1)).map_err(der)? {
            let name = Tlv::only(name.value).map_err(der)?;
            if !name.tag.is_context_specific() || name.tag.number().value() > 8 {
                return Err(RequestError::RequestorName);
            }
        }
        let list = fields.expect(Tag::Sequence).map_err(der)?;
        let extensions = fields.optional(context(2)).map_err(der)?;
        fields.finish().map_err(der)?;

        let mut requests = Elements::new(list.value).map_err(der)?;
        if requests.is_finished() {
            return Err(RequestError::NoCertId);
        }
        let first = cert_id(&mut requests)?;
        let mut rest = Vec::new();
        while !requests.is_finished() {
            if rest.len() + 1 >= limits.cert_ids {
                return Err(RequestError::TooManyCertIds {
                    limit: limits.cert_ids,
                });
            }
            rest.push(cert_id(&mut requests)?);
        }
        let mut request = Self {
            first,
            rest,
            nonce: None,
            preferred: Vec::new(),
        };
        if let Some(extensions) = extensions {
            for_each_extension(extensions.value, |extension| request.extension(extension))?;
        }
        Ok(request)
    }

    fn extension(&mut self, extension: &Extension<'a>) -> Result<(), RequestError> {
        if extension.is(wire::ID_PKIX_OCSP_NONCE) {
            let nonce = Tlv::only(extension.value)
                .ok()
                .filter(|tlv| tlv.tag == Tag::OctetString)
                .ok_or(RequestError::NonceEncoding)?;
            // RFC 9654 §2.1: 1 to 128.
            if nonce.value.is_empty() || nonce.value.len() > MAX_NONCE {
                return Err(RequestError::NonceLength {
                    found: nonce.value.len(),
                });
            }
            self.nonce = Some(nonce.value);
            Ok(())
        } else if extension.is(wire::ID_PKIX_OCSP_PREF_SIG_ALGS) {
            self.preferred = preferred_algorithms(extension.value)?;
            Ok(())
        } else if extension.is(wire::ID_PKIX_OCSP_RESPONSE) {
            accepts_basic(extension.value)
        } else if extension.critical {
            Err(RequestError::CriticalExtension)
        } else {
            Ok(())
        }
    }
}

/// What bounds a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most octets; 4,096 by default.
    pub octets: usize,
    /// The most certificates asked about; 16 by default.
    pub cert_ids: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            octets: 4_096,
            cert_ids: 16,
        }
    }
}

/// What is wrong with a request: one variant for each check.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// acceptableResponses leaves out id-pkix-ocsp-basic, the only type that there is.
    #[error(
        "acceptableResponses does not list id-pkix-ocsp-basic, or is no list of object identifiers"
    )]
    AcceptableResponses,
    /// A critical extension that is not known here.
    #[error("an unknown extension is critical")]
    CriticalExtension,
    /// Not DER, or not what stands at that place.
    #[error("{place}: {error}")]
    Der {
        /// The ASN.1 type or field that was being read.
        place: &'static str,
        /// What is wrong.
        error: ErrorKind,
    },
    /// An extension occurs twice.
    #[error("an extension occurs twice")]
    DuplicateExtension,
    /// An extension list without extensions.
    #[error("an extension list is empty")]
    EmptyExtensions,
    /// The CertID's hash function is none of SHA-1, SHA-256, SHA-384 and SHA-512.
    #[error("the hash function of a CertID is none of SHA-1, SHA-256, SHA-384 and SHA-512")]
    HashAlgorithm,
    /// A hash in a CertID has not its function's length.
    #[error("{field} has {found} octets, where its hash function has {expected}")]
    HashLength {
        /// `issuerNameHash` or `issuerKeyHash`.
        field: &'static str,
        /// The function's octets.
        expected: usize,
        /// The field's octets.
        found: usize,
    },
    /// The request list is empty.
    #[error("the request asks about no certificate")]
    NoCertId,
    /// The nonce is no OCTET STRING.
    #[error("the nonce is no DER OCTET STRING")]
    NonceEncoding,
    /// A nonce, where a policy that forbids them is in force.
    #[error("a nonce is not allowed here")]
    NonceForbidden,
    /// The nonce is empty or too long (RFC 9654 §2.1).
    #[error("the nonce has {found} octets, where 1 to 128 are allowed")]
    NonceLength {
        /// Its octets.
        found: usize,
    },
    /// No nonce, where a policy that requires one is in force.
    #[error("a nonce is required here")]
    NonceMissing,
    /// The preferred signature algorithms are not as RFC 6960 §4.4.7.1 wants them.
    #[error("the preferred signature algorithms are malformed")]
    PreferredAlgorithms,
    /// requestorName is no GeneralName.
    #[error("requestorName is no GeneralName")]
    RequestorName,
    /// The serial number is no minimal INTEGER of at most 20 octets.
    #[error("the serial number is {0}")]
    Serial(&'static str),
    /// More octets than [`Limits::octets`].
    #[error("the request is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// More certificates than [`Limits::cert_ids`].
    #[error("the request asks about more than {limit} certificates")]
    TooManyCertIds {
        /// The limit.
        limit: usize,
    },
    /// More extensions than anybody needs.
    #[error("an extension list has more than {limit} extensions")]
    TooManyExtensions {
        /// The limit.
        limit: usize,
    },
    /// A version other than 1.
    #[error("the version is not 1")]
    Version,
}

impl RequestError {
    /// What the relying party is told.
    #[must_use]
    pub const fn response_status(&self) -> ResponseStatus {
        match self {
            // Well formed, but nothing that can be looked up (RFC 5019 §2.2.3).
            Self::HashAlgorithm => ResponseStatus::Unauthorized,
            _ => ResponseStatus::MalformedRequest,
        }
    }

    pub(crate) const fn der(place: &'static str) -> impl Fn(ErrorKind) -> Self + Copy {
        move |error| Self::Der { place, error }
    }
}

impl From<ExtensionsError> for RequestError {
    fn from(error: ExtensionsError) -> Self {
        match error {
            ExtensionsError::Der(error) => Self::der("Extensions")(error),
            ExtensionsError::Duplicate => Self::DuplicateExtension,
            ExtensionsError::Empty => Self::EmptyExtensions,
            ExtensionsError::TooMany { limit } => Self::TooManyExtensions { limit },
        }
    }
}

/// One `Request` of the list.
fn cert_id<'a>(requests: &mut Elements<'a>) -> Result<CertId<'a>, RequestError> {
    let der = RequestError::der("Request");
    let request = requests.expect(Tag::Sequence).map_err(der)?;
    let mut fields = Elements::new(request.value).map_err(der)?;
    let id = fields.expect(Tag::Sequence).map_err(der)?;
    let extensions = fields.optional(context(0)).map_err(der)?;
    fields.finish().map_err(der)?;
    if let Some(extensions) = extensions {
        for_each_extension(extensions.value, |extension| {
            // A service locator asks to pass the request on, which a responder need not do.
            if extension.critical && !extension.is(wire::ID_PKIX_OCSP_SERVICE_LOCATOR) {
                return Err(RequestError::CriticalExtension);
            }
            Ok(())
        })?;
    }
    CertId::from_tlv(id)
}

/// RFC 6960 §4.4.3.
fn accepts_basic(octets: &[u8]) -> Result<(), RequestError> {
    let mut accepts = false;
    let mut read = || -> Result<(), ErrorKind> {
        let mut types = Tlv::only(octets)?.open(Tag::Sequence)?;
        while !types.is_finished() {
            accepts |= object_identifier(&mut types)? == wire::ID_PKIX_OCSP_BASIC.as_bytes();
        }
        Ok(())
    };
    match read() {
        Ok(()) if accepts => Ok(()),
        _ => Err(RequestError::AcceptableResponses),
    }
}

/// RFC 6960 §4.4.7.1: for each, the signature's algorithm and optionally the key's.
fn preferred_algorithms(octets: &[u8]) -> Result<Vec<SignatureAlgorithm>, RequestError> {
    let mut known = Vec::new();
    let mut read = || -> Result<(), ErrorKind> {
        let mut list = Tlv::only(octets)?.open(Tag::Sequence)?;
        let mut count = 0;
        while !list.is_finished() {
            count += 1;
            if count > MAX_PREFERRED {
                return Err(ErrorKind::Overlength);
            }
            let mut preference = list.expect(Tag::Sequence)?.open(Tag::Sequence)?;
            let mut signature = preference.expect(Tag::Sequence)?.open(Tag::Sequence)?;
            let oid = object_identifier(&mut signature)?;
            if let Some(algorithm) = SignatureAlgorithm::from_oid_octets(oid) {
                known.push(algorithm);
            }
            preference.optional(Tag::Sequence)?;
            preference.finish()?;
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(known),
        Err(_) => Err(RequestError::PreferredAlgorithms),
    }
}

/// The form of an `optionalSignature`, whose content nobody uses.
fn check_signature(signature: Tlv<'_>) -> Result<(), ErrorKind> {
    let mut fields = Tlv::only(signature.value)?.open(Tag::Sequence)?;
    fields.expect(Tag::Sequence)?;
    fields.expect(Tag::BitString)?;
    if let Some(certificates) = fields.optional(context(0))? {
        let mut certificates = Tlv::only(certificates.value)?.open(Tag::Sequence)?;
        while !certificates.is_finished() {
            certificates.expect(Tag::Sequence)?;
        }
    }
    fields.finish()
}

#[cfg(test)]
mod tests;
