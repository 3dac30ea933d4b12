//! ICMP echo (RFC 792, RFC 4443 §4): whole IP packets, both families.

use std::net::IpAddr;

use thiserror::Error;

use crate::ip::{Checksum, ICMP, ICMPV6, IPV4_HEADER_LEN, IPV6_HEADER_LEN, emit_header};
use crate::{Fragment, InnerError, InnerHeader};

/// Octets of the ICMP header of an echo message.
const ECHO_HEADER_LEN: usize = 8;

/// An IP packet with an ICMP echo request or reply.
///
/// ```
/// use esp::icmp::Echo;
/// let ping = Echo::request("10.0.0.7".parse()?, "192.0.2.1".parse()?, 0x1234, 1, b"payload");
/// let mut packet = [0; 1500];
/// let length = ping.encode(&mut packet)?;
/// assert_eq!(Echo::decode(&packet[..length])?, ping);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Echo<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Request or reply.
    pub kind: EchoKind,
    /// Tells streams of pings apart.
    pub identifier: u16,
    /// Tells the pings of a stream apart.
    pub sequence: u16,
    /// What the reply brings back.
    pub payload: &'a [u8],
}

/// Which of the two echo messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EchoKind {
    /// Type 8 (IPv4), 128 (IPv6).
    Request,
    /// Type 0 (IPv4), 129 (IPv6).
    Reply,
}

impl<'a> Echo<'a> {
    /// An echo request.
    pub fn request(
        source: IpAddr,
        destination: IpAddr,
        identifier: u16,
        sequence: u16,
        payload: &'a [u8],
    ) -> Self {
        Self {
            source,
            destination,
            kind: EchoKind::Request,
            identifier,
            sequence,
            payload,
        }
    }

    /// Reads an IP packet. Checksums are verified.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is not a whole, right echo request or reply.
    pub fn decode(packet: &'a [u8]) -> Result<Self, DecodeError> {
        let header = InnerHeader::parse(packet)?;
        if header.fragment != Fragment::Whole {
            return Err(DecodeError::Fragment);
        }
        let message = packet
            .get(header.transport..header.length)
            .ok_or(DecodeError::Truncated)?;
        let (head, payload) = message
            .split_first_chunk::<ECHO_HEADER_LEN>()
            .ok_or(DecodeError::Truncated)?;
        let [kind, code, _, _, i0, i1, s0, s1] = *head;
        let kind = match (header.protocol, header.source.is_ipv4(), kind, code) {
            (ICMP, true, 8, 0) | (ICMPV6, false, 128, 0) => EchoKind::Request,
            (ICMP, true, 0, 0) | (ICMPV6, false, 129, 0) => EchoKind::Reply,
            (ICMP, true, ..) | (ICMPV6, false, ..) => {
                return Err(DecodeError::NotEcho { kind, code });
            }
            (protocol, ..) => return Err(DecodeError::NotIcmp { protocol }),
        };
        let right = match header.source {
            IpAddr::V4(_) => {
                let ip_header = packet.get(..header.transport);
                ip_header.is_some_and(|octets| Checksum::default().add(octets).finish() == 0)
                    && Checksum::default().add(message).finish() == 0
            }
            IpAddr::V6(_) => {
                let pseudo = pseudo_header_v6(header.source, header.destination, message.len());
                pseudo.add(message).finish() == 0
            }
        };
        if !right {
            return Err(DecodeError::Checksum);
        }
        Ok(Self {
            source: header.source,
            destination: header.destination,
            kind,
            identifier: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
            payload,
        })
    }

    /// The answer to a request: same content, the other way.
    #[must_use]
    pub fn reply(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            kind: EchoKind::Reply,
            ..*self
        }
    }

    /// Octets of the packet.
    pub fn encoded_len(&self) -> usize {
        let ip = match self.source {
            IpAddr::V4(_) => IPV4_HEADER_LEN,
            IpAddr::V6(_) => IPV6_HEADER_LEN,
        };
        ip + ECHO_HEADER_LEN + self.payload.len()
    }

    /// Writes the packet to the beginning of `out`, with all checksums, and tells its length.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if `out` is too short, the addresses are of two families, or the packet would be longer than IP can say.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(EncodeError::MixedFamilies);
        }
        let needed = self.encoded_len();
        let no_room = EncodeError::NoRoom {
            needed,
            got: out.len(),
        };
        let packet = out.get_mut(..needed).ok_or(no_room)?;
        let (protocol, kind) = match (self.source, self.kind) {
            (IpAddr::V4(_), EchoKind::Request) => (ICMP, 8),
            (IpAddr::V4(_), EchoKind::Reply) => (ICMP, 0),
            (IpAddr::V6(_), EchoKind::Request) => (ICMPV6, 128),
            (IpAddr::V6(_), EchoKind::Reply) => (ICMPV6, 129),
        };
        let length = ECHO_HEADER_LEN + self.payload.len();
        let transport = emit_header(packet, self.source, self.destination, protocol, length)
            .ok_or(EncodeError::TooLong { needed })?;
        let message = packet.get_mut(transport..).ok_or(no_room)?;
        let (head, payload) = message
            .split_first_chunk_mut::<ECHO_HEADER_LEN>()
            .ok_or(no_room)?;
        let [i0, i1] = self.identifier.to_be_bytes();
        let [s0, s1] = self.sequence.to_be_bytes();
        *head = [kind, 0, 0, 0, i0, i1, s0, s1];
        payload.copy_from_slice(self.payload);
        let sum = match self.source {
            IpAddr::V4(_) => Checksum::default(),
            IpAddr::V6(_) => pseudo_header_v6(self.source, self.destination, length),
        };
        let [c0, c1] = sum.add(head).add(payload).finish().to_be_bytes();
        *head = [kind, 0, c0, c1, i0, i1, s0, s1];
        Ok(needed)
    }
}

