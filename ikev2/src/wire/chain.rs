//! The chain of payloads, RFC 7296 §3.2.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::ops::Deref;

use super::auth::AuthPayload;
use super::cert::CertPayload;
use super::certreq::CertReqPayload;
use super::codes::{NotifyType, PayloadType};
use super::cp::CfgPayload;
use super::delete::DeletePayload;
use super::error::{DecodeError, EncodeError};
use super::id::IdPayload;
use super::ke::KePayload;
use super::notify::NotifyPayload;
use super::reader::Reader;
use super::sa::SaPayload;
use super::sealed::{Place, SkPayload, SkfPayload};
use super::ts::TsPayload;
use super::{MAX_PAYLOADS, PAYLOAD_HEADER_LEN, eap, nonce};

/// The critical bit (RFC 7296 §2.5): ignored on payloads we know.
const CRITICAL: u8 = 0x80;

/// One payload, borrowed from the octets it came in.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// Security association: proposals (§3.3).
    Sa(SaPayload<'a>),
    /// Key exchange (§3.4).
    Ke(KePayload<'a>),
    /// Identification of the initiator (§3.5).
    IdI(IdPayload<'a>),
    /// Identification of the responder (§3.5).
    IdR(IdPayload<'a>),
    /// Certificate (§3.6).
    Cert(CertPayload<'a>),
    /// Certificate request (§3.7).
    CertReq(CertReqPayload<'a>),
    /// Authentication (§3.8).
    Auth(AuthPayload<'a>),
    /// Nonce, 16 to 256 octets (§3.9).
    Nonce(&'a [u8]),
    /// Notification (§3.10).
    Notify(NotifyPayload<'a>),
    /// Deletion of SAs (§3.11).
    Delete(DeletePayload<'a>),
    /// Vendor ID (§3.12).
    VendorId(&'a [u8]),
    /// Traffic selectors of the initiator (§3.13).
    TsI(TsPayload<'a>),
    /// Traffic selectors of the responder (§3.13).
    TsR(TsPayload<'a>),
    /// Configuration (§3.15).
    Configuration(CfgPayload<'a>),
    /// An EAP message, header and all (§3.16).
    Eap(&'a [u8]),
    /// Encrypted and authenticated payloads, still sealed (§3.14).
    Encrypted(SkPayload<'a>),
    /// A fragment of them, still sealed (RFC 7383 §2.5).
    EncryptedFragment(SkfPayload<'a>),
    /// A payload of a type that this library does not know (§2.5).
    Unknown {
        /// Its type.
        kind: PayloadType,
        /// Whether the sender wants the message refused if we do not know it.
        critical: bool,
        /// What follows the generic header.
        body: &'a [u8],
    },
}

impl<'a> Payload<'a> {
    /// The type in the Next Payload field that announces this payload.
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::IDI,
            Self::IdR(_) => PayloadType::IDR,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsI(_) => PayloadType::TSI,
            Self::TsR(_) => PayloadType::TSR,
            Self::Configuration(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Encrypted(_) => PayloadType::SK,
            Self::EncryptedFragment(_) => PayloadType::SKF,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Reads the body of a payload of type `kind`, all of it.
    fn decode(kind: PayloadType, critical: bool, body: Reader<'a>) -> Result<Self, DecodeError> {
        let mut reader = body;
        let payload = match kind {
            PayloadType::SA => Self::Sa(SaPayload::decode(&mut reader)?),
            PayloadType::KE => Self::Ke(KePayload::decode(&mut reader)?),
            PayloadType::IDI => Self::IdI(IdPayload::decode(&mut reader)?),
            PayloadType::IDR => Self::IdR(IdPayload::decode(&mut reader)?),
            PayloadType::CERT => Self::Cert(CertPayload::decode(&mut reader)?),
            PayloadType::CERTREQ => Self::CertReq(CertReqPayload::decode(&mut reader)?),
            PayloadType::AUTH => Self::Auth(AuthPayload::decode(&mut reader)?),
            PayloadType::NONCE => Self::Nonce(nonce::decode(&mut reader)?),
            PayloadType::NOTIFY => Self::Notify(NotifyPayload::decode(&mut reader)?),
            PayloadType::DELETE => Self::Delete(DeletePayload::decode(&mut reader)?),
            PayloadType::VENDOR_ID => Self::VendorId(reader.remainder()),
            PayloadType::TSI => Self::TsI(TsPayload::decode(&mut reader)?),
            PayloadType::TSR => Self::TsR(TsPayload::decode(&mut reader)?),
            PayloadType::CP => Self::Configuration(CfgPayload::decode(&mut reader)?),
            PayloadType::EAP => Self::Eap(eap::decode(&mut reader)?),
            _ => Self::Unknown {
                kind,
                critical,
                body: reader.remainder(),
            },
        };
        reader.finish()?;
        Ok(payload)
    }

    /// Writes what follows the generic header.
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Sa(sa) => sa.encode(out),
            Self::Ke(ke) => {
                ke.encode(out);
                Ok(())
            }
            Self::IdI(id) => id.encode(PayloadType::IDI, out),
            Self::IdR(id) => id.encode(PayloadType::IDR, out),
            Self::Cert(cert) => {
                cert.encode(out);
                Ok(())
            }
            Self::CertReq(request) => request.encode(out),
            Self::Auth(auth) => {
                auth.encode(out);
                Ok(())
            }
            Self::Nonce(nonce) => nonce::encode(nonce, out),
            Self::Notify(notify) => notify.encode(out),
            Self::Delete(delete) => delete.encode(out),
            Self::VendorId(octets) => {
                out.extend_from_slice(octets);
                Ok(())
            }
            Self::TsI(ts) => ts.encode(PayloadType::TSI, out),
            Self::TsR(ts) => ts.encode(PayloadType::TSR, out),
            Self::Configuration(cp) => cp.encode(out),
            Self::Eap(message) => eap::encode(message, out),
            Self::Encrypted(sk) => {
                sk.encode(out);
                Ok(())
            }
            Self::EncryptedFragment(skf) => skf.encode(out),
            // Under a type that we know, it would be read as something else.
            Self::Unknown { kind, .. } if kind.name().is_some() => {
                Err(EncodeError::Field { payload: *kind })
            }
            Self::Unknown { body, .. } => {
                out.extend_from_slice(body);
                Ok(())
            }
        }
    }

    /// The second octet of the generic header. Only payloads of unknown type are
    /// ever critical: those of RFC 7296 are sent with the bit clear (§2.5).
    pub(super) const fn flags(&self) -> u8 {
        match self {
            Self::Unknown { critical: true, .. } => CRITICAL,
            _ => 0,
        }
    }

    /// What its own Next Payload field says, when that is not the type of the
    /// payload behind it but of the first one sealed in it (§3.14).
    pub(super) const fn sealed_next(&self) -> Option<PayloadType> {
        match self {
            Self::Encrypted(sk) => Some(sk.first),
            Self::EncryptedFragment(skf) => Some(skf.first),
            _ => None,
        }
    }
}

/// The payloads of a message, or those out of its Encrypted payload, in the
/// order in which they came. The finders give the first of a type; that there
/// is no second one is for [`rules::check`](super::rules::check).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Payloads<'a>(Vec<Payload<'a>>);

impl<'a> Payloads<'a> {
    /// The proposals.
    pub fn sa(&self) -> Option<&SaPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::Sa(sa) => Some(sa),
            _ => None,
        })
    }

    /// The key exchange.
    pub fn ke(&self) -> Option<&KePayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::Ke(ke) => Some(ke),
            _ => None,
        })
    }

    /// The nonce.
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.iter().find_map(|payload| match payload {
            Payload::Nonce(nonce) => Some(*nonce),
            _ => None,
        })
    }

    /// The initiator's identity.
    pub fn id_i(&self) -> Option<&IdPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::IdI(id) => Some(id),
            _ => None,
        })
    }

    /// The responder's identity.
    pub fn id_r(&self) -> Option<&IdPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::IdR(id) => Some(id),
            _ => None,
        })
    }

    /// The authentication data.
    pub fn auth(&self) -> Option<&AuthPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::Auth(auth) => Some(auth),
            _ => None,
        })
    }

    /// The initiator's traffic selectors.
    pub fn ts_i(&self) -> Option<&TsPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::TsI(ts) => Some(ts),
            _ => None,
        })
    }

    /// The responder's traffic selectors.
    pub fn ts_r(&self) -> Option<&TsPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::TsR(ts) => Some(ts),
            _ => None,
        })
    }

    /// The configuration payload.
    pub fn configuration(&self) -> Option<&CfgPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::Configuration(cp) => Some(cp),
            _ => None,
        })
    }

    /// The Encrypted payload.
    pub fn encrypted(&self) -> Option<&SkPayload<'a>> {
        self.iter().find_map(|payload| match payload {
            Payload::Encrypted(sk) => Some(sk),
            _ => None,
        })
    }

    /// All certificates; the first one is the end entity's (§3.6).
    pub fn certs(&self) -> impl Iterator<Item = &CertPayload<'a>> {
        self.iter().filter_map(|payload| match payload {
            Payload::Cert(cert) => Some(cert),
            _ => None,
        })
    }

    /// All certificate requests.
    pub fn cert_requests(&self) -> impl Iterator<Item = &CertReqPayload<'a>> {
        self.iter().filter_map(|payload| match payload {
            Payload::CertReq(request) => Some(request),
            _ => None,
        })
    }

    /// All notifications.
    pub fn notifies(&self) -> impl Iterator<Item = &NotifyPayload<'a>> {
        self.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    /// The first notification of a type.
    pub fn notify(&self, kind: NotifyType) -> Option<&NotifyPayload<'a>> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// The first notification that reports an error, known or not.
    pub fn error_notify(&self) -> Option<&NotifyPayload<'a>> {
        self.notifies().find(|notify| notify.kind.is_error())
    }

    /// All Delete payloads.
    pub fn deletes(&self) -> impl Iterator<Item = &DeletePayload<'a>> {
        self.iter().filter_map(|payload| match payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }
}

