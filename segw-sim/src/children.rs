//! The child SAs of one shard: what IKE negotiated becomes ESP SAs, and packets go through them
//! between the peers and the inner network.

use std::collections::HashMap;
use std::net::IpAddr;

use esp::{
    InboundConfig, InboundSa, InnerHeader, InnerNetwork, InsertError, KeyLengthError, OpenError,
    OutboundConfig, OutboundHandle, OutboundSa, PacketBuffer, ReplayError, ReservedSpi, SaDatabase,
    SaKeys, SealError, Selector, SelectorError, Selectors, Spi, Suite, WindowSize,
};
use ikev2::crypto::SecretBytes;
use ikev2::wire::TrafficSelector;
use ikev2::wire::codes::EncrId;
use ikev2::{ChildHandle, ChildSa, EspSuite, Path, SaHandle};

use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// ESP SAs before an inner network.
pub struct Children {
    database: SaDatabase<Tag>,
    installed: HashMap<SaHandle, Vec<Installed>>,
    network: Box<dyn InnerNetwork>,
    window: WindowSize,
    buffer: PacketBuffer,
    tally: Tally,
}

/// What an ESP SA knows of its IKE SA.
#[derive(Debug)]
struct Tag {
    owner: SaHandle,
    path: Path,
    /// The other direction of the pair.
    outbound: Option<OutboundHandle>,
}

#[derive(Debug)]
struct Installed {
    child: ChildHandle,
    inbound: Spi,
    outbound: OutboundHandle,
}

/// Traffic of one IKE SA's child SAs that are installed now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Packets opened.
    pub packets_in: u64,
    /// Packets sealed.
    pub packets_out: u64,
    /// Inner octets opened.
    pub bytes_in: u64,
    /// Inner octets sealed.
    pub bytes_out: u64,
}

/// A packet of the inner network for which this shard has no SA.
#[derive(Clone, Copy, Debug)]
pub struct Unrouted<'a> {
    /// Where it is going.
    pub destination: IpAddr,
    /// All of it.
    pub packet: &'a [u8],
}

/// Plain counters, added to the shared ones now and then: no two workers contend for each packet.
#[derive(Debug, Default)]
struct Tally {
    traffic: Traffic,
    dropped: HashMap<&'static str, u64>,
}

impl Children {
    /// No SAs yet; at most `limit` pairs.
    pub fn new(network: Box<dyn InnerNetwork>, window: WindowSize, limit: usize) -> Self {
        Self {
            database: SaDatabase::new(limit),
            installed: HashMap::new(),
            network,
            window,
            buffer: PacketBuffer::new(MAX_INNER),
            tally: Tally::default(),
        }
    }

    /// Installs a child SA of an IKE SA.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; nothing is installed then.
    pub fn install(
        &mut self,
        owner: SaHandle,
        child: ChildHandle,
        sa: &ChildSa,
    ) -> Result<(), InstallError> {
        let suite = suite_of(sa.suite)?;
        let selectors = || {
            Selectors::new(
                sa.local_selectors.iter().map(selector).collect(),
                sa.remote_selectors.iter().map(selector).collect(),
            )
        };
        let keys = |keymat: &SecretBytes| SaKeys::new(suite, keymat.as_bytes());
        let inbound_spi = Spi::new(sa.inbound_spi)?;

        let mut config = OutboundConfig::new(
            Spi::new(sa.outbound_spi)?,
            keys(&sa.outbound)?,
            selectors()?,
        );
        config.esn = sa.suite.esn;
        let outbound = OutboundSa::new(config);
        let mut config = InboundConfig::new(inbound_spi, keys(&sa.inbound)?, selectors()?);
        config.esn = sa.suite.esn;
        config.replay_window = self.window;
        let inbound = InboundSa::new(config);

        let tag = |outbound| Tag {
            owner,
            path: sa.path,
            outbound,
        };
        let outbound = self.database.insert_outbound(outbound, tag(None))?;
        if let Err(error) = self.database.insert_inbound(inbound, tag(Some(outbound))) {
            self.database.remove_outbound(outbound);
            return Err(error.into());
        }
        self.installed.entry(owner).or_default().push(Installed {
            child,
            inbound: inbound_spi,
            outbound,
        });
        Ok(())
    }

