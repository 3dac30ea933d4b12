//! A device: an initiator with ESP, without sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use esp::{
    Datagram, InboundConfig, InboundSa, OutboundConfig, OutboundSa, PacketBuffer, SaKeys, Selector,
    Selectors, Spi, Suite, icmp,
};
use ikev2::auth::{Identification, Pkcs8Credential, ProfileVerifier};
use ikev2::crypto::RING;
use ikev2::wire::TrafficSelector;
use ikev2::{
    ChildConfig, ChildSa, DatagramEvent, Endpoint, EndpointConfig, Event, IkeSa, InitiatorConfig,
    LostReason, NonEspMarker, Path, SaHandle,
};
use ledger::CertificateHash;
use segw_sim::gateway::SystemTimeProvider;

/// A name, a self-signed certificate and its key.
#[derive(Clone)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Card {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).unwrap();
        Self {
            name: name.to_owned(),
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
        }
    }

    pub(crate) fn credential(&self) -> Pkcs8Credential {
        Pkcs8Credential::from_der(
            vec![self.certificate.clone()],
            &self.key,
            Identification::fqdn(&self.name),
        )
        .unwrap()
    }

    pub(crate) fn hash(&self) -> CertificateHash {
        CertificateHash::of(&self.certificate)
    }
}

/// The initiator's end of one IKE SA and its child SA.
pub(crate) struct Device {
    endpoint: Endpoint,
    handle: SaHandle,
    pub(crate) sa: IkeSa,
    pub(crate) inner: Option<Ipv4Addr>,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) established: bool,
    pub(crate) lost: Option<LostReason>,
    pub(crate) tunnel: Option<(InboundSa, OutboundSa, Path)>,
    /// Datagrams to send: from, to, octets with the marker where there is one.
    pub(crate) out: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// Pings answered: identifier and sequence number.
    pub(crate) pongs: Vec<(u16, u16)>,
    nat_port: u16,
}

impl Device {
    /// `ports` are ours for IKE and for IKE with ESP; `nat_port` is the gateway's for the latter.
    pub(crate) fn connect(
        now: Instant,
        card: &Card,
        local: IpAddr,
        ports: (u16, u16),
        gateway: SocketAddr,
        nat_port: u16,
        initial_contact: bool,
    ) -> Self {
        let provider = Arc::new(RING.clone());
        let config =
            EndpointConfig::new(provider, Arc::new(SystemTimeProvider)).encapsulation_port(ports.1);
        let mut endpoint = Endpoint::new(Arc::new(config), None);
        let child = ChildConfig::new(
            vec![TrafficSelector::any_ipv4()],
            vec![TrafficSelector::any_ipv4()],
        )
        .unwrap();
        let verifier = Arc::new(ProfileVerifier::new(RING.clone()));
        let config = InitiatorConfig::new(Arc::new(card.credential()), verifier, child)
            .unwrap()
            .remote_identity(Identification::fqdn("segw.lab.test"))
            .request_address(true)
            .initial_contact(initial_contact)
            .encapsulation_ports(Some(ports.1), nat_port);
        let path = Path {
            local: SocketAddr::new(local, ports.0),
            remote: gateway,
        };
        let (handle, sa) = endpoint.initiate(now, path, Arc::new(config)).unwrap();
        let mut device = Self {
            endpoint,
            handle,
            sa,
            inner: None,
            dns: Vec::new(),
            established: false,
            lost: None,
            tunnel: None,
            out: Vec::new(),
            pongs: Vec::new(),
            nat_port: ports.1,
        };
        device.drain(now);
        device
    }

