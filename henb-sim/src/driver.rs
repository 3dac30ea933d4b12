//! The one file with sockets: feeds a [`Shard`] from UDP and sends what it has to say.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use esp::{Datagram, InnerNetwork};
use ikev2::{Endpoint, EndpointConfig, InitiateError, InitiatorConfig, NonEspMarker, Path};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::shard::{DeviceEvent, DeviceId, GatewayTrust, Outbox, Shard};
use crate::staple::StaplePolicy;

/// Where a driver's devices connect to, and how.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The gateway's address and IKE port (usually 500).
    pub gateway: SocketAddr,
    /// How many UDP sockets the devices share. Each has one port, used for IKE and for ESP in UDP.
    pub sockets: usize,
    /// Which gateways to take for the right one.
    pub trust: GatewayTrust,
    /// How an OCSP response about the gateway's certificate is judged, if it is.
    pub staple: Option<Arc<StaplePolicy>>,
}

/// Devices with their sockets and their clock, on the caller's thread.
#[derive(Debug)]
pub struct Driver {
    poll: Poll,
    events: Events,
    sockets: Sockets,
    gateway: SocketAddr,
    shard: Shard,
    next_socket: usize,
    receive_buffer: Vec<u8>,
    inner: Option<Attached>,
}

impl Driver {
    /// Opens the sockets on the address from which this machine reaches the gateway.
    ///
    /// # Errors
    ///
    /// What the system says, with the address that it was about.
    pub fn new(config: &DriverConfig, endpoint: EndpointConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let local = local_address(config.gateway)?;
        let mut sockets = Sockets::default();
        for index in 0..config.sockets.max(1) {
            let socket = UdpSocket::bind(SocketAddr::new(local, 0)).map_err(|e| {
                io::Error::new(
                    e.kind(),
                    format!("cannot bind a UDP socket on {local}: {e}"),
                )
            })?;
            socket.set_nonblocking(true)?;
            // Larger than the default, for boot storms; the system may give less.
            let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
            let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
            let address = socket.local_addr()?;
            let mut socket = mio::net::UdpSocket::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(index), Interest::READABLE)?;
            sockets.by_address.insert(address, index);
            sockets.all.push(Socket {
                socket,
                address,
                readable: false,
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            sockets,
            gateway: config.gateway,
            shard: Shard::new(
                Endpoint::new(Arc::new(endpoint), None),
                config.trust.clone(),
                config.staple.clone(),
            ),
            next_socket: 0,
            receive_buffer: vec![0; 65_536],
            inner: None,
        })
    }

    /// Begins the IKE SA of a device that should have begun at `intended`.
    ///
    /// # Errors
    ///
    /// [`InitiateError`] when there can be no further IKE SA.
    pub fn connect(
        &mut self,
        config: Arc<InitiatorConfig>,
        intended: Instant,
    ) -> Result<DeviceId, InitiateError> {
        let index = self.next_socket % self.sockets.all.len().max(1);
        self.next_socket += 1;
        let path = Path {
            local: self
                .sockets
                .all
                .get(index)
                .map_or(self.gateway, |socket| socket.address),
            remote: self.gateway,
        };
        self.shard
            .connect(Instant::now(), intended, path, config, &mut self.sockets)
    }

    /// Sends an echo request through a device's tunnel. False when it has none.
    pub fn ping(&mut self, device: DeviceId, target: Ipv4Addr, sequence: u16) -> bool {
        self.shard
            .ping(Instant::now(), device, target, sequence, &mut self.sockets)
    }

    /// Ends a device's IKE SA with a Delete.
    pub fn close(&mut self, device: DeviceId) {
        self.shard.close(Instant::now(), device, &mut self.sockets);
    }

