//! strongSwan's gateway, kept in step with the ledger through its vici socket: live IKE_SAs of revoked and suspended
//! certificates are closed, cached OCSP answers are flushed.
//!
//! strongSwan asks for a certificate's status when a peer comes in, and not again. [`follow`] does the rest.
//! [`Table`] decides, without sockets or clocks.

mod connection;
mod follow;
mod identity;
mod message;
mod packet;
mod recorded;
mod table;

pub use connection::{Connection, ViciError, socket_path};
pub use follow::{SyncConfig, follow};
pub use identity::{NamedCertificate, canonical, is_wildcard};
pub use message::{MessageError, Section};
pub use packet::{MAX_PACKET, Packet, PacketError, command, register, unregister};
pub use recorded::Recorded;
pub use table::{Closing, IkeSa, MARGIN_S, MAX_CANDIDATES, MAX_SAS, Reason, Table};
