//! IKE_SA_INIT (RFC 7296 §1.2): what is built and read of it on both sides.

use crate::auth::{ANNOUNCED_HASHES, OcspRequest, decode_hash_algorithms, encode_hash_algorithms};
use crate::cookie::MAX_COOKIE;
use crate::crypto::SupportedPrf;
use crate::error::{AcceptRefusal, Error, PeerMisbehaved};
use crate::event::Path;
use crate::exchange::auth::ocsp_request;
use crate::exchange::natd::Announcement;
use crate::exchange::stray;
use crate::wire::{
    CertEncoding, CertReqPayload, EncodeError, ExchangeType, Flags, GroupId, HashAlgorithm, Header,
    KePayload, Message, MessageWriter, NotifyPayload, NotifyType, Payload, Payloads, SaPayload,
};

/// Octets in our nonces: the key of the largest PRF hash that we offer is 48, and half of it must
/// be there; 32 is what everybody sends (RFC 7296 §2.10).
pub(crate) const NONCE_LEN: usize = 32;

/// What goes into a request.
pub(crate) struct Request<'a> {
    pub(crate) spi: u64,
    pub(crate) cookie: Option<&'a [u8]>,
    pub(crate) sa: SaPayload<'a>,
    pub(crate) group: GroupId,
    pub(crate) public_value: &'a [u8],
    pub(crate) nonce: &'a [u8],
    pub(crate) path: Path,
    pub(crate) pretend_nat: bool,
}

impl Request<'_> {
    /// HDR, [N(COOKIE)], SAi1, KEi, Ni, N(NAT_DETECTION_*), N(SIGNATURE_HASH_ALGORITHMS).
    pub(crate) fn build(self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(512);
        let flags = Flags {
            initiator: true,
            response: false,
        };
        let header = Header::new(self.spi, 0, ExchangeType::IKE_SA_INIT, flags, 0);
        let natd = Announcement::new((self.spi, 0), self.path, self.pretend_nat);
        let hashes = encode_hash_algorithms(&ANNOUNCED_HASHES);
        let mut writer = MessageWriter::new(&mut out, &header);
        if let Some(cookie) = self.cookie {
            // First, and the rest unchanged (RFC 7296 §2.6).
            writer.payload(&Payload::Notify(NotifyPayload::new(
                NotifyType::COOKIE,
                cookie,
            )))?;
        }
        writer.payload(&Payload::Sa(self.sa))?;
        writer.payload(&Payload::Ke(KePayload {
            group: self.group,
            value: self.public_value,
        }))?;
        writer.payload(&Payload::Nonce(self.nonce))?;
        for payload in &natd.payloads() {
            writer.payload(payload)?;
        }
        writer.payload(&signature_hashes(&hashes))?;
        writer.finish()?;
        Ok(out)
    }
}

/// What goes into a response.
pub(crate) struct Response<'a> {
    pub(crate) spis: (u64, u64),
    pub(crate) sa: SaPayload<'a>,
    pub(crate) group: GroupId,
    pub(crate) public_value: &'a [u8],
    pub(crate) nonce: &'a [u8],
    pub(crate) path: Path,
    pub(crate) pretend_nat: bool,
    /// What is asked about the peer's certificate, if anything.
    pub(crate) ocsp_request: Option<&'a OcspRequest>,
}

impl Response<'_> {
    /// HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), N(SIGNATURE_HASH_ALGORITHMS), CERTREQ, [CERTREQ].
    pub(crate) fn build(self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(512);
        let flags = Flags {
            initiator: false,
            response: true,
        };
        let header = Header::new(
            self.spis.0,
            self.spis.1,
            ExchangeType::IKE_SA_INIT,
            flags,
            0,
        );
        let natd = Announcement::new(self.spis, self.path, self.pretend_nat);
        let hashes = encode_hash_algorithms(&ANNOUNCED_HASHES);
        let mut writer = MessageWriter::new(&mut out, &header);
        writer.payload(&Payload::Sa(self.sa))?;
        writer.payload(&Payload::Ke(KePayload {
            group: self.group,
            value: self.public_value,
        }))?;
        writer.payload(&Payload::Nonce(self.nonce))?;
        for payload in &natd.payloads() {
            writer.payload(payload)?;
        }
        writer.payload(&signature_hashes(&hashes))?;
        writer.payload(&any_certificate())?;
        if let Some(request) = self.ocsp_request {
            writer.payload(&ocsp_request(&request.field()))?;
        }
        writer.finish()?;
        Ok(out)
    }
}

