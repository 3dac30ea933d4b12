//! A fleet over loopback against a small gateway in this process: `ikev2` as responder, `esp`, two sockets.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use esp::icmp::{Echo, EchoKind};
use esp::{
    Datagram, InboundConfig, InboundSa, OutboundConfig, OutboundSa, PacketBuffer, SaKeys, Selector,
    Selectors, Spi, Suite,
};
use henb_sim::arrival::Arrival;
use henb_sim::enrolment::{DeviceIdentity, KeyKind};
use henb_sim::fleet::{self, FleetError, FleetPlan, Pace, Progress};
use henb_sim::profile::DeviceProfile;
use henb_sim::shard::GatewayTrust;
use henb_sim::staple::StaplePolicy;
use ikev2::auth::{Identification, Pkcs8Credential, ProfileVerifier, TimeProvider, UnixTime};
use ikev2::crypto::RING;
use ikev2::wire::TrafficSelector;
use ikev2::{
    Admission, ChildConfig, ChildSa, DatagramEvent, DenyReason, Endpoint, EndpointConfig, Event,
    Grant, IkeSa, Lease, NonEspMarker, Path, ResponderConfig, SaHandle, Verdict,
};

const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_epoch)
    }
}

/// A gateway that lets in `good…`, refuses `refused…`, closes `deleted…` after its ping, never answers the pings of
/// `mute…`, and leaves all others without an answer to IKE_AUTH.
struct Gateway {
    ike: SocketAddr,
    nat: SocketAddr,
    identity: DeviceIdentity,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Gateway {
    fn start() -> Self {
        let identity = DeviceIdentity::self_signed("segw.test", "Acme", KeyKind::P256).unwrap();
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            socket
        });
        let [ike, nat] = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(&identity, sockets);
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || worker.run(&stopped)));
        Self {
            ike,
            nat,
            identity,
            stop,
            thread,
        }
    }

    fn plan(&self) -> FleetPlan {
        FleetPlan {
            gateway: self.ike,
            trust: GatewayTrust::Pinned(HashSet::from([self.identity.hash()])),
            profile: DeviceProfile {
                gateway_identity: Some("segw.test".to_owned()),
                nat_port: self.nat.port(),
                networks: vec!["10.99.0.0/24".parse().unwrap()],
                patience: Duration::from_secs(1),
                initial_contact: false,
                staple: None,
            },
            pace: Pace::Open(Arrival::Burst),
            pings: 2,
            target: CORE,
            hold: Duration::from_millis(200),
            threads: 2,
            sockets: 2,
        }
    }

    /// How many IKE SAs were left at the end.
    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

struct Peer {
    sa: IkeSa,
    name: String,
    tunnel: Option<Tunnel>,
}

struct Tunnel {
    spi: u32,
    inbound: InboundSa,
    outbound: OutboundSa,
    path: Path,
}

struct Worker {
    sockets: [UdpSocket; 2],
    endpoint: Endpoint,
    peers: HashMap<SaHandle, Peer>,
    next: u8,
    buffer: PacketBuffer,
}

