//! A whole gateway over loopback, on ports that need no privilege, with a ledger in the test's hands;
//! and the program itself.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path as FilePath;
use std::process::{Child, Command as Process, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream;
use ikev2::{LostReason, Path};
use ledger::{
    BlockTime, CertificateHash, ChainId, Class, Height, RevocationReason, Status, StatusAnswer,
    StatusEvent,
};
use ledger_client::{BoxFuture, EventStream, Source, SourceError, StreamItem};
use segw_sim::config::Config;
use segw_sim::control::{self, Request, Which};
use segw_sim::gateway::{Gateway, StartError};
use tokio::sync::broadcast;

use crate::device::{Card, Device};

const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// A ledger of which the test says what it says.
pub(crate) struct Ledger {
    statuses: Mutex<HashMap<CertificateHash, Status>>,
    height: Mutex<u64>,
    events: broadcast::Sender<StreamItem>,
    down: Mutex<bool>,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            statuses: Mutex::default(),
            height: Mutex::new(1),
            events: broadcast::Sender::new(16),
            down: Mutex::new(false),
        })
    }

    pub(crate) fn set(&self, hash: CertificateHash, status: Status) {
        self.statuses.lock().unwrap().insert(hash, status);
        let mut height = self.height.lock().unwrap();
        *height += 1;
        // Nobody may be following yet.
        drop(self.events.send(StreamItem::Event(StatusEvent {
            height: Height(*height),
            index: 0,
            hash,
            status,
        })));
        drop(self.events.send(StreamItem::Head(Height(*height))));
    }
}

pub(crate) struct Scripted(pub(crate) Arc<Ledger>);

impl Source for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(async move {
            if *self.0.down.lock().unwrap() {
                return Err(SourceError::Connect {
                    detail: "the test stopped it".to_owned(),
                });
            }
            let status = self.0.statuses.lock().unwrap().get(&hash).copied();
            Ok(StatusAnswer {
                hash,
                class: status.is_some().then_some(Class::Device),
                status: status.unwrap_or(Status::NotRecorded),
                not_after: None,
                height: Height(*self.0.height.lock().unwrap()),
                block_time: BlockTime(1),
                chain: ChainId::from_octets([7; 32]),
            })
        })
    }

    fn events(&self, _from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(async move {
            let head = StreamItem::Head(Height(*self.0.height.lock().unwrap()));
            let follow = stream::unfold(
                (Some(head), self.0.events.subscribe()),
                |(first, mut receiver)| async move {
                    let item = match first {
                        Some(item) => item,
                        None => receiver.recv().await.ok()?,
                    };
                    Some((Ok(item), (None, receiver)))
                },
            );
            Ok(Box::pin(follow) as EventStream)
        })
    }
}

pub(crate) fn config(folder: &FilePath, workers: u8) -> Config {
    let text = format!(
        r#"
[listen]
address = "127.0.0.1"
port = 0
nat_port = 0
workers = {workers}
[identity]
id = "segw.lab.test"
certificate = "segw.pem"
key = "segw.key"
[ledger]
nodes = ["http://127.0.0.1:1"]
negative_ttl_s = 0
[pool]
network = "10.88.0.0/24"
dns = ["10.99.0.1"]
[child]
local = ["10.99.0.0/24"]
[esp]
core = ["10.99.0.1"]
[metrics]
listen = "127.0.0.1:0"
[control]
socket = "segw.sock"
"#
    );
    Config::parse(&folder.join("segw.toml"), &text).unwrap()
}

/// A device with its own two sockets on loopback.
pub(crate) struct Wired {
    pub(crate) device: Device,
    ike: UdpSocket,
    pub(crate) nat: UdpSocket,
}

impl Wired {
    pub(crate) fn connect(gateway: &Gateway, card: &Card, initial_contact: bool) -> Self {
        Self::connect_to(
            gateway.ike_address(),
            gateway.nat_address(),
            card,
            initial_contact,
        )
    }

