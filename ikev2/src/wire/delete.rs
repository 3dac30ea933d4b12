//! Delete payload, RFC 7296 §3.11.
//!
//! ```text
//! | Protocol ID   |   SPI Size    |          Num of SPIs          |
//! ~               Security Parameter Index(es) (SPI)              ~
//! ```

use super::codes::{PayloadType, ProtocolId};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

/// SAs that the sender has deleted (§3.11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeletePayload<'a> {
    /// IKE: the IKE SA of the message itself. AH, ESP: the SAs that are named.
    pub protocol: ProtocolId,
    /// Octets in an SPI: none for IKE, four for AH and ESP.
    pub spi_size: u8,
    /// The SPIs that the sender would expect in what comes in to it, end to end.
    pub spis: &'a [u8],
}

impl<'a> DeletePayload<'a> {
    /// Deletes the IKE SA.
    pub const fn ike() -> Self {
        Self {
            protocol: ProtocolId::IKE,
            spi_size: 0,
            spis: &[],
        }
    }

    /// Deletes ESP SAs, whose SPIs stand end to end in network byte order.
    pub const fn esp(spis: &'a [u8]) -> Self {
        Self {
            protocol: ProtocolId::ESP,
            spi_size: 4,
            spis,
        }
    }

    /// The SPIs of AH or ESP SAs; none for IKE.
    pub fn child_spis(&self) -> impl Iterator<Item = u32> + use<'a> {
        let spis: &[u8] = if self.spi_size == 4 { self.spis } else { &[] };
        spis.as_chunks::<4>()
            .0
            .iter()
            .map(|spi| u32::from_be_bytes(*spi))
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(reader.u8()?);
        let spi_size = reader.u8()?;
        let declared = reader.u16()?;
        let spis = reader.remainder();
        let delete = Self {
            protocol,
            spi_size,
            spis,
        };
        if !delete.size_fits() {
            return Err(DecodeError::SpiSize {
                payload: PayloadType::DELETE,
                protocol,
                size: spi_size,
            });
        }
        if delete.count() != Some(usize::from(declared)) {
            return Err(DecodeError::SpiCount {
                declared,
                octets: spis.len(),
            });
        }
        Ok(delete)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        const PAYLOAD: PayloadType = PayloadType::DELETE;
        let Some(count) = self.count().filter(|_| self.size_fits()) else {
            return Err(EncodeError::Field { payload: PAYLOAD });
        };
        let count = u16::try_from(count).map_err(|_| EncodeError::TooMany { payload: PAYLOAD })?;
        out.push(self.protocol.0);
        out.push(self.spi_size);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(self.spis);
        Ok(())
    }

    /// The number of SPIs, if they come out even. Without a size there are none:
    /// the IKE SA is deleted by "no SPIs" (§3.11).
    fn count(&self) -> Option<usize> {
        match usize::from(self.spi_size) {
            0 => self.spis.is_empty().then_some(0),
            size => self
                .spis
                .len()
                .is_multiple_of(size)
                .then(|| self.spis.len() / size),
        }
    }

    const fn size_fits(&self) -> bool {
        match self.protocol {
            ProtocolId::IKE => self.spi_size == 0,
            ProtocolId::AH | ProtocolId::ESP => self.spi_size == 4,
            _ => true,
        }
    }
}
