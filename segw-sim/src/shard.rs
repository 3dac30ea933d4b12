//! One worker's share of the IKE SAs: takes datagrams, deadlines and commands, gives datagrams. It
//! holds no socket and asks no clock, so that a test can run it in memory under virtual time.

mod ending;
mod entry;
mod handshake;

use core::fmt;
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use esp::{InnerNetwork, WindowSize};
use ikev2::{
    DatagramEvent, Endpoint, EndpointConfig, EndpointStats, Event, IkeSa, Path, Phase,
    ResponderConfig, SaHandle,
};

use self::entry::Entry;
use crate::admission::{Refusal, StatusInquiry};
use crate::children::{Children, Unrouted};
use crate::control::SaSummary;
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
    /// What the metrics have been told.
    half_open: usize,
    stats: EndpointStats,
    stopping: bool,
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
            stats: EndpointStats::default(),
            stopping: false,
        }
    }

    /// Takes an IKE message, without marker.
    pub fn handle_ike(&mut self, now: Instant, path: Path, message: &[u8]) {
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
                        // Nobody has proven anything yet: counted, and told only to those who look.
                        tracing::debug!(remote = %path.remote, reason = %error, "refused an IKE_SA_INIT request");
                        if let Some(refusal) = Refusal::of_accept(&error.cause) {
                            self.shared.metrics.refused(&refusal);
                        }
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
        let metrics = &self.shared.metrics;
        let half_open = self.endpoint.half_open();
        if half_open != self.half_open {
            metrics
                .half_open
                .inc_by(difference(half_open, self.half_open));
            self.half_open = half_open;
        }
        let stats = self.endpoint.stats();
        if stats != self.stats {
            metrics.endpoint(&self.stats, &stats);
            self.stats = stats;
        }
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
                claimed: None,
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

    fn handle_event(&mut self, now: Instant, handle: SaHandle, event: Event) {
        match event {
            Event::PeerPresented(peer) => self.presented(now, handle, &peer),
            Event::PeerUnproven(claimed) => {
                if let Some(entry) = self.sas.get_mut(&handle) {
                    entry.claimed = Some(claimed);
                }
            }
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

fn difference(new: usize, old: usize) -> i64 {
    let as_i64 = |n| i64::try_from(n).unwrap_or(i64::MAX);
    as_i64(new) - as_i64(old)
}
