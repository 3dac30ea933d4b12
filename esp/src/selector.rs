//! Traffic selectors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

use crate::{Fragment, InnerHeader, Ports};

/// Selectors of one end of an SA that are taken.
pub const MAX_SELECTORS: usize = 64;

/// Addresses, ports and a protocol of one end (RFC 7296 §3.13.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Selector {
    /// The IP protocol; 0 for any.
    pub protocol: u8,
    /// First and last port; [`Selector::ANY_PORTS`] for any, [`Selector::OPAQUE_PORTS`] for packets
    /// whose ports cannot be seen. ICMP counts type × 256 + code as port.
    pub ports: (u16, u16),
    /// First and last address.
    pub addresses: (IpAddr, IpAddr),
}

impl Selector {
    /// All ports, and packets without any.
    pub const ANY_PORTS: (u16, u16) = (0, u16::MAX);

    /// Only packets whose ports cannot be seen (RFC 7296 §3.13.1).
    pub const OPAQUE_PORTS: (u16, u16) = (u16::MAX, 0);

    /// All of IPv4.
    pub const fn any_v4() -> Self {
        Self::range(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
        )
    }

    /// All of IPv6.
    pub const fn any_v6() -> Self {
        Self::range(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        )
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Self {
        Self::range(address, address)
    }

    /// A prefix.
    pub fn network(network: IpNet) -> Self {
        Self::range(network.network(), network.broadcast())
    }

    /// From the first to the last address.
    pub const fn range(first: IpAddr, last: IpAddr) -> Self {
        Self {
            protocol: 0,
            ports: Self::ANY_PORTS,
            addresses: (first, last),
        }
    }

    /// The same for one protocol only.
    #[must_use]
    pub const fn with_protocol(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    /// The same from the first to the last port only.
    #[must_use]
    pub const fn with_ports(self, first: u16, last: u16) -> Self {
        Self {
            ports: (first, last),
            ..self
        }
    }

    /// The address, if there is just one.
    pub fn single_host(&self) -> Option<IpAddr> {
        let (first, last) = self.addresses;
        (first == last).then_some(first)
    }

    /// Whether a packet's end with this address, protocol and port is meant.
    fn matches(
        &self,
        address: IpAddr,
        header: &InnerHeader,
        port: Option<u16>,
        fragments: NonFirstFragments,
    ) -> bool {
        let (first, last) = self.addresses;
        let ports = match port {
            // The range of OPAQUE is empty, so no known port is in it.
            Some(port) => self.ports.0 <= port && port <= self.ports.1,
            None => {
                self.ports == Self::ANY_PORTS
                    || self.ports == Self::OPAQUE_PORTS
                    || (header.fragment == Fragment::Later
                        && fragments == NonFirstFragments::Accept)
            }
        };
        ports
            && (self.protocol == 0 || self.protocol == header.protocol)
            && first <= address
            && address <= last
    }
}

/// What to do with a non-first fragment on an SA whose selectors name ports, which it does not have
/// (RFC 4301 §7). Where the selectors take any port it passes in either case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NonFirstFragments {
    /// Only addresses and protocol count. Right where both ends agreed to
    /// NON_FIRST_FRAGMENTS_ALSO (RFC 7296 §1.3.1).
    Accept,
    /// Refuse it: the default, since nothing proves that its datagram may pass.
    #[default]
    Refuse,
}

/// The selectors of an SA: a packet must match one of each end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selectors {
    local: Box<[Selector]>,
    remote: Box<[Selector]>,
}

