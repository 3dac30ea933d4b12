//! EAP payload, RFC 7296 §3.16: one EAP message, whose own header holds its length.
//!
//! ```text
//! |     Code      | Identifier    |           Length              |
//! ~                       Type, Type Data                         ~
//! ```

use super::codes::PayloadType;
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let mut header = *reader;
    header.take(2)?;
    let declared = header.u16()?;
    let message = reader.remainder();
    if usize::from(declared) == message.len() {
        Ok(message)
    } else {
        Err(DecodeError::EapLength {
            declared,
            actual: message.len(),
        })
    }
}

pub(super) fn encode(message: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut reader = Reader::new(message, 0, PayloadType::EAP);
    decode(&mut reader).map_err(|_| EncodeError::Field {
        payload: PayloadType::EAP,
    })?;
    out.extend_from_slice(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body, message_with};
    use super::*;

    #[test]
    fn literal_octets() {
        check_body(&Payload::Eap(&[3, 9, 0, 4]), "03 09 0004");
        check_body(&Payload::Eap(&[1, 9, 0, 6, 1, 7]), "01 09 0006 01 07");
    }

    #[test]
    fn its_own_length_is_the_payloads() {
        for declared in ["0005", "0007"] {
            let body = format!("01 09 {declared} 01 07");
            assert!(matches!(
                decode_body(PayloadType::EAP, &body),
                Err(DecodeError::EapLength { actual: 6, .. })
            ));
        }
        assert!(message_with(&Payload::Eap(&[1, 2, 3])).is_err());
    }
}
