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
