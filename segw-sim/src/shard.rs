//! One worker's share of the IKE SAs: takes datagrams, deadlines and commands, gives datagrams. It
//! holds no socket and asks no clock, so that a test can run it in memory under virtual time.

use core::fmt;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use esp::{InnerNetwork, WindowSize};
use ikev2::auth::Identification;
use ikev2::{
    ChildHandle, ChildSa, DatagramEvent, DenyReason, Endpoint, EndpointConfig, Event, Grant, IkeSa,
    IkeSaInfo, Lease, LostReason, Path, Phase, PresentedPeer, ResponderConfig, SaHandle, Verdict,
};
use ledger::CertificateHash;
use ledger_client::{Answer, Unavailable};

use crate::admission::{Refusal, StatusInquiry};
use crate::children::{Children, Unrouted};
use crate::control::{SaSummary, Which};
use crate::deadline::Deadlines;
use crate::mailbox::{CloseCause, Command, Forwarded, Mailbox};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::registry::{Registry, SaId, SaPlace};

/// What the shards of one gateway share.
#[derive(Debug)]
pub struct Shared {
    /// Live IKE SAs, addresses, routes.
    pub registry: Registry,
    /// Counters.
    pub metrics: Metrics,
    /// How the ledger is asked.
    pub inquiry: Arc<dyn StatusInquiry>,
    /// Told to the peers with their address.
    pub dns: Vec<Ipv4Addr>,
    /// The mailboxes of all shards, by their number.
    pub mailboxes: Vec<Mailbox>,
}

/// What one shard is made of.
#[derive(Debug)]
pub struct ShardConfig {
    /// Its number, from 0.
    pub number: u8,
    /// For its endpoint; the shard number in it is the same.
    pub endpoint: Arc<EndpointConfig>,
    /// Ditto.
    pub responder: Arc<ResponderConfig>,
    /// How many packets may come out of order.
    pub replay_window: WindowSize,
    /// Child SAs at most.
    pub children: usize,
}

/// A shard.
pub struct Shard {
    number: u8,
    shared: Arc<Shared>,
    endpoint: Endpoint,
    sas: HashMap<SaHandle, Entry>,
    by_id: HashMap<SaId, SaHandle>,
    children: Children,
    deadlines: Deadlines<SaHandle>,
    outbox: Outbox,
    scratch: Vec<u8>,
    /// Closes that were decided while another IKE SA was being drained.
    to_close: VecDeque<(SaId, CloseCause)>,
    half_open: usize,
    stopping: bool,
}

struct Entry {
    sa: IkeSa,
    place: SaPlace,
    began: Instant,
    /// The earliest entry in the queue of deadlines.
    armed: Option<Instant>,
    peer: Option<Peer>,
    established: Option<Instant>,
    closing: Option<CloseCause>,
    refused: bool,
}

/// What is known of a peer that has proven its key.
struct Peer {
    identity: Identification,
    hash: CertificateHash,
    /// A hold on an address of the pool, under the identity's text.
    address: Option<(Ipv4Addr, String)>,
}

impl Shard {
    /// A shard without IKE SAs, before this inner network.
    pub fn new(config: ShardConfig, shared: Arc<Shared>, network: Box<dyn InnerNetwork>) -> Self {
        let ShardConfig {
            number,
            endpoint,
            responder,
            replay_window,
            children,
        } = config;
        Self {
            number,
            shared,
            endpoint: Endpoint::new(endpoint, Some(responder)),
            sas: HashMap::new(),
            by_id: HashMap::new(),
            children: Children::new(network, replay_window, children),
            deadlines: Deadlines::new(),
            outbox: Outbox::default(),
            scratch: Vec::new(),
            to_close: VecDeque::new(),
            half_open: 0,
            stopping: false,
        }
    }

