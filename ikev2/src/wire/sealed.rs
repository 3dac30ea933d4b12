//! Encrypted payload, RFC 7296 §3.14 (with AEAD ciphers: RFC 5282 §3), and its
//! fragments, RFC 7383 §2.5.
//!
//! ```text
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! |        Fragment Number        |        Total Fragments        |  SKF only
//! |                     Initialization Vector                     |
//! ~                    Encrypted IKE Payloads                     ~
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |             Padding (0-255 octets)            |
//! +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
//! |                                               |  Pad Length   |
//! ~                    Integrity Checksum Data                    ~
//! ```

use core::ops::Range;

use super::chain::{Payloads, decode_chain};
use super::codes::PayloadType;
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

/// Whether a chain of payloads may have an Encrypted payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Behind the IKE header.
    Outer,
    /// Inside an Encrypted payload.
    Sealed,
}

/// What a cipher adds to the plaintext.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedSizes {
    /// Octets in the initialization vector.
    pub iv: usize,
    /// Octets in a block, to which the plaintext is padded; 1 for AEAD ciphers.
    pub block: usize,
    /// Octets in the integrity checksum, the tag of AEAD ciphers.
    pub icv: usize,
}

impl SealedSizes {
    /// AES-GCM with a 16-octet tag (RFC 5282) and ChaCha20-Poly1305 (RFC 7634).
    pub const AEAD_16: Self = Self {
        iv: 8,
        block: 1,
        icv: 16,
    };
}

/// Where the parts of an Encrypted payload lie in the datagram. They are next to
/// each other in this order, and the checksum ends the datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedLayout {
    /// Associated data of AEAD ciphers: from the IKE header to the end of the
    /// generic payload header (RFC 5282 §5.1), of a fragment also its numbers
    /// (RFC 7383 §2.5).
    pub aad: Range<usize>,
    /// Initialization vector.
    pub iv: Range<usize>,
    /// What is encrypted: payloads, padding and pad length.
    pub ciphertext: Range<usize>,
    /// Integrity checksum.
    pub icv: Range<usize>,
}

/// An Encrypted payload as it came (§3.14).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SkPayload<'a> {
    /// Type of the first payload in it.
    pub first: PayloadType,
    /// IV, ciphertext and checksum.
    pub body: &'a [u8],
    /// Where the body begins in the datagram: the octets before it are the
    /// associated data.
    pub offset: usize,
}

impl<'a> SkPayload<'a> {
    /// Where the parts lie, for a cipher of these sizes. With the ranges the
    /// caller can open the payload in place in a copy of the datagram.
    ///
    /// # Errors
    ///
    /// [`DecodeError::SealedTooShort`] or [`DecodeError::SealedAlignment`].
    pub fn layout(&self, sizes: SealedSizes) -> Result<SealedLayout, DecodeError> {
        layout(self.offset, self.body.len(), sizes)
    }

    pub(super) fn decode(first: PayloadType, mut body: Reader<'a>) -> Self {
        let offset = body.offset();
        Self {
            first,
            body: body.remainder(),
            offset,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
    }
}

/// A fragment of an Encrypted payload as it came (RFC 7383 §2.5). The state
/// machine does not put fragments together yet, and does not announce that it could.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SkfPayload<'a> {
    /// Type of the first payload in the whole; none except in fragment 1.
    pub first: PayloadType,
    /// Which fragment, from 1 on.
    pub number: u16,
    /// How many there are.
    pub total: u16,
    /// IV, ciphertext and checksum.
    pub body: &'a [u8],
    /// Where the body begins in the datagram.
    pub offset: usize,
}

impl<'a> SkfPayload<'a> {
    /// Where the parts lie, for a cipher of these sizes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::SealedTooShort`] or [`DecodeError::SealedAlignment`].
    pub fn layout(&self, sizes: SealedSizes) -> Result<SealedLayout, DecodeError> {
        layout(self.offset, self.body.len(), sizes)
    }

    pub(super) fn decode(first: PayloadType, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let number = reader.u16()?;
        let total = reader.u16()?;
        let offset = reader.offset();
        let fragment = Self {
            first,
            number,
            total,
            body: reader.remainder(),
            offset,
        };
        if fragment.numbers_make_sense() {
            Ok(fragment)
        } else {
            Err(DecodeError::FragmentNumber { number, total })
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.numbers_make_sense() {
            return Err(EncodeError::Field {
                payload: PayloadType::SKF,
            });
        }
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.total.to_be_bytes());
        out.extend_from_slice(self.body);
        Ok(())
    }

    fn numbers_make_sense(&self) -> bool {
        (1..=self.total).contains(&self.number)
            && (self.number == 1 || self.first == PayloadType::NONE)
    }
}

/// Reads what an Encrypted payload held, once it is decrypted and its checksum
/// is verified: takes off padding and pad length, then reads the payloads.
///
/// # Errors
///
/// The check that failed, with offsets counted from the start of `plaintext`.
pub fn open_chain(first: PayloadType, plaintext: &[u8]) -> Result<Payloads<'_>, DecodeError> {
    let Some((pad, before)) = plaintext.split_last() else {
        return Err(DecodeError::SealedTooShort {
            length: 0,
            needed: 1,
        });
    };
    // The padding may hold anything (§3.14).
    let Some(chain) = before
        .len()
        .checked_sub(usize::from(*pad))
        .and_then(|end| before.get(..end))
    else {
        return Err(DecodeError::PadLength {
            pad: *pad,
            available: before.len(),
        });
    };
    decode_chain(first, chain)
}

