//! The Encapsulating Security Payload in user space: tunnel mode ([RFC 4303]) with UDP
//! encapsulation ([RFC 3948]), sans-IO.
//!
//! The crate turns inner IP packets into ESP packets and back. It opens no sockets, reads no clock
//! and draws no random numbers; keys, SPIs and traffic selectors come from whoever ran the key
//! exchange. The two [`InnerNetwork`] back ends are the only places that touch the outside world,
//! and only [`userspace::Tun`] asks the operating system for anything.
//!
//! # One packet out, one packet in
//!
//! ```
//! use esp::{
//!     Datagram, InboundConfig, InboundSa, OutboundConfig, OutboundSa, PacketBuffer, SaKeys,
//!     Selector, Selectors, Spi, Suite, classify_mut, icmp,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What a Child SA gives to each end: a key with its salt, an SPI, the traffic selectors.
//! let keymat = [7; 20];
//! let (device, core) = (Selector::host("10.0.0.7".parse()?), Selector::host("192.0.2.1".parse()?));
//! let spi = Spi::new(0x0102_0304)?;
//! let mut outbound = OutboundSa::new(OutboundConfig::new(
//!     spi,
//!     SaKeys::new(Suite::Aes128Gcm16, &keymat)?,
//!     Selectors::new(vec![device], vec![core])?,
//! ));
//! let mut inbound = InboundSa::new(InboundConfig::new(
//!     spi,
//!     SaKeys::new(Suite::Aes128Gcm16, &keymat)?,
//!     Selectors::new(vec![core], vec![device])?,
//! ));
//!
//! // The inner packet is read (here: written) where it is encrypted, so nothing is copied.
//! let mut buffer = PacketBuffer::new(1500);
//! let ping = icmp::Echo::request("10.0.0.7".parse()?, "192.0.2.1".parse()?, 1, 1, b"hello");
//! let length = ping.encode(buffer.space())?;
//! buffer.set_inner_len(length)?;
//! let mut datagram = outbound.seal(&mut buffer)?.packet.to_vec(); // goes out by UDP port 4500
//!
//! // The other end: what came in on port 4500 is a keepalive, IKE or ESP.
//! let Datagram::Esp { packet, .. } = classify_mut(&mut datagram) else { panic!("ESP expected") };
//! let inner = inbound.open(packet)?;
//! assert_eq!(icmp::Echo::decode(inner.packet)?, ping);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - AES-GCM with a 16-octet ICV, 128- and 256-bit keys ([RFC 4106]), ChaCha20-Poly1305
//!   ([RFC 7634]), both through `ring`, in place, with no allocation per packet.
//! - 32-bit and 64-bit extended sequence numbers (RFC 4303 §2.2.1 and appendix A), a replay window
//!   of 64 to 4096 packets, refusal to seal once the sequence numbers are used up.
//! - Traffic selectors checked on both ways (RFC 4301 §5), padding verified, traffic flow
//!   confidentiality padding and dummy packets tolerated on receipt.
//! - Packet and byte lifetimes with a soft and a hard signal; counters by cause.
//! - A bounded [`SaDatabase`] with the caller's own tag on each SA.
//!
//! # What it does **not** do
//!
//! - Transport mode, AH, ESP without encryption, separate integrity algorithms (AES-CBC with HMAC).
//! - Reassembly: a non-first fragment has no ports, so that an SA whose selectors name ports refuses it unless
//!   [`NonFirstFragments::Accept`] says otherwise.
//! - Re-synchronisation after the loss of more than 2³² consecutive packets (RFC 4303 appendix A3).
//! - Time lifetimes: no clock here; the IKE side has them.
//! - The kernel's XFRM as a back end.
//!
//! # Secrets
//!
//! Raw keys are not kept: they are expanded by `ring`, boxed so that they do not move, and
//! overwritten when the SA is dropped. `ring` offers no zeroising of its own, so the overwriting is
//! done by storing the schedule of an all-zero key in the same place; temporaries of `ring` on the
//! stack are beyond reach.
//!
//! [RFC 3948]: https://www.rfc-editor.org/rfc/rfc3948
//! [RFC 4106]: https://www.rfc-editor.org/rfc/rfc4106
//! [RFC 4303]: https://www.rfc-editor.org/rfc/rfc4303
//! [RFC 7634]: https://www.rfc-editor.org/rfc/rfc7634

mod counters;
pub use counters::SaCounters;

mod database;
pub use database::{InsertError, MAX_SAS, MAX_WIDE_OUTBOUND, OutboundHandle, SaDatabase};

mod encapsulation;
pub use encapsulation::{
    Datagram, KEEPALIVE, NON_ESP_MARKER, PORT, Rejected, classify, classify_mut, peek_spi,
};

pub mod icmp;

mod inbound;
pub use inbound::{InboundConfig, InboundSa, Inner, OpenError};

pub mod inprocess;

mod ip;
pub use ip::{Flow, Fragment, InnerError, InnerHeader, MAX_EXTENSION_HEADERS, Ports};

mod lifetime;
pub use lifetime::{Expiry, Lifetime};

mod network;
pub use network::InnerNetwork;

mod outbound;
pub use outbound::{OutboundConfig, OutboundSa, SealError, Sealed};

mod packet;
pub use packet::{HEADROOM, InnerLengthError, PacketBuffer, TAILROOM};

mod replay;
pub use replay::{ReplayError, ReplayWindow, WindowSize, WindowSizeError};

mod selector;
pub use selector::{MAX_SELECTORS, NonFirstFragments, Selector, SelectorError, Selectors};

mod spi;
pub use spi::{ReservedSpi, Spi};

mod suite;
pub use suite::{KeyLengthError, SaKeys, Suite};

#[cfg(target_os = "linux")]
pub mod userspace;
