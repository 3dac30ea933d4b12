//! The end of an IKE SA, whoever wants it.

use std::net::IpAddr;
use std::time::Instant;

use ikev2::{LostReason, Phase, SaHandle};

use super::Shard;
use crate::admission::Refusal;
use crate::mailbox::CloseCause;

impl Shard {
    /// Does the closes that are waiting, and those that they lead to.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((id, cause)) = self.to_close.pop_front() {
            if let Some(&handle) = self.by_id.get(&id) {
                self.close(now, handle, cause);
            }
        }
    }

    pub(super) fn close(&mut self, now: Instant, handle: SaHandle, cause: CloseCause) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        match entry.sa.phase() {
            Phase::Closing | Phase::Closed => return,
            Phase::AwaitingVerdict => {
                let refusal = match cause {
                    CloseCause::Ledger { status, .. } => Refusal::Status(status),
                    _ => Refusal::Stopping,
                };
                self.deny(now, handle, &refusal);
            }
            _ => {
                entry.closing = Some(cause.clone());
                if matches!(cause, CloseCause::InitialContact { .. }) {
                    entry.sa.abandon(now);
                } else {
                    entry.sa.close(now);
                }
                if entry.is_established() {
                    tracing::info!(
                        sa = %entry.place.id,
                        identity = %entry.identity(),
                        remote = %entry.sa.path().remote,
                        certificate = %entry.certificate(),
                        reason = %cause,
                        "closing"
                    );
                }
                if let CloseCause::Ledger { heard, .. } = cause {
                    self.shared
                        .metrics
                        .closed_by_ledger(now.saturating_duration_since(heard));
                }
                self.unregister(now, handle);
            }
        }
        self.drain_one(now, handle);
    }

    pub(super) fn lost(&mut self, now: Instant, handle: SaHandle, reason: &LostReason) {
        self.children.remove_all(handle);
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        let metrics = &self.shared.metrics;
        if entry.is_established() {
            metrics.open_sas.dec();
            metrics.closed(
                entry
                    .closing
                    .as_ref()
                    .map_or_else(|| label_of(reason), CloseCause::label),
            );
            if entry.closing.is_none()
                || !matches!(reason, LostReason::LocallyClosed | LostReason::Abandoned)
            {
                tracing::info!(
                    sa = %entry.place.id,
                    identity = %entry.identity(),
                    remote = %entry.sa.path().remote,
                    %reason,
                    "the IKE SA is over"
                );
            }
        } else if !entry.refused
            && let Some(refusal) = Refusal::of_lost(reason)
        {
            entry.log_refusal(&refusal);
            metrics.refused(&refusal);
        }
        self.unregister(now, handle);
    }

    /// Takes an IKE SA out of what the shards know together, and gives its address back. Once it is
    /// being closed nothing hangs on it any more, however long the peer takes to answer the Delete.
    fn unregister(&mut self, now: Instant, handle: SaHandle) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        let place = entry.place;
        let Some(peer) = &mut entry.peer else {
            return;
        };
        if core::mem::replace(&mut peer.registered, false) {
            self.shared.registry.gone(&peer.hash, &peer.identity, place);
        }
        if let Some((address, key)) = peer.address.take() {
            self.shared.registry.unroute(IpAddr::V4(address), place);
            self.shared.registry.release_address(now, &key);
        }
    }
}

fn label_of(reason: &LostReason) -> &'static str {
    match reason {
        LostReason::PeerDeleted => "peer-deleted",
        LostReason::TimedOut { .. } => "peer-silent",
        LostReason::Expired => "lifetime",
        LostReason::Failed(_) => "failed",
        _ => "other",
    }
}