    fn connect_to(
        ike_address: SocketAddr,
        nat_address: SocketAddr,
        card: &Card,
        initial_contact: bool,
    ) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            socket
        };
        let (ike, nat) = (socket(), socket());
        let ports = (
            ike.local_addr().unwrap().port(),
            nat.local_addr().unwrap().port(),
        );
        let local = ike.local_addr().unwrap().ip();
        let device = Device::connect(
            Instant::now(),
            card,
            local,
            ports,
            ike_address,
            nat_address.port(),
            initial_contact,
        );
        let mut wired = Self { device, ike, nat };
        wired.run(|device| device.established || device.lost.is_some());
        wired
    }

    /// Carries datagrams until `done`, or for five seconds.
    pub(crate) fn run(&mut self, done: impl Fn(&Device) -> bool) {
        let end = Instant::now() + Duration::from_secs(5);
        let mut buffer = vec![0; 65_535];
        while !done(&self.device) {
            assert!(
                Instant::now() < end,
                "nothing came in five seconds: {:?}",
                self.device.lost
            );
            for (from, to, datagram) in std::mem::take(&mut self.device.out) {
                self.socket(from).send_to(&datagram, to).unwrap();
            }
            for which in [&self.ike, &self.nat] {
                match which.recv_from(&mut buffer) {
                    Ok((length, remote)) => {
                        let path = Path {
                            local: which.local_addr().unwrap(),
                            remote,
                        };
                        self.device
                            .receive(Instant::now(), path, &mut buffer[..length]);
                    }
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                        "{error}"
                    ),
                }
            }
            self.device.timeout(Instant::now());
        }
        // The last word too, an answer to a Delete perhaps.
        for (from, to, datagram) in std::mem::take(&mut self.device.out) {
            self.socket(from).send_to(&datagram, to).unwrap();
        }
    }

    fn socket(&self, from: SocketAddr) -> &UdpSocket {
        if from == self.nat.local_addr().unwrap() {
            &self.nat
        } else {
            &self.ike
        }
    }
}

pub(crate) fn start(config: &Config, ledger: &Arc<Ledger>) -> Result<Gateway, StartError> {
    let credential = Arc::new(Card::new("segw.lab.test").credential());
    Gateway::start(
        config,
        credential,
        vec![Arc::new(Scripted(Arc::clone(ledger)))],
    )
}

