//! Identification payloads, RFC 7296 §3.5.
//!
//! ```text
//! |   ID Type     |                 RESERVED                      |
//! ~                   Identification Data                         ~
//! ```

use super::codes::{IdType, PayloadType};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

/// Who somebody says to be (§3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdPayload<'a> {
    /// Kind of identity.
    pub kind: IdType,
    /// The identity in the kind's own form; addresses have their right length.
    pub value: &'a [u8],
}

impl<'a> IdPayload<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = IdType(reader.u8()?);
        reader.reserved(3)?;
        let value = reader.remainder();
        let id = Self { kind, value };
        if id.has_right_length() {
            Ok(id)
        } else {
            Err(DecodeError::IdentityLength {
                kind,
                length: value.len(),
            })
        }
    }

    pub(super) fn encode(
        &self,
        payload: PayloadType,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !self.has_right_length() {
            return Err(EncodeError::Field { payload });
        }
        out.push(self.kind.0);
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(self.value);
        Ok(())
    }

    const fn has_right_length(&self) -> bool {
        match self.kind {
            IdType::IPV4_ADDR => self.value.len() == 4,
            IdType::IPV6_ADDR => self.value.len() == 16,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body, message_with};
    use super::*;

    #[test]
    fn literal_octets() {
        let id = IdPayload {
            kind: IdType::FQDN,
            value: b"henb",
        };
        check_body(&Payload::IdI(id), "02 000000 68656e62");
        check_body(&Payload::IdR(id), "02 000000 68656e62");
    }

    #[test]
    fn addresses_have_one_length() {
        let id = |kind, length| {
            decode_body(
                PayloadType::IDI,
                &format!("{kind} 000000 {}", "07".repeat(length)),
            )
        };
        for (code, kind, right) in [("01", IdType::IPV4_ADDR, 4), ("05", IdType::IPV6_ADDR, 16)] {
            assert_eq!(id(code, right), Ok(()));
            for length in [right - 1, right + 1] {
                assert_eq!(
                    id(code, length),
                    Err(DecodeError::IdentityLength { kind, length })
                );
            }
        }
        let wrong = IdPayload {
            kind: IdType::IPV4_ADDR,
            value: &[1; 5],
        };
        assert_eq!(
            message_with(&Payload::IdR(wrong)),
            Err(EncodeError::Field {
                payload: PayloadType::IDR
            })
        );
    }
}
