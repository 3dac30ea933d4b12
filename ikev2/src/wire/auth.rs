//! Authentication payload, RFC 7296 §3.8.
//!
//! ```text
//! | Auth Method   |                RESERVED                       |
//! ~                      Authentication Data                      ~
//! ```

use super::codes::AuthMethod;
use super::error::DecodeError;
use super::reader::Reader;

/// Proof of an identity (§3.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuthPayload<'a> {
    /// How it is made.
    pub method: AuthMethod,
    /// Signature or checksum, in the method's form.
    pub value: &'a [u8],
}

impl<'a> AuthPayload<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let method = AuthMethod(reader.u8()?);
        reader.reserved(3)?;
        let value = reader.remainder();
        Ok(Self { method, value })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.method.0);
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_body, decode_body};
    use super::super::{Payload, PayloadType};
    use super::*;

    #[test]
    fn literal_octets() {
        let auth = AuthPayload {
            method: AuthMethod::DIGITAL_SIGNATURE,
            value: &[0x0c, 0x30],
        };
        check_body(&Payload::Auth(auth), "0e 000000 0c30");
    }

    #[test]
    fn too_short_for_method_and_reserved() {
        let truncated = DecodeError::Truncated {
            payload: PayloadType::AUTH,
            offset: 5,
        };
        assert_eq!(decode_body(PayloadType::AUTH, "0e 0000"), Err(truncated));
    }
}