impl Worker {
    fn new(identity: &DeviceIdentity, sockets: [UdpSocket; 2]) -> Self {
        let credential = Pkcs8Credential::from_der(
            identity.chain.clone(),
            identity.key.as_ref(),
            Identification::fqdn(&identity.name),
        )
        .unwrap();
        let core = TrafficSelector::range([10, 99, 0, 0].into(), [10, 99, 0, 255].into());
        let child = ChildConfig::new(vec![core], Vec::new()).unwrap();
        let verifier = Arc::new(ProfileVerifier::new(RING.clone()));
        let responder = ResponderConfig::new(Arc::new(credential), verifier, child)
            .unwrap()
            .admission(Admission::ByApplication {
                within: Duration::from_secs(60),
            });
        let endpoint = EndpointConfig::new(Arc::new(RING.clone()), Arc::new(Clock))
            .encapsulation_port(sockets[1].local_addr().unwrap().port())
            .force_udp_encapsulation(true);
        Self {
            sockets,
            endpoint: Endpoint::new(Arc::new(endpoint), Some(Arc::new(responder))),
            peers: HashMap::new(),
            next: 0,
            buffer: PacketBuffer::new(1500),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> usize {
        let mut octets = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            for which in 0..2 {
                while let Ok((length, remote)) = self.sockets[which].recv_from(&mut octets) {
                    let path = Path {
                        local: self.sockets[which].local_addr().unwrap(),
                        remote,
                    };
                    let datagram = &mut octets[..length];
                    if which == 0 {
                        self.ike(path, datagram);
                    } else {
                        match esp::classify_mut(datagram) {
                            Datagram::Ike(message) => self.ike(path, message),
                            Datagram::Esp { spi, packet } => self.esp(spi, packet),
                            _ => {}
                        }
                    }
                }
            }
        }
        self.peers
            .values()
            .filter(|peer| peer.tunnel.is_some())
            .count()
    }

    fn ike(&mut self, path: Path, message: &[u8]) {
        let now = Instant::now();
        let mut buf = Vec::new();
        match self.endpoint.handle_datagram(now, path, message, &mut buf) {
            Some(DatagramEvent::Incoming(incoming)) => {
                let (handle, sa) = self.endpoint.accept(now, incoming, &mut buf).unwrap();
                let peer = Peer {
                    sa,
                    name: String::new(),
                    tunnel: None,
                };
                self.peers.insert(handle, peer);
                self.drain(handle);
            }
            Some(DatagramEvent::Sa(handle, event)) => {
                if let Some(peer) = self.peers.get_mut(&handle) {
                    peer.sa.handle_event(now, event);
                    self.drain(handle);
                }
            }
            _ => {}
        }
    }

    fn drain(&mut self, handle: SaHandle) {
        let now = Instant::now();
        let mut buf = Vec::new();
        let peer = self.peers.get_mut(&handle).unwrap();
        loop {
            while let Some(transmit) = peer.sa.poll_transmit(now, &mut buf) {
                let mut datagram = Vec::new();
                if transmit.marker == NonEspMarker::Present {
                    datagram.extend_from_slice(&[0; 4]);
                }
                datagram.extend_from_slice(&buf[..transmit.size]);
                let which = usize::from(
                    transmit.path.local.port() == self.sockets[1].local_addr().unwrap().port(),
                );
                self.sockets[which]
                    .send_to(&datagram, transmit.path.remote)
                    .unwrap();
            }
            while let Some(event) = peer.sa.poll_endpoint_event() {
                self.endpoint.handle_event(handle, event);
            }
            match peer.sa.poll_event() {
                Some(Event::PeerPresented(presented)) => {
                    peer.name = presented.identity().to_string();
                    if peer.name.starts_with("refused") {
                        let verdict = Verdict::Deny(DenyReason::policy("not wanted"));
                        peer.sa.admit(now, verdict).unwrap();
                    } else if !peer.name.starts_with("silent") {
                        self.next += 1;
                        let lease = Lease {
                            address: Ipv4Addr::new(10, 88, 0, self.next),
                            netmask: None,
                            dns: Vec::new(),
                        };
                        let verdict = Verdict::Admit(Grant::with_lease(lease));
                        peer.sa.admit(now, verdict).unwrap();
                    }
                }
                Some(Event::ChildInstalled(_, child)) => peer.tunnel = Some(tunnel(&child)),
                Some(Event::Lost(_)) => peer.tunnel = None,
                Some(_) => {}
                None => return,
            }
        }
    }

    fn esp(&mut self, spi: Spi, packet: &mut [u8]) {
        let found = self.peers.iter_mut().find(|(_, peer)| {
            peer.tunnel
                .as_ref()
                .is_some_and(|tunnel| tunnel.spi == spi.get())
        });
        let (&handle, peer) = found.expect("ESP of a child SA");
        let tunnel = peer.tunnel.as_mut().unwrap();
        let request = Echo::decode(tunnel.inbound.open(packet).unwrap().packet).unwrap();
        assert_eq!(
            (request.kind, request.destination),
            (EchoKind::Request, IpAddr::V4(CORE))
        );
        if peer.name.starts_with("mute") {
            return;
        }
        let reply = Echo {
            kind: EchoKind::Reply,
            source: request.destination,
            destination: request.source,
            ..request
        };
        let length = reply.encode(self.buffer.space()).unwrap();
        self.buffer.set_inner_len(length).unwrap();
        let sealed = tunnel.outbound.seal(&mut self.buffer).unwrap();
        self.sockets[1]
            .send_to(sealed.packet, tunnel.path.remote)
            .unwrap();
        if peer.name.starts_with("deleted") && request.sequence == 2 {
            peer.sa.close(Instant::now());
            self.drain(handle);
        }
    }
}

fn tunnel(child: &ChildSa) -> Tunnel {
    let suite = match child.suite.key_bits {
        256 => Suite::Aes256Gcm16,
        _ => Suite::Aes128Gcm16,
    };
    let side = |selectors: &[TrafficSelector]| -> Vec<Selector> {
        let range = |s: &TrafficSelector| Selector::range(s.addresses.0, s.addresses.1);
        selectors.iter().map(range).collect()
    };
    let selectors =
        || Selectors::new(side(&child.local_selectors), side(&child.remote_selectors)).unwrap();
    let keys = |octets: &[u8]| SaKeys::new(suite, octets).unwrap();
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
    Tunnel {
        spi: child.inbound_spi,
        inbound: InboundSa::new(inbound),
        outbound: OutboundSa::new(outbound),
        path: child.path,
    }
}

fn devices(names: &[&str]) -> Vec<DeviceIdentity> {
    names
        .iter()
        .map(|name| DeviceIdentity::self_signed(name, "Acme", KeyKind::P256).unwrap())
        .collect()
}

fn run(plan: &FleetPlan, names: &[&str]) -> Result<henb_sim::report::FleetReport, FleetError> {
    fleet::run(
        plan,
        &devices(names),
        &Progress::default(),
        &AtomicBool::new(false),
    )
}

#[test]
fn each_device_is_counted_for_what_it_met_with() {
    let gateway = Gateway::start();
    let names = [
        "good1.test",
        "refused1.test",
        "silent1.test",
        "good2.test",
        "mute1.test",
        "deleted1.test",
    ];
    let report = run(&gateway.plan(), &names).unwrap();
    assert_eq!((report.devices, report.attempted), (6, 6));
    assert_eq!(report.established, 4);
    let refused: Vec<_> = report
        .refused
        .iter()
        .map(|(c, n)| (c.as_str(), *n))
        .collect();
    assert_eq!(refused, [("AUTHENTICATION_FAILED", 1), ("timeout", 1)]);
    let lost: Vec<_> = report.lost.iter().map(|(c, n)| (c.as_str(), *n)).collect();
    assert_eq!(lost, [("deleted-by-gateway", 1)]);
    assert_eq!((report.pings_sent, report.pings_ok), (8, 6));
    assert_eq!(report.handshake_ms.unwrap().count, 4);
    assert_eq!(report.ping_ms.unwrap().count, 6);
    assert_eq!(report.send_failures, 0);
    assert!(!report.all_well());
    assert_eq!(gateway.stop(), 0, "every device said goodbye");
}

#[test]
fn a_fleet_that_is_let_in_is_well_however_it_arrives() {
    let gateway = Gateway::start();
    let names = ["good1.test", "good2.test", "good3.test"];
    for pace in [
        Pace::Open(Arrival::Steady { rate: 200.0 }),
        Pace::Saturate { in_flight: 1 },
    ] {
        let plan = FleetPlan {
            pace,
            ..gateway.plan()
        };
        let report = run(&plan, &names).unwrap();
        assert!(report.all_well(), "{report:?}");
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_gateway_with_another_certificate_is_not_trusted() {
    let gateway = Gateway::start();
    let stranger = DeviceIdentity::self_signed("segw.test", "Acme", KeyKind::P256).unwrap();
    let plan = FleetPlan {
        trust: GatewayTrust::Pinned(HashSet::from([stranger.hash()])),
        ..gateway.plan()
    };
    let report = run(&plan, &["good1.test"]).unwrap();
    assert_eq!(report.established, 0);
    assert_eq!(report.refused.get("gateway-not-trusted"), Some(&1));
    gateway.stop();
}

#[test]
fn a_required_response_that_does_not_come_is_the_reason_for_each_device() {
    let gateway = Gateway::start();
    let plan = |required| {
        let plan = gateway.plan();
        let signer = ocsp::TrustedSigner::new(&gateway.identity.chain[0]).unwrap();
        let skew = Duration::from_secs(60);
        let staple = StaplePolicy::new(vec![signer], Vec::new(), skew).required(required);
        FleetPlan {
            profile: DeviceProfile {
                staple: Some(Arc::new(staple)),
                ..plan.profile.clone()
            },
            ..plan
        }
    };
    let names = ["good1.test", "good2.test", "good3.test"];
    let report = run(&plan(true), &names).unwrap();
    assert_eq!(report.established, 0);
    assert_eq!(report.refused["staple-missing"], 3, "{report:?}");
    // This gateway does not know RFC 4806, which is no fault.
    assert!(run(&plan(false), &names).unwrap().all_well());
    gateway.stop();
}

#[test]
fn a_stopped_fleet_says_goodbye() {
    let gateway = Gateway::start();
    let plan = FleetPlan {
        hold: Duration::from_secs(600),
        ..gateway.plan()
    };
    let stop = AtomicBool::new(false);
    let progress = Progress::default();
    let began = Instant::now();
    let report = thread::scope(|scope| {
        let names = devices(&["good1.test", "good2.test"]);
        let (plan, progress, stop) = (&plan, &progress, &stop);
        let fleet = scope.spawn(move || fleet::run(plan, &names, progress, stop));
        while progress.done.load(Ordering::Relaxed) < 2 {
            assert!(began.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        fleet.join().unwrap().unwrap()
    });
    assert!(report.all_well(), "{report:?}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn one_thread_that_gets_no_sockets_ends_the_run_with_the_reason() {
    // 40 files are enough for one thread: the other one's devices must not be waited for.
    let gateway = Gateway::start();
    let line = format!(
        "ulimit -n 40; exec {} fleet --devices 4 --threads 2 --sockets 20 --gateway {} --nat-port {} --dangerous-any-gateway",
        env!("CARGO_BIN_EXE_henb-sim"),
        gateway.ike,
        gateway.nat.port()
    );
    let (code, message) = shell(&line);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("open files"), "{message}");
    gateway.stop();
}

#[test]
fn what_cannot_be_done_is_said_with_the_right_exit_code() {
    let program = env!("CARGO_BIN_EXE_henb-sim");
    let fleet = format!("exec {program} fleet --devices 1 --dangerous-any-gateway");
    let bad = |option| {
        let line = fleet.trim_start_matches("exec ");
        format!("printf '0\\000' | {line} --gateway 127.0.0.1:9 --patience-s 0 {option} /dev/stdin")
    };
    for (line, code, part) in [
        (
            format!("{fleet} --gateway 127.0.0.1:9 --patience-s 0"),
            1,
            "timeout",
        ),
        (
            format!("{fleet} --gateway 127.0.0.1:4500"),
            2,
            "--nat-port 4500",
        ),
        (format!("{fleet} --gateway 127.0.0.1:0"), 2, "port 0"),
        (
            format!("{fleet} --gateway 127.0.0.1:9 --patience-s 0 > /dev/full"),
            1,
            "standard output",
        ),
        (
            format!("exec {program} enrol --devices 1 --organisation '' --out x"),
            2,
            "organisation",
        ),
        // Octets that begin as DER does, and are no certificate.
        (bad("--gateway-issuer"), 1, "--gateway-issuer /dev/stdin: "),
        (bad("--ocsp-signer"), 1, "--ocsp-signer /dev/stdin: "),
    ] {
        let (found, message) = shell(&line);
        assert_eq!(found, Some(code), "{line}: {message}");
        assert!(message.contains(part), "{line}: {message}");
        assert!(!message.contains("panicked"), "{line}: {message}");
    }
}

/// Runs a line for at most 30 seconds. Returns its exit code and all that it said.
fn shell(line: &str) -> (Option<i32>, String) {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
