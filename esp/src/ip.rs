//! Inner IP headers, as far as traffic selectors need them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Extension headers of one IPv6 packet that are walked; packets with more are refused.
pub const MAX_EXTENSION_HEADERS: usize = 8;

pub(crate) const IPV4_HEADER_LEN: usize = 20;
pub(crate) const IPV6_HEADER_LEN: usize = 40;

pub(crate) const ICMP: u8 = 1;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

const TCP: u8 = 6;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

const HOP_LIMIT: u8 = 64;

/// What traffic selectors look at in an IPv4 or IPv6 packet (RFC 4301 §4.4.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InnerHeader {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The upper-layer protocol, IPv6 extension headers skipped. In a non-first fragment whatever
    /// the fragment says that it continues.
    pub protocol: u8,
    /// Ports, where there are any.
    pub ports: Ports,
    /// Whether this is a fragment.
    pub fragment: Fragment,
    /// Octets of the packet by its own header, at most what was given.
    pub length: usize,
    /// Octets before the upper-layer header.
    pub transport: usize,
}

/// From whom to whom a packet goes: what errors say about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flow {
    /// Source address of the inner packet.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            protocol,
        } = self;
        write!(f, "from {source} to {destination}, protocol {protocol}")
    }
}

/// The ports of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ports {
    /// The protocol has none.
    Absent,
    /// Known. ICMP has its type and code, as type × 256 + code, in both (RFC 7296 §3.13.1).
    Known {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// They are in another fragment.
    Opaque,
}

/// The place of a packet among the fragments of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fragment {
    /// The first of several: has the ports.
    First,
    /// A further one: has none.
    Later,
    /// Not a fragment.
    Whole,
}

/// Why octets are not an IP packet that can be judged.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InnerError {
    /// The header length field is below the minimum or beyond the packet.
    #[error("IPv4 header length of {0} octets cannot be")]
    HeaderLength(usize),
    /// The packet says that it is longer, or shorter than its header, than it is.
    #[error("IP header tells {said} octets where there are {got}")]
    Length {
        /// Octets by the header.
        said: usize,
        /// Octets given.
        got: usize,
    },
    /// Two fragment headers in one packet.
    #[error("more than one IPv6 fragment header")]
    NestedFragments,
    /// Neither 4 nor 6.
    #[error("IP version {0} is neither 4 nor 6")]
    Version(u8),
    /// More than [`MAX_EXTENSION_HEADERS`].
    #[error("more than {MAX_EXTENSION_HEADERS} IPv6 extension headers")]
    TooManyExtensionHeaders,
    /// The packet ends inside a header.
    #[error("IP packet of {got} octets ends inside its headers")]
    Truncated {
        /// Octets given.
        got: usize,
    },
}

impl InnerHeader {
    /// Reads the headers of an IPv4 or IPv6 packet. Octets after the packet's own end are ignored.
    ///
    /// # Errors
    ///
    /// [`InnerError`] names what is wrong.
    pub fn parse(packet: &[u8]) -> Result<Self, InnerError> {
        match version(packet) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            Some(other) => Err(InnerError::Version(other)),
            None => Err(InnerError::Truncated { got: 0 }),
        }
    }

    /// The part that errors tell.
    pub fn flow(&self) -> Flow {
        Flow {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
        }
    }
}

/// The version nibble.
pub(crate) fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|first| first >> 4)
}