    /// Forgets a child SA and its keys. One that is not there is fine.
    pub fn remove(&mut self, owner: SaHandle, child: ChildHandle) {
        let Some(installed) = self.installed.get_mut(&owner) else {
            return;
        };
        let database = &mut self.database;
        installed.retain(|one| {
            if one.child == child {
                database.remove_inbound(one.inbound);
                database.remove_outbound(one.outbound);
            }
            one.child != child
        });
        if installed.is_empty() {
            self.installed.remove(&owner);
        }
    }

    /// Forgets all child SAs of an IKE SA.
    pub fn remove_all(&mut self, owner: SaHandle) {
        for one in self.installed.remove(&owner).unwrap_or_default() {
            self.database.remove_inbound(one.inbound);
            self.database.remove_outbound(one.outbound);
        }
    }

    /// Sends the packets of an IKE SA's child SAs along this path from now on.
    pub fn set_path(&mut self, owner: SaHandle, path: Path) {
        for one in self.installed.get(&owner).into_iter().flatten() {
            if let Some((_, tag)) = self.database.inbound_mut(one.inbound) {
                tag.path = path;
            }
            if let Some((_, tag)) = self.database.outbound_mut(one.outbound) {
                tag.path = path;
            }
        }
    }

    /// Opens an ESP packet and delivers what is in it. Returns whose it was, if it was authentic.
    pub fn open(&mut self, path: Path, packet: &mut [u8]) -> Option<SaHandle> {
        let spi = esp::peek_spi(packet);
        let (inner, tag) = match self.database.open(packet) {
            Ok(opened) => opened,
            Err(error) => {
                self.tally.drop(drop_of_open(&error));
                return None;
            }
        };
        let owner = tag.owner;
        let moved = (tag.path != path).then_some(tag.outbound).flatten();
        self.tally.traffic.packets_in += 1;
        self.tally.traffic.bytes_in += inner.packet.len() as u64;
        if self.network.deliver(inner.packet).is_err() {
            self.tally.drop("network");
        }
        let sequence = inner.sequence;
        if let (Some(outbound), Some(spi)) = (moved, spi) {
            self.follow(spi, outbound, sequence, path);
        }
        Some(owner)
    }

    /// The peer's NAT gave it another address: send there (RFC 7296 §2.23), but only for the newest
    /// packet, since an older one may just have been delayed.
    fn follow(&mut self, spi: Spi, outbound: OutboundHandle, sequence: u64, path: Path) {
        let Some((sa, tag)) = self.database.inbound_mut(spi) else {
            return;
        };
        if sa.highest_sequence() != sequence {
            return;
        }
        tag.path = path;
        if let Some((_, tag)) = self.database.outbound_mut(outbound) {
            tag.path = path;
        }
    }

