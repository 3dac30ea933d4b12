//! An OCSP response, decoded strictly and without copying its octets. Nothing in it is believed before
//! [`verify`](crate::verify) has judged it.

use der::asn1::GeneralizedTime;
use der::{Decode, ErrorKind, Tag, TagNumber};
use ledger::{CertificateHash, RevocationReason};
use thiserror::Error;

use crate::cert_id::CertId;
use crate::extension::{Extension, ExtensionsError, for_each_extension};
use crate::request::RequestError;
use crate::status::{CertStatus, ResponseStatus};
use crate::time::UnixTime;
use crate::wire::{self, Elements, Tlv, context};

/// The most octets of a response that are read: eight times what a usual one has.
pub const MAX_RESPONSE: usize = 8 * 1_024;
/// The most single responses that are read.
pub const MAX_SINGLES: usize = 16;
/// The most certificates beside the signature that are read: a delegate's, and a few above it.
pub const MAX_RESPONSE_CERTIFICATES: usize = 4;
/// RFC 9654 §2.1.
const MAX_NONCE: usize = 128;

/// A successful `OCSPResponse` of the type id-pkix-ocsp-basic (RFC 6960 §4.2.1), borrowed from its octets.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// The DER `ResponseData`: what is signed.
    pub signed: &'a [u8],
    /// Who says that it signed.
    pub responder: ResponderId<'a>,
    /// When it was signed.
    pub produced_at: UnixTime,
    /// What it says of certificates, in order; at least one.
    pub singles: Vec<SingleResponse<'a>>,
    /// The nonce, 1 to 128 octets.
    pub nonce: Option<&'a [u8]>,
    /// The DER `AlgorithmIdentifier` of the signature.
    pub algorithm: &'a [u8],
    /// The signature's octets.
    pub signature: &'a [u8],
    /// The DER certificates beside the signature.
    pub certificates: Vec<&'a [u8]>,
}

impl<'a> Response<'a> {
    /// Reads one response with nothing after it.
    ///
    /// # Errors
    ///
    /// [`ResponseError`], which names the check that failed; [`ResponseError::Status`] for a responder's refusal.
    pub fn decode(octets: &'a [u8]) -> Result<Self, ResponseError> {
        if octets.len() > MAX_RESPONSE {
            return Err(ResponseError::TooLong {
                found: octets.len(),
            });
        }
        let der = ResponseError::der("OCSPResponse");
        let mut fields = Tlv::only(octets)
            .and_then(|response| response.open(Tag::Sequence))
            .map_err(der)?;
        let status = fields.expect(Tag::Enumerated).map_err(der)?;
        let bytes = fields.optional(context(0)).map_err(der)?;
        fields.finish().map_err(der)?;
        match *status.value {
            [0] => {}
            [code] => return Err(ResponseError::status(code)),
            _ => return Err(ResponseError::StatusCode),
        }
        let bytes = bytes.ok_or(ResponseError::NoResponseBytes)?;
        let der = ResponseError::der("responseBytes");
        let mut fields = Tlv::only(bytes.value)
            .and_then(|bytes| bytes.open(Tag::Sequence))
            .map_err(der)?;
        let kind = fields.expect(Tag::ObjectIdentifier).map_err(der)?;
        let response = fields.expect(Tag::OctetString).map_err(der)?;
        fields.finish().map_err(der)?;
        if kind.value != wire::ID_PKIX_OCSP_BASIC.as_bytes() {
            return Err(ResponseError::ResponseType);
        }
        Self::basic(response.value)
    }