    /// Takes an IKE message, without marker.
    pub fn handle_ike(&mut self, now: Instant, path: Path, message: &[u8]) {
        self.shared.metrics.ike_datagrams.inc();
        let mut buf = std::mem::take(&mut self.scratch);
        match self.endpoint.handle_datagram(now, path, message, &mut buf) {
            None => {}
            Some(DatagramEvent::Respond(transmit)) => {
                self.outbox.push_ike(&transmit, &buf[..transmit.size])
            }
            Some(DatagramEvent::Sa(handle, event)) => {
                if let Some(entry) = self.sas.get_mut(&handle) {
                    entry.sa.handle_event(now, event);
                    self.drain(now, handle, &mut buf);
                }
            }
            Some(DatagramEvent::Incoming(incoming)) if self.stopping => {
                self.endpoint.ignore(incoming)
            }
            Some(DatagramEvent::Incoming(incoming)) => {
                match self.endpoint.accept(now, incoming, &mut buf) {
                    Ok((handle, sa)) => {
                        self.begin(now, handle, sa);
                        self.drain(now, handle, &mut buf);
                    }
                    Err(error) => {
                        tracing::info!(remote = %path.remote, reason = %error, "refused an IKE_SA_INIT request");
                        if let Some(transmit) = &error.response {
                            self.outbox.push_ike(transmit, &buf[..transmit.size]);
                        }
                    }
                }
            }
        }
        self.scratch = buf;
        self.settle(now);
    }

    /// Takes an ESP packet from UDP, and decrypts it where it is.
    pub fn handle_esp(&mut self, now: Instant, path: Path, packet: &mut [u8]) {
        if let Some(owner) = self.children.open(path, packet)
            && let Some(entry) = self.sas.get_mut(&owner)
        {
            entry.sa.note_inbound(now);
        }
    }

    /// Takes packets out of the inner network, seals those for peers of this shard and hands the others
    /// on. Returns whether there may be more.
    pub fn handle_inner(&mut self) -> bool {
        let Self {
            children,
            outbox,
            shared,
            number,
            ..
        } = self;
        children.drain_network(outbox, |unrouted| hand_over(shared, *number, unrouted))
    }

    /// Takes traffic that came in at another shard.
    pub fn handle_forwarded(&mut self, now: Instant, traffic: Forwarded) {
        match traffic {
            Forwarded::Ike(path, message) => self.handle_ike(now, path, &message),
            Forwarded::Esp(path, mut packet) => self.handle_esp(now, path, &mut packet),
            Forwarded::Inner(packet) => self.children.seal(&packet, &mut self.outbox),
        }
    }