    /// Takes packets out of the inner network and seals them. `elsewhere` gets those that no SA here is
    /// for, and says whether it could do something with them. Returns whether there may be more.
    pub fn drain_network(
        &mut self,
        outbox: &mut Outbox,
        mut elsewhere: impl FnMut(Unrouted<'_>) -> bool,
    ) -> bool {
        for _ in 0..MAX_DRAIN {
            let length = match self.network.receive(self.buffer.space()) {
                Ok(Some(length)) => length,
                Ok(None) => return false,
                Err(error) => {
                    tracing::debug!(%error, "the inner network cannot be read");
                    self.tally.drop("network");
                    return false;
                }
            };
            if self.buffer.set_inner_len(length).is_err() {
                self.tally.drop("oversized");
                continue;
            }
            if self.seal_buffer(outbox) {
                continue;
            }
            // No SA of this shard was for it; the packet is in the buffer as it was.
            let handed_over = self.buffer.set_inner_len(length).is_ok()
                && InnerHeader::parse(self.buffer.inner()).is_ok_and(|header| {
                    elsewhere(Unrouted {
                        destination: header.destination,
                        packet: self.buffer.inner(),
                    })
                });
            if !handed_over {
                self.tally.drop("no-sa");
            }
        }
        true
    }

    /// Seals one packet that another shard has handed over.
    pub fn seal(&mut self, packet: &[u8], outbox: &mut Outbox) {
        if self.buffer.fill(packet).is_err() {
            self.tally.drop("oversized");
        } else if !self.seal_buffer(outbox) {
            self.tally.drop("no-sa");
        }
    }

    /// Seals what is in the buffer. False if no SA is for it.
    fn seal_buffer(&mut self, outbox: &mut Outbox) -> bool {
        let length = self.buffer.inner().len();
        match self.database.seal(&mut self.buffer) {
            Ok((sealed, tag)) => {
                self.tally.traffic.packets_out += 1;
                self.tally.traffic.bytes_out += length as u64;
                outbox.push_esp(tag.path, sealed.packet);
                true
            }
            Err(SealError::NoSa { .. }) => false,
            Err(error) => {
                self.tally.drop(drop_of_seal(&error));
                true
            }
        }
    }

    /// Counts packets that were dropped on the way to or from here.
    pub fn dropped(&mut self, cause: &'static str) {
        self.tally.drop(cause);
    }

    /// Adds what was counted since the last time to the metrics.
    pub fn flush(&mut self, metrics: &Metrics) {
        let Tally { traffic, dropped } = std::mem::take(&mut self.tally);
        if traffic.packets_in > 0 {
            metrics.esp_in_packets.inc_by(traffic.packets_in);
            metrics.esp_in_bytes.inc_by(traffic.bytes_in);
        }
        if traffic.packets_out > 0 {
            metrics.esp_out_packets.inc_by(traffic.packets_out);
            metrics.esp_out_bytes.inc_by(traffic.bytes_out);
        }
        for (cause, packets) in dropped {
            metrics.esp_dropped(cause, packets);
        }
    }

    /// The inner network.
    pub fn network(&self) -> &dyn InnerNetwork {
        &*self.network
    }

    /// Whether an IKE SA has a child SA.
    pub fn has(&self, owner: SaHandle) -> bool {
        self.installed.contains_key(&owner)
    }

    /// What went through the child SAs of an IKE SA.
    pub fn traffic(&self, owner: SaHandle) -> Traffic {
        let mut traffic = Traffic::default();
        for one in self.installed.get(&owner).into_iter().flatten() {
            if let Some((sa, _)) = self.database.inbound(one.inbound) {
                traffic.packets_in += sa.counters().packets;
                traffic.bytes_in += sa.counters().bytes;
            }
            if let Some((sa, _)) = self.database.outbound(one.outbound) {
                traffic.packets_out += sa.counters().packets;
                traffic.bytes_out += sa.counters().bytes;
            }
        }
        traffic
    }
}

impl Tally {
    fn drop(&mut self, cause: &'static str) {
        *self.dropped.entry(cause).or_default() += 1;
    }
}

/// Why a child SA that IKE negotiated cannot be installed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum InstallError {
    /// The database is full, or the SPI is taken.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// The keying material does not fit the algorithm.
    #[error(transparent)]
    Keys(#[from] KeyLengthError),
    /// The selectors are not ones that ESP can check.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
    /// An SPI that must not be used.
    #[error(transparent)]
    Spi(#[from] ReservedSpi),
    /// ESP does not have this algorithm.
    #[error("{0:?} was negotiated, which this data plane does not have")]
    Suite(EspSuite),
}

fn suite_of(suite: EspSuite) -> Result<Suite, InstallError> {
    match (suite.encr, suite.key_bits) {
        (EncrId::AES_GCM_16, 128) => Ok(Suite::Aes128Gcm16),
        (EncrId::AES_GCM_16, 256) => Ok(Suite::Aes256Gcm16),
        (EncrId::CHACHA20_POLY1305, _) => Ok(Suite::ChaCha20Poly1305),
        _ => Err(InstallError::Suite(suite)),
    }
}

fn selector(selector: &TrafficSelector) -> Selector {
    let (first, last) = selector.ports;
    let range = Selector::range(selector.addresses.0, selector.addresses.1);
    range
        .with_protocol(selector.protocol)
        .with_ports(first, last)
}

fn drop_of_open(error: &OpenError) -> &'static str {
    match error {
        OpenError::Authentication { .. } => "authentication",
        OpenError::Dummy => "dummy",
        OpenError::Expired => "expired",
        OpenError::Replay(ReplayError::Late { .. }) => "late",
        OpenError::Replay(_) | OpenError::Sequence { .. } => "replayed",
        OpenError::Selector { .. } => "selector",
        OpenError::UnknownSpi(_) => "unknown-spi",
        _ => "malformed",
    }
}

fn drop_of_seal(error: &SealError) -> &'static str {
    match error {
        SealError::Exhausted | SealError::Expired => "expired",
        SealError::NoRoom { .. } | SealError::TooLong { .. } => "oversized",
        SealError::NoSa { .. } => "no-sa",
        SealError::Selector { .. } => "selector",
        _ => "malformed",
    }
}

/// The longest inner packet, in octets: with ESP and UDP around it, it still fits an IPv4 packet.
const MAX_INNER: usize = 65_400;

/// Packets taken out of the inner network at a time, so that the peers get their turn.
const MAX_DRAIN: usize = 64;
