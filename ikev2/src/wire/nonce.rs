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

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body, message_with};
    use super::*;

    #[test]
    fn literal_octets() {
        check_body(&Payload::Nonce(&[0x5a; MIN_NONCE]), &"5a".repeat(MIN_NONCE));
        check_body(&Payload::Nonce(&[0x5a; MAX_NONCE]), &"5a".repeat(MAX_NONCE));
    }

    #[test]
    fn too_short_or_too_long() {
        for length in [0, MIN_NONCE - 1, MAX_NONCE + 1] {
            assert_eq!(
                decode_body(PayloadType::NONCE, &"5a".repeat(length)),
                Err(DecodeError::NonceLength { length })
            );
            assert!(message_with(&Payload::Nonce(&vec![0; length])).is_err());
        }
    }
}
