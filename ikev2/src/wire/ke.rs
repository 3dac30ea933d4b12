//! Key Exchange payload, RFC 7296 §3.4.
//!
//! ```text
//! |   Diffie-Hellman Group Num    |           RESERVED            |
//! ~                       Key Exchange Data                       ~
//! ```

use super::codes::GroupId;
use super::error::DecodeError;
use super::reader::Reader;

/// A public value for a key exchange (§3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KePayload<'a> {
    /// The method it is for.
    pub group: GroupId,
    /// The value; its length is the method's to check.
    pub value: &'a [u8],
}

impl<'a> KePayload<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let group = GroupId(reader.u16()?);
        reader.reserved(2)?;
        let value = reader.remainder();
        Ok(Self { group, value })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.0.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain_of, check_body, decode_body, octets};
    use super::super::{DecodeError, Payload, PayloadType, decode_chain};
    use super::*;

    #[test]
    fn literal_octets() {
        let ke = KePayload {
            group: GroupId::X25519,
            value: &[0xaa; 32],
        };
        check_body(&Payload::Ke(ke), &format!("001f 0000 {}", "aa".repeat(32)));
    }

    #[test]
    fn reserved_octets_are_ignored() {
        let chain = chain_of(&octets("0013 ffff 01"));
        let payloads = decode_chain(PayloadType::KE, &chain).unwrap();
        assert_eq!(payloads.ke().unwrap().group, GroupId::P256);
        assert_eq!(payloads.ke().unwrap().value, [1]);
    }

    #[test]
    fn too_short_for_group_and_reserved() {
        let truncated = DecodeError::Truncated {
            payload: PayloadType::KE,
            offset: 6,
        };
        assert_eq!(decode_body(PayloadType::KE, "001f 00"), Err(truncated));
    }
}
