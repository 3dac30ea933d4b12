//! Configuration payload, RFC 7296 §3.15.
//!
//! ```text
//! |   CFG Type    |                    RESERVED                   |
//! ~                   <Configuration Attributes>                  ~
//!
//! Attribute
//! |R|         Attribute Type      |            Length             |
//! ~                             Value                             ~
//! ```

use core::net::Ipv4Addr;

use super::MAX_CFG_ATTRIBUTES;
use super::codes::{CfgAttribute, CfgType, PayloadType};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

const PAYLOAD: PayloadType = PayloadType::CP;
/// The R bit: reserved, ignored on receipt.
const RESERVED: u16 = 0x8000;

/// Configuration asked for or given (§3.15).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CfgPayload<'a> {
    /// Request, reply, set or acknowledgement.
    pub kind: CfgType,
    /// The attributes, in order; the same type may stand more than once.
    pub attributes: Vec<Attribute<'a>>,
}

/// One item of configuration (§3.15.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attribute<'a> {
    /// What it is.
    pub kind: CfgAttribute,
    /// The value; empty in a request that has no wish.
    pub value: &'a [u8],
}

impl<'a> CfgPayload<'a> {
    /// The IPv4 addresses among the attributes of type `kind`.
    pub fn ipv4(&self, kind: CfgAttribute) -> impl Iterator<Item = Ipv4Addr> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.kind == kind)
            .filter_map(|attribute| <[u8; 4]>::try_from(attribute.value).ok())
            .map(Ipv4Addr::from)
    }

    /// Whether there is an attribute of type `kind`, with or without a value.
    pub fn has(&self, kind: CfgAttribute) -> bool {
        self.attributes
            .iter()
            .any(|attribute| attribute.kind == kind)
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = CfgType(reader.u8()?);
        reader.reserved(3)?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_CFG_ATTRIBUTES {
                return Err(DecodeError::TooManyCfgAttributes);
            }
            attributes.push(Attribute::decode(reader)?);
        }
        Ok(Self { kind, attributes })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.attributes.len() > MAX_CFG_ATTRIBUTES {
            return Err(EncodeError::TooMany { payload: PAYLOAD });
        }
        out.extend_from_slice(&[self.kind.0, 0, 0, 0]);
        self.attributes
            .iter()
            .try_for_each(|attribute| attribute.encode(out))
    }
}

impl<'a> Attribute<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let kind = CfgAttribute(reader.u16()? & !RESERVED);
        let length = reader.u16()?;
        let Ok(value) = reader.take(usize::from(length)) else {
            return Err(DecodeError::SubstructureLength {
                payload: PAYLOAD,
                offset,
                length,
            });
        };
        let attribute = Self { kind, value };
        if attribute.has_right_length() {
            Ok(attribute)
        } else {
            Err(DecodeError::CfgAttributeLength {
                kind,
                length: value.len(),
            })
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.kind.0 & RESERVED != 0 || !self.has_right_length() {
            return Err(EncodeError::Field { payload: PAYLOAD });
        }
        let length = u16::try_from(self.value.len())
            .map_err(|_| EncodeError::TooLong { payload: PAYLOAD })?;
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.value);
        Ok(())
    }

    /// The table of lengths in §3.15.1. Without a value, an attribute of any
    /// type asks for one or takes part in a CFG_ACK.
    const fn has_right_length(&self) -> bool {
        let length = self.value.len();
        if length == 0 {
            return true;
        }
        match self.kind {
            CfgAttribute::INTERNAL_IP4_ADDRESS
            | CfgAttribute::INTERNAL_IP4_NETMASK
            | CfgAttribute::INTERNAL_IP4_DNS
            | CfgAttribute::INTERNAL_IP4_NBNS
            | CfgAttribute::INTERNAL_IP4_DHCP => length == 4,
            CfgAttribute::INTERNAL_IP4_SUBNET => length == 8,
            CfgAttribute::INTERNAL_IP6_DNS | CfgAttribute::INTERNAL_IP6_DHCP => length == 16,
            CfgAttribute::INTERNAL_IP6_ADDRESS | CfgAttribute::INTERNAL_IP6_SUBNET => length == 17,
            CfgAttribute::SUPPORTED_ATTRIBUTES => length.is_multiple_of(2),
            _ => true,
        }
    }
}