/// A certificate request without authorities: whichever the peer has, since the status of its
/// certificate is asked elsewhere. Some peers send their certificate only if they are asked.
pub(crate) fn any_certificate<'a>() -> Payload<'a> {
    Payload::CertReq(CertReqPayload {
        encoding: CertEncoding::X509_SIGNATURE,
        authorities: &[],
    })
}

fn signature_hashes(hashes: &[u8]) -> Payload<'_> {
    Payload::Notify(NotifyPayload::new(
        NotifyType::SIGNATURE_HASH_ALGORITHMS,
        hashes,
    ))
}

/// The hashes that the peer announced; None if it did not, or not readably (RFC 7427 §4).
pub(crate) fn announced_hashes(payloads: &Payloads<'_>) -> Option<Vec<HashAlgorithm>> {
    let notify = payloads.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)?;
    decode_hash_algorithms(notify.value)
}

/// The nonce of a first message.
pub(crate) fn nonce_of<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    message.payloads.nonce()
}

/// The cookie of a first message, which stands before everything else (RFC 7296 §2.6).
pub(crate) fn cookie_of<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    match message.payloads.first()? {
        Payload::Notify(notify) if notify.kind == NotifyType::COOKIE => cookie(notify),
        _ => None,
    }
}

/// 1 to 64 octets (RFC 7296 §2.6).
pub(crate) fn cookie<'a>(notify: &NotifyPayload<'a>) -> Option<&'a [u8]> {
    (1..=MAX_COOKIE)
        .contains(&notify.value.len())
        .then_some(notify.value)
}

/// The group that INVALID_KE_PAYLOAD asks for (RFC 7296 §1.2).
pub(crate) fn wanted_group(notify: &NotifyPayload<'_>) -> Option<GroupId> {
    let octets = <[u8; 2]>::try_from(notify.value).ok()?;
    Some(GroupId(u16::from_be_bytes(octets)))
}

/// "At least half the key size of the negotiated PRF" (RFC 7296 §2.10).
pub(crate) fn check_nonce(nonce: &[u8], prf: &dyn SupportedPrf) -> Result<(), PeerMisbehaved> {
    if nonce.len() * 2 < prf.output_len() {
        return Err(PeerMisbehaved::NonceLength(nonce.len()));
    }
    Ok(())
}

/// Writes the answer to a request that makes no IKE SA. Silence is right for what is malformed:
/// INVALID_SYNTAX is for protected messages only (RFC 7296 §3.10.1).
pub(crate) fn refuse(
    request: &Header,
    refusal: &AcceptRefusal,
    buf: &mut Vec<u8>,
) -> Option<usize> {
    match refusal {
        AcceptRefusal::WrongGroup(group) => stray::notify(
            request,
            NotifyType::INVALID_KE_PAYLOAD,
            &group.0.to_be_bytes(),
            buf,
        ),
        AcceptRefusal::Failed(Error::PeerMisbehaved(PeerMisbehaved::UnknownCritical(kind))) => {
            stray::notify(
                request,
                NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
                &[kind.0],
                buf,
            )
        }
        AcceptRefusal::Failed(Error::PeerIncompatible(_)) => {
            stray::notify(request, NotifyType::NO_PROPOSAL_CHOSEN, &[], buf)
        }
        AcceptRefusal::Failed(_)
        | AcceptRefusal::Full
        | AcceptRefusal::NotResponder
        | AcceptRefusal::Repeated => None,
    }
}