pub(crate) fn revoked() -> Status {
    Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(2),
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: segw\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn devices_connect_ping_are_revoked_and_the_gateway_stops_with_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), 3);
    let ledger = Ledger::new();
    let gateway = start(&config, &ledger).unwrap();
    let socket = config.control.as_deref().unwrap();

    // Enough devices that every worker gets some, and datagrams for the others to hand on.
    let cards: Vec<Card> = (0..8)
        .map(|i| Card::new(&format!("henb{i}.lab.test")))
        .collect();
    let mut devices: Vec<Wired> = Vec::new();
    for card in &cards {
        ledger.set(card.hash(), Status::Valid);
        let mut wired = Wired::connect(&gateway, card, false);
        assert!(wired.device.established, "{:?}", wired.device.lost);
        for sequence in 1..=3 {
            wired.device.ping(CORE, sequence);
        }
        wired.run(|device| device.pongs.len() == 3);
        devices.push(wired);
    }
    let (items, count) = control::ask(socket, &Request::List {}).unwrap();
    assert_eq!(count, 8);
    assert!(
        items
            .iter()
            .all(|item| item["packets_in"] == 3 && item["packets_out"] == 3),
        "{items:?}"
    );

    // Not recorded: refused.
    let stranger = Wired::connect(&gateway, &Card::new("stranger.lab.test"), false);
    assert!(!stranger.device.established);
    // No answer from the ledger: refused. Whoever is in stays in.
    *ledger.down.lock().unwrap() = true;
    let late = Card::new("late.lab.test");
    assert!(!Wired::connect(&gateway, &late, false).device.established);
    *ledger.down.lock().unwrap() = false;
    ledger.set(late.hash(), Status::Valid);
    assert!(
        Wired::connect(&gateway, &late, false).device.established,
        "without a restart"
    );

    // Revoked while its tunnel is up: the Delete comes, and soon.
    ledger.set(cards[2].hash(), revoked());
    let since = Instant::now();
    devices[2].run(|device| device.lost.is_some());
    assert!(matches!(
        devices[2].device.lost,
        Some(LostReason::PeerDeleted)
    ));
    assert!(since.elapsed() < Duration::from_secs(1));

    // The operator closes one.
    let which = Which::Identity(cards[3].name.clone());
    assert_eq!(
        control::ask(socket, &Request::Close { which }).unwrap().1,
        1
    );
    devices[3].run(|device| device.lost.is_some());

    let text = get(gateway.metrics_address().unwrap(), "/metrics");
    for line in [
        "ledgate_segw_sim_handshakes_established_total 9",
        "ledgate_segw_sim_handshakes_refused_total{reason=\"not-recorded\"} 1",
        "ledgate_segw_sim_handshakes_refused_total{reason=\"ledger-unavailable\"} 1",
        "ledgate_segw_sim_revocation_closes_total 1",
        "ledgate_segw_sim_esp_in_packets_total 24",
        "ledgate_segw_sim_ledger_unavailable_total 1",
        "ledgate_segw_sim_ledger_stream_up 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(get(gateway.metrics_address().unwrap(), "/health").starts_with("HTTP/1.1 200"));
    assert!(get(gateway.metrics_address().unwrap(), "/").starts_with("HTTP/1.1 404"));

    // A second gateway cannot quietly share the ports or the socket.
    let mut second = config.clone();
    second.metrics = None;
    let error = start(&second, &ledger).unwrap_err().to_string();
    assert!(error.contains("another gateway"), "{error}");
    second.control = None;
    second.listen.port = gateway.ike_address().port();
    let error = start(&second, &ledger).unwrap_err().to_string();
    assert!(error.contains("cannot listen on UDP 127.0.0.1"), "{error}");

    let mut last = devices.pop().unwrap();
    let waiting = std::thread::spawn(move || {
        last.run(|device| device.lost.is_some());
        last.device.lost
    });
    gateway.stop();
    assert!(matches!(
        waiting.join().unwrap(),
        Some(LostReason::PeerDeleted)
    ));
    assert!(!socket.exists());
}

#[test]
fn a_reconnect_with_initial_contact_leaves_one_sa_with_the_same_address() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), 2);
    let ledger = Ledger::new();
    let gateway = start(&config, &ledger).unwrap();
    let card = Card::new("henb1.lab.test");
    ledger.set(card.hash(), Status::Valid);
    let first = Wired::connect(&gateway, &card, false);
    // More than once, so that old and new are in different shards at least once.
    for _ in 0..6 {
        let mut again = Wired::connect(&gateway, &card, true);
        assert_eq!(again.device.inner, first.device.inner);
        again.device.ping(CORE, 1);
        again.run(|device| device.pongs.len() == 1);
    }
    let end = Instant::now() + Duration::from_secs(2);
    while gateway.sas().len() != 1 {
        assert!(Instant::now() < end, "{:?}", gateway.sas());
        std::thread::sleep(Duration::from_millis(5));
    }
    gateway.stop();
}

#[test]
fn what_no_event_tells_is_found_by_asking_again_and_an_outage_throws_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 1);
    config.ledger.ttl = Duration::from_secs(1);
    let ledger = Ledger::new();
    let gateway = start(&config, &ledger).unwrap();
    let card = Card::new("henb1.lab.test");
    ledger.set(card.hash(), Status::Valid);
    let mut wired = Wired::connect(&gateway, &card, false);
    assert!(wired.device.established);

    // Nobody can be asked: the tunnel stays, longer than answers live.
    *ledger.down.lock().unwrap() = true;
    std::thread::sleep(Duration::from_millis(2500));
    wired.device.ping(CORE, 1);
    wired.run(|device| device.pongs.len() == 1);

    // The certificate expires, which is no event.
    ledger
        .statuses
        .lock()
        .unwrap()
        .insert(card.hash(), Status::Expired);
    *ledger.down.lock().unwrap() = false;
    wired.run(|device| device.lost.is_some());
    assert!(matches!(wired.device.lost, Some(LostReason::PeerDeleted)));
    gateway.stop();
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It is gone already where the test went well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn segw_sim(arguments: &[&str]) -> Output {
    Process::new(env!("CARGO_BIN_EXE_segw-sim"))
        .args(arguments)
        .output()
        .unwrap()
}

