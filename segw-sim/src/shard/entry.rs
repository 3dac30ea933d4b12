//! What a shard keeps of one IKE SA.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ikev2::auth::Identification;
use ikev2::{IkeSa, UnprovenPeer};
use ledger::CertificateHash;

use crate::admission::Refusal;
use crate::control::Which;
use crate::mailbox::CloseCause;
use crate::registry::SaPlace;

pub(super) struct Entry {
    pub(super) sa: IkeSa,
    pub(super) place: SaPlace,
    pub(super) began: Instant,
    /// The earliest entry in the queue of deadlines.
    pub(super) armed: Option<Instant>,
    pub(super) peer: Option<Peer>,
    /// What a peer said of itself that did not prove it: for the log.
    pub(super) claimed: Option<Box<UnprovenPeer>>,
    pub(super) established: Option<Instant>,
    pub(super) closing: Option<CloseCause>,
    pub(super) refused: bool,
}

/// What is known of a peer that has proven its key.
pub(super) struct Peer {
    pub(super) identity: Identification,
    pub(super) hash: CertificateHash,
    /// Whether the registry knows of it.
    pub(super) registered: bool,
    /// A hold on an address of the pool, under the identity's text.
    pub(super) address: Option<(Ipv4Addr, String)>,
}

impl Entry {
    pub(super) fn is_established(&self) -> bool {
        self.established.is_some()
    }

    pub(super) fn identity(&self) -> String {
        let claimed = || {
            let identity = self.claimed.as_ref()?.identity.as_ref()?;
            Some(format!("{identity} (unproven)"))
        };
        self.peer
            .as_ref()
            .map(|peer| peer.identity.to_string())
            .or_else(claimed)
            .unwrap_or_else(|| "unproven".to_owned())
    }

    pub(super) fn certificate(&self) -> String {
        let claimed = || {
            let certificate = self.claimed.as_ref()?.end_entity.as_ref()?;
            Some(CertificateHash::of(certificate.as_bytes()))
        };
        self.peer
            .as_ref()
            .map(|peer| peer.hash)
            .or_else(claimed)
            .map_or_else(String::new, |hash| hash.to_string())
    }

    pub(super) fn inner_address(&self) -> Option<IpAddr> {
        let (address, _) = self.peer.as_ref()?.address.as_ref()?;
        Some(IpAddr::V4(*address))
    }

    pub(super) fn matches(&self, which: &Which) -> bool {
        match which {
            Which::All => true,
            Which::Id(id) => self.place.id == *id,
            Which::Identity(identity) => self
                .peer
                .as_ref()
                .is_some_and(|peer| peer.identity.to_string() == *identity),
        }
    }

    /// The precise reason stays on this side; the peer hears AUTHENTICATION_FAILED and no more.
    pub(super) fn log_refusal(&mut self, refusal: &Refusal) {
        self.refused = true;
        tracing::warn!(
            sa = %self.place.id,
            identity = %self.identity(),
            remote = %self.sa.path().remote,
            certificate = %self.certificate(),
            reason = %refusal,
            "refused"
        );
    }
}
