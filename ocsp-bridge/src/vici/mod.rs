//! strongSwan's gateway, kept in step with the ledger through its vici socket: live IKE_SAs of revoked and suspended
//! certificates are closed, cached OCSP answers are flushed, recorded authorities are trusted as long as they are valid.
//!
//! strongSwan asks for a certificate's status when a peer comes in, and not again. [`follow`] does the rest.
//! [`Table`] decides, without sockets or clocks.

mod anchors;
mod candidates;
mod closer;
mod connection;
mod daemon;
mod fetches;
mod follow;
mod identity;
mod issuer;
mod message;
mod metrics;
mod packet;
mod provision;
mod recorded;
mod refresh;
#[cfg(test)]
mod scripted;
mod session;
mod table;

pub use connection::{COMMAND_TIMEOUT, Connection, ViciError, socket_path};
pub use follow::{SyncConfig, follow};
pub use identity::{NamedCertificate, canonical, is_wildcard};
pub use issuer::{Authorities, Authority, IssuedBy, Withdrawal};
pub use message::{MessageError, Section};
pub use metrics::ViciMetrics;
pub use packet::{MAX_PACKET, Packet, PacketError, command, register, unregister};
pub use recorded::{MAX_AUTHORITIES, Recorded, RecordedError};
pub use table::{Closing, IkeSa, MARGIN_S, MAX_CANDIDATES, MAX_SAS, Reason, Table};