    /// Gives a device an inner network in place of [`DeviceEvent::Inner`].
    ///
    /// # Errors
    ///
    /// When the network's file descriptor cannot be watched.
    pub fn attach(&mut self, device: DeviceId, network: Box<dyn InnerNetwork>) -> io::Result<()> {
        let fd = network.poll_fd().map(|fd| fd.as_raw_fd());
        if let Some(fd) = fd {
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), INNER, Interest::READABLE)?;
        }
        self.inner = Some(Attached {
            device,
            network,
            fd,
        });
        Ok(())
    }

    /// Waits for datagrams and deadlines until something happened or `until` is reached, and deals with it.
    ///
    /// # Errors
    ///
    /// When the system cannot wait.
    pub fn turn(&mut self, until: Instant) -> io::Result<()> {
        let now = Instant::now();
        let due = self.shard.next_deadline().map_or(until, |at| at.min(until));
        let timeout = if self.sockets.all.iter().any(|socket| socket.readable) {
            Duration::ZERO
        } else {
            due.saturating_duration_since(now)
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        }
        let mut inner_readable = false;
        for event in &self.events {
            if event.token() == INNER {
                inner_readable = true;
            } else if let Some(socket) = self.sockets.all.get_mut(event.token().0) {
                socket.readable = true;
            }
        }
        for index in 0..self.sockets.all.len() {
            self.receive(index);
        }
        if inner_readable {
            self.read_inner();
        }
        self.shard.handle_timeout(Instant::now(), &mut self.sockets);
        Ok(())
    }

    /// What happened, in order.
    pub fn next_event(&mut self) -> Option<DeviceEvent> {
        loop {
            let event = self.shard.next_event()?;
            if let (DeviceEvent::Inner { device, packet }, Some(inner)) = (&event, &mut self.inner)
                && *device == inner.device
            {
                // A packet that the inner network does not take is lost, as on any network.
                let _ = inner.network.deliver(packet);
                continue;
            }
            return Some(event);
        }
    }

    /// How many IKE SAs are not over.
    pub fn open(&self) -> usize {
        self.shard.open()
    }

    /// Datagrams that the system did not take.
    pub fn send_failures(&self) -> u64 {
        self.sockets.send_failures
    }

    fn receive(&mut self, index: usize) {
        for _ in 0..RECEIVE_BATCH {
            let Some(socket) = self
                .sockets
                .all
                .get_mut(index)
                .filter(|socket| socket.readable)
            else {
                return;
            };
            let (length, remote) = match socket.socket.recv_from(&mut self.receive_buffer) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    socket.readable = false;
                    return;
                }
                // For instance "connection refused": the gateway is not there, and retransmission deals with it.
                Err(_) => continue,
            };
            let path = Path {
                local: socket.address,
                remote,
            };
            let Some(datagram) = self.receive_buffer.get_mut(..length) else {
                continue;
            };
            let now = Instant::now();
            if remote == self.gateway {
                self.shard
                    .handle_ike(now, path, datagram, &mut self.sockets);
            } else {
                match esp::classify_mut(datagram) {
                    Datagram::Ike(message) => {
                        self.shard.handle_ike(now, path, message, &mut self.sockets)
                    }
                    Datagram::Esp { packet, .. } => self.shard.handle_esp(now, packet),
                    _ => {}
                }
            }
        }
    }

    fn read_inner(&mut self) {
        let Some(inner) = &mut self.inner else {
            return;
        };
        while let Ok(Some(length)) = inner.network.receive(&mut self.receive_buffer) {
            if let Some(packet) = self.receive_buffer.get(..length) {
                self.shard
                    .send_inner(inner.device, packet, &mut self.sockets);
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(fd) = self.inner.as_ref().and_then(|inner| inner.fd) {
            // The descriptor closes right after: nothing is lost if it was not registered any more.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }
}

#[derive(Debug, Default)]
struct Sockets {
    all: Vec<Socket>,
    by_address: HashMap<SocketAddr, usize>,
    send_failures: u64,
}

impl Outbox for Sockets {
    fn send(&mut self, path: Path, marker: NonEspMarker, datagram: &[u8]) {
        let socket = self
            .by_address
            .get(&path.local)
            .and_then(|&index| self.all.get(index));
        let Some(socket) = socket else {
            self.send_failures += 1;
            return;
        };
        let sent = match marker {
            NonEspMarker::Absent => socket.socket.send_to(datagram, path.remote),
            NonEspMarker::Present => SockRef::from(&socket.socket).send_to_vectored(
                &[IoSlice::new(&[0; 4]), IoSlice::new(datagram)],
                &path.remote.into(),
            ),
        };
        if sent.is_err() {
            self.send_failures += 1;
        }
    }
}

#[derive(Debug)]
struct Socket {
    socket: mio::net::UdpSocket,
    address: SocketAddr,
    /// mio tells once: true until a receive says that there is nothing left.
    readable: bool,
}

struct Attached {
    device: DeviceId,
    network: Box<dyn InnerNetwork>,
    fd: Option<RawFd>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The address that the system sends from towards the gateway. Nothing is sent.
fn local_address(gateway: SocketAddr) -> io::Result<std::net::IpAddr> {
    let any: SocketAddr = if gateway.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let probe = UdpSocket::bind(any)?;
    probe
        .connect(gateway)
        .map_err(|e| io::Error::new(e.kind(), format!("no route to the gateway {gateway}: {e}")))?;
    Ok(probe.local_addr()?.ip())
}

const INNER: Token = Token(usize::MAX - 1);
const RECEIVE_BATCH: usize = 256;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
