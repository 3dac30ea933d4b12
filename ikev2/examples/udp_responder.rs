//! A responder on real sockets, which lets in everybody that proves an identity: the run loop of the
//! crate's documentation with ports 500 and 4500. It has no data plane: what ESP comes is dropped.
//!
//! `udp_responder ADDRESS CERTIFICATE.der KEY.p8 IDENTITY`

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ikev2::{
    ChildConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Grant, Identification, IkeSa,
    Lease, NonEspMarker, Path, Pkcs8Credential, ProfileVerifier, ResponderConfig, SaHandle,
    TimeProvider, TrafficSelector, Transmit, UnixTime, Verdict, ring_provider,
};

#[expect(
    clippy::disallowed_types,
    reason = "a program owns the sockets, the library does not"
)]
type Socket = std::net::UdpSocket;

struct Server {
    endpoint: Endpoint,
    sas: HashMap<SaHandle, IkeSa>,
    /// Ports 500 and 4500.
    sockets: [Socket; 2],
    leases: u8,
}

impl Server {
    fn receive(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let mut buf = Vec::new();
        match self.endpoint.handle_datagram(now, path, datagram, &mut buf) {
            Some(DatagramEvent::Incoming(incoming)) => {
                match self.endpoint.accept(now, incoming, &mut buf) {
                    Ok((handle, sa)) => {
                        self.sas.insert(handle, sa);
                        self.drain(now, handle);
                    }
                    Err(refused) => {
                        println!("{}: {refused}", path.remote);
                        if let Some(transmit) = refused.response {
                            self.send(&transmit, &buf);
                        }
                    }
                }
            }
            Some(DatagramEvent::Sa(handle, event)) => {
                if let Some(sa) = self.sas.get_mut(&handle) {
                    sa.handle_event(now, event);
                }
                self.drain(now, handle);
            }
            Some(DatagramEvent::Respond(transmit)) => self.send(&transmit, &buf),
            None => {}
        }
    }

    fn drain(&mut self, now: Instant, handle: SaHandle) {
        let Some(mut sa) = self.sas.remove(&handle) else {
            return;
        };
        let mut buf = Vec::new();
        let mut presented = true;
        while presented {
            presented = false;
            while let Some(transmit) = sa.poll_transmit(now, &mut buf) {
                self.send(&transmit, &buf);
            }
            while let Some(event) = sa.poll_endpoint_event() {
                self.endpoint.handle_event(handle, event);
            }
            while let Some(event) = sa.poll_event() {
                println!("{handle}: {event:?}");
                if let Event::PeerPresented(peer) = event {
                    let lease = peer.requests_address().then(|| self.lease());
                    let grant = Grant {
                        lease,
                        ..Grant::default()
                    };
                    presented = sa.admit(now, Verdict::Admit(grant)).is_ok();
                }
            }
        }
        if !sa.is_drained() {
            self.sas.insert(handle, sa);
        }
    }

    fn lease(&mut self) -> Lease {
        self.leases = self.leases % 254 + 1;
        Lease {
            address: Ipv4Addr::new(10, 88, 0, self.leases),
            netmask: None,
            dns: Vec::new(),
        }
    }

    fn send(&self, transmit: &Transmit, octets: &[u8]) {
        let mut datagram = Vec::new();
        if transmit.marker == NonEspMarker::Present {
            datagram.extend([0; 4]);
        }
        datagram.extend(&octets[..transmit.size]);
        let socket = &self.sockets[usize::from(transmit.path.local.port() == 4500)];
        if let Err(error) = socket.send_to(&datagram, transmit.path.remote) {
            println!("{}: {error}", transmit.path.remote);
        }
    }
}

#[derive(Debug)]
struct SystemClock;

impl TimeProvider for SystemClock {
    fn current_time(&self) -> Option<UnixTime> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a program owns the clock, the library does not"
        )]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_epoch)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key, identity] = arguments.as_slice() else {
        return Err("usage: udp_responder ADDRESS CERTIFICATE.der KEY.p8 IDENTITY".into());
    };
    let address: IpAddr = address.parse()?;
    let chain = vec![std::fs::read(certificate)?];
    let credential =
        Pkcs8Credential::from_der(chain, &std::fs::read(key)?, Identification::fqdn(identity))?;
    let verifier = ProfileVerifier::new(ring_provider());
    let child = ChildConfig::new(vec![TrafficSelector::any_ipv4()], Vec::new())?;
    let responder = ResponderConfig::new(Arc::new(credential), Arc::new(verifier), child)?;
    let config = EndpointConfig::new(Arc::new(ring_provider()), Arc::new(SystemClock))
        .force_udp_encapsulation(true);
    let locals = [
        SocketAddr::new(address, 500),
        SocketAddr::new(address, 4500),
    ];
    let sockets = [Socket::bind(locals[0])?, Socket::bind(locals[1])?];
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    }
    let mut server = Server {
        endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(responder))),
        sas: HashMap::new(),
        sockets,
        leases: 0,
    };
    println!("listening on {address}");
    let mut datagram = vec![0; 65_536];
    loop {
        for (index, local) in locals.into_iter().enumerate() {
            let (length, remote) = match server.sockets[index].recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let octets = &datagram[..length];
            // On port 4500 four zero octets say IKE; anything else is ESP or a keepalive.
            let ike = if index == 1 {
                octets.strip_prefix(&[0; 4])
            } else {
                Some(octets)
            };
            if let Some(ike) = ike {
                server.receive(now(), Path { local, remote }, ike);
            }
        }
        let due: Vec<SaHandle> = server
            .sas
            .iter()
            .filter(|(_, sa)| sa.poll_timeout().is_some_and(|wakeup| wakeup.at <= now()))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in due {
            if let Some(sa) = server.sas.get_mut(&handle) {
                sa.handle_timeout(now());
            }
            server.drain(now(), handle);
        }
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a program owns the clock, the library does not"
    )]
    Instant::now()
}
