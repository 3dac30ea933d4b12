//! The IKE header, RFC 7296 §3.1.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Initiator's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Responder's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Message ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Length                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::codes::{ExchangeType, PayloadType};
use super::error::DecodeError;
use super::reader::Reader;

const RESPONSE: u8 = 0x20;
const INITIATOR: u8 = 0x08;
const MAJOR_VERSION: u8 = 2;

/// The flags that mean something (RFC 7296 §3.1). The version bit and the
/// reserved ones are ignored on receipt and cleared when sending.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Flags {
    /// I: sent by the original initiator of the IKE SA.
    pub initiator: bool,
    /// R: answers a message with the same message ID.
    pub response: bool,
}

impl Flags {
    const fn from_octet(octet: u8) -> Self {
        Self {
            initiator: octet & INITIATOR != 0,
            response: octet & RESPONSE != 0,
        }
    }

    const fn to_octet(self) -> u8 {
        let initiator = if self.initiator { INITIATOR } else { 0 };
        let response = if self.response { RESPONSE } else { 0 };
        initiator | response
    }
}

/// The IKE header (RFC 7296 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// SPI of the original initiator, never zero.
    pub initiator_spi: u64,
    /// SPI of the original responder, zero in the first message.
    pub responder_spi: u64,
    /// Type of the first payload; the writer fills it in.
    pub next_payload: PayloadType,
    /// Major and minor version. The major one is 2, the minor one is ignored.
    pub version: (u8, u8),
    /// Kind of exchange.
    pub exchange: ExchangeType,
    /// Direction.
    pub flags: Flags,
    /// Message ID.
    pub message_id: u32,
    /// Octets in the whole message; the writer fills it in.
    pub length: u32,
}

impl Header {
    /// A header of version 2.0 for [`MessageWriter`](super::MessageWriter).
    pub const fn new(
        initiator_spi: u64,
        responder_spi: u64,
        exchange: ExchangeType,
        flags: Flags,
        message_id: u32,
    ) -> Self {
        Self {
            initiator_spi,
            responder_spi,
            next_payload: PayloadType::NONE,
            version: (MAJOR_VERSION, 0),
            exchange,
            flags,
            message_id,
            length: 0,
        }
    }

    /// Reads the 28 octets without judging them: for finding the SA a datagram
    /// belongs to, and for answering one that [`Message::decode`] refuses.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if there are fewer octets.
    ///
    /// [`Message::decode`]: super::Message::decode
    pub fn peek(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram, 0, PayloadType::NONE);
        let initiator_spi = reader.u64()?;
        let responder_spi = reader.u64()?;
        let next_payload = PayloadType(reader.u8()?);
        let version = reader.u8()?;
        let exchange = ExchangeType(reader.u8()?);
        let flags = Flags::from_octet(reader.u8()?);
        let message_id = reader.u32()?;
        let length = reader.u32()?;
        Ok(Self {
            initiator_spi,
            responder_spi,
            next_payload,
            version: (version >> 4, version & 0x0f),
            exchange,
            flags,
            message_id,
            length,
        })
    }

    /// Reads the header and checks what can be checked without an SA.
    pub(super) fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() > super::MAX_DATAGRAM {
            return Err(DecodeError::DatagramTooLong {
                length: datagram.len(),
            });
        }
        let header = Self::peek(datagram)?;
        let (major, _) = header.version;
        if major != MAJOR_VERSION {
            return Err(DecodeError::MajorVersion { major });
        }
        if usize::try_from(header.length) != Ok(datagram.len()) {
            return Err(DecodeError::HeaderLength {
                declared: header.length,
                actual: datagram.len(),
            });
        }
        if header.initiator_spi == 0 {
            return Err(DecodeError::ZeroInitiatorSpi);
        }
        Ok(header)
    }

    /// Writes the 28 octets, Next Payload and Length as they stand.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (major, minor) = self.version;
        out.extend_from_slice(&self.initiator_spi.to_be_bytes());
        out.extend_from_slice(&self.responder_spi.to_be_bytes());
        out.push(self.next_payload.0);
        out.push(major << 4 | minor & 0x0f);
        out.push(self.exchange.0);
        out.push(self.flags.to_octet());
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::super::testing::octets;
    use super::*;

    const LITERAL: &str = "1111222233334444 5555666677778888 00 20 25 28 00000007 0000001c";

    fn header() -> Header {
        Header {
            length: 28,
            ..Header::new(
                0x1111_2222_3333_4444,
                0x5555_6666_7777_8888,
                ExchangeType::INFORMATIONAL,
                Flags {
                    initiator: true,
                    response: true,
                },
                7,
            )
        }
    }

    /// The literal with the octets from `at` on replaced.
    fn with(at: usize, replacement: &[u8]) -> Vec<u8> {
        let mut datagram = octets(LITERAL);
        datagram[at..at + replacement.len()].copy_from_slice(replacement);
        datagram
    }

    #[test]
    fn literal_octets() {
        let datagram = octets(LITERAL);
        let message = Message::decode(&datagram).unwrap();
        assert_eq!(message.header, header());
        assert!(message.payloads.is_empty());
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(out, datagram);
    }

    #[test]
    fn cut_short_anywhere() {
        let datagram = octets(LITERAL);
        for end in 0..datagram.len() {
            assert!(matches!(
                Message::decode(&datagram[..end]),
                Err(DecodeError::Truncated {
                    payload: PayloadType::NONE,
                    ..
                })
            ));
            assert!(Header::peek(&datagram[..end]).is_err());
        }
    }

    #[test]
    fn length_is_the_datagrams() {
        for declared in [0_u32, 27, 29, u32::MAX] {
            let datagram = with(24, &declared.to_be_bytes());
            assert_eq!(
                Message::decode(&datagram),
                Err(DecodeError::HeaderLength {
                    declared,
                    actual: 28
                })
            );
        }
        let long = vec![0; super::super::MAX_DATAGRAM + 1];
        assert!(matches!(
            Message::decode(&long),
            Err(DecodeError::DatagramTooLong { .. })
        ));
    }

    #[test]
    fn major_version_is_2_and_the_minor_one_ignored() {
        for major in [0, 1, 3, 15] {
            let datagram = with(17, &[major << 4]);
            assert_eq!(
                Message::decode(&datagram),
                Err(DecodeError::MajorVersion { major })
            );
            assert_eq!(Header::peek(&datagram).unwrap().version, (major, 0));
        }
        let datagram = with(17, &[0x2f]);
        let message = Message::decode(&datagram).unwrap();
        assert_eq!(message.header.version, (2, 15));
    }

    #[test]
    fn flags_nobody_knows_are_ignored() {
        let datagram = with(19, &[!INITIATOR]);
        let flags = Message::decode(&datagram).unwrap().header.flags;
        assert_eq!(
            flags,
            Flags {
                initiator: false,
                response: true
            }
        );
        assert_eq!(flags.to_octet(), 0x20);
    }

    #[test]
    fn the_initiator_has_an_spi() {
        let datagram = with(0, &[0; 8]);
        assert_eq!(
            Message::decode(&datagram),
            Err(DecodeError::ZeroInitiatorSpi)
        );
    }
}