fn layout(offset: usize, length: usize, sizes: SealedSizes) -> Result<SealedLayout, DecodeError> {
    // At least the pad length is encrypted, so there is at least one block.
    let block = sizes.block.max(1);
    let needed = sizes.iv.saturating_add(sizes.icv).saturating_add(block);
    if length < needed {
        return Err(DecodeError::SealedTooShort { length, needed });
    }
    let iv_end = offset.saturating_add(sizes.iv);
    let end = offset.saturating_add(length);
    let icv_start = end.saturating_sub(sizes.icv);
    let encrypted = icv_start.saturating_sub(iv_end);
    if !encrypted.is_multiple_of(block) {
        return Err(DecodeError::SealedAlignment {
            length: encrypted,
            block,
        });
    }
    Ok(SealedLayout {
        aad: 0..offset,
        iv: offset..iv_end,
        ciphertext: iv_end..icv_start,
        icv: icv_start..end,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::octets;
    use super::super::{Message, Payload, decode_chain};
    use super::*;

    const CBC: SealedSizes = SealedSizes {
        iv: 16,
        block: 16,
        icv: 16,
    };

    fn sk(body: &[u8]) -> SkPayload<'_> {
        SkPayload {
            first: PayloadType::NOTIFY,
            body,
            offset: 32,
        }
    }

    #[test]
    fn literal_octets() {
        let datagram = octets(
            "0000000000000001 0000000000000002 2e 20 25 08 00000003 00000026
             29 00 000a c0ffee000102",
        );
        let message = Message::decode(&datagram).unwrap();
        let expected = SkPayload {
            first: PayloadType::NOTIFY,
            body: &[0xc0, 0xff, 0xee, 0, 1, 2],
            offset: 32,
        };
        assert_eq!(message.payloads.encrypted(), Some(&expected));
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(out, datagram);
    }

    #[test]
    fn fragment_literal_octets() {
        let datagram = octets(
            "0000000000000001 0000000000000002 35 20 23 08 00000003 00000026
             00 00 000a 0002 0003 0102",
        );
        let message = Message::decode(&datagram).unwrap();
        let expected = SkfPayload {
            first: PayloadType::NONE,
            number: 2,
            total: 3,
            body: &[1, 2],
            offset: 36,
        };
        assert_eq!(*message.payloads, [Payload::EncryptedFragment(expected)]);
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(out, datagram);

        for (next, numbers) in [
            (0, [0, 0, 0, 3]),
            (0, [0, 4, 0, 3]),
            (0, [0, 0, 0, 0]),
            (41, [0, 2, 0, 3]),
        ] {
            let mut wrong = datagram.clone();
            wrong[28] = next;
            wrong[32..36].copy_from_slice(&numbers);
            assert!(matches!(
                Message::decode(&wrong),
                Err(DecodeError::FragmentNumber { .. })
            ));
        }
    }

    #[test]
    fn it_is_last_and_not_nested() {
        // SK of length 4, then four octets more.
        let datagram = octets(
            "0000000000000001 0000000000000002 2e 20 25 08 00000003 00000024
             29 00 0004 00000004",
        );
        assert_eq!(
            Message::decode(&datagram),
            Err(DecodeError::EncryptedNotLast { offset: 28 })
        );
        for kind in [PayloadType::SK, PayloadType::SKF] {
            assert_eq!(
                decode_chain(kind, &octets("00 00 0008 0001 0001")),
                Err(DecodeError::EncryptedNested { offset: 0 })
            );
        }
    }

    #[test]
    fn layout_of_an_aead() {
        let body = [0; 8 + 5 + 16];
        let layout = sk(&body).layout(SealedSizes::AEAD_16).unwrap();
        assert_eq!(
            layout,
            SealedLayout {
                aad: 0..32,
                iv: 32..40,
                ciphertext: 40..45,
                icv: 45..61
            }
        );
        assert!(sk(&body[..25]).layout(SealedSizes::AEAD_16).is_ok());
        assert_eq!(
            sk(&body[..24]).layout(SealedSizes::AEAD_16),
            Err(DecodeError::SealedTooShort {
                length: 24,
                needed: 25
            })
        );
    }

    #[test]
    fn layout_of_a_block_cipher() {
        let body = [0; 65];
        assert_eq!(sk(&body[..64]).layout(CBC).unwrap().ciphertext, 48..80);
        assert!(matches!(
            sk(&body[..47]).layout(CBC),
            Err(DecodeError::SealedTooShort { .. })
        ));
        assert_eq!(
            sk(&body).layout(CBC),
            Err(DecodeError::SealedAlignment {
                length: 33,
                block: 16
            })
        );
    }

    #[test]
    fn padding_comes_off() {
        let notify = "00 00 0008 00 00 4000";
        for padding in ["00", "ff 01", "aabbcc 03"] {
            let plaintext = octets(&format!("{notify} {padding}"));
            let payloads = open_chain(PayloadType::NOTIFY, &plaintext).unwrap();
            assert_eq!(payloads.len(), 1);
        }
        assert!(open_chain(PayloadType::NONE, &[0]).unwrap().is_empty());
        assert!(open_chain(PayloadType::NONE, &[9, 1]).unwrap().is_empty());
        assert_eq!(
            open_chain(PayloadType::NONE, &[9, 2]),
            Err(DecodeError::PadLength {
                pad: 2,
                available: 1
            })
        );
        assert!(open_chain(PayloadType::NONE, &[]).is_err());
        assert_eq!(
            open_chain(PayloadType::NONE, &[9, 0]),
            Err(DecodeError::TrailingOctets {
                payload: PayloadType::NONE,
                offset: 0,
                count: 1
            })
        );
    }
}