fn parse_v4(packet: &[u8]) -> Result<InnerHeader, InnerError> {
    let truncated = InnerError::Truncated { got: packet.len() };
    let header: &[u8; IPV4_HEADER_LEN] = packet.first_chunk().ok_or(truncated)?;
    let [
        first,
        _,
        l0,
        l1,
        _,
        _,
        f0,
        f1,
        _,
        protocol,
        _,
        _,
        source @ ..,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    let transport = usize::from(first & 0xf) * 4;
    if transport < IPV4_HEADER_LEN || transport > packet.len() {
        return Err(InnerError::HeaderLength(transport));
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length < transport || length > packet.len() {
        return Err(InnerError::Length {
            said: length,
            got: packet.len(),
        });
    }
    let place = u16::from_be_bytes([f0, f1]);
    let fragment = match (place & 0x1fff, place & 0x2000 != 0) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    };
    let upper = packet.get(transport..length).ok_or(truncated)?;
    Ok(InnerHeader {
        source: Ipv4Addr::from(source).into(),
        destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
        protocol,
        ports: ports(protocol, fragment, upper).ok_or(truncated)?,
        fragment,
        length,
        transport,
    })
}

fn parse_v6(packet: &[u8]) -> Result<InnerHeader, InnerError> {
    let truncated = InnerError::Truncated { got: packet.len() };
    let header: &[u8; IPV6_HEADER_LEN] = packet.first_chunk().ok_or(truncated)?;
    let [_, _, _, _, l0, l1, next, _, addresses @ ..] = *header;
    let (source, destination) = addresses.split_at(16);
    let address = |octets: &[u8]| <[u8; 16]>::try_from(octets).map(Ipv6Addr::from);
    let length = IPV6_HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
    let packet = packet.get(..length).ok_or(InnerError::Length {
        said: length,
        got: packet.len(),
    })?;
    let walked = walk_extension_headers(packet, next)?;
    let upper = packet.get(walked.transport..).ok_or(truncated)?;
    Ok(InnerHeader {
        source: address(source).map_err(|_| truncated)?.into(),
        destination: address(destination).map_err(|_| truncated)?.into(),
        protocol: walked.protocol,
        ports: ports(walked.protocol, walked.fragment, upper).ok_or(truncated)?,
        fragment: walked.fragment,
        length,
        transport: walked.transport,
    })
}

struct Walked {
    protocol: u8,
    fragment: Fragment,
    transport: usize,
}

fn walk_extension_headers(packet: &[u8], first: u8) -> Result<Walked, InnerError> {
    let truncated = InnerError::Truncated { got: packet.len() };
    let mut walked = Walked {
        protocol: first,
        fragment: Fragment::Whole,
        transport: IPV6_HEADER_LEN,
    };
    let mut fragmented = false;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let is_fragment = match walked.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => false,
            FRAGMENT => true,
            _ => return Ok(walked),
        };
        let rest = packet.get(walked.transport..).ok_or(truncated)?;
        // Every extension header is a multiple of 8 octets, at least 8 (RFC 8200 §4).
        let [next, units, p0, p1, ..] = *rest.first_chunk::<8>().ok_or(truncated)?;
        walked.protocol = next;
        if is_fragment {
            if fragmented {
                return Err(InnerError::NestedFragments);
            }
            fragmented = true;
            walked.transport += 8;
            let place = u16::from_be_bytes([p0, p1]);
            walked.fragment = match (place >> 3, place & 1 != 0) {
                (0, false) => Fragment::Whole,
                (0, true) => Fragment::First,
                _ => Fragment::Later,
            };
            if walked.fragment == Fragment::Later {
                return Ok(walked);
            }
        } else {
            let length = (usize::from(units) + 1) * 8;
            if length > rest.len() {
                return Err(truncated);
            }
            walked.transport += length;
        }
    }
    Err(InnerError::TooManyExtensionHeaders)
}

/// `None` if the upper-layer header is too short to have the ports that it should have: a "tiny
/// fragment" must not slip past a selector (RFC 4301 appendix D).
fn ports(protocol: u8, fragment: Fragment, upper: &[u8]) -> Option<Ports> {
    if fragment == Fragment::Later {
        return Some(Ports::Opaque);
    }
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => {
            let [s0, s1, d0, d1] = *upper.first_chunk()?;
            Some(Ports::Known {
                source: u16::from_be_bytes([s0, s1]),
                destination: u16::from_be_bytes([d0, d1]),
            })
        }
        ICMP | ICMPV6 => {
            let both = u16::from_be_bytes(*upper.first_chunk()?);
            Some(Ports::Known {
                source: both,
                destination: both,
            })
        }
        _ => Some(Ports::Absent),
    }
}

/// Writes an IP header without options in front of `payload` octets; tells its length.
///
/// `None` if the addresses are of two families, the packet is too long for the family, or `out` has no room.
pub(crate) fn emit_header(
    out: &mut [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: usize,
) -> Option<usize> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header: &mut [u8; IPV4_HEADER_LEN] = out.first_chunk_mut()?;
            let [l0, l1] = u16::try_from(IPV4_HEADER_LEN + payload).ok()?.to_be_bytes();
            let [s0, s1, s2, s3] = source.octets();
            let [d0, d1, d2, d3] = destination.octets();
            // Don't Fragment, and so identification 0 (RFC 6864 §4.1).
            *header = [
                0x45, 0, l0, l1, 0, 0, 0x40, 0, HOP_LIMIT, protocol, 0, 0, s0, s1, s2, s3, d0, d1,
                d2, d3,
            ];
            let checksum = Checksum::default().add(header).finish();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            Some(IPV4_HEADER_LEN)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header: &mut [u8; IPV6_HEADER_LEN] = out.first_chunk_mut()?;
            let length = u16::try_from(payload).ok()?;
            header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            header[4..6].copy_from_slice(&length.to_be_bytes());
            header[6..8].copy_from_slice(&[protocol, HOP_LIMIT]);
            header[8..24].copy_from_slice(&source.octets());
            header[24..].copy_from_slice(&destination.octets());
            Some(IPV6_HEADER_LEN)
        }
        _ => None,
    }
}

