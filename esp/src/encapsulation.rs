//! UDP encapsulation (RFC 3948): what a datagram on port 4500 is.
//!
//! An ESP packet in UDP is just that, an ESP packet as the UDP payload, so nothing needs to be added on the way out.

use crate::Spi;

/// The UDP port of encapsulated ESP and of IKE behind a NAT (RFC 3948 §2).
pub const PORT: u16 = 4500;

/// Four zero octets in front of an IKE message on [`PORT`], where ESP has its SPI (RFC 3948 §2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The whole payload of a NAT keepalive (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// What the payload of a UDP datagram on [`PORT`] is.
#[derive(Debug, Eq, PartialEq)]
pub enum Datagram<B> {
    /// ESP, still to be verified.
    Esp {
        /// The SPI that it is for.
        spi: Spi,
        /// The ESP packet: the payload as it came.
        packet: B,
    },
    /// An IKE message, without its non-ESP marker.
    Ike(B),
    /// A NAT keepalive: ignore it.
    Keepalive,
    /// None of them: ignore it.
    Rejected(Rejected),
}

/// Why a datagram is neither keepalive, IKE nor ESP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejected {
    /// Fewer than four octets.
    TooShort,
    /// An SPI of 1 to 255, which RFC 4303 §2.1 reserves.
    ReservedSpi(u32),
}

/// Tells keepalive, IKE and ESP apart. Copies nothing.
pub fn classify(payload: &[u8]) -> Datagram<&[u8]> {
    match kind(payload) {
        Kind::Esp(spi) => Datagram::Esp {
            spi,
            packet: payload,
        },
        Kind::Ike => Datagram::Ike(payload.split_at(NON_ESP_MARKER.len()).1),
        Kind::Keepalive => Datagram::Keepalive,
        Kind::Rejected(why) => Datagram::Rejected(why),
    }
}

/// Like [`classify`], for decryption in place.
pub fn classify_mut(payload: &mut [u8]) -> Datagram<&mut [u8]> {
    match kind(payload) {
        Kind::Esp(spi) => Datagram::Esp {
            spi,
            packet: payload,
        },
        Kind::Ike => Datagram::Ike(payload.split_at_mut(NON_ESP_MARKER.len()).1),
        Kind::Keepalive => Datagram::Keepalive,
        Kind::Rejected(why) => Datagram::Rejected(why),
    }
}

/// The SPI of an ESP packet, if it has one that may be used.
pub fn peek_spi(packet: &[u8]) -> Option<Spi> {
    let value = u32::from_be_bytes(*packet.first_chunk()?);
    Spi::new(value).ok()
}

enum Kind {
    Esp(Spi),
    Ike,
    Keepalive,
    Rejected(Rejected),
}

fn kind(payload: &[u8]) -> Kind {
    if payload == KEEPALIVE {
        return Kind::Keepalive;
    }
    let Some(first) = payload.first_chunk() else {
        return Kind::Rejected(Rejected::TooShort);
    };
    match Spi::new(u32::from_be_bytes(*first)) {
        Ok(spi) => Kind::Esp(spi),
        Err(_) if *first == NON_ESP_MARKER => Kind::Ike,
        Err(reserved) => Kind::Rejected(Rejected::ReservedSpi(reserved.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keepalive_ike_and_esp_are_told_apart() {
        assert_eq!(classify(&[0xff]), Datagram::Keepalive);
        assert_eq!(
            classify(&[0, 0, 0, 0, 1, 2, 3]),
            Datagram::Ike(&[1, 2, 3][..])
        );
        assert_eq!(classify(&[0, 0, 0, 0]), Datagram::Ike(&[][..]));
        let esp = [0, 0, 1, 0, 0, 0, 0, 1];
        assert_eq!(
            classify(&esp),
            Datagram::Esp {
                spi: Spi::new(256).unwrap(),
                packet: &esp[..]
            }
        );
        // Four octets of 0xff are an SPI, not a keepalive.
        assert!(matches!(classify(&[0xff; 4]), Datagram::Esp { .. }));
    }

    #[test]
    fn the_rest_is_rejected() {
        for short in [&[][..], &[0], &[0xff, 0xff], &[0, 0, 0]] {
            assert_eq!(classify(short), Datagram::Rejected(Rejected::TooShort));
        }
        assert_eq!(
            classify(&[0, 0, 0, 255, 9, 9, 9, 9]),
            Datagram::Rejected(Rejected::ReservedSpi(255))
        );
    }

    #[test]
    fn the_mutable_form_agrees() {
        let mut ike = [0, 0, 0, 0, 5];
        assert_eq!(classify_mut(&mut ike), Datagram::Ike(&mut [5][..]));
        let mut esp = [1, 2, 3, 4];
        assert!(
            matches!(classify_mut(&mut esp), Datagram::Esp { spi, .. } if spi.get() == 0x0102_0304)
        );
        assert_eq!(peek_spi(&[1, 2, 3]), None);
    }
}
