//! The whole bridge before a scripted ledger node.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use ledger::{
    BlockTime, CertificateHash, ChainId, Height, RevocationReason, Status, StatusAnswer,
    StatusEvent,
};
use ocsp::{Response, UnixTime};
use ocsp_bridge::bridge::Bridge;
use ocsp_bridge::config::Config;
use ocsp_bridge::{CertId, HashAlgorithm};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::stage::{Client, PATIENCE, Reply, post, request, request_with, signer, tlv};

/// What the node holds.
#[derive(Default)]
pub(crate) struct Book {
    height: u64,
    /// By the last part of the path: the serial number.
    index: HashMap<String, (Vec<CertificateHash>, bool)>,
    statuses: HashMap<CertificateHash, Status>,
    certificates: HashMap<CertificateHash, Vec<u8>>,
    events: Vec<StatusEvent>,
    asked: Vec<String>,
    /// Of every certificate.
    not_after: Option<u64>,
}

/// A ledger node that knows what a test tells it.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    book: Arc<Mutex<Book>>,
    pub(crate) serving: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(address: SocketAddr, book: Arc<Mutex<Book>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&book);
        // The connections end with the task that holds them.
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            book,
            serving,
        }
    }

    pub(crate) fn record(&self, serial: u8, hash: CertificateHash) {
        let mut book = self.book.lock().unwrap();
        book.index
            .entry(format!("{serial:02x}"))
            .or_insert_with(|| (Vec::new(), true))
            .0
            .push(hash);
        drop(book);
        self.change(hash, Status::Valid);
    }

    /// Records a certificate with the name and key that `request` asks for, and this serial number.
    fn record_certificate(&self, serial: u8, signature: u8) -> CertificateHash {
        let tbs = [tlv(2, &[serial]), tlv(0x30, &[]), tlv(0x30, &[])].concat();
        let der = tlv(0x30, &[tlv(0x30, &tbs), vec![signature]].concat());
        let hash = CertificateHash::of(&der);
        self.book.lock().unwrap().certificates.insert(hash, der);
        self.record(serial, hash);
        hash
    }

    fn change(&self, hash: CertificateHash, status: Status) {
        let mut book = self.book.lock().unwrap();
        book.height += 1;
        book.statuses.insert(hash, status);
        let event = StatusEvent {
            height: Height(book.height),
            index: 0,
            hash,
            status,
        };
        book.events.push(event);
    }

    fn asked(&self) -> usize {
        self.book.lock().unwrap().asked.len()
    }
}

