//! Child SAs: what the data plane needs, and the narrowing of traffic selectors.

use core::fmt;

use crate::crypto::SecretBytes;
use crate::event::Path;
use crate::wire::codes::EncrId;
use crate::wire::ts::TrafficSelector;

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