    /// Takes a command.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Answer { sa, answer } => {
                if let Some(&handle) = self.by_id.get(&sa) {
                    self.decide(now, handle, answer);
                    self.drain_one(now, handle);
                }
            }
            Command::Close { sa, cause } => self.to_close.push_back((sa, cause)),
            Command::CloseAll { which, reply } => {
                let chosen: Vec<SaId> = self
                    .sas
                    .values()
                    .filter(|entry| entry.is_established() && entry.matches(&which))
                    .map(|entry| entry.place.id)
                    .collect();
                // Who asked may be gone.
                let _nobody_waits = reply.send(chosen.len());
                self.to_close
                    .extend(chosen.into_iter().map(|id| (id, CloseCause::Operator)));
            }
            Command::List { reply } => drop(reply.send(self.list(now))),
            Command::Stop => {
                self.stopping = true;
                let all = self
                    .sas
                    .values()
                    .map(|entry| (entry.place.id, CloseCause::Stopping));
                self.to_close.extend(all);
            }
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, handle)) = self.deadlines.due(now) {
            let Some(entry) = self.sas.get_mut(&handle) else {
                continue;
            };
            if entry.armed != Some(at) {
                continue;
            }
            entry.armed = None;
            if entry
                .sa
                .poll_timeout()
                .is_some_and(|wakeup| wakeup.at <= now)
            {
                entry.sa.handle_timeout(now);
                self.drain_one(now, handle);
            } else {
                self.arm(handle);
            }
        }
        self.settle(now);
    }

    /// When [`Shard::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The datagrams that are to be sent now. Clear it after sending.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The inner network, to watch it for readability.
    pub fn network(&self) -> &dyn InnerNetwork {
        self.children.network()
    }

    /// Whether [`Command::Stop`] came and every peer has answered its Delete.
    pub fn is_stopped(&self) -> bool {
        self.stopping
            && self
                .sas
                .values()
                .all(|entry| entry.sa.phase() == Phase::Closed)
    }

    /// Counts a packet that was dropped before or after the shard.
    pub fn dropped(&mut self, cause: &'static str) {
        self.children.dropped(cause);
    }

    /// Adds what was counted since the last time to the metrics.
    pub fn flush_counters(&mut self) {
        self.children.flush(&self.shared.metrics);
        let half_open = self.endpoint.half_open();
        self.shared
            .metrics
            .half_open
            .inc_by(difference(half_open, self.half_open));
        self.half_open = half_open;
    }

    fn begin(&mut self, now: Instant, handle: SaHandle, sa: IkeSa) {
        let place = SaPlace {
            shard: self.number,
            id: self.shared.registry.name(),
        };
        self.shared.metrics.handshakes_started.inc();
        self.by_id.insert(place.id, handle);
        self.sas.insert(
            handle,
            Entry {
                sa,
                place,
                began: now,
                armed: None,
                peer: None,
                established: None,
                closing: None,
                refused: false,
            },
        );
    }

    fn drain_one(&mut self, now: Instant, handle: SaHandle) {
        let mut buf = std::mem::take(&mut self.scratch);
        self.drain(now, handle, &mut buf);
        self.scratch = buf;
    }

    /// Empties the outputs of an IKE SA. Events may call for more commands, so it goes round until
    /// nothing comes.
    fn drain(&mut self, now: Instant, handle: SaHandle, buf: &mut Vec<u8>) {
        while let Some(entry) = self.sas.get_mut(&handle) {
            while let Some(transmit) = entry.sa.poll_transmit(now, buf) {
                self.outbox.push_ike(&transmit, &buf[..transmit.size]);
            }
            while let Some(event) = entry.sa.poll_endpoint_event() {
                self.endpoint.handle_event(handle, event);
            }
            match entry.sa.poll_event() {
                Some(event) => self.handle_event(now, handle, event),
                None => break,
            }
        }
        let Some(entry) = self.sas.get(&handle) else {
            return;
        };
        if entry.sa.is_drained() {
            self.by_id.remove(&entry.place.id);
            self.sas.remove(&handle);
        } else {
            self.arm(handle);
        }
    }

    fn arm(&mut self, handle: SaHandle) {
        if let Some(entry) = self.sas.get_mut(&handle)
            && let Some(wakeup) = entry.sa.poll_timeout()
        {
            self.deadlines.arm(handle, wakeup.at, &mut entry.armed);
        }
    }

    /// Does the closes that are waiting, and those that they lead to.
    fn settle(&mut self, now: Instant) {
        while let Some((id, cause)) = self.to_close.pop_front() {
            if let Some(&handle) = self.by_id.get(&id) {
                self.close(now, handle, cause);
            }
        }
    }

    fn handle_event(&mut self, now: Instant, handle: SaHandle, event: Event) {
        match event {
            Event::PeerPresented(peer) => self.presented(now, handle, &peer),
            Event::Established(info) => self.established(now, handle, &info),
            Event::ChildInstalled(child, sa) => self.install(handle, child, &sa),
            Event::ChildRemoved(child, _) => self.remove_child(handle, child),
            Event::ChildRefused(notify) => {
                if let Some(entry) = self.sas.get(&handle) {
                    tracing::warn!(sa = %entry.place.id, identity = %entry.identity(), reason = %notify, "no child SA");
                }
            }
            Event::PathChanged(path) => {
                self.children.set_path(handle, path);
                if let Some(entry) = self.sas.get(&handle) {
                    tracing::info!(sa = %entry.place.id, identity = %entry.identity(), remote = %path.remote, "the peer's address changed");
                }
            }
            Event::Lost(reason) => self.lost(now, handle, &reason),
            other => tracing::debug!(event = ?other, "an event that this gateway does not act on"),
        }
    }

    /// The peer has proven its key. Only now is the ledger asked, so that nobody else can make it be.
    fn presented(&mut self, now: Instant, handle: SaHandle, presented: &PresentedPeer) {
        let Some(entry) = self.sas.get_mut(&handle) else {
            return;
        };
        let hash = CertificateHash::of(presented.end_entity().as_ref());
        entry.peer = Some(Peer {
            identity: presented.identity().clone(),
            hash,
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

    fn decide(&mut self, now: Instant, handle: SaHandle, answer: Result<Answer, Unavailable>) {
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

    fn deny(&mut self, now: Instant, handle: SaHandle, refusal: &Refusal) {
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

    fn established(&mut self, now: Instant, handle: SaHandle, info: &IkeSaInfo) {
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

    fn install(&mut self, handle: SaHandle, child: ChildHandle, sa: &ChildSa) {
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

    fn remove_child(&mut self, handle: SaHandle, child: ChildHandle) {
        self.children.remove(handle, child);
        if let Some(entry) = self.sas.get(&handle)
            && let Some(address) = entry.inner_address()
            && !self.children.has(handle)
        {
            self.shared.registry.unroute(address, entry.place);
        }
    }

    fn close(&mut self, now: Instant, handle: SaHandle, cause: CloseCause) {
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
            }
        }
        self.drain_one(now, handle);
    }

    fn lost(&mut self, now: Instant, handle: SaHandle, reason: &LostReason) {
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
        let place = entry.place;
        if let Some(peer) = entry.peer.take() {
            self.shared.registry.gone(&peer.hash, &peer.identity, place);
            if let Some((address, key)) = peer.address {
                self.shared.registry.unroute(IpAddr::V4(address), place);
                self.shared.registry.release_address(now, &key);
            }
        }
    }

    fn list(&self, now: Instant) -> Vec<SaSummary> {
        let established = self
            .sas
            .iter()
            .filter(|(_, entry)| entry.sa.phase() == Phase::Established);
        established
            .filter_map(|(handle, entry)| {
                let peer = entry.peer.as_ref()?;
                let (spi_i, spi_r) = entry.sa.spis();
                let traffic = self.children.traffic(*handle);
                Some(SaSummary {
                    id: entry.place.id,
                    identity: peer.identity.to_string(),
                    remote: entry.sa.path().remote.to_string(),
                    inner_address: peer
                        .address
                        .as_ref()
                        .map(|(address, _)| address.to_string()),
                    certificate: peer.hash.to_string(),
                    spi_i: format!("{spi_i:016x}"),
                    spi_r: format!("{spi_r:016x}"),
                    established_s: now.saturating_duration_since(entry.established?).as_secs(),
                    packets_in: traffic.packets_in,
                    packets_out: traffic.packets_out,
                    bytes_in: traffic.bytes_in,
                    bytes_out: traffic.bytes_out,
                })
            })
            .collect()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("number", &self.number)
            .field("sas", &self.sas.len())
            .finish_non_exhaustive()
    }
}

impl Entry {
    fn is_established(&self) -> bool {
        self.established.is_some()
    }

    fn identity(&self) -> String {
        self.peer
            .as_ref()
            .map_or_else(|| "unproven".to_owned(), |peer| peer.identity.to_string())
    }

    fn certificate(&self) -> String {
        self.peer
            .as_ref()
            .map_or_else(String::new, |peer| peer.hash.to_string())
    }

    fn inner_address(&self) -> Option<IpAddr> {
        let (address, _) = self.peer.as_ref()?.address.as_ref()?;
        Some(IpAddr::V4(*address))
    }

    fn matches(&self, which: &Which) -> bool {
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
    fn log_refusal(&mut self, refusal: &Refusal) {
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

/// Sends a packet of the inner network to the shard whose peer has its destination.
fn hand_over(shared: &Shared, number: u8, unrouted: Unrouted<'_>) -> bool {
    let Some(place) = shared.registry.route_of(unrouted.destination) else {
        return false;
    };
    if place.shard == number {
        return false;
    }
    shared
        .mailboxes
        .get(usize::from(place.shard))
        .is_some_and(|mailbox| mailbox.forward(Forwarded::Inner(unrouted.packet.to_vec())))
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

fn difference(new: usize, old: usize) -> i64 {
    let as_i64 = |n| i64::try_from(n).unwrap_or(i64::MAX);
    as_i64(new) - as_i64(old)
}