impl Selectors {
    /// Selectors of this end and of the other end of the tunnel.
    ///
    /// # Errors
    ///
    /// [`SelectorError`] if a list is empty or longer than [`MAX_SELECTORS`], or a range goes backwards or
    /// mixes families.
    pub fn new(local: Vec<Selector>, remote: Vec<Selector>) -> Result<Self, SelectorError> {
        for list in [&local, &remote] {
            if list.is_empty() {
                return Err(SelectorError::Empty);
            }
            if list.len() > MAX_SELECTORS {
                return Err(SelectorError::TooMany(list.len()));
            }
            for selector in list {
                let (first, last) = selector.addresses;
                if first > last || first.is_ipv4() != last.is_ipv4() {
                    return Err(SelectorError::Addresses(first, last));
                }
                let (first, last) = selector.ports;
                if first > last && selector.ports != Selector::OPAQUE_PORTS {
                    return Err(SelectorError::Ports(first, last));
                }
            }
        }
        Ok(Self {
            local: local.into_boxed_slice(),
            remote: remote.into_boxed_slice(),
        })
    }

    /// Those of this end.
    pub fn local(&self) -> &[Selector] {
        &self.local
    }

    /// Those of the other end.
    pub fn remote(&self) -> &[Selector] {
        &self.remote
    }

    /// Whether a packet from the other end to this one may come in.
    pub fn permit_inbound(&self, header: &InnerHeader, fragments: NonFirstFragments) -> bool {
        let (source, destination) = known(header.ports);
        matches_one(&self.remote, header.source, header, source, fragments)
            && matches_one(
                &self.local,
                header.destination,
                header,
                destination,
                fragments,
            )
    }

    /// Whether a packet from this end to the other one may go out.
    pub fn permit_outbound(&self, header: &InnerHeader, fragments: NonFirstFragments) -> bool {
        let (source, destination) = known(header.ports);
        matches_one(&self.local, header.source, header, source, fragments)
            && matches_one(
                &self.remote,
                header.destination,
                header,
                destination,
                fragments,
            )
    }
}

/// Selectors that make no sense.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SelectorError {
    /// An address range.
    #[error("traffic selector from {0} to {1}: goes backwards, or mixes IPv4 and IPv6")]
    Addresses(IpAddr, IpAddr),
    /// No selector: nothing could pass.
    #[error("no traffic selector: give at least one for each end")]
    Empty,
    /// A port range.
    #[error("traffic selector from port {0} to {1} goes backwards")]
    Ports(u16, u16),
    /// More than [`MAX_SELECTORS`].
    #[error("{0} traffic selectors, at most {MAX_SELECTORS} are taken")]
    TooMany(usize),
}

fn known(ports: Ports) -> (Option<u16>, Option<u16>) {
    match ports {
        Ports::Known {
            source,
            destination,
        } => (Some(source), Some(destination)),
        Ports::Absent | Ports::Opaque => (None, None),
    }
}