async fn connection(mut stream: TcpStream, book: Arc<Mutex<Book>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(octet) = stream.read_u8().await else {
            return;
        };
        head.push(octet);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    if let Some(from) = path.strip_prefix("/v1/events?from=") {
        let from: u64 = from.trim_end_matches("&follow=true").parse().unwrap();
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            .await;
        let mut sent = 0;
        loop {
            let mut lines = String::new();
            {
                let book = book.lock().unwrap();
                for event in book
                    .events
                    .iter()
                    .skip(sent)
                    .filter(|event| event.height.0 >= from)
                {
                    lines += &format!("{}\n", serde_json::to_string(event).unwrap());
                }
                sent = book.events.len();
                lines += &format!("{{\"head\":{}}}\n", book.height);
            }
            if stream.write_all(lines.as_bytes()).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    let body = answer(&path, &book);
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

fn answer(path: &str, book: &Mutex<Book>) -> Option<Vec<u8>> {
    let mut book = book.lock().unwrap();
    book.asked.push(path.to_owned());
    if let Some(rest) = path.strip_prefix("/v1/certid/") {
        let parts: Vec<&str> = rest.split('/').collect();
        assert_eq!(
            (parts.len(), parts[0], parts[1].len(), parts[2].len()),
            (4, "sha1", 40, 40)
        );
        let (hashes, served) = book
            .index
            .get(parts[3])
            .cloned()
            .unwrap_or_else(|| (Vec::new(), parts[3] < "70"));
        let height = book.height;
        return Some(
            serde_json::json!({"hashes": hashes, "issuer_served": served, "height": height, "block_time": BLOCK_TIME})
                .to_string()
                .into_bytes(),
        );
    }
    if let Some(hash) = path.strip_prefix("/v1/certificate/") {
        return book.certificates.get(&hash.parse().unwrap()).cloned();
    }
    let hash: CertificateHash = path.strip_prefix("/v1/status/")?.parse().unwrap();
    let answer = StatusAnswer {
        hash,
        status: book
            .statuses
            .get(&hash)
            .copied()
            .unwrap_or(Status::NotRecorded),
        class: None,
        not_after: book.not_after,
        height: Height(book.height),
        block_time: BLOCK_TIME,
        chain: ChainId::from_octets([3; 32]),
    };
    Some(serde_json::to_vec(&answer).unwrap())
}

/// What an OCSP response says of a serial number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Says {
    Good,
    Revoked,
    Error(u8),
}

pub(crate) fn says(reply: &Reply, serial: u8) -> Says {
    let id = CertId::encode(HashAlgorithm::Sha1, b"\x30\x00", b"key", &[serial]);
    match reply.ocsp_status().unwrap() {
        0 => {
            let at = reply
                .body
                .windows(id.len())
                .position(|octets| octets == id)
                .unwrap();
            match reply.body[at + id.len()] {
                0x80 => Says::Good,
                0xa1 => Says::Revoked,
                other => panic!("status tag {other:02x}"),
            }
        }
        error => Says::Error(error),
    }
}

pub(crate) async fn ask(address: SocketAddr, serial: u8) -> Says {
    let mut client = Client::connect(address).await;
    client.send(&post(&request(serial))).await;
    says(&client.reply(true).await.unwrap(), serial)
}

pub(crate) async fn becomes(address: SocketAddr, serial: u8, expected: Says) -> Duration {
    let began = Instant::now();
    loop {
        let says = ask(address, serial).await;
        if says == expected {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{serial}: {says:?}, not {expected:?}"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn operations(bridge: &Bridge, path: &str) -> (u16, String) {
    let mut client = Client::connect(bridge.metrics_address().unwrap()).await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .await;
    let reply = client.reply(true).await.unwrap();
    (reply.status, String::from_utf8(reply.body).unwrap())
}

pub(crate) async fn until_ready(bridge: &Bridge, ready: bool) -> String {
    let began = Instant::now();
    loop {
        let (status, text) = operations(bridge, "/ready").await;
        if (status == 200) == ready {
            return text;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn write_signer(folder: &Path, name: &str) -> Vec<u8> {
    let (certificate, key) = signer();
    fs::write(folder.join(format!("{name}.pem")), &certificate).unwrap();
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    certificate
}

pub(crate) fn config(folder: &Path, node: SocketAddr, signer: &str) -> Config {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[signer]\ncertificate = \"{signer}.pem\"\nkey = \"{signer}.key\"\n\
         [ledger]\nnodes = [\"http://{node}\"]\ndeadline_ms = 500\n[metrics]\nlisten = \"127.0.0.1:0\"\n"
    );
    Config::parse(&folder.join("bridge.toml"), &text).unwrap()
}

/// The time of every block of a [`Node`].
const BLOCK_TIME: BlockTime = BlockTime(1_700_000_000_000);

pub(crate) const ANY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test]
async fn this_update_is_the_blocks_time_and_a_good_answer_ends_with_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    write_signer(folder.path(), "signer");
    let node = Node::start(ANY, Arc::default()).await;
    let device = CertificateHash::from_octets([1; 32]);
    node.record(1, device);
    node.record(6, CertificateHash::from_octets([6; 32]));
    node.record(6, CertificateHash::from_octets([66; 32]));
    let now = UnixTime::from(SystemTime::now());
    let end = now.plus(Duration::from_secs(20));
    node.book.lock().unwrap().not_after = Some(end.0);
    let bridge = Bridge::start(config(folder.path(), node.address, "signer"))
        .await
        .unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    let times = async |serial| {
        let mut client = Client::connect(address).await;
        client.send(&post(&request(serial))).await;
        let reply = client.reply(true).await.unwrap();
        let response = Response::decode(&reply.body).unwrap();
        let single = &response.singles[0];
        assert_eq!(single.this_update, UnixTime::from(BLOCK_TIME), "{serial}");
        single.next_update.unwrap()
    };
    // The last second in which it is valid is the last in which it is called good.
    assert_eq!(times(1).await, end.plus(Duration::from_secs(1)));
    // Not recorded, and ambiguous: the lifetime that is configured.
    for serial in [5, 6] {
        assert!(times(serial).await >= now.plus(Duration::from_secs(60)));
    }
    // By an event: since when it is so.
    let revoked = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BLOCK_TIME,
    };
    node.change(device, revoked);
    becomes(address, 1, Says::Revoked).await;
    assert!(times(1).await >= now.plus(Duration::from_secs(60)));
    bridge.stop().await;
}

#[tokio::test]
async fn the_bridge_follows_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    write_signer(folder.path(), "signer");
    let node = Node::start(ANY, Arc::default()).await;
    let device = CertificateHash::from_octets([1; 32]);
    node.record(1, device);
    let bridge = Bridge::start(config(folder.path(), node.address, "signer"))
        .await
        .unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;

    // Recorded: good, and asked for once.
    assert_eq!(ask(address, 1).await, Says::Good);
    let asked = node.asked();
    assert_eq!(ask(address, 1).await, Says::Good);
    assert_eq!(node.asked(), asked);
    // Even with nonces: the ledger's answer is remembered, only the signature is new.
    let mut client = Client::connect(address).await;
    for nonce in [[1; 32], [2; 32]] {
        client.send(&post(&request_with(1, &nonce))).await;
        let reply = client.reply(true).await.unwrap();
        assert_eq!(says(&reply, 1), Says::Good);
        assert!(reply.body.windows(32).any(|octets| octets == nonce));
    }
    assert_eq!(node.asked(), asked);

    // Revoked: the cached answer is dropped by the event.
    let revoked = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(1_700_000_000_000),
    };
    node.change(device, revoked);
    let delay = becomes(address, 1, Says::Revoked).await;
    assert!(delay < Duration::from_secs(2), "{delay:?}");

    // Not recorded: revoked. Recorded meanwhile: good at once, though that answer was signed for a minute.
    assert_eq!(ask(address, 5).await, Says::Revoked);
    node.record(5, CertificateHash::from_octets([5; 32]));
    let delay = becomes(address, 5, Says::Good).await;
    assert!(delay < Duration::from_secs(2), "{delay:?}");

    // Of an issuer that is not served: unauthorized.
    assert_eq!(ask(address, 0x7f).await, Says::Error(6));

    // Two certificates with one CertID: revoked, and shown.
    node.record(6, CertificateHash::from_octets([6; 32]));
    node.record(6, CertificateHash::from_octets([66; 32]));
    assert_eq!(ask(address, 6).await, Says::Revoked);
    let (_, text) = operations(&bridge, "/metrics").await;
    for line in [
        "ledgate_ocsp_bridge_look_ups_total{result=\"ambiguous\"} 1",
        "ledgate_ocsp_bridge_look_ups_total{result=\"foreign-issuer\"} 1",
        "ledgate_ocsp_bridge_certificates_ambiguous_total 1",
        "ledgate_ocsp_bridge_ledger_stream_up 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    bridge.stop().await;
    node.serving.abort();
}

#[tokio::test]
async fn without_the_ledger_it_is_not_ready_and_says_try_later() {
    let folder = tempfile::tempdir().unwrap();
    write_signer(folder.path(), "signer");
    let book = Arc::new(Mutex::new(Book::default()));
    let node = Node::start(ANY, Arc::clone(&book)).await;
    let address = node.address;
    node.record(1, CertificateHash::from_octets([1; 32]));
    let bridge = Bridge::start(config(folder.path(), address, "signer"))
        .await
        .unwrap();
    let ocsp = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    assert_eq!(
        operations(&bridge, "/health").await,
        (200, "ok\n".to_owned())
    );
    node.serving.abort();
    let why = until_ready(&bridge, false).await;
    assert!(why.contains("the ledger is out of reach"), "{why}");
    assert_eq!(operations(&bridge, "/health").await.0, 200);
    assert_eq!(ask(ocsp, 1).await, Says::Error(3));
    // It comes back by itself.
    let node = Node::start(address, book).await;
    until_ready(&bridge, true).await;
    assert_eq!(ask(ocsp, 1).await, Says::Good);
    bridge.stop().await;
    node.serving.abort();
}

#[tokio::test]
async fn signers_are_rotated_without_a_lost_request() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_signer(folder.path(), "first");
    let second = write_signer(folder.path(), "second");
    let node = Node::start(ANY, Arc::default()).await;
    node.record(1, CertificateHash::from_octets([1; 32]));
    let bridge = Bridge::start(config(folder.path(), node.address, "first"))
        .await
        .unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    let mut client = Client::connect(address).await;
    let mut signed_by = async |certificate: &[u8]| {
        client.send(&post(&request(1))).await;
        let reply = client.reply(true).await.unwrap();
        assert_eq!(says(&reply, 1), Says::Good);
        reply
            .body
            .windows(certificate.len())
            .any(|octets| octets == certificate)
    };
    assert!(signed_by(&first).await);
    bridge
        .reload(config(folder.path(), node.address, "second"))
        .await
        .unwrap();
    assert!(signed_by(&second).await);
    // A signer that cannot be used changes nothing.
    fs::copy(
        folder.path().join("first.pem"),
        folder.path().join("bad.pem"),
    )
    .unwrap();
    fs::copy(
        folder.path().join("second.key"),
        folder.path().join("bad.key"),
    )
    .unwrap();
    let error = bridge
        .reload(config(folder.path(), node.address, "bad"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("bad.pem") && error.contains("not for this private key"),
        "{error}"
    );
    assert!(signed_by(&second).await);
    let (_, text) = operations(&bridge, "/metrics").await;
    assert!(text.contains("ledgate_ocsp_bridge_reloads_total 1\n"));
    assert!(text.contains("ledgate_ocsp_bridge_reloads_refused_total 1\n"));
    bridge.stop().await;
    node.serving.abort();
}

#[tokio::test]
async fn a_second_certificate_with_the_same_cert_id_ends_a_good_answer_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_signer(folder.path(), "signer");
    let node = Node::start(ANY, Arc::default()).await;
    node.record_certificate(1, 1);
    let bridge = Bridge::start(config(folder.path(), node.address, "signer"))
        .await
        .unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    assert_eq!(ask(address, 1).await, Says::Good);
    // Of the same issuer, with another serial number: no matter.
    node.record_certificate(2, 1);
    assert_eq!(ask(address, 2).await, Says::Good);
    assert_eq!(ask(address, 1).await, Says::Good);
    node.record_certificate(1, 2);
    let delay = becomes(address, 1, Says::Revoked).await;
    assert!(delay < Duration::from_secs(2), "{delay:?}");
    assert_eq!(ask(address, 2).await, Says::Good);
    let (_, text) = operations(&bridge, "/metrics").await;
    assert!(text.contains("ledgate_ocsp_bridge_certificates_ambiguous_total 1\n"));
    bridge.stop().await;
    node.serving.abort();
}

#[tokio::test]
async fn without_the_stream_a_long_lived_answer_ends_with_what_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    write_signer(folder.path(), "signer");
    let node = Node::start(ANY, Arc::default()).await;
    node.record(1, CertificateHash::from_octets([1; 32]));
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[signer]\ncertificate = \"signer.pem\"\nkey = \"signer.key\"\n\
         [ledger]\nnodes = [\"http://{}\"]\ndeadline_ms = 500\nttl_s = 2\n[answers]\nlifetime_s = 3600\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n",
        node.address
    );
    let config = Config::parse(&folder.path().join("bridge.toml"), &text).unwrap();
    let bridge = Bridge::start(config).await.unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    assert_eq!(ask(address, 1).await, Says::Good);
    node.serving.abort();
    // The answer would be given again for half an hour.
    let delay = becomes(address, 1, Says::Error(3)).await;
    assert!(delay < Duration::from_secs(10), "{delay:?}");
    bridge.stop().await;
}
