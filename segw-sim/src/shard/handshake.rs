//! From the proven peer to the established IKE SA with its child SA.

use std::net::Ipv4Addr;
use std::time::Instant;

use ikev2::{
    ChildHandle, ChildSa, DenyReason, Grant, IkeSaInfo, Lease, Phase, PresentedPeer, SaHandle,
    Verdict,
};
use ledger::CertificateHash;
use ledger_client::{Answer, Unavailable};

use super::Shard;
use super::entry::Peer;
use crate::admission::Refusal;
use crate::mailbox::{CloseCause, Command};

impl Shard {
    /// The peer has proven its key. Only now is the ledger asked, so that nobody else can make it be.
    pub(super) fn presented(&mut self, now: Instant, handle: SaHandle, presented: &PresentedPeer) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        let hash = CertificateHash::of(presented.end_entity().as_ref());
        entry.peer = Some(Peer {
            identity: presented.identity().clone(),
            hash,
            registered: true,
            address: None,
        });
        let place = entry.place;
        self.shared.registry.presented(hash, place);
        if let Some(answer) = self.shared.inquiry.cached(&hash) {
            self.decide(now, handle, Ok(answer));
        } else if let Some(mailbox) = self.shared.mailboxes.get(usize::from(self.number)).cloned() {
            let reply = move |answer| {
                mailbox.command(Command::Answer {
                    sa: place.id,
                    answer,
                })
            };
            self.shared.inquiry.ask(hash, Box::new(reply));
        }
    }

    pub(super) fn decide(
        &mut self,
        now: Instant,
        handle: SaHandle,
        answer: Result<Answer, Unavailable>,
    ) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        if entry.sa.phase() != Phase::AwaitingVerdict {
            return;
        }
        let judged = if self.stopping {
            Err(Refusal::Stopping)
        } else {
            Refusal::judge(answer)
        };
        if let Err(refusal) = judged {
            self.deny(now, handle, &refusal);
            return;
        }
        let Some(peer) = &mut entry.peer else {
            return;
        };
        let key = peer.identity.to_string();
        match self.shared.registry.acquire_address(now, &key) {
            Ok(address) => {
                peer.address = Some((address, key));
                let lease = Lease {
                    address,
                    // One host, not the pool: the other peers are not on its link.
                    netmask: Some(Ipv4Addr::BROADCAST),
                    dns: self.shared.dns.clone(),
                };
                if let Err(error) = entry
                    .sa
                    .admit(now, Verdict::Admit(Grant::with_lease(lease)))
                {
                    tracing::error!(sa = %entry.place.id, %error, "a verdict was not taken");
                }
            }
            Err(exhausted) => self.deny(now, handle, &Refusal::Pool(exhausted)),
        }
    }

    pub(super) fn deny(&mut self, now: Instant, handle: SaHandle, refusal: &Refusal) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        entry.log_refusal(refusal);
        self.shared.metrics.refused(refusal);
        let verdict = Verdict::Deny(DenyReason::policy(refusal.to_string()));
        if let Err(error) = entry.sa.admit(now, verdict) {
            tracing::error!(sa = %entry.place.id, %error, "a verdict was not taken");
        }
    }

    pub(super) fn established(&mut self, now: Instant, handle: SaHandle, info: &IkeSaInfo) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        let Some(peer) = &entry.peer else {
            return;
        };
        entry.established = Some(now);
        let place = entry.place;
        let took = now.saturating_duration_since(entry.began);
        let metrics = &self.shared.metrics;
        metrics.handshakes_established.inc();
        metrics.handshake_seconds.observe(took.as_secs_f64());
        metrics.open_sas.inc();
        tracing::info!(
            sa = %place.id,
            identity = %peer.identity,
            remote = %info.path.remote,
            certificate = %peer.hash,
            inner = %peer.address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |(address, _)| *address),
            took_ms = took.as_secs_f64() * 1e3,
            "established"
        );
        let older = self
            .shared
            .registry
            .established(&peer.identity, place, info.initial_contact);
        for old in older {
            let cause = if info.initial_contact {
                CloseCause::InitialContact { by: place.id }
            } else {
                CloseCause::Replaced { by: place.id }
            };
            if old.shard == self.number {
                self.to_close.push_back((old.id, cause));
            } else if let Some(mailbox) = self.shared.mailboxes.get(usize::from(old.shard)) {
                mailbox.command(Command::Close { sa: old.id, cause });
            }
        }
    }

    pub(super) fn install(&mut self, handle: SaHandle, child: ChildHandle, sa: &ChildSa) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        match self.children.install(handle, child, sa) {
            Ok(()) => {
                if let Some(address) = entry.inner_address() {
                    self.shared.registry.route(address, entry.place);
                }
            }
            Err(error) => {
                tracing::error!(sa = %entry.place.id, identity = %entry.identity(), %error, "a child SA cannot be installed");
                self.to_close
                    .push_back((entry.place.id, CloseCause::NoTunnel));
            }
        }
    }

    pub(super) fn remove_child(&mut self, handle: SaHandle, child: ChildHandle) {
        self.children.remove(handle, child);
        if let Some(entry) = self.sas.get(&handle)
            && let Some(address) = entry.inner_address()
            && !self.children.has(handle)
        {
            self.shared.registry.unroute(address, entry.place);
        }
    }
}
