//! The sockets: one pair for each worker, and the loop that carries datagrams between them and the
//! worker's shard. Nothing else in this crate touches a UDP socket.
//!
//! All workers listen on the same two ports (SO_REUSEPORT), and the system spreads the peers over them
//! by address. A datagram that belongs to another worker's shard, as its SPI tells, is handed on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use esp::Datagram;
use ikev2::{Path, shard_of_esp, shard_of_ike};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;
use crate::mailbox::{Command, Forwarded, Letters, Mailbox, Wake};
use crate::shard::{Shard, Shared};

/// The sockets of all workers, and where they listen.
#[derive(Debug)]
pub struct Listeners {
    /// Where IKE is listened for.
    pub ike: SocketAddr,
    /// Where IKE and ESP in UDP are listened for.
    pub nat: SocketAddr,
    pairs: Vec<(UdpSocket, UdpSocket)>,
}

impl Listeners {
    /// Opens a pair of sockets for each worker.
    ///
    /// # Errors
    ///
    /// With the address in the text: when the ports are taken, or the address is not ours, or the ports
    /// need a privilege.
    pub fn open(listen: &Listen) -> io::Result<Self> {
        let ike = reserve(listen.address, listen.port)?;
        let nat = reserve(listen.address, listen.nat_port)?;
        let pairs = (0..listen.workers)
            .map(|_| Ok((open(ike, true)?, open(nat, true)?)))
            .collect::<io::Result<_>>()?;
        Ok(Self { ike, nat, pairs })
    }
}

/// Finds that a port is free. Sockets that share a port would share it with another gateway too, in
/// silence; this one does not.
fn reserve(address: IpAddr, port: u16) -> io::Result<SocketAddr> {
    open(SocketAddr::new(address, port), false)?.local_addr()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let named = |e: io::Error| {
        io::Error::new(
            e.kind(),
            format!("cannot listen on UDP {address}: {e}{}", mend(&e)),
        )
    };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(named)?;
    if shared {
        socket.set_reuse_port(true).map_err(named)?;
        // More room for bursts; the system gives what it allows.
        drop(socket.set_recv_buffer_size(SOCKET_BUFFER));
        drop(socket.set_send_buffer_size(SOCKET_BUFFER));
    }
    socket.set_nonblocking(true).map_err(named)?;
    socket.bind(&address.into()).map_err(named)?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// What usually helps.
fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another IKE daemon listens there (`ss -ulpn` shows which), or choose other ports"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; listen.address must be an address of this machine (`ip address` shows them)"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, or choose higher ones"
        }
        _ => "",
    }
}

/// A worker before it runs: its event loop and its mailbox exist, its shard does not yet.
#[derive(Debug)]
pub struct Berth {
    poll: Poll,
    letters: Letters,
    ike: UdpSocket,
    nat: UdpSocket,
}

impl Berth {
    /// One for each pair of sockets, with the mailboxes by which the shards are reached.
    ///
    /// # Errors
    ///
    /// When the system refuses an event queue.
    pub fn make(listeners: Listeners) -> io::Result<(Vec<Self>, Vec<Mailbox>)> {
        let mut berths = Vec::new();
        let mut mailboxes = Vec::new();
        for (ike, nat) in listeners.pairs {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let wake: Wake = Box::new(move || {
                // It fails only when the event loop is gone, and then nobody is to be woken.
                drop(waker.wake());
            });
            let (mailbox, letters) = Mailbox::new(wake);
            mailboxes.push(mailbox);
            berths.push(Self {
                poll,
                letters,
                ike,
                nat,
            });
        }
        Ok((berths, mailboxes))
    }

    /// Moves a shard in.
    ///
    /// # Errors
    ///
    /// When the sockets or the inner network cannot be watched.
    pub fn take(self, number: u8, shard: Shard, shared: Arc<Shared>) -> io::Result<Worker> {
        let Self {
            poll,
            letters,
            mut ike,
            mut nat,
        } = self;
        poll.registry()
            .register(&mut ike, IKE, Interest::READABLE)?;
        poll.registry()
            .register(&mut nat, NAT, Interest::READABLE)?;
        watch_network(poll.registry(), &shard)?;
        let ike = Port::new(ike)?;
        let nat = Port::new(nat)?;
        Ok(Worker {
            number,
            shard,
            shared,
            poll,
            letters,
            ike,
            nat,
            buffer: vec![0; MAX_DATAGRAM],
            inner_ready: true,
            letters_ready: false,
            stop_by: None,
        })
    }
}

fn watch_network(registry: &Registry, shard: &Shard) -> io::Result<()> {
    match shard.network().poll_fd() {
        Some(fd) => registry.register(&mut SourceFd(&fd.as_raw_fd()), INNER, Interest::READABLE),
        None => Ok(()),
    }
}

#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    /// Readiness is told once: this holds until the socket was read empty.
    ready: bool,
}

impl Port {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            ready: true,
        })
    }
}

/// A thread's work: one event loop, one shard.
#[derive(Debug)]
pub struct Worker {
    number: u8,
    shard: Shard,
    shared: Arc<Shared>,
    poll: Poll,
    letters: Letters,
    ike: Port,
    nat: Port,
    buffer: Vec<u8>,
    inner_ready: bool,
    /// Letters may be left that no further wake-up tells of.
    letters_ready: bool,
    stop_by: Option<Instant>,
}

