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

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body, message_with};
    use super::*;

    #[test]
    fn literal_octets() {
        check_body(&Payload::Delete(DeletePayload::ike()), "01 00 0000");
        let delete = DeletePayload::esp(&[0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff]);
        check_body(&Payload::Delete(delete), "03 04 0002 00000100 ffffffff");
        assert!(delete.child_spis().eq([0x100, 0xffff_ffff]));
        assert_eq!(DeletePayload::ike().child_spis().count(), 0);
    }

    #[test]
    fn spi_sizes() {
        for body in [
            "01 04 0001 01020304",
            "03 00 0000",
            "03 08 0001 0102030405060708",
        ] {
            assert!(matches!(
                decode_body(PayloadType::DELETE, body),
                Err(DecodeError::SpiSize { .. })
            ));
        }
        assert_eq!(
            decode_body(PayloadType::DELETE, "c8 03 0001 010203"),
            Ok(())
        );
        let wrong = DeletePayload {
            spi_size: 8,
            ..DeletePayload::esp(&[0; 8])
        };
        assert!(message_with(&Payload::Delete(wrong)).is_err());
        assert!(message_with(&Payload::Delete(DeletePayload::esp(&[0; 7]))).is_err());
    }

    #[test]
    fn counts() {
        for (body, declared, octets) in [
            ("03 04 0001 0102030405060708", 1, 8),
            ("03 04 0003 0102030405060708", 3, 8),
            ("03 04 0002 01020304050607", 2, 7),
            ("03 04 ffff 01020304", 0xffff, 4),
            ("01 00 0001", 1, 0),
            ("01 00 0000 01", 0, 1),
        ] {
            assert_eq!(
                decode_body(PayloadType::DELETE, body),
                Err(DecodeError::SpiCount { declared, octets })
            );
        }
    }
}