impl<'a> Deref for Payloads<'a> {
    type Target = [Payload<'a>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> From<Vec<Payload<'a>>> for Payloads<'a> {
    fn from(payloads: Vec<Payload<'a>>) -> Self {
        Self(payloads)
    }
}

impl<'a> FromIterator<Payload<'a>> for Payloads<'a> {
    fn from_iter<I: IntoIterator<Item = Payload<'a>>>(payloads: I) -> Self {
        Self(payloads.into_iter().collect())
    }
}

impl<'a> IntoIterator for Payloads<'a> {
    type Item = Payload<'a>;
    type IntoIter = std::vec::IntoIter<Payload<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'p, 'a> IntoIterator for &'p Payloads<'a> {
    type Item = &'p Payload<'a>;
    type IntoIter = core::slice::Iter<'p, Payload<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Reads the payloads that were in an Encrypted payload, once it is open and
/// its padding is off; [`open_chain`](super::open_chain) does both.
///
/// # Errors
///
/// The check that failed, with offsets counted from the start of `body`.
pub fn decode_chain(first: PayloadType, body: &[u8]) -> Result<Payloads<'_>, DecodeError> {
    read_chain(
        first,
        Reader::new(body, 0, PayloadType::NONE),
        Place::Sealed,
    )
}

/// Reads a chain to the end of `reader`.
pub(super) fn read_chain<'a>(
    first: PayloadType,
    mut reader: Reader<'a>,
    place: Place,
) -> Result<Payloads<'a>, DecodeError> {
    let mut payloads = Vec::new();
    let mut kind = first;
    while kind != PayloadType::NONE {
        if payloads.len() == MAX_PAYLOADS {
            return Err(DecodeError::TooManyPayloads);
        }
        let offset = reader.offset();
        let available = reader.len();
        let mut header = Reader::new(reader.take(PAYLOAD_HEADER_LEN)?, offset, kind);
        let next = PayloadType(header.u8()?);
        let critical = header.u8()? & CRITICAL != 0;
        let length = header.u16()?;
        let Some(body_length) = usize::from(length).checked_sub(PAYLOAD_HEADER_LEN) else {
            return Err(DecodeError::PayloadTooShort {
                payload: kind,
                offset,
                length,
            });
        };
        let body_offset = reader.offset();
        let Ok(body) = reader.take(body_length) else {
            return Err(DecodeError::PayloadTooLong {
                payload: kind,
                offset,
                length,
                available,
            });
        };
        let body = Reader::new(body, body_offset, kind);
        if kind == PayloadType::SK || kind == PayloadType::SKF {
            if place == Place::Sealed {
                return Err(DecodeError::EncryptedNested { offset });
            }
            if !reader.is_empty() {
                return Err(DecodeError::EncryptedNotLast { offset });
            }
            payloads.push(if kind == PayloadType::SK {
                Payload::Encrypted(SkPayload::decode(next, body))
            } else {
                Payload::EncryptedFragment(SkfPayload::decode(next, body)?)
            });
            return Ok(Payloads(payloads));
        }
        payloads.push(Payload::decode(kind, critical, body)?);
        kind = next;
    }
    reader.finish()?;
    Ok(Payloads(payloads))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_body, message_with, octets};
    use super::*;

    const UNKNOWN: PayloadType = PayloadType(200);

    #[test]
    fn vendor_id_literal_octets() {
        check_body(&Payload::VendorId(b"Ledgate"), "4c656467617465");
        check_body(&Payload::VendorId(b""), "");
    }

    #[test]
    fn unknown_payloads_survive_with_their_critical_bit() {
        for (critical, second) in [(false, 0x00), (true, 0x80)] {
            let chain = [0, second, 0, 6, 0xab, 0xcd];
            let payloads = decode_chain(UNKNOWN, &chain).unwrap();
            let unknown = Payload::Unknown {
                kind: UNKNOWN,
                critical,
                body: &[0xab, 0xcd],
            };
            assert_eq!(payloads.as_ref(), core::slice::from_ref(&unknown));
            assert_eq!(message_with(&unknown).unwrap()[28..], chain);
        }
    }

    #[test]
    fn a_known_payload_cannot_pass_for_an_unknown_one() {
        for kind in [PayloadType::SA, PayloadType::SK, PayloadType::NONE] {
            let disguised = Payload::Unknown {
                kind,
                critical: false,
                body: &[],
            };
            assert_eq!(
                message_with(&disguised),
                Err(EncodeError::Field { payload: kind })
            );
        }
    }

    #[test]
    fn the_critical_bit_of_known_payloads_and_reserved_bits_are_ignored() {
        let chain = octets("00 ff 0008 00 00 4000");
        let payloads = decode_chain(PayloadType::NOTIFY, &chain).unwrap();
        assert!(payloads.notify(NotifyType::INITIAL_CONTACT).is_some());
        assert_eq!(payloads[0].flags(), 0);
        let chain = octets("00 7f 0004");
        let payloads = decode_chain(UNKNOWN, &chain).unwrap();
        assert!(matches!(
            payloads[0],
            Payload::Unknown {
                critical: false,
                ..
            }
        ));
    }

    #[test]
    fn payload_lengths() {
        for length in 0..4_u16 {
            assert_eq!(
                decode_chain(UNKNOWN, &[0, 0, 0, length.to_be_bytes()[1]]),
                Err(DecodeError::PayloadTooShort {
                    payload: UNKNOWN,
                    offset: 0,
                    length
                })
            );
        }
        assert_eq!(
            decode_chain(UNKNOWN, &[0, 0, 0, 5]),
            Err(DecodeError::PayloadTooLong {
                payload: UNKNOWN,
                offset: 0,
                length: 5,
                available: 4
            })
        );
        assert_eq!(
            decode_chain(UNKNOWN, &[0, 0, 0, 4, 9]),
            Err(DecodeError::TrailingOctets {
                payload: PayloadType::NONE,
                offset: 4,
                count: 1
            })
        );
    }

    #[test]
    fn the_chain_goes_on_where_next_payload_says() {
        let chain = octets("2b 00 0004  c8 00 0005 01  00 00 0004");
        let payloads = decode_chain(PayloadType::VENDOR_ID, &chain).unwrap();
        let kinds: Vec<_> = payloads.iter().map(Payload::kind).collect();
        assert_eq!(
            kinds,
            [PayloadType::VENDOR_ID, PayloadType::VENDOR_ID, UNKNOWN]
        );
        for end in 0..chain.len() {
            assert!(decode_chain(PayloadType::VENDOR_ID, &chain[..end]).is_err());
        }
    }

    #[test]
    fn payloads_are_bounded() {
        let mut chain = [43, 0, 0, 4].repeat(MAX_PAYLOADS);
        assert_eq!(
            decode_chain(
                PayloadType::VENDOR_ID,
                &[&chain[..], &[0, 0, 0, 4]].concat()
            ),
            Err(DecodeError::TooManyPayloads)
        );
        let last = chain.len() - 4;
        chain[last] = 0;
        let payloads = decode_chain(PayloadType::VENDOR_ID, &chain).unwrap();
        assert_eq!(payloads.len(), MAX_PAYLOADS);
    }
}
