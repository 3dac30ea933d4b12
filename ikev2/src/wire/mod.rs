//! IKEv2 messages as octets (RFC 7296 §3): usable alone, without the state machine.
//!
//! [`Message::decode`] reads one datagram (without the non-ESP marker of port
//! 4500): the header and the chain of payloads, in borrowed forms that point
//! into it. All octets are checked and accounted for, every list has a bound,
//! unknown code points survive. What an encrypted payload holds is read in two
//! steps: [`SkPayload::layout`] tells what is associated data, IV, ciphertext and
//! checksum, so that the caller opens it in place in a buffer of its own;
//! [`open_chain`] then reads the plaintext.
//!
//! [`MessageWriter`] writes a message into a caller's buffer and fills in every
//! length; [`MessageWriter::begin_encrypted`] goes on with the payloads that are
//! to be sealed. The cipher comes in as a closure: nothing here knows keys.
//!
//! Which payloads an exchange may carry, how often and where, is the business
//! of [`rules::check`].
//!
//! ```
//! use ikev2::wire::{
//!     ExchangeType, Flags, Header, Message, MessageWriter, NotifyPayload, NotifyType, Payload,
//! };
//!
//! let flags = Flags { initiator: false, response: true };
//! let header = Header::new(0x1111_2222_3333_4444, 0, ExchangeType::IKE_SA_INIT, flags, 0);
//! let mut datagram = Vec::new();
//! let mut writer = MessageWriter::new(&mut datagram, &header);
//! writer.payload(&Payload::Notify(NotifyPayload::new(NotifyType::COOKIE, b"cookie")))?;
//! writer.finish()?;
//!
//! let message = Message::decode(&datagram)?;
//! assert_eq!(message.payloads.notify(NotifyType::COOKIE).unwrap().value, b"cookie");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)
)]

pub mod codes;
pub mod rules;

mod auth;
mod cert;
mod certreq;
mod chain;
mod cp;
mod delete;
mod eap;
mod error;
mod header;
mod id;
mod ke;
mod message;
mod nonce;
mod notify;
#[cfg(test)]
mod properties;
mod reader;
mod sa;
mod sealed;
#[cfg(test)]
mod testing;
mod ts;
mod writer;

pub use self::auth::AuthPayload;
pub use self::cert::CertPayload;
pub use self::certreq::CertReqPayload;
pub use self::chain::{Payload, Payloads, decode_chain};
pub use self::codes::{
    AttributeType, AuthMethod, CertEncoding, CfgAttribute, CfgType, EncrId, EsnId, ExchangeType,
    GroupId, HashAlgorithm, IdType, IntegId, NotifyType, PayloadType, PrfId, ProtocolId,
    TransformType, TsType,
};
pub use self::cp::{Attribute, CfgPayload};
pub use self::delete::DeletePayload;
pub use self::error::{DecodeError, EncodeError};
pub use self::header::{Flags, Header};
pub use self::id::IdPayload;
pub use self::ke::KePayload;
pub use self::message::Message;
pub use self::notify::NotifyPayload;
pub use self::rules::{Form, RuleViolation};
pub use self::sa::{AttributeValue, Proposal, SaPayload, Transform, TransformAttribute};
pub use self::sealed::{SealedLayout, SealedSizes, SkPayload, SkfPayload, open_chain};
pub use self::ts::{TrafficSelector, TsPayload, UnknownSelector};
pub use self::writer::{EncryptedWriter, MessageWriter, SealError, Sealing};

/// Octets in the IKE header (RFC 7296 §3.1).
pub const HEADER_LEN: usize = 28;
/// Octets in the generic payload header (RFC 7296 §3.2).
pub const PAYLOAD_HEADER_LEN: usize = 4;
/// Most octets in a datagram.
pub const MAX_DATAGRAM: usize = 65_535;
/// Most payloads in a message, and again inside its Encrypted payload.
pub const MAX_PAYLOADS: usize = 64;
/// Most proposals in an SA payload.
pub const MAX_PROPOSALS: usize = 32;
/// Most transforms in a proposal.
pub const MAX_TRANSFORMS: usize = 64;
/// Most attributes in a transform; only one type is defined.
pub const MAX_TRANSFORM_ATTRIBUTES: usize = 4;
/// Most selectors in a TS payload.
pub const MAX_SELECTORS: usize = 64;
/// Most attributes in a configuration payload.
pub const MAX_CFG_ATTRIBUTES: usize = 64;
/// Most CERT payloads in a message: a chain of eight certificates, and OCSP responses for some.
pub const MAX_CERTS: usize = 12;
/// Most CERTREQ payloads in a message.
pub const MAX_CERTREQS: usize = 8;
/// Most Notify payloads in a message.
pub const MAX_NOTIFIES: usize = 32;
/// Most Delete payloads in a message.
pub const MAX_DELETES: usize = 16;
/// Most Vendor ID payloads in a message.
pub const MAX_VENDOR_IDS: usize = 32;
/// Least octets in a nonce (RFC 7296 §3.9).
pub const MIN_NONCE: usize = 16;
/// Most octets in a nonce (RFC 7296 §3.9).
pub const MAX_NONCE: usize = 256;
