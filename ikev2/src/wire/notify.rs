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
