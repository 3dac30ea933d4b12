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