impl Worker {
    /// Works until [`Command::Stop`] came and all IKE SAs are closed, or two seconds have passed.
    ///
    /// # Errors
    ///
    /// When the event queue itself fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                match event.token() {
                    IKE => self.ike.ready = true,
                    NAT => self.nat.ready = true,
                    INNER => self.inner_ready = true,
                    _ => {}
                }
            }
            let now = Instant::now();
            self.read_letters(now);
            self.read_port(now, IKE);
            self.read_port(now, NAT);
            if self.inner_ready || self.shard.network().poll_fd().is_none() {
                self.inner_ready = self.shard.handle_inner();
                self.send();
            }
            self.shard.handle_timeout(now);
            self.send();
            self.shard.flush_counters();
            if let Some(stop_by) = self.stop_by
                && (self.shard.is_stopped() || now >= stop_by)
            {
                return Ok(());
            }
        }
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.ike.ready || self.nat.ready || self.inner_ready || self.letters_ready {
            return Some(Duration::ZERO);
        }
        let wake = self
            .shard
            .poll_timeout()
            .into_iter()
            .chain(self.stop_by)
            .min();
        wake.map(|at| at.saturating_duration_since(now))
    }

    fn read_letters(&mut self, now: Instant) {
        self.letters.opened();
        while let Some(command) = self.letters.command() {
            if matches!(command, Command::Stop) {
                self.stop_by = Some(now + STOP_WITHIN);
            }
            self.shard.handle_command(now, command);
        }
        self.send();
        // As many as of a socket: other workers may hand over faster than this one takes.
        self.letters_ready = false;
        for taken in 1..=BATCH {
            let Some(traffic) = self.letters.traffic() else {
                break;
            };
            self.shard.handle_forwarded(now, traffic);
            self.letters_ready = taken == BATCH;
        }
        self.send();
    }

    fn read_port(&mut self, now: Instant, which: Token) {
        for _ in 0..BATCH {
            let port = if which == IKE {
                &mut self.ike
            } else {
                &mut self.nat
            };
            if !port.ready {
                break;
            }
            match port.socket.recv_from(&mut self.buffer) {
                Ok((length, remote)) => {
                    let path = Path {
                        local: port.local,
                        remote,
                    };
                    let mut buffer = std::mem::take(&mut self.buffer);
                    self.receive(now, path, which, &mut buffer[..length]);
                    self.buffer = buffer;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => port.ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // An ICMP error for something sent before: the socket itself is well.
                    tracing::debug!(%error, local = %port.local, "a socket reported an error");
                }
            }
        }
        self.send();
    }

    /// Brings a datagram to the shard that it is for.
    fn receive(&mut self, now: Instant, path: Path, which: Token, datagram: &mut [u8]) {
        if which == IKE {
            self.receive_ike(now, path, datagram);
            return;
        }
        match esp::classify_mut(datagram) {
            Datagram::Ike(message) => self.receive_ike(now, path, message),
            Datagram::Esp { spi, packet } => match self.other(shard_of_esp(spi.get())) {
                None => self.shard.handle_esp(now, path, packet),
                Some(other) => {
                    if !other.forward(Forwarded::Esp(path, packet.to_vec())) {
                        self.shard.dropped("queue-full");
                    }
                }
            },
            Datagram::Keepalive => {}
            Datagram::Rejected(_) => self.shard.dropped("malformed"),
        }
    }

    fn receive_ike(&mut self, now: Instant, path: Path, message: &[u8]) {
        // The responder's SPI is ours. Zero begins an IKE SA, and that is done where it came in.
        let spi = message
            .get(8..16)
            .and_then(|octets| <[u8; 8]>::try_from(octets).ok())
            .map_or(0, u64::from_be_bytes);
        // What is too long for IKE is dropped and counted here; it need not be carried to another shard.
        let other = if spi == 0 || message.len() > ikev2::Limits::default().datagram {
            None
        } else {
            self.other(shard_of_ike(spi))
        };
        match other {
            None => self.shard.handle_ike(now, path, message),
            Some(other) => {
                if !other.forward(Forwarded::Ike(path, message.to_vec())) {
                    self.shard.dropped("queue-full");
                }
            }
        }
    }

    /// The mailbox of another shard; none for this one, and none for shards that do not exist.
    fn other(&self, shard: u8) -> Option<&Mailbox> {
        if shard == self.number {
            return None;
        }
        self.shared.mailboxes.get(usize::from(shard))
    }

    /// Sends what is in the outbox. A datagram that the system does not take is lost, as on a congested
    /// link: IKE repeats it, and the tunnelled traffic has its own ways.
    fn send(&mut self) {
        let outbox = self.shard.outbox();
        if outbox.is_empty() {
            return;
        }
        let mut lost = 0;
        for (path, datagram) in outbox.iter() {
            let port = if path.local.port() == self.nat.local.port() {
                &self.nat
            } else {
                &self.ike
            };
            if let Err(error) = port.socket.send_to(datagram, path.remote) {
                lost += 1;
                tracing::debug!(%error, remote = %path.remote, length = datagram.len(), "a datagram was not sent");
            }
        }
        outbox.clear();
        for _ in 0..lost {
            self.shard.dropped("send");
        }
    }
}

const IKE: Token = Token(0);
const NAT: Token = Token(1);
const INNER: Token = Token(2);
const WAKE: Token = Token(3);

/// Datagrams read from one socket before the others get their turn.
const BATCH: usize = 64;

/// The longest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// What is asked of the system for each socket's queues, in octets.
const SOCKET_BUFFER: usize = 4 << 20;

/// How long peers may take to answer the Delete when the gateway stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);
