//! Notify payload, RFC 7296 §3.10.
//!
//! ```text
//! |  Protocol ID  |   SPI Size    |      Notify Message Type      |
//! ~                Security Parameter Index (SPI)                 ~
//! ~                       Notification Data                       ~
//! ```

use super::codes::{NotifyType, PayloadType, ProtocolId};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

/// A notification (§3.10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotifyPayload<'a> {
    /// Whose SPI follows; none without an SPI, whatever the sender wrote.
    pub protocol: ProtocolId,
    /// The SPI: four octets for AH and ESP, empty if it is about the IKE SA or
    /// about none.
    pub spi: &'a [u8],
    /// What it says.
    pub kind: NotifyType,
    /// What goes with it.
    pub value: &'a [u8],
}

impl<'a> NotifyPayload<'a> {
    /// A notification without an SPI.
    pub const fn new(kind: NotifyType, value: &'a [u8]) -> Self {
        Self {
            protocol: ProtocolId::NONE,
            spi: &[],
            kind,
            value,
        }
    }

    /// A notification about an ESP SA: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub const fn about_esp(kind: NotifyType, spi: &'a [u8; 4]) -> Self {
        Self {
            protocol: ProtocolId::ESP,
            spi,
            kind,
            value: &[],
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(reader.u8()?);
        let spi_size = reader.u8()?;
        let kind = NotifyType(reader.u16()?);
        let spi = reader.take(usize::from(spi_size))?;
        let value = reader.remainder();
        // "If the SPI field is empty, this field MUST be sent as zero and MUST
        // be ignored on receipt" (§3.10).
        let protocol = if spi.is_empty() {
            ProtocolId::NONE
        } else {
            protocol
        };
        if !spi_fits(protocol, spi.len()) {
            return Err(DecodeError::SpiSize {
                payload: PayloadType::NOTIFY,
                protocol,
                size: spi_size,
            });
        }
        Ok(Self {
            protocol,
            spi,
            kind,
            value,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        const PAYLOAD: PayloadType = PayloadType::NOTIFY;
        let protocol = if self.spi.is_empty() {
            ProtocolId::NONE
        } else {
            self.protocol
        };
        if !spi_fits(protocol, self.spi.len()) {
            return Err(EncodeError::Field { payload: PAYLOAD });
        }
        let spi_size =
            u8::try_from(self.spi.len()).map_err(|_| EncodeError::TooLong { payload: PAYLOAD })?;
        out.push(protocol.0);
        out.push(spi_size);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(self.spi);
        out.extend_from_slice(self.value);
        Ok(())
    }
}

/// Whether a notification about `protocol` may have an SPI of `size` octets: an
/// IKE SA is named by the header, so it has none (§3.10).
const fn spi_fits(protocol: ProtocolId, size: usize) -> bool {
    match protocol {
        ProtocolId::NONE | ProtocolId::IKE => size == 0,
        ProtocolId::AH | ProtocolId::ESP => size == 4,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain_of, check_body, decode_body, message_with, octets};
    use super::super::{Payload, decode_chain};
    use super::*;

    #[test]
    fn literal_octets() {
        check_body(
            &Payload::Notify(NotifyPayload::new(NotifyType::COOKIE, &[0xc0, 0x0c])),
            "00 00 4006 c00c",
        );
        check_body(
            &Payload::Notify(NotifyPayload::about_esp(
                NotifyType::REKEY_SA,
                &[1, 2, 3, 4],
            )),
            "03 04 4009 01020304",
        );
        check_body(
            &Payload::Notify(NotifyPayload::new(NotifyType(41_000), &[])),
            "00 00 a028",
        );
    }

    #[test]
    fn the_protocol_means_nothing_without_an_spi() {
        let chain = chain_of(&octets("01 00 0018"));
        let payloads = decode_chain(PayloadType::NOTIFY, &chain).unwrap();
        let failed = NotifyPayload::new(NotifyType::AUTHENTICATION_FAILED, &[]);
        assert_eq!(payloads.error_notify(), Some(&failed));
    }

    #[test]
    fn spi_sizes() {
        let notify = |protocol: u8, size: u8| {
            let spi = "07".repeat(usize::from(size));
            decode_body(
                PayloadType::NOTIFY,
                &format!("{protocol:02x} {size:02x} 0007 {spi}"),
            )
        };
        for (protocol, size) in [(0, 0), (1, 0), (2, 4), (3, 4), (3, 0), (200, 9)] {
            assert_eq!(notify(protocol, size), Ok(()), "{protocol} {size}");
        }
        for (protocol, size) in [(0, 4), (1, 8), (2, 3), (3, 5), (3, 8)] {
            let refused = DecodeError::SpiSize {
                payload: PayloadType::NOTIFY,
                protocol: ProtocolId(protocol),
                size,
            };
            assert_eq!(notify(protocol, size), Err(refused));
        }
        let truncated = decode_body(PayloadType::NOTIFY, "03 04 0007 010203");
        assert!(matches!(truncated, Err(DecodeError::Truncated { .. })));
        let wrong = NotifyPayload {
            protocol: ProtocolId::ESP,
            spi: &[1; 8],
            ..NotifyPayload::new(NotifyType::REKEY_SA, &[])
        };
        assert!(message_with(&Payload::Notify(wrong)).is_err());
    }
}
