//! IKEv2 ([RFC 7296] and friends), sans-IO, in both roles.
//!
//! The library holds no socket, no clock and no thread. Datagrams, the time and random octets are
//! handed in; datagrams, events and wake-up times come out. What sets it apart is one suspended
//! step: when a peer has proven possession of its certificate's key, the IKE SA emits
//! [`Event::PeerPresented`] and waits for [`IkeSa::admit`]. Whoever has to ask for the status of
//! the certificate, a ledger or an OCSP responder, does so meanwhile; no thread waits, and other
//! peers notice nothing.
//!
//! # The run loop
//!
//! An [`Endpoint`] routes datagrams to IKE SAs; an [`IkeSa`] is one peer. They exchange plain
//! values, which the caller carries. After each input or command an IKE SA is drained: transmits,
//! endpoint events, events, and then the next wake-up time is asked for.
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Instant;
//!
//! use ikev2::{DatagramEvent, Endpoint, Event, Grant, IkeSa, Path, SaHandle, Transmit, Verdict};
//!
//! struct Driver {
//!     endpoint: Endpoint,
//!     sas: HashMap<SaHandle, IkeSa>,
//!     buf: Vec<u8>,
//! }
//!
//! impl Driver {
//!     /// A datagram came, without the non-ESP marker (on port 4500, four octets other than zero
//!     /// mean ESP, which does not belong here).
//!     fn datagram(&mut self, now: Instant, path: Path, datagram: &[u8]) {
//!         match self.endpoint.handle_datagram(now, path, datagram, &mut self.buf) {
//!             Some(DatagramEvent::Sa(handle, event)) => {
//!                 if let Some(sa) = self.sas.get_mut(&handle) {
//!                     sa.handle_event(now, event);
//!                 }
//!                 self.drain(now, handle);
//!             }
//!             Some(DatagramEvent::Incoming(incoming)) => {
//!                 match self.endpoint.accept(now, incoming, &mut self.buf) {
//!                     Ok((handle, sa)) => {
//!                         self.sas.insert(handle, sa);
//!                         self.drain(now, handle);
//!                     }
//!                     Err(refused) => {
//!                         if let Some(transmit) = refused.response {
//!                             send(&transmit, &self.buf[..transmit.size]);
//!                         }
//!                     }
//!                 }
//!             }
//!             Some(DatagramEvent::Respond(transmit)) => send(&transmit, &self.buf[..transmit.size]),
//!             None => {}
//!         }
//!     }
//!
//!     /// Call at the instant of the last `poll_timeout`, or later.
//!     fn timeout(&mut self, now: Instant, handle: SaHandle) {
//!         if let Some(sa) = self.sas.get_mut(&handle) {
//!             sa.handle_timeout(now);
//!         }
//!         self.drain(now, handle);
//!     }
//!
//!     fn drain(&mut self, now: Instant, handle: SaHandle) {
//!         let Some(sa) = self.sas.get_mut(&handle) else { return };
//!         while let Some(transmit) = sa.poll_transmit(now, &mut self.buf) {
//!             send(&transmit, &self.buf[..transmit.size]);
//!         }
//!         while let Some(event) = sa.poll_endpoint_event() {
//!             self.endpoint.handle_event(handle, event);
//!         }
//!         while let Some(event) = sa.poll_event() {
//!             match event {
//!                 // Ask whoever knows, and call `sa.admit(now, verdict)` when the answer is there;
//!                 // then drain again.
//!                 Event::PeerPresented(peer) => println!("{} wants in", peer.identity()),
//!                 Event::ChildInstalled(_, child) => println!("ESP SPI {:08x}", child.inbound_spi),
//!                 Event::Lost(reason) => println!("over: {reason}"),
//!                 _ => {}
//!             }
//!         }
//!         if sa.is_drained() {
//!             self.sas.remove(&handle);
//!         } else if let Some(wakeup) = sa.poll_timeout() {
//!             wake_at(wakeup.at, handle);
//!         }
//!     }
//! }
//!
//! fn send(_transmit: &Transmit, _octets: &[u8]) { /* marker, socket */ }
//! fn wake_at(_at: Instant, _handle: SaHandle) { /* timer */ }
//! ```
//!
//! The `two_endpoints` example runs a whole handshake in memory; [`manual`] tells what is spoken,
//! what is not, the defaults, and how known weaknesses of IKE are answered.
//!
//! [RFC 7296]: https://www.rfc-editor.org/rfc/rfc7296

pub mod auth;
pub mod config;
pub mod crypto;
pub mod keymat;
pub mod manual;
pub mod unique;
pub mod wire;

mod child;
mod cookie;
mod endpoint;
mod error;
mod event;
mod exchange;
mod negotiate;
mod sa;
mod stats;

pub use auth::{
    CertificateDer, Identification, LocalCredential, OcspRequest, OcspStaple, PeerVerifier,
    Pkcs8Credential, ProfileVerifier, StapledCredential, TimeProvider, UnixTime,
};
pub use child::{ChildHandle, ChildSa, EspSuite, RemoveReason};
pub use config::{
    Admission, ChildConfig, EndpointConfig, InitiatorConfig, Lifetimes, Limits, ResponderConfig,
    RetransmitPolicy,
};
pub use crypto::{CryptoProvider, SecretBytes, ring_provider};
pub use endpoint::{
    DatagramEvent, Endpoint, EndpointEvent, Incoming, SaEvent, SaHandle, shard_of_esp, shard_of_ike,
};
pub use error::{
    AcceptError, AcceptRefusal, ApiMisuse, ConfigError, Error, InitiateError, PeerIncompatible,
    PeerMisbehaved,
};
pub use event::{
    DenyReason, Event, Grant, IkeSaInfo, Lease, LostReason, MAX_DNS, NonEspMarker, Path, Phase,
    PresentedPeer, Role, Transmit, UnprovenPeer, Verdict, WakeReason, Wakeup,
};
pub use negotiate::{Cipher, EspProposal, IkeProposal, IkeSuite};
pub use sa::IkeSa;
pub use stats::{EndpointStats, SaStats};
pub use wire::TrafficSelector;
