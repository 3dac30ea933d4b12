//! A device and a gateway meet in memory: IKE_SA_INIT, IKE_AUTH with the suspended step, a child
//! SA, and the Delete. Run with `cargo run -p ikev2 --example two_endpoints`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ikev2::auth::FixedTime;
use ikev2::{
    ChildConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Grant, Identification, IkeSa,
    InitiatorConfig, Lease, Path, Pkcs8Credential, ProfileVerifier, ResponderConfig, SaHandle,
    TrafficSelector, UnixTime, Verdict, ring_provider,
};

/// One party: an endpoint, its IKE SAs, and what it has to send.
struct Party {
    name: &'static str,
    endpoint: Endpoint,
    sas: HashMap<SaHandle, IkeSa>,
    outbox: Vec<(Path, Vec<u8>)>,
}

impl Party {
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
                        println!("{}: refused: {refused}", self.name);
                        if let Some(transmit) = refused.response {
                            self.outbox.push((transmit.path, buf));
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
            Some(DatagramEvent::Respond(transmit)) => self.outbox.push((transmit.path, buf)),
            None => {}
        }
    }

    fn drain(&mut self, now: Instant, handle: SaHandle) {
        let Some(sa) = self.sas.get_mut(&handle) else {
            return;
        };
        let mut buf = Vec::new();
        while let Some(transmit) = sa.poll_transmit(now, &mut buf) {
            self.outbox.push((transmit.path, buf.clone()));
        }
        while let Some(event) = sa.poll_endpoint_event() {
            self.endpoint.handle_event(handle, event);
        }
        let mut presented = false;
        while let Some(event) = sa.poll_event() {
            match event {
                Event::PeerPresented(peer) => {
                    println!(
                        "{}: {} has proven its key; asking for its status",
                        self.name,
                        peer.identity()
                    );
                    presented = true;
                }
                Event::Established(info) => {
                    println!("{}: established with {}", self.name, info.identity)
                }
                Event::ChildInstalled(_, child) => println!(
                    "{}: child SA, we receive on SPI {:08x}, send on {:08x}",
                    self.name, child.inbound_spi, child.outbound_spi
                ),
                Event::ChildRemoved(_, reason) => {
                    println!("{}: child SA removed: {reason:?}", self.name)
                }
                Event::Lost(reason) => println!("{}: over: {reason}", self.name),
                _ => {}
            }
        }
        if presented {
            // Here a gateway would ask the ledger, and come back with the verdict later.
            let lease = Lease {
                address: Ipv4Addr::new(10, 88, 0, 1),
                netmask: None,
                dns: Vec::new(),
            };
            if let Err(late) = sa.admit(now, Verdict::Admit(Grant::with_lease(lease))) {
                println!("{}: {late}", self.name);
            }
            self.drain(now, handle);
        } else if sa.is_drained() {
            self.sas.remove(&handle);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a program owns the clock, the library does not"
    )]
    let mut now = Instant::now();
    let any = || vec![TrafficSelector::any_ipv4()];
    let verifier = Arc::new(ProfileVerifier::new(ring_provider()));
    let device = InitiatorConfig::new(
        credential("henb.example")?,
        verifier.clone(),
        ChildConfig::new(any(), any())?,
    )?
    .remote_identity(Identification::fqdn("segw.example"))
    .request_address(true);
    let gateway = ResponderConfig::new(
        credential("segw.example")?,
        verifier,
        ChildConfig::new(any(), Vec::new())?,
    )?;

    let mut henb = party("HeNB", None);
    let mut segw = party("SeGW", Some(Arc::new(gateway)));
    let path = Path {
        local: "192.0.2.1:500".parse()?,
        remote: "192.0.2.2:500".parse()?,
    };
    let (handle, sa) = henb.endpoint.initiate(now, path, Arc::new(device))?;
    henb.sas.insert(handle, sa);
    henb.drain(now, handle);
    carry(&mut now, &mut henb, &mut segw);

    if let Some(sa) = henb.sas.get_mut(&handle) {
        sa.close(now);
    }
    henb.drain(now, handle);
    carry(&mut now, &mut henb, &mut segw);
    Ok(())
}

/// The network: 10 ms each way, nothing is lost.
fn carry(now: &mut Instant, a: &mut Party, b: &mut Party) {
    while !a.outbox.is_empty() || !b.outbox.is_empty() {
        *now += Duration::from_millis(10);
        for (path, octets) in std::mem::take(&mut a.outbox) {
            println!("{} -> {} {} octets", a.name, b.name, octets.len());
            b.receive(*now, reversed(path), &octets);
        }
        for (path, octets) in std::mem::take(&mut b.outbox) {
            println!("{} -> {} {} octets", b.name, a.name, octets.len());
            a.receive(*now, reversed(path), &octets);
        }
    }
}

fn reversed(path: Path) -> Path {
    Path {
        local: path.remote,
        remote: path.local,
    }
}

fn party(name: &'static str, responder: Option<Arc<ResponderConfig>>) -> Party {
    let time = FixedTime(UnixTime::from_secs(1_785_542_400));
    let config = EndpointConfig::new(Arc::new(ring_provider()), Arc::new(time));
    Party {
        name,
        endpoint: Endpoint::new(Arc::new(config), responder),
        sas: HashMap::new(),
        outbox: Vec::new(),
    }
}

/// A throw-away key and self-signed certificate.
fn credential(name: &str) -> Result<Arc<Pkcs8Credential>, Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new([name.to_owned()])?.self_signed(&key)?;
    let chain = vec![certificate.der().to_vec()];
    let credential =
        Pkcs8Credential::from_der(chain, &key.serialize_der(), Identification::fqdn(name))?;
    Ok(Arc::new(credential))
}