    pub(crate) fn receive(&mut self, now: Instant, path: Path, datagram: &mut [u8]) {
        if path.local.port() != self.nat_port {
            self.receive_ike(now, path, datagram);
            return;
        }
        match esp::classify_mut(datagram) {
            Datagram::Ike(message) => self.receive_ike(now, path, message),
            Datagram::Esp { packet, .. } => {
                if let Some((inbound, _, _)) = &mut self.tunnel {
                    let inner = inbound.open(packet).unwrap();
                    let echo = icmp::Echo::decode(inner.packet).unwrap();
                    self.pongs.push((echo.identifier, echo.sequence));
                }
            }
            Datagram::Keepalive | Datagram::Rejected(_) => {}
        }
    }

    fn receive_ike(&mut self, now: Instant, path: Path, message: &[u8]) {
        let mut buf = Vec::new();
        if let Some(DatagramEvent::Sa(_, event)) =
            self.endpoint.handle_datagram(now, path, message, &mut buf)
        {
            self.sa.handle_event(now, event);
            self.drain(now);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if self
            .sa
            .poll_timeout()
            .is_some_and(|wakeup| wakeup.at <= now)
        {
            self.sa.handle_timeout(now);
            self.drain(now);
        }
    }

    /// One ICMP echo request through the tunnel.
    pub(crate) fn ping(&mut self, core: Ipv4Addr, sequence: u16) {
        let (_, outbound, path) = self.tunnel.as_mut().expect("a tunnel");
        let mut buffer = PacketBuffer::new(1500);
        let echo = icmp::Echo::request(
            self.inner.expect("an inner address").into(),
            core.into(),
            7,
            sequence,
            b"ledgate",
        );
        let length = echo.encode(buffer.space()).unwrap();
        buffer.set_inner_len(length).unwrap();
        let sealed = outbound.seal(&mut buffer).unwrap();
        self.out
            .push((path.local, path.remote, sealed.packet.to_vec()));
    }

    pub(crate) fn drain(&mut self, now: Instant) {
        let mut buf = Vec::new();
        loop {
            while let Some(transmit) = self.sa.poll_transmit(now, &mut buf) {
                let mut datagram = Vec::new();
                if transmit.marker == NonEspMarker::Present {
                    datagram.extend_from_slice(&[0; 4]);
                }
                datagram.extend_from_slice(&buf[..transmit.size]);
                self.out
                    .push((transmit.path.local, transmit.path.remote, datagram));
            }
            while let Some(event) = self.sa.poll_endpoint_event() {
                self.endpoint.handle_event(self.handle, event);
            }
            match self.sa.poll_event() {
                Some(Event::Established(info)) => {
                    self.established = true;
                    let lease = info.assigned.clone().expect("an inner address");
                    self.inner = Some(lease.address);
                    self.dns = lease.dns;
                }
                Some(Event::ChildInstalled(_, child)) => self.tunnel = Some(tunnel(&child)),
                Some(Event::ChildRemoved(..)) => self.tunnel = None,
                Some(Event::Lost(reason)) => self.lost = Some(reason),
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn tunnel(child: &ChildSa) -> (InboundSa, OutboundSa, Path) {
    let suite = if child.suite.key_bits == 256 {
        Suite::Aes256Gcm16
    } else {
        Suite::Aes128Gcm16
    };
    let side = |selectors: &[TrafficSelector]| -> Vec<Selector> {
        let range = |s: &TrafficSelector| Selector::range(s.addresses.0, s.addresses.1);
        selectors.iter().map(range).collect()
    };
    let selectors =
        || Selectors::new(side(&child.local_selectors), side(&child.remote_selectors)).unwrap();
    let keys = |keymat: &[u8]| SaKeys::new(suite, keymat).unwrap();
    let mut inbound = InboundConfig::new(
        Spi::new(child.inbound_spi).unwrap(),
        keys(child.inbound.as_bytes()),
        selectors(),
    );
    inbound.esn = child.suite.esn;
    let mut outbound = OutboundConfig::new(
        Spi::new(child.outbound_spi).unwrap(),
        keys(child.outbound.as_bytes()),
        selectors(),
    );
    outbound.esn = child.suite.esn;
    (
        InboundSa::new(inbound),
        OutboundSa::new(outbound),
        child.path,
    )
}