fn write_files(folder: &FilePath) -> String {
    let card = rcgen::generate_simple_self_signed(vec!["segw.lab.test".to_owned()]).unwrap();
    fs::write(folder.join("segw.pem"), card.cert.pem()).unwrap();
    fs::write(folder.join("segw.key"), card.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("segw.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.join("segw.toml");
    let text = "[listen]\naddress = \"127.0.0.1\"\nport = 0\nnat_port = 0\n\
        [identity]\nid = \"segw.lab.test\"\ncertificate = \"segw.pem\"\nkey = \"segw.key\"\n\
        [ledger]\nnodes = [\"http://127.0.0.1:1\"]\ndeadline_ms = 300\n\
        [pool]\nnetwork = \"10.88.0.0/24\"\n[child]\nlocal = [\"10.99.0.0/24\"]\n\
        [esp]\ncore = [\"10.99.0.1\"]\n[control]\nsocket = \"segw.sock\"\n";
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_program_runs_is_asked_and_stops_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_files(folder.path());
    let socket = folder.path().join("segw.sock");
    let socket_name = socket.to_str().unwrap();
    let child = Process::new(env!("CARGO_BIN_EXE_segw-sim"))
        .args(["run", "--config", &file, "--log-format", "json"])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    let mut log = BufReader::new(program.0.stderr.take().unwrap()).lines();
    let listening: serde_json::Value = loop {
        let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
        if line["message"] == "listening" {
            break line;
        }
    };
    let address =
        |field: &str| -> SocketAddr { listening[field].as_str().unwrap().parse().unwrap() };

    let output = segw_sim(&["sas", "--control", socket_name, "--json"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]");
    let output = segw_sim(&["close", "--control", socket_name, "--identity", "nobody"]);
    assert_eq!(output.status.code(), Some(1));

    // Nobody answers at the ledger's address: fail closed, with the reason in the log.
    let card = Card::new("henb1.lab.test");
    let wired = Wired::connect_to(address("ike"), address("nat"), &card, false);
    assert!(!wired.device.established);
    let refused = log
        .find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.contains("\"message\":\"refused\""))
        })
        .unwrap()
        .unwrap();
    for part in [
        "ledger unavailable",
        "henb1.lab.test",
        "127.0.0.1:",
        &card.hash().to_string(),
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let output = segw_sim(&["counters", "--control", socket_name]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"ledger-unavailable\":1"));

    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
    let output = segw_sim(&["sas", "--control", socket_name]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the gateway running"));
}

#[test]
fn bad_input_on_the_command_line_gets_one_message_and_the_right_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_files(folder.path());
    let output = segw_sim(&["check-config", "--config", &file]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let full = Process::new(env!("CARGO_BIN_EXE_segw-sim"))
        .args(["check-config", "--config", &file])
        .stdout(fs::File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(1));
    let message = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(message.contains("standard output"), "{message}");

    assert_eq!(segw_sim(&["run"]).status.code(), Some(2));
    assert_eq!(
        segw_sim(&["close", "--control", "x", "--all", "--id", "1"])
            .status
            .code(),
        Some(2)
    );

    fs::set_permissions(
        folder.path().join("segw.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    for verb in ["check-config", "run"] {
        let output = segw_sim(&[verb, "--config", &file]);
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            message.contains("segw.key") && message.contains("chmod 600"),
            "{message}"
        );
    }
    fs::write(
        &file,
        fs::read_to_string(&file)
            .unwrap()
            .replace("[pool]", "[pol]"),
    )
    .unwrap();
    let output = segw_sim(&["check-config", "--config", &file]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("segw.toml:12") && message.contains("unknown field `pol`"),
        "{message}"
    );
}