    fn basic(octets: &'a [u8]) -> Result<Self, ResponseError> {
        let der = ResponseError::der("BasicOCSPResponse");
        let mut fields = Tlv::only(octets)
            .and_then(|basic| basic.open(Tag::Sequence))
            .map_err(der)?;
        let data = fields.expect(Tag::Sequence).map_err(der)?;
        let algorithm = fields.expect(Tag::Sequence).map_err(der)?;
        let signature = fields.expect(Tag::BitString).map_err(der)?;
        let certs = fields.optional(context(0)).map_err(der)?;
        fields.finish().map_err(der)?;
        // All signatures are whole octets: no unused bits.
        let Some((0, signature)) = signature.value.split_first() else {
            return Err(ResponseError::SignatureBits);
        };
        let mut certificates = Vec::new();
        if let Some(certs) = certs {
            let der = ResponseError::der("certs");
            let mut list = Tlv::only(certs.value)
                .and_then(|certs| certs.open(Tag::Sequence))
                .map_err(der)?;
            while !list.is_finished() {
                if certificates.len() >= MAX_RESPONSE_CERTIFICATES {
                    return Err(ResponseError::TooManyCertificates);
                }
                certificates.push(list.expect(Tag::Sequence).map_err(der)?.raw);
            }
        }
        let (responder, produced_at, singles, nonce) = response_data(data)?;
        Ok(Self {
            signed: data.raw,
            responder,
            produced_at,
            singles,
            nonce,
            algorithm: algorithm.raw,
            signature,
            certificates,
        })
    }
}

/// `ResponderID` (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponderId<'a> {
    /// SHA-1 over the signer's public key, as an identifier only.
    ByKey(&'a [u8; 20]),
    /// The signer's DER name.
    ByName(&'a [u8]),
}

/// What is said of one certificate (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug)]
pub struct SingleResponse<'a> {
    /// Which certificate.
    pub cert_id: CertId<'a>,
    /// What is said of it.
    pub status: CertStatus,
    /// When that was so.
    pub this_update: UnixTime,
    /// When something newer can be had; none means at any time.
    pub next_update: Option<UnixTime>,
    /// H(CERT) of the certificate that is meant (certHash, Common PKI).
    pub cert_hash: Option<CertificateHash>,
}

/// What is wrong with a response: one variant for each check.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The certHash extension is malformed.
    #[error("certHash is not an algorithm and a hash of its length")]
    CertHash,
    /// A CertID is malformed.
    #[error("CertID: {0}")]
    CertId(RequestError),
    /// A critical extension that is not known here, or certHash of a function that is not.
    #[error("an unknown extension is critical, or certHash with another function than SHA-256")]
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
    /// A successful response has no content.
    #[error("successful, but without responseBytes")]
    NoResponseBytes,
    /// It says nothing of any certificate.
    #[error("no single response")]
    NoSingle,
    /// The nonce is no OCTET STRING of 1 to 128 octets (RFC 9654 §2.1).
    #[error("the nonce is no OCTET STRING of 1 to 128 octets")]
    Nonce,
    /// The responder is named by neither a 20-octet key hash nor a name.
    #[error("responderID is neither a name nor a hash of 20 octets")]
    ResponderId,
    /// Another type than id-pkix-ocsp-basic.
    #[error("the type of the response is not id-pkix-ocsp-basic")]
    ResponseType,
    /// A revocation reason that RFC 5280 §5.3.1 does not have.
    #[error("no such revocation reason")]
    RevocationReason,
    /// The signature is no whole number of octets.
    #[error("the signature is no whole number of octets")]
    SignatureBits,
    /// A certificate status other than good, revoked and unknown.
    #[error("certStatus is none of good, revoked and unknown")]
    CertStatus,
    /// The responder refuses to answer.
    #[error("the responder answered {}", .0.name())]
    Status(ResponseStatus),
    /// A response status that RFC 6960 does not have, or sigRequired.
    #[error("no such response status, or one that wants a signed request")]
    StatusCode,
    /// A time that is not written as RFC 5280 §4.1.2.5.2 wants it.
    #[error("{field} is no GeneralizedTime of the form YYYYMMDDHHMMSSZ")]
    Time {
        /// The field.
        field: &'static str,
    },
    /// More octets than [`MAX_RESPONSE`].
    #[error("{found} octets; at most {MAX_RESPONSE} are read")]
    TooLong {
        /// Its octets.
        found: usize,
    },
    /// More certificates than [`MAX_RESPONSE_CERTIFICATES`].
    #[error("more than {MAX_RESPONSE_CERTIFICATES} certificates")]
    TooManyCertificates,
    /// More extensions than anybody needs.
    #[error("an extension list has more than {limit} extensions")]
    TooManyExtensions {
        /// The limit.
        limit: usize,
    },
    /// More single responses than [`MAX_SINGLES`].
    #[error("more than {MAX_SINGLES} single responses")]
    TooManySingles,
    /// A version other than 1.
    #[error("the version is not 1")]
    Version,
}

