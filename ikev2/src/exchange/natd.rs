//! NAT detection (RFC 7296 §2.23): each side says what it believes the addresses to be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::crypto::identifier_sha1;
use crate::event::Path;
use crate::wire::{NotifyPayload, NotifyType, Payload, Payloads};

/// What NAT detection found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Nat {
    /// We are behind a NAT.
    pub(crate) local: bool,
    /// The peer is, or says so.
    pub(crate) remote: bool,
    /// The peer does UDP encapsulation at all: it sent the notifies.
    pub(crate) known: bool,
}

impl Nat {
    /// What a message from the peer tells.
    pub(crate) fn detect(payloads: &Payloads<'_>, spis: (u64, u64), path: Path) -> Self {
        let mut sources = values(payloads, NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
        let mut destinations =
            values(payloads, NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
        if sources.peek().is_none() || destinations.peek().is_none() {
            return Self::default();
        }
        let (remote, local) = (hash(spis, path.remote), hash(spis, path.local));
        Self {
            local: !destinations.any(|value| value == local),
            remote: !sources.any(|value| value == remote),
            known: true,
        }
    }
}

/// The two notifies about a path, in the order source, destination.
pub(crate) struct Announcement([[u8; 20]; 2]);

impl Announcement {
    /// `pretend` announces a source that no packet has, which looks like a NAT to the peer.
    pub(crate) fn new(spis: (u64, u64), path: Path, pretend: bool) -> Self {
        let source = if pretend { NOWHERE } else { path.local };
        Self([hash(spis, source), hash(spis, path.remote)])
    }

    pub(crate) fn payloads(&self) -> [Payload<'_>; 2] {
        let [source, destination] = &self.0;
        [
            Payload::Notify(NotifyPayload::new(
                NotifyType::NAT_DETECTION_SOURCE_IP,
                source,
            )),
            Payload::Notify(NotifyPayload::new(
                NotifyType::NAT_DETECTION_DESTINATION_IP,
                destination,
            )),
        ]
    }
}

fn values<'p>(payloads: &'p Payloads<'_>, kind: NotifyType) -> impl Iterator<Item = &'p [u8]> {
    payloads
        .notifies()
        .filter(move |notify| notify.kind == kind)
        .map(|notify| notify.value)
}

/// SHA-1(SPIi | SPIr | address | port).
fn hash((initiator, responder): (u64, u64), address: SocketAddr) -> [u8; 20] {
    let (initiator, responder) = (initiator.to_be_bytes(), responder.to_be_bytes());
    let port = address.port().to_be_bytes();
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => identifier_sha1(&[&initiator, &responder, &v4.octets(), &port]),
        IpAddr::V6(v6) => identifier_sha1(&[&initiator, &responder, &v6.octets(), &port]),
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(local: &str, remote: &str) -> Path {
        Path {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    fn seen(sender: Path, receiver: Path, pretend: bool) -> Nat {
        let announcement = Announcement::new((1, 0), sender, pretend);
        let payloads: Payloads<'_> = announcement.payloads().into_iter().collect();
        Nat::detect(&payloads, (1, 0), receiver)
    }

    #[test]
    fn without_a_nat_both_hashes_match() {
        let sender = path("192.0.2.1:500", "192.0.2.2:500");
        let nat = seen(sender, path("192.0.2.2:500", "192.0.2.1:500"), false);
        assert_eq!(
            nat,
            Nat {
                local: false,
                remote: false,
                known: true
            }
        );
    }

    #[test]
    fn a_nat_before_the_sender_changes_its_address_and_one_before_us_ours() {
        let sender = path("10.0.0.1:500", "192.0.2.2:500");
        let nat = seen(sender, path("192.0.2.2:500", "198.51.100.1:1024"), false);
        assert_eq!(
            nat,
            Nat {
                local: false,
                remote: true,
                known: true
            }
        );
        let nat = seen(sender, path("10.1.1.1:500", "10.0.0.1:500"), false);
        assert_eq!(
            nat,
            Nat {
                local: true,
                remote: false,
                known: true
            }
        );
    }

    #[test]
    fn pretending_looks_like_a_nat_before_the_sender() {
        let sender = path("192.0.2.1:500", "192.0.2.2:500");
        let nat = seen(sender, path("192.0.2.2:500", "192.0.2.1:500"), true);
        assert_eq!(
            nat,
            Nat {
                local: false,
                remote: true,
                known: true
            }
        );
    }

    #[test]
    fn a_peer_that_says_nothing_does_no_encapsulation() {
        let nat = Nat::detect(
            &Payloads::default(),
            (1, 0),
            path("192.0.2.2:500", "192.0.2.1:500"),
        );
        assert_eq!(nat, Nat::default());
    }
}
