//! Nonce payload, RFC 7296 §3.9: between 16 and 256 octets, nothing else.

use super::codes::PayloadType;
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::{MAX_NONCE, MIN_NONCE};

pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let nonce = reader.remainder();
    if (MIN_NONCE..=MAX_NONCE).contains(&nonce.len()) {
        Ok(nonce)
    } else {
        Err(DecodeError::NonceLength {
            length: nonce.len(),
        })
    }
}

pub(super) fn encode(nonce: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if !(MIN_NONCE..=MAX_NONCE).contains(&nonce.len()) {
        return Err(EncodeError::Field {
            payload: PayloadType::NONCE,
        });
    }
    out.extend_from_slice(nonce);
    Ok(())
}