impl ResponseError {
    const fn der(place: &'static str) -> impl Fn(ErrorKind) -> Self + Copy {
        move |error| Self::Der { place, error }
    }

    fn status(code: u8) -> Self {
        ResponseStatus::ALL
            .into_iter()
            .find(|status| status.code() == code)
            .map_or(Self::StatusCode, Self::Status)
    }
}

impl From<ExtensionsError> for ResponseError {
    fn from(error: ExtensionsError) -> Self {
        match error {
            ExtensionsError::Der(error) => Self::der("Extensions")(error),
            ExtensionsError::Duplicate => Self::DuplicateExtension,
            ExtensionsError::Empty => Self::EmptyExtensions,
            ExtensionsError::TooMany { limit } => Self::TooManyExtensions { limit },
        }
    }
}

type ResponseData<'a> = (
    ResponderId<'a>,
    UnixTime,
    Vec<SingleResponse<'a>>,
    Option<&'a [u8]>,
);

fn response_data(data: Tlv<'_>) -> Result<ResponseData<'_>, ResponseError> {
    let der = ResponseError::der("tbsResponseData");
    let mut fields = data.open(Tag::Sequence).map_err(der)?;
    if let Some(version) = fields.optional(context(0)).map_err(der)? {
        // DER leaves the default out, but some responders send it.
        match Tlv::only(version.value).map_err(der)? {
            Tlv {
                tag: Tag::Integer,
                value: [0],
                ..
            } => {}
            _ => return Err(ResponseError::Version),
        }
    }
    let responder = responder_id(fields.any().map_err(der)?)?;
    let produced_at = time("producedAt", fields.any().map_err(der)?)?;
    let list = fields.expect(Tag::Sequence).map_err(der)?;
    let extensions = fields.optional(context(1)).map_err(der)?;
    fields.finish().map_err(der)?;

    let mut list = Elements::new(list.value).map_err(der)?;
    let mut singles = Vec::new();
    while !list.is_finished() {
        if singles.len() >= MAX_SINGLES {
            return Err(ResponseError::TooManySingles);
        }
        singles.push(single_response(list.any().map_err(der)?)?);
    }
    if singles.is_empty() {
        return Err(ResponseError::NoSingle);
    }
    let mut found = None;
    if let Some(extensions) = extensions {
        for_each_extension(extensions.value, |extension| {
            if extension.is(wire::ID_PKIX_OCSP_NONCE) {
                found = Some(nonce(extension.value)?);
                return Ok(());
            }
            // RFC 6960 §4.4.8: extended-revoked concerns certificates that were never issued, which are revoked here anyway.
            known_or_ignorable(extension, wire::ID_PKIX_OCSP_EXTENDED_REVOKE)
        })?;
    }
    Ok((responder, produced_at, singles, found))
}

fn responder_id(tlv: Tlv<'_>) -> Result<ResponderId<'_>, ResponseError> {
    let inner = Tlv::only(tlv.value).map_err(|_| ResponseError::ResponderId)?;
    if tlv.tag == context(1) && inner.tag == Tag::Sequence {
        return Ok(ResponderId::ByName(inner.raw));
    }
    if tlv.tag == context(2)
        && inner.tag == Tag::OctetString
        && let Ok(hash) = inner.value.try_into()
    {
        return Ok(ResponderId::ByKey(hash));
    }
    Err(ResponseError::ResponderId)
}

fn single_response(tlv: Tlv<'_>) -> Result<SingleResponse<'_>, ResponseError> {
    let der = ResponseError::der("SingleResponse");
    let mut fields = tlv.open(Tag::Sequence).map_err(der)?;
    let cert_id = CertId::from_tlv(fields.any().map_err(der)?).map_err(ResponseError::CertId)?;
    let status = cert_status(fields.any().map_err(der)?)?;
    let this_update = time("thisUpdate", fields.any().map_err(der)?)?;
    let next_update = fields
        .optional(context(0))
        .map_err(der)?
        .map(|next| time("nextUpdate", Tlv::only(next.value).map_err(der)?))
        .transpose()?;
    let extensions = fields.optional(context(1)).map_err(der)?;
    fields.finish().map_err(der)?;
    let mut found = None;
    if let Some(extensions) = extensions {
        for_each_extension(extensions.value, |extension| {
            if extension.is(wire::ID_COMMONPKI_AT_CERT_HASH) {
                found = cert_hash(extension.value)?;
                // One that cannot be compared is as good as unknown.
                return if extension.critical && found.is_none() {
                    Err(ResponseError::CriticalExtension)
                } else {
                    Ok(())
                };
            }
            known_or_ignorable(extension, wire::ID_PKIX_OCSP_ARCHIVE_CUTOFF)
        })?;
    }
    Ok(SingleResponse {
        cert_id,
        status,
        this_update,
        next_update,
        cert_hash: found,
    })
}

fn cert_status(tlv: Tlv<'_>) -> Result<CertStatus, ResponseError> {
    let implicit = |number| Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(number),
    };
    // NULL by another tag: no content.
    if tlv.tag == implicit(0) && tlv.value.is_empty() {
        return Ok(CertStatus::Good);
    }
    if tlv.tag == implicit(2) && tlv.value.is_empty() {
        return Ok(CertStatus::Unknown);
    }
    if tlv.tag != context(1) {
        return Err(ResponseError::CertStatus);
    }
    let der = ResponseError::der("RevokedInfo");
    let mut fields = Elements::new(tlv.value).map_err(der)?;
    let since = time("revocationTime", fields.any().map_err(der)?)?;
    let reason = fields.optional(context(0)).map_err(der)?;
    fields.finish().map_err(der)?;
    let reason = match reason {
        None => RevocationReason::Unspecified,
        Some(reason) => {
            let reason = Tlv::only(reason.value).map_err(der)?;
            RevocationReason::ALL
                .into_iter()
                .find(|known| reason.tag == Tag::Enumerated && reason.value == [known.code()])
                .ok_or(ResponseError::RevocationReason)?
        }
    };
    Ok(CertStatus::Revoked {
        time: since,
        reason,
    })
}

fn time(field: &'static str, tlv: Tlv<'_>) -> Result<UnixTime, ResponseError> {
    GeneralizedTime::from_der(tlv.raw)
        .map(|time| UnixTime(time.to_unix_duration().as_secs()))
        .map_err(|_| ResponseError::Time { field })
}

fn nonce(octets: &[u8]) -> Result<&[u8], ResponseError> {
    Tlv::only(octets)
        .ok()
        .filter(|tlv| tlv.tag == Tag::OctetString)
        .filter(|tlv| (1..=MAX_NONCE).contains(&tlv.value.len()))
        .map(|tlv| tlv.value)
        .ok_or(ResponseError::Nonce)
}

/// `None` for a hash of another function than H(CERT)'s.
fn cert_hash(octets: &[u8]) -> Result<Option<CertificateHash>, ResponseError> {
    let read = || -> Result<_, ErrorKind> {
        let mut fields = Tlv::only(octets)?.open(Tag::Sequence)?;
        let mut algorithm = fields.expect(Tag::Sequence)?.open(Tag::Sequence)?;
        let oid = algorithm.expect(Tag::ObjectIdentifier)?;
        algorithm.optional(Tag::Null)?;
        algorithm.finish()?;
        let hash = fields.expect(Tag::OctetString)?;
        fields.finish()?;
        Ok((oid.value, hash.value))
    };
    let (oid, hash) = read().map_err(|_| ResponseError::CertHash)?;
    if oid != wire::ID_SHA256.as_bytes() {
        return Ok(None);
    }
    <[u8; 32]>::try_from(hash)
        .map(|hash| Some(CertificateHash::from_octets(hash)))
        .map_err(|_| ResponseError::CertHash)
}

fn known_or_ignorable(
    extension: &Extension<'_>,
    known: const_oid::ObjectIdentifier,
) -> Result<(), ResponseError> {
    if extension.critical && !extension.is(known) {
        Err(ResponseError::CriticalExtension)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