fn matches_one(
    selectors: &[Selector],
    address: IpAddr,
    header: &InnerHeader,
    port: Option<u16>,
    fragments: NonFirstFragments,
) -> bool {
    selectors
        .iter()
        .any(|selector| selector.matches(address, header, port, fragments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: &str, destination: &str, protocol: u8, ports: Ports) -> InnerHeader {
        InnerHeader {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            ports,
            fragment: match ports {
                Ports::Opaque => Fragment::Later,
                _ => Fragment::Whole,
            },
            length: 100,
            transport: 20,
        }
    }

    fn udp(source: u16, destination: u16) -> InnerHeader {
        header(
            "10.0.0.7",
            "192.0.2.1",
            17,
            Ports::Known {
                source,
                destination,
            },
        )
    }

    fn network(text: &str) -> Selector {
        Selector::network(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_both_ends_count() {
        let selectors =
            Selectors::new(vec![network("10.0.0.0/24")], vec![network("192.0.2.1/32")]).unwrap();
        let refuse = NonFirstFragments::Refuse;
        assert!(selectors.permit_outbound(&udp(1, 2), refuse));
        assert!(!selectors.permit_inbound(&udp(1, 2), refuse));
        let back = header("192.0.2.1", "10.0.0.7", 17, Ports::Absent);
        assert!(selectors.permit_inbound(&back, refuse));
        for (source, destination) in [("192.0.2.2", "10.0.0.7"), ("192.0.2.1", "10.0.1.7")] {
            let other = header(source, destination, 17, Ports::Absent);
            assert!(!selectors.permit_inbound(&other, refuse));
        }
    }

    #[test]
    fn families_do_not_mix() {
        let selectors = Selectors::new(vec![Selector::any_v4()], vec![Selector::any_v4()]).unwrap();
        let v6 = header("::1", "::2", 17, Ports::Absent);
        assert!(!selectors.permit_inbound(&v6, NonFirstFragments::Refuse));
        let selectors = Selectors::new(vec![Selector::any_v6()], vec![Selector::any_v6()]).unwrap();
        assert!(selectors.permit_inbound(&v6, NonFirstFragments::Refuse));
        assert!(!selectors.permit_inbound(&udp(1, 1), NonFirstFragments::Refuse));
    }

    #[test]
    fn protocol_and_ports_count() {
        let selectors = Selectors::new(
            vec![Selector::any_v4()],
            vec![
                Selector::any_v4().with_protocol(17).with_ports(2152, 2153),
                Selector::any_v4().with_protocol(132),
            ],
        )
        .unwrap();
        let refuse = NonFirstFragments::Refuse;
        for (port, expected) in [(2151, false), (2152, true), (2153, true), (2154, false)] {
            assert_eq!(selectors.permit_outbound(&udp(9, port), refuse), expected);
        }
        let ports = Ports::Known {
            source: 1,
            destination: 1,
        };
        assert!(selectors.permit_outbound(&header("10.0.0.1", "10.0.0.2", 132, ports), refuse));
        assert!(!selectors.permit_outbound(&header("10.0.0.1", "10.0.0.2", 6, ports), refuse));
        // A protocol without ports does not match a selector with ports.
        assert!(
            !selectors.permit_outbound(&header("1.1.1.1", "1.1.1.2", 17, Ports::Absent), refuse)
        );
    }

    #[test]
    fn non_first_fragments_follow_the_policy_where_ports_are_named() {
        let ports = Selectors::new(
            vec![Selector::any_v4()],
            vec![Selector::any_v4().with_ports(53, 53)],
        )
        .unwrap();
        let any = Selectors::new(vec![Selector::any_v4()], vec![Selector::any_v4()]).unwrap();
        let opaque = Selectors::new(
            vec![Selector::any_v4()],
            vec![Selector {
                ports: Selector::OPAQUE_PORTS,
                ..Selector::any_v4()
            }],
        )
        .unwrap();
        let later = header("10.0.0.7", "192.0.2.1", 17, Ports::Opaque);
        assert!(!ports.permit_outbound(&later, NonFirstFragments::Refuse));
        assert!(ports.permit_outbound(&later, NonFirstFragments::Accept));
        assert!(any.permit_outbound(&later, NonFirstFragments::Refuse));
        assert!(opaque.permit_outbound(&later, NonFirstFragments::Refuse));
        assert!(!opaque.permit_outbound(&udp(53, 53), NonFirstFragments::Accept));
    }

    #[test]
    fn senseless_selectors_are_refused() {
        let any = Selector::any_v4();
        let reject = |list: Vec<Selector>| Selectors::new(vec![any], list).unwrap_err();
        assert_eq!(reject(vec![]), SelectorError::Empty);
        assert_eq!(reject(vec![any; 65]), SelectorError::TooMany(65));
        assert_eq!(
            reject(vec![any.with_ports(2, 1)]),
            SelectorError::Ports(2, 1)
        );
        let (low, high) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!(
            reject(vec![Selector::range(high, low)]),
            SelectorError::Addresses(high, low)
        );
        let v6 = "::1".parse().unwrap();
        assert_eq!(
            reject(vec![Selector::range(low, v6)]),
            SelectorError::Addresses(low, v6)
        );
    }
}
