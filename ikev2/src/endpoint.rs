//! Many IKE SAs on one pair of sockets: demultiplexing, half-open limits, cookies.

use core::fmt;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{EndpointConfig, InitiatorConfig, ResponderConfig};
use crate::cookie::CookieMint;
use crate::crypto::{CryptoError, identifier_sha1};
use crate::error::{AcceptError, AcceptRefusal, InitiateError};
use crate::event::{NonEspMarker, Path, Transmit};
use crate::exchange::init;
use crate::exchange::stray::{self, StrayBudget};
use crate::sa::{IkeSa, Reserved};
use crate::stats::EndpointStats;
use crate::wire::{ExchangeType, Header, Message, NotifyType};

/// Names an IKE SA at its [`Endpoint`]. Never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SaHandle(u64);

impl fmt::Display for SaHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IKE SA {}", self.0)
    }
}

/// What a datagram turned out to be.
#[derive(Debug)]
#[must_use]
pub enum DatagramEvent {
    /// A peer wants an IKE SA. Give it to exactly one of [`Endpoint::accept`],
    /// [`Endpoint::challenge`], [`Endpoint::refuse`] and [`Endpoint::ignore`].
    Incoming(Incoming),
    /// It is for this IKE SA: hand it to [`IkeSa::handle_event`].
    Sa(SaHandle, SaEvent),
    /// Send this answer; it is in the buffer. No state was made for it.
    Respond(Transmit),
}

/// From the [`Endpoint`] to an [`IkeSa`]. Opaque.
#[derive(Debug)]
pub struct SaEvent {
    pub(crate) path: Path,
    pub(crate) header: Header,
    pub(crate) octets: Vec<u8>,
}

/// From an [`IkeSa`] to the [`Endpoint`]. Opaque.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EndpointEvent(pub(crate) EndpointEventKind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EndpointEventKind {
    /// No longer half open: the peer has authenticated, or failed to.
    Settled,
    /// Over: nothing may be routed to it any more.
    Drained,
}

/// A first message from a peer, well formed and within the limits.
#[derive(Debug)]
pub struct Incoming {
    path: Path,
    header: Header,
    octets: Vec<u8>,
    key: InitKey,
    cookie_verified: bool,
}

impl Incoming {
    /// Where it came from.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether it returned a valid cookie, so that the peer receives at its address.
    pub fn cookie_verified(&self) -> bool {
        self.cookie_verified
    }
}

/// Recognises a retransmitted IKE_SA_INIT request: the same octets, of which the initiator's SPI
/// alone would not be enough, from the same address (RFC 7296 §2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct InitKey {
    remote: SocketAddr,
    digest: [u8; 20],
}

impl InitKey {
    fn of(path: Path, datagram: &[u8]) -> Self {
        Self {
            remote: path.remote,
            digest: identifier_sha1(&[datagram]),
        }
    }
}

#[derive(Debug)]
struct Entry {
    ike_spi: u64,
    child_spi: u32,
    init: Option<InitKey>,
    half_open: bool,
}

/// Routes datagrams to IKE SAs, makes new ones, and answers strays. Holds no socket, clock or lock.
///
/// Datagrams are handed in without the non-ESP marker. [`crate`] shows the run loop.
#[derive(Debug)]
pub struct Endpoint {
    config: Arc<EndpointConfig>,
    responder: Option<Arc<ResponderConfig>>,
    cookies: CookieMint,
    stray_budget: StrayBudget,
    entries: HashMap<SaHandle, Entry>,
    by_ike_spi: HashMap<u64, SaHandle>,
    by_init: HashMap<InitKey, SaHandle>,
    child_spis: HashSet<u32>,
    half_open: usize,
    next: u64,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint without IKE SAs. Without a responder configuration it only initiates.
    pub fn new(config: Arc<EndpointConfig>, responder: Option<Arc<ResponderConfig>>) -> Self {
        Self {
            config,
            responder,
            cookies: CookieMint::default(),
            stray_budget: StrayBudget::default(),
            entries: HashMap::new(),
            by_ike_spi: HashMap::new(),
            by_init: HashMap::new(),
            child_spis: HashSet::new(),
            half_open: 0,
            next: 0,
            stats: EndpointStats::default(),
        }
    }

