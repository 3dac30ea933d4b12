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

#[cfg(test)]
mod tests {
    use super::super::testing::{chain_of, check_body, decode_body, message_with, octets};
    use super::super::{Payload, decode_chain};
    use super::*;

    #[test]
    fn literal_octets() {
        let request = CfgPayload {
            kind: CfgType::REQUEST,
            attributes: vec![
                Attribute {
                    kind: CfgAttribute::INTERNAL_IP4_ADDRESS,
                    value: &[],
                },
                Attribute {
                    kind: CfgAttribute::INTERNAL_IP4_DNS,
                    value: &[],
                },
            ],
        };
        assert!(request.has(CfgAttribute::INTERNAL_IP4_DNS));
        check_body(
            &Payload::Configuration(request),
            "01 000000  0001 0000  0003 0000",
        );
        let reply = CfgPayload {
            kind: CfgType::REPLY,
            attributes: vec![
                Attribute {
                    kind: CfgAttribute::INTERNAL_IP4_ADDRESS,
                    value: &[10, 1, 0, 7],
                },
                Attribute {
                    kind: CfgAttribute(28_673),
                    value: b"x",
                },
            ],
        };
        assert!(
            reply
                .ipv4(CfgAttribute::INTERNAL_IP4_ADDRESS)
                .eq([Ipv4Addr::new(10, 1, 0, 7)])
        );
        check_body(
            &Payload::Configuration(reply),
            "02 000000  0001 0004 0a010007  7001 0001 78",
        );
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let chain = chain_of(&octets("02 ffffff 8001 0000"));
        let payloads = decode_chain(PAYLOAD, &chain).unwrap();
        assert!(
            payloads
                .configuration()
                .unwrap()
                .has(CfgAttribute::INTERNAL_IP4_ADDRESS)
        );
    }

    #[test]
    fn attribute_lengths() {
        for (kind, right) in [
            (1, 4),
            (2, 4),
            (3, 4),
            (4, 4),
            (6, 4),
            (8, 17),
            (10, 16),
            (12, 16),
            (13, 8),
            (15, 17),
        ] {
            let attribute = |length: usize| {
                let value = "07".repeat(length);
                decode_body(
                    PAYLOAD,
                    &format!("01 000000 {kind:04x} {length:04x} {value}"),
                )
            };
            assert_eq!(attribute(0), Ok(()));
            assert_eq!(attribute(right), Ok(()));
            for length in [right - 1, right + 1] {
                assert_eq!(
                    attribute(length),
                    Err(DecodeError::CfgAttributeLength {
                        kind: CfgAttribute(kind),
                        length
                    })
                );
            }
        }
        assert_eq!(decode_body(PAYLOAD, "01 000000 000e 0002 0001"), Ok(()));
        assert!(decode_body(PAYLOAD, "01 000000 000e 0001 00").is_err());
        assert_eq!(
            decode_body(PAYLOAD, "01 000000 0007 0003 0102"),
            Err(DecodeError::SubstructureLength {
                payload: PAYLOAD,
                offset: 8,
                length: 3
            })
        );
    }

    #[test]
    fn attributes_are_bounded() {
        let body = |count| format!("01 000000 {}", "0001 0000".repeat(count));
        assert_eq!(decode_body(PAYLOAD, &body(MAX_CFG_ATTRIBUTES)), Ok(()));
        assert_eq!(
            decode_body(PAYLOAD, &body(MAX_CFG_ATTRIBUTES + 1)),
            Err(DecodeError::TooManyCfgAttributes)
        );
        let attribute = Attribute {
            kind: CfgAttribute(0x8001),
            value: &[],
        };
        let wrong = CfgPayload {
            kind: CfgType::SET,
            attributes: vec![attribute],
        };
        assert!(message_with(&Payload::Configuration(wrong)).is_err());
    }
}