/// The Internet checksum (RFC 1071).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checksum(u64);

impl Checksum {
    /// Sums the pseudo-header of UDP and ICMPv6 (RFC 768, RFC 8200 §8.1).
    pub(crate) fn pseudo_header(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        length: usize,
    ) -> Self {
        let mut sum = Self::default();
        for address in [source, destination] {
            sum = match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            };
        }
        Self(sum.0 + u64::from(protocol) + length as u64)
    }

    /// Sums `octets`, padded with a zero octet to a whole number of 16-bit words.
    #[must_use]
    pub(crate) fn add(self, octets: &[u8]) -> Self {
        let (pairs, rest) = octets.as_chunks::<2>();
        let sum: u64 = pairs
            .iter()
            .map(|pair| u64::from(u16::from_be_bytes(*pair)))
            .sum();
        let last = rest.first().map_or(0, |last| u64::from(*last) << 8);
        Self(self.0 + sum + last)
    }

    /// The value for the header. Over octets that contain a right checksum it is 0.
    pub(crate) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // At most 0xffff here.
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(char::is_whitespace, "")).unwrap()
    }

    /// The ICMP echo request of RFC 7634 appendix A: a published packet with right checksums.
    fn echo_v4() -> Vec<u8> {
        hex(
            "45000054a6f200004001e778c6336405 c000020508005b7a3a080000553bec10
             0007362708090a0b0c0d0e0f10111213 1415161718191a1b1c1d1e1f20212223
             2425262728292a2b2c2d2e2f30313233 34353637",
        )
    }

    /// IPv6 with the given first next header and body.
    fn v6(next: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        emit_header(
            &mut packet,
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            next,
            body.len(),
        )
        .unwrap();
        packet.extend_from_slice(body);
        packet
    }

    #[test]
    fn checksum_vectors() {
        // RFC 1071 §3: the sum of these is ddf2.
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Checksum::default().add(&words).finish(), !0xddf2);
        // A published packet sums to zero, header and ICMP message alike.
        let echo = echo_v4();
        assert_eq!(Checksum::default().add(&echo[..20]).finish(), 0);
        assert_eq!(Checksum::default().add(&echo[20..]).finish(), 0);
        // UDP of an odd length with its pseudo-header: draft-mcgrew-gcm-test-01, case 8.
        let packet = hex(
            "4500004933ba00007f119106c3fb1d10 c2b1d326c02831ce0035dd7b800302d5
             00004e20001e8c18d75b81dc91baa047 6b91b924b280389d92c963bac046ec95
             9b6266c04722b14923",
        );
        assert_eq!(Checksum::default().add(&packet[..20]).finish(), 0);
        let header = InnerHeader::parse(&packet).unwrap();
        let pseudo = Checksum::pseudo_header(header.source, header.destination, UDP, 53);
        assert_eq!(pseudo.add(&packet[20..]).finish(), 0);
    }

    #[test]
    fn odd_octet_counts_as_the_high_half() {
        assert_eq!(
            Checksum::default().add(&[1, 2, 3]).finish(),
            Checksum::default().add(&[1, 2, 3, 0]).finish()
        );
    }

    #[test]
    fn an_ipv4_header_is_read() {
        let header = InnerHeader::parse(&echo_v4()).unwrap();
        assert_eq!(header.source, "198.51.100.5".parse::<IpAddr>().unwrap());
        assert_eq!(header.destination, "192.0.2.5".parse::<IpAddr>().unwrap());
        assert_eq!(
            (header.protocol, header.length, header.transport),
            (1, 84, 20)
        );
        assert_eq!(
            header.ports,
            Ports::Known {
                source: 0x0800,
                destination: 0x0800
            }
        );
    }

    #[test]
    fn octets_after_the_packet_are_ignored_and_missing_ones_are_not() {
        let mut packet = echo_v4();
        packet.extend_from_slice(&[0; 300]);
        assert_eq!(InnerHeader::parse(&packet).unwrap().length, 84);
        for length in 0..84 {
            assert!(InnerHeader::parse(&packet[..length]).is_err(), "{length}");
        }
        let packet = v6(UDP, &[0, 7, 0, 9, 0, 8, 0, 0]);
        assert!(InnerHeader::parse(&packet).is_ok());
        for length in 0..packet.len() {
            assert!(InnerHeader::parse(&packet[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn wrong_ipv4_lengths_are_named() {
        let mut packet = echo_v4();
        packet[0] = 0x44;
        assert_eq!(
            InnerHeader::parse(&packet),
            Err(InnerError::HeaderLength(16))
        );
        let mut packet = echo_v4();
        packet[3] = 19;
        assert_eq!(
            InnerHeader::parse(&packet),
            Err(InnerError::Length { said: 19, got: 84 })
        );
        packet[0] = 0x55;
        assert_eq!(InnerHeader::parse(&packet), Err(InnerError::Version(5)));
    }

    #[test]
    fn ipv4_fragments() {
        let mut packet = echo_v4();
        packet[6] = 0x20;
        assert_eq!(
            InnerHeader::parse(&packet).unwrap().fragment,
            Fragment::First
        );
        packet[7] = 5;
        let header = InnerHeader::parse(&packet).unwrap();
        assert_eq!(header.fragment, Fragment::Later);
        assert_eq!(header.ports, Ports::Opaque);
        // A first fragment too short for its ports is refused.
        let mut tiny = echo_v4()[..22].to_vec();
        tiny[3] = 22;
        tiny[6] = 0x20;
        tiny[9] = TCP;
        assert!(InnerHeader::parse(&tiny).is_err());
    }

    #[test]
    fn ipv6_extension_headers_are_walked() {
        // Hop-by-hop (8 octets), destination options (16), fragment (atomic), UDP.
        let body = hex(
            "3c00010400000000 2c01010c000000000000000000000000 1100000000000001 0007000900080000",
        );
        let header = InnerHeader::parse(&v6(HOP_BY_HOP, &body)).unwrap();
        assert_eq!(header.protocol, UDP);
        assert_eq!(header.transport, 40 + 8 + 16 + 8);
        assert_eq!(header.fragment, Fragment::Whole);
        assert_eq!(
            header.ports,
            Ports::Known {
                source: 7,
                destination: 9
            }
        );
    }

    #[test]
    fn ipv6_fragments() {
        let first = InnerHeader::parse(&v6(FRAGMENT, &hex("1100000100000001 0007000900080000")));
        assert_eq!(first.unwrap().fragment, Fragment::First);
        let later = InnerHeader::parse(&v6(FRAGMENT, &hex("1100000900000001 ffff"))).unwrap();
        assert_eq!(
            (later.fragment, later.ports),
            (Fragment::Later, Ports::Opaque)
        );
        assert_eq!(later.protocol, UDP);
        let nested = v6(FRAGMENT, &hex("2c00000100000001 1100000900000001"));
        assert_eq!(
            InnerHeader::parse(&nested),
            Err(InnerError::NestedFragments)
        );
    }

    #[test]
    fn extension_headers_are_bounded() {
        let chain = |count: usize| {
            let mut body = Vec::new();
            for left in (0..count).rev() {
                body.extend_from_slice(&[if left == 0 { UDP } else { DESTINATION_OPTIONS }]);
                body.extend_from_slice(&[0, 1, 4, 0, 0, 0, 0]);
            }
            body.extend_from_slice(&[0, 7, 0, 9, 0, 8, 0, 0]);
            v6(DESTINATION_OPTIONS, &body)
        };
        assert!(InnerHeader::parse(&chain(MAX_EXTENSION_HEADERS)).is_ok());
        assert_eq!(
            InnerHeader::parse(&chain(MAX_EXTENSION_HEADERS + 1)),
            Err(InnerError::TooManyExtensionHeaders)
        );
        // A header that claims to be longer than the packet.
        assert!(InnerHeader::parse(&v6(HOP_BY_HOP, &[UDP, 9, 0, 0, 0, 0, 0, 0])).is_err());
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_bounded(
            mut octets in prop::collection::vec(any::<u8>(), 0..200),
            first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
            length in any::<u8>(),
        ) {
            if let Some(octet) = octets.first_mut() {
                *octet = first;
            }
            // Make the length fields plausible now and then.
            for at in [3, 5] {
                if let Some(octet) = octets.get_mut(at) { *octet = length; }
            }
            for at in [2, 4] {
                if let Some(octet) = octets.get_mut(at) { *octet = 0; }
            }
            if let Ok(header) = InnerHeader::parse(&octets) {
                prop_assert!(header.transport <= header.length);
                prop_assert!(header.length <= octets.len());
            }
        }
    }
}