    /// Begins an IKE SA; drain its outputs next.
    ///
    /// # Errors
    ///
    /// [`InitiateError`]; nothing is kept or sent then.
    pub fn initiate(
        &mut self,
        now: Instant,
        path: Path,
        config: Arc<InitiatorConfig>,
    ) -> Result<(SaHandle, IkeSa), InitiateError> {
        if self.entries.len() >= self.config.limits.open {
            return Err(InitiateError::TooMany);
        }
        let reserved = self.reserve().map_err(InitiateError::Crypto)?;
        match IkeSa::initiate(now, path, Arc::clone(&self.config), config, reserved) {
            Ok(sa) => {
                self.stats.initiated += 1;
                Ok((self.register(reserved, None), sa))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at a datagram. An answer that needs no state is put into `buf`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        buf: &mut Vec<u8>,
    ) -> Option<DatagramEvent> {
        self.stats.datagrams += 1;
        if datagram.len() > self.config.limits.datagram {
            self.stats.oversized += 1;
            return None;
        }
        let Ok(header) = Header::peek(datagram) else {
            self.stats.malformed += 1;
            return None;
        };
        if header.version.0 != 2 {
            self.stats.wrong_version += 1;
            return self.answer_version(now, path, &header, buf);
        }
        if usize::try_from(header.length) != Ok(datagram.len()) || header.initiator_spi == 0 {
            self.stats.malformed += 1;
            return None;
        }
        if header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response {
            return self.handle_first(now, path, header, datagram, buf);
        }
        let spi = if header.flags.initiator {
            header.responder_spi
        } else {
            header.initiator_spi
        };
        let Some(&handle) = self.by_ike_spi.get(&spi) else {
            self.stats.unknown_spi += 1;
            return self.answer_unknown(now, path, &header, buf);
        };
        let octets = datagram.to_vec();
        Some(DatagramEvent::Sa(
            handle,
            SaEvent {
                path,
                header,
                octets,
            },
        ))
    }

    /// Takes what [`IkeSa::poll_endpoint_event`] returned.
    pub fn handle_event(&mut self, sa: SaHandle, event: EndpointEvent) {
        match event.0 {
            EndpointEventKind::Settled => {
                if let Some(entry) = self.entries.get_mut(&sa)
                    && entry.half_open
                {
                    entry.half_open = false;
                    self.half_open -= 1;
                }
            }
            EndpointEventKind::Drained => self.forget(sa),
        }
    }

    /// Makes an IKE SA of a first message; drain its outputs next.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] with the answer to send, if there is one: INVALID_KE_PAYLOAD,
    /// NO_PROPOSAL_CHOSEN or UNSUPPORTED_CRITICAL_PAYLOAD. No state is kept then.
    pub fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
        buf: &mut Vec<u8>,
    ) -> Result<(SaHandle, IkeSa), AcceptError> {
        let silent = |cause| AcceptError {
            cause: Box::new(cause),
            response: None,
        };
        let Some(responder) = self.responder.clone() else {
            return Err(silent(AcceptRefusal::NotResponder));
        };
        if self.by_init.contains_key(&incoming.key) {
            self.stats.init_retransmits += 1;
            return Err(silent(AcceptRefusal::Repeated));
        }
        if self.half_open >= self.config.limits.half_open
            || self.entries.len() >= self.config.limits.open
        {
            self.stats.over_limit += 1;
            return Err(silent(AcceptRefusal::Full));
        }
        let reserved = self
            .reserve()
            .map_err(|e| silent(AcceptRefusal::Failed(e.into())))?;
        let Incoming {
            path,
            header,
            octets,
            key,
            ..
        } = incoming;
        match IkeSa::respond(
            now,
            path,
            &header,
            octets,
            Arc::clone(&self.config),
            responder,
            reserved,
        ) {
            Ok(sa) => {
                self.stats.accepted += 1;
                self.half_open += 1;
                Ok((self.register(reserved, Some(key)), sa))
            }
            Err(refusal) => {
                self.stats.refused += 1;
                let size = init::refuse(&header, &refusal, buf);
                Err(AcceptError {
                    response: size.map(|size| self.transmit(path, size)),
                    cause: Box::new(refusal),
                })
            }
        }
    }

    /// Asks a peer to prove that it receives at its address (COOKIE, RFC 7296 §2.6). None if no
    /// cookie can be made.
    pub fn challenge(
        &mut self,
        now: Instant,
        incoming: &Incoming,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let nonce = Message::decode(&incoming.octets)
            .ok()
            .and_then(|message| init::nonce_of(&message).map(<[u8]>::to_vec))?;
        let room = incoming.octets.len();
        self.send_cookie(now, incoming.path, &incoming.header, &nonce, room, buf)
    }

    /// Refuses a first message with an unprotected error notify. None if it cannot be written.
    pub fn refuse(
        &mut self,
        incoming: &Incoming,
        reason: NotifyType,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.stats.refused += 1;
        let size = stray::notify(&incoming.header, reason, &[], buf)?;
        Some(self.transmit(incoming.path, size))
    }

    /// Drops a first message without a word.
    pub fn ignore(&mut self, incoming: Incoming) {
        drop(incoming);
        self.stats.refused += 1;
    }

    /// IKE SAs begun by peers that are not established.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// IKE SAs, half-open ones included.
    pub fn open(&self) -> usize {
        self.entries.len()
    }

    /// What was counted.
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    fn handle_first(
        &mut self,
        now: Instant,
        path: Path,
        header: Header,
        datagram: &[u8],
        buf: &mut Vec<u8>,
    ) -> Option<DatagramEvent> {
        // Message ID 0, sent by the original initiator, who knows no other SPI yet (RFC 7296 §2.2,
        // §3.1). One that names an IKE SA must not reach it: only a retransmission gets the answer
        // again, at the address that it came from.
        if header.message_id != 0 || !header.flags.initiator || header.responder_spi != 0 {
            self.stats.malformed += 1;
            return None;
        }
        let responder = self.responder.clone()?;
        let key = InitKey::of(path, datagram);
        if let Some(&handle) = self.by_init.get(&key) {
            self.stats.init_retransmits += 1;
            let octets = datagram.to_vec();
            return Some(DatagramEvent::Sa(
                handle,
                SaEvent {
                    path,
                    header,
                    octets,
                },
            ));
        }
        let Ok(message) = Message::decode(datagram) else {
            self.stats.malformed += 1;
            return None;
        };
        let Some(nonce) = init::nonce_of(&message) else {
            self.stats.malformed += 1;
            return None;
        };
        let mut cookie_verified = false;
        if let Some(cookie) = init::cookie_of(&message) {
            cookie_verified = self.cookies.verify(
                now,
                &self.config.provider,
                path.remote.ip(),
                header.initiator_spi,
                nonce,
                cookie,
            );
            if !cookie_verified {
                self.stats.bad_cookies += 1;
            }
        }
        if self.half_open >= responder.cookie_threshold && !cookie_verified {
            return self
                .send_cookie(now, path, &header, nonce, datagram.len(), buf)
                .map(DatagramEvent::Respond);
        }
        if self.half_open >= self.config.limits.half_open
            || self.entries.len() >= self.config.limits.open
        {
            self.stats.over_limit += 1;
            return None;
        }
        Some(DatagramEvent::Incoming(Incoming {
            path,
            header,
            octets: datagram.to_vec(),
            key,
            cookie_verified,
        }))
    }

    /// In no more than `room` octets, those of the request: its source may be forged, and must not
    /// get more than was sent in its name.
    fn send_cookie(
        &mut self,
        now: Instant,
        path: Path,
        header: &Header,
        nonce: &[u8],
        room: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let cookie = self
            .cookies
            .mint(
                now,
                &self.config.provider,
                path.remote.ip(),
                header.initiator_spi,
                nonce,
            )
            .ok()?;
        let size = stray::notify(header, NotifyType::COOKIE, &cookie, buf)?;
        if size > room {
            self.stats.malformed += 1;
            return None;
        }
        self.stats.challenges += 1;
        Some(self.transmit(path, size))
    }

    /// RFC 7296 §2.5: a higher major version is answered with the one that we speak.
    fn answer_version(
        &mut self,
        now: Instant,
        path: Path,
        header: &Header,
        buf: &mut Vec<u8>,
    ) -> Option<DatagramEvent> {
        if header.version.0 < 2
            || header.flags.response
            || !self
                .stray_budget
                .take(now, self.config.limits.stray_answers_per_second)
        {
            return None;
        }
        self.stats.stray_answers += 1;
        let size = stray::notify(header, NotifyType::INVALID_MAJOR_VERSION, &[], buf)?;
        Some(DatagramEvent::Respond(self.transmit(path, size)))
    }

    /// RFC 7296 §2.21.4: a request for an unknown IKE SA may be answered, never a response.
    fn answer_unknown(
        &mut self,
        now: Instant,
        path: Path,
        header: &Header,
        buf: &mut Vec<u8>,
    ) -> Option<DatagramEvent> {
        if header.flags.response
            || header.exchange == ExchangeType::IKE_SA_INIT
            || !self
                .stray_budget
                .take(now, self.config.limits.stray_answers_per_second)
        {
            return None;
        }
        self.stats.stray_answers += 1;
        let size = stray::notify(header, NotifyType::INVALID_IKE_SPI, &[], buf)?;
        Some(DatagramEvent::Respond(self.transmit(path, size)))
    }

    fn transmit(&self, path: Path, size: usize) -> Transmit {
        let marker = if path.local.port() == self.config.encapsulation_port {
            NonEspMarker::Present
        } else {
            NonEspMarker::Absent
        };
        Transmit { path, size, marker }
    }

    /// SPIs that no other IKE SA of this endpoint has, with the shard in their top octet.
    fn reserve(&self) -> Result<Reserved, CryptoError> {
        let random = self.config.provider.random;
        let shard = self.config.shard;
        let ike_spi = loop {
            let mut octets = [0; 8];
            random.fill(&mut octets)?;
            octets[0] = shard;
            let spi = u64::from_be_bytes(octets);
            if spi != 0 && !self.by_ike_spi.contains_key(&spi) {
                break spi;
            }
        };
        if self.child_spis.len() >= MAX_CHILD_SPIS {
            return Err(CryptoError::RandomFailed);
        }
        let child_spi = loop {
            let mut octets = [0; 4];
            random.fill(&mut octets)?;
            octets[0] = shard.saturating_add(1);
            let spi = u32::from_be_bytes(octets);
            if !self.child_spis.contains(&spi) {
                break spi;
            }
        };
        Ok(Reserved { ike_spi, child_spi })
    }

    fn register(&mut self, reserved: Reserved, init: Option<InitKey>) -> SaHandle {
        let handle = SaHandle(self.next);
        self.next += 1;
        let half_open = init.is_some();
        if let Some(key) = init {
            self.by_init.insert(key, handle);
        }
        self.by_ike_spi.insert(reserved.ike_spi, handle);
        self.child_spis.insert(reserved.child_spi);
        self.entries.insert(
            handle,
            Entry {
                ike_spi: reserved.ike_spi,
                child_spi: reserved.child_spi,
                init,
                half_open,
            },
        );
        handle
    }

    fn forget(&mut self, sa: SaHandle) {
        let Some(entry) = self.entries.remove(&sa) else {
            return;
        };
        self.by_ike_spi.remove(&entry.ike_spi);
        self.child_spis.remove(&entry.child_spi);
        if let Some(key) = entry.init {
            self.by_init.remove(&key);
        }
        if entry.half_open {
            self.half_open -= 1;
        }
    }
}

/// The shard that a datagram's IKE SPI belongs to, if the SPI is one of ours.
pub fn shard_of_ike(spi: u64) -> u8 {
    spi.to_be_bytes()[0]
}

/// The shard that an inbound ESP SPI belongs to, if it is one of ours.
pub fn shard_of_esp(spi: u32) -> u8 {
    spi.to_be_bytes()[0].saturating_sub(1)
}

/// ESP SPIs that an endpoint hands out at most: half of those with its shard's top octet, so that
/// a random draw finds a free one soon.
const MAX_CHILD_SPIS: usize = 1 << 23;
