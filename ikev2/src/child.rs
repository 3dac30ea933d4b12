//! Child SAs: what the data plane needs, and the narrowing of traffic selectors.

use core::fmt;

use crate::crypto::SecretBytes;
use crate::event::Path;
use crate::wire::{EncrId, MAX_SELECTORS, TrafficSelector};

/// Names a child SA within its IKE SA.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChildHandle(pub(crate) u32);

impl fmt::Display for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.0)
    }
}

/// The algorithms of a child SA. AEAD only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EspSuite {
    /// The cipher.
    pub encr: EncrId,
    /// The length of its key in bits, the salt not counted.
    pub key_bits: u16,
    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
    pub esn: bool,
}

/// A child SA pair (ESP, tunnel mode), ready to be installed.
#[derive(Debug)]
pub struct ChildSa {
    /// The SPI on packets that come to us.
    pub inbound_spi: u32,
    /// The SPI on packets that we send.
    pub outbound_spi: u32,
    /// Key and salt for packets that come to us.
    pub inbound: SecretBytes,
    /// Key and salt for packets that we send.
    pub outbound: SecretBytes,
    /// The algorithms.
    pub suite: EspSuite,
    /// Inner addresses on our side.
    pub local_selectors: Vec<TrafficSelector>,
    /// Inner addresses on the peer's side.
    pub remote_selectors: Vec<TrafficSelector>,
    /// Whether ESP goes in UDP (RFC 3948).
    pub udp_encapsulation: bool,
    /// The outer addresses, and the ports if encapsulated.
    pub path: Path,
}

/// Why a child SA is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemoveReason {
    /// The peer deleted it.
    PeerDeleted,
    /// We deleted it.
    LocallyDeleted,
    /// Its IKE SA is over.
    IkeSaOver,
}

/// What of `offered` is in `allowed`: the intersections, each once, at most [`MAX_SELECTORS`]
/// (RFC 7296 §2.9).
pub(crate) fn narrow(
    offered: &[TrafficSelector],
    allowed: &[TrafficSelector],
) -> Vec<TrafficSelector> {
    let mut narrowed: Vec<TrafficSelector> = Vec::new();
    for common in offered.iter().flat_map(|offer| {
        allowed
            .iter()
            .filter_map(|allow| intersection(offer, allow))
    }) {
        if narrowed.iter().any(|other| contains(other, &common)) {
            continue;
        }
        narrowed.retain(|other| !contains(&common, other));
        if narrowed.len() < MAX_SELECTORS {
            narrowed.push(common);
        }
    }
    narrowed
}

/// Whether each of `answer` lies within one of `offered`.
pub(crate) fn is_within(answer: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    answer
        .iter()
        .all(|selector| offered.iter().any(|offer| contains(offer, selector)))
}

fn contains(outer: &TrafficSelector, inner: &TrafficSelector) -> bool {
    intersection(outer, inner).as_ref() == Some(inner)
}

fn intersection(a: &TrafficSelector, b: &TrafficSelector) -> Option<TrafficSelector> {
    let protocol = match (a.protocol, b.protocol) {
        (0, other) | (other, 0) => other,
        (x, y) if x == y => x,
        _ => return None,
    };
    if a.addresses.0.is_ipv4() != b.addresses.0.is_ipv4() {
        return None;
    }
    let addresses = (
        a.addresses.0.max(b.addresses.0),
        a.addresses.1.min(b.addresses.1),
    );
    let in_order = addresses.0 <= addresses.1;
    in_order.then_some(TrafficSelector {
        protocol,
        ports: common_ports(a.ports, b.ports)?,
        addresses,
    })
}

/// OPAQUE (65535 to 0) is its own kind of port, which "any" includes (RFC 7296 §3.13.1).
fn common_ports(a: (u16, u16), b: (u16, u16)) -> Option<(u16, u16)> {
    const ANY: (u16, u16) = (0, u16::MAX);
    const OPAQUE: (u16, u16) = (u16::MAX, 0);
    if a == OPAQUE || b == OPAQUE {
        let fits = |other| other == ANY || other == OPAQUE;
        return (fits(a) && fits(b)).then_some(OPAQUE);
    }
    let ports = (a.0.max(b.0), a.1.min(b.1));
    (ports.0 <= ports.1).then_some(ports)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn range(first: [u8; 4], last: [u8; 4]) -> TrafficSelector {
        TrafficSelector::range(
            IpAddr::V4(Ipv4Addr::from(first)),
            IpAddr::V4(Ipv4Addr::from(last)),
        )
    }

    fn host(address: [u8; 4]) -> TrafficSelector {
        range(address, address)
    }

    #[test]
    fn any_is_narrowed_to_the_leased_address() {
        let lease = host([10, 88, 0, 1]);
        let offered = [TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        assert_eq!(narrow(&offered, &[lease]), [lease]);
    }

    #[test]
    fn nothing_in_common_is_nothing() {
        assert!(narrow(&[host([10, 0, 0, 1])], &[host([10, 0, 0, 2])]).is_empty());
        assert!(
            narrow(
                &[TrafficSelector::any_ipv6()],
                &[TrafficSelector::any_ipv4()]
            )
            .is_empty()
        );
        assert!(narrow(&[TrafficSelector::any_ipv4()], &[]).is_empty());
    }

    #[test]
    fn the_particular_packet_before_the_range_is_not_said_twice() {
        // RFC 7296 §2.9: the first selector may be that of the packet that asked for the SA.
        let packet = TrafficSelector {
            protocol: 17,
            ports: (53, 53),
            ..host([10, 0, 0, 5])
        };
        let subnet = range([10, 0, 0, 0], [10, 0, 0, 255]);
        assert_eq!(
            narrow(&[packet, subnet], &[TrafficSelector::any_ipv4()]),
            [subnet]
        );
    }

    #[test]
    fn protocol_and_ports_are_narrowed_too() {
        let any = TrafficSelector::any_ipv4();
        let udp = TrafficSelector {
            protocol: 17,
            ports: (1000, 2000),
            ..any
        };
        let tcp = TrafficSelector { protocol: 6, ..any };
        assert_eq!(narrow(&[any], &[udp]), [udp]);
        assert!(narrow(&[tcp], &[udp]).is_empty());
        let opaque = TrafficSelector {
            protocol: 17,
            ports: (u16::MAX, 0),
            ..any
        };
        assert_eq!(narrow(&[any], &[opaque]), [opaque]);
        assert!(narrow(&[udp], &[opaque]).is_empty());
    }

    #[test]
    fn an_answer_is_within_the_offer_or_it_is_not() {
        let any = TrafficSelector::any_ipv4();
        let subnet = range([10, 0, 0, 0], [10, 0, 0, 255]);
        assert!(is_within(&[host([10, 0, 0, 7])], &[subnet]));
        assert!(is_within(&[subnet], &[any]));
        assert!(!is_within(&[any], &[subnet]));
        assert!(!is_within(&[subnet, host([11, 0, 0, 0])], &[subnet]));
    }

    #[test]
    fn narrowing_is_bounded() {
        let offered: Vec<_> = (0..64).map(|i| host([10, 0, 0, i])).collect();
        let allowed: Vec<_> = (0..64)
            .map(|i| range([10, 0, 0, i], [10, 0, 1, i]))
            .collect();
        assert!(narrow(&offered, &allowed).len() <= MAX_SELECTORS);
    }
}