/// Why a packet is not a right echo message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// A fragment of a longer message.
    #[error("a fragment: not reassembled")]
    Fragment,
    /// Not a well-formed IP packet.
    #[error(transparent)]
    Ip(#[from] InnerError),
    /// Another ICMP message.
    #[error("ICMP type {kind} code {code} is no echo request or reply")]
    NotEcho {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Another protocol.
    #[error("IP protocol {protocol} is not ICMP")]
    NotIcmp {
        /// The protocol.
        protocol: u8,
    },
    /// The packet ends inside the ICMP header.
    #[error("packet ends inside the ICMP header")]
    Truncated,
}

/// Why a packet could not be written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum EncodeError {
    /// IPv4 on one end, IPv6 on the other.
    #[error("source and destination are of two IP families")]
    MixedFamilies,
    /// The caller's buffer.
    #[error("packet of {needed} octets in a buffer of {got}")]
    NoRoom {
        /// Octets needed.
        needed: usize,
        /// Octets given.
        got: usize,
    },
    /// Longer than the header's length field can say.
    #[error("packet of {needed} octets is longer than IP allows")]
    TooLong {
        /// Octets needed.
        needed: usize,
    },
}

fn pseudo_header_v6(source: IpAddr, destination: IpAddr, length: usize) -> Checksum {
    Checksum::pseudo_header(source, destination, ICMPV6, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(char::is_whitespace, "")).unwrap()
    }

    /// RFC 7634 appendix A.
    const PUBLISHED: &str = "45000054a6f200004001e778c6336405 c0000205 08005b7a3a080000
        553bec100007362708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f
        202122232425262728292a2b2c2d2e2f 3031323334353637";

    #[test]
    fn a_published_request_is_read() {
        let packet = hex(PUBLISHED);
        let echo = Echo::decode(&packet).unwrap();
        assert_eq!(echo.kind, EchoKind::Request);
        assert_eq!((echo.identifier, echo.sequence), (0x3a08, 0));
        assert_eq!(echo.payload.len(), 56);
        // Written again only identification, Don't Fragment and the header checksum differ.
        let mut again = vec![0; 84];
        assert_eq!(echo.encode(&mut again), Ok(84));
        assert_eq!(again[20..], packet[20..]);
        assert_eq!(again[..4], packet[..4]);
    }

    #[test]
    fn any_wrong_octet_is_noticed() {
        let packet = hex(PUBLISHED);
        for at in 0..packet.len() {
            for bit in 0..8 {
                let mut wrong = packet.clone();
                wrong[at] ^= 1 << bit;
                assert!(Echo::decode(&wrong).is_err(), "octet {at} bit {bit}");
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        let mut out = vec![0; 70_000];
        assert_eq!(
            Echo::request(v4, v6, 1, 1, &[]).encode(&mut out),
            Err(EncodeError::MixedFamilies)
        );
        assert_eq!(
            Echo::request(v4, v4, 1, 1, &[0; 65_508]).encode(&mut out),
            Err(EncodeError::TooLong { needed: 65_536 })
        );
        assert_eq!(
            Echo::request(v4, v4, 1, 1, &[]).encode(&mut out[..27]),
            Err(EncodeError::NoRoom {
                needed: 28,
                got: 27
            })
        );
    }

    proptest! {
        #[test]
        fn round_trip(
            v6 in any::<bool>(),
            identifier in any::<u16>(),
            sequence in any::<u16>(),
            payload in prop::collection::vec(any::<u8>(), 0..1400),
        ) {
            let (source, destination) = if v6 {
                ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
            } else {
                ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
            };
            let echo = Echo::request(source, destination, identifier, sequence, &payload);
            for echo in [echo, echo.reply()] {
                let mut out = vec![0xaa; 1500];
                let length = echo.encode(&mut out).unwrap();
                prop_assert_eq!(length, echo.encoded_len());
                prop_assert_eq!(Echo::decode(&out[..length]), Ok(echo));
                // Trailing octets are not part of the packet.
                prop_assert_eq!(Echo::decode(&out), Ok(echo));
            }
        }
    }
}
