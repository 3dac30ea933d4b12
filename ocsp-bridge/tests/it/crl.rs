//! CRLs from the whole bridge before a scripted ledger node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger::{
    BlockTime, CertificateHash, ChainId, Height, RevocationCursor, RevocationEntry, RevocationPage,
    RevocationReason,
};
use ocsp_bridge::bridge::Bridge;
use ocsp_bridge::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::stage::{Client, PATIENCE, Reply, signer};

/// What the node says; nothing at all when it is down.
#[derive(Default)]
struct Book {
    down: bool,
    unknown: bool,
    entries: Vec<RevocationEntry>,
    /// The node forgot blocks, as one that was restored from a backup.
    behind: u64,
    pages: usize,
}

impl Book {
    fn page(&mut self, after: RevocationCursor) -> RevocationPage {
        self.pages += 1;
        let height = Height(self.entries.len() as u64 - self.behind);
        let entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.changed > after.height && entry.changed <= height)
            .take(2)
            .cloned()
            .collect();
        let reached = entries.last().map_or(height, |entry| entry.changed);
        RevocationPage {
            complete: reached >= height,
            next: if reached >= height {
                RevocationCursor::end_of(height.max(after.height))
            } else {
                RevocationCursor {
                    height: reached,
                    hash: entries.last().map(|entry| entry.hash),
                }
            },
            entries,
            issuer_served: !self.unknown,
            height,
            block_time: BlockTime(1_000),
            chain: ChainId::from_octets([7; 32]),
        }
    }

    fn revoke(&mut self, serial: u8) {
        self.entries.push(RevocationEntry {
            hash: CertificateHash::from_octets([serial; 32]),
            serial: vec![serial],
            reason: RevocationReason::KeyCompromise,
            time: BlockTime(1_000),
            not_after: u64::from(u32::MAX),
            changed: Height(self.entries.len() as u64 + 1),
        });
    }
}

async fn node(book: Arc<Mutex<Book>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(connection(stream, Arc::clone(&book)));
        }
    });
    (url, serving)
}

/// One request of each connection is answered; the stream of events is not there at all.
async fn connection(mut stream: TcpStream, book: Arc<Mutex<Book>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let (status, body) = match path.split_once("/revoked?after=") {
        Some((_, after)) if !book.lock().unwrap().down => {
            let page = book.lock().unwrap().page(after.parse().unwrap());
            (200, serde_json::to_string(&page).unwrap())
        }
        _ => (503, String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _gone = stream.write_all(answer.as_bytes()).await;
}

/// A bridge with one `[[crl]]`, whose lines begin with `more`; and the URL's hash.
async fn bridge(folder: &Path, node: &str, more: &str) -> (Bridge, String) {
    let (certificate, key) = signer();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyCertSign,
        rcgen::KeyUsagePurpose::CrlSign,
    ];
    let ca = params.self_signed(&ca_key).unwrap();
    for (name, octets) in [
        ("signer.der", certificate),
        ("signer.key", key),
        ("ca.der", ca.der().to_vec()),
        ("ca.key", ca_key.serialize_der()),
    ] {
        let path = folder.join(name);
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\npath = \"/pki\"\n[signer]\ncertificate = \"signer.der\"\nkey = \"signer.key\"\n[ledger]\nnodes = [\"{node}\"]\nttl_s = 2\n[[crl]]\nissuer = \"ca.der\"\ncertificate = \"ca.der\"\nkey = \"ca.key\"\nlifetime_s = 10\n{more}"
    );
    let config = Config::parse(&folder.join("bridge.toml"), &text).unwrap();
    let bridge = Bridge::start(config).await.unwrap();
    let hash = ledger::HashAlgorithm::Sha1.hash(
        ledger::ParsedCertificate::parse(ca.der())
            .unwrap()
            .public_key(),
    );
    let hash = hash.iter().map(|octet| format!("{octet:02x}")).collect();
    (bridge, hash)
}

async fn get(bridge: &Bridge, method: &str, path: &str, lines: &str) -> Reply {
    let mut client = Client::connect(bridge.addresses()[0]).await;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    client.send(head.as_bytes()).await;
    client.reply(method != "HEAD").await.unwrap()
}

/// Asks until the answer is as wanted.
async fn until(bridge: &Bridge, path: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let reply = get(bridge, "GET", path, "").await;
        if wanted(&reply) {
            return reply;
        }
        assert!(tokio::time::Instant::now() < end, "{reply:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a CRL has an entry for a serial number of one octet.
fn has(reply: &Reply, serial: u8) -> bool {
    reply.status == 200
        && reply
            .body
            .windows(5)
            .any(|five| five == [0x02, 1, serial, 0x17, 0x0d])
}

#[tokio::test]
async fn a_crl_is_served_as_http_wants_it_and_follows_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let book = Arc::new(Mutex::new(Book::default()));
    for serial in 1..=5 {
        book.lock().unwrap().revoke(serial);
    }
    let (url, serving) = node(Arc::clone(&book)).await;
    let (bridge, hash) = bridge(folder.path(), &url, "").await;
    let path = format!("/pki/crl/{hash}.crl");
    let whole = until(&bridge, &path, |reply| has(reply, 5)).await;
    assert!((1..=5).all(|serial| has(&whole, serial)) && !has(&whole, 6));
    assert!(book.lock().unwrap().pages >= 3, "two entries a page");
    assert_eq!(whole.header("content-type"), Some("application/pkix-crl"));
    // It may be issued anew between two requests.
    let mut unchanged = None;
    for _ in 0..3 {
        let reply = get(&bridge, "GET", &path, "").await;
        let etag = reply.header("etag").unwrap().to_owned();
        let head = get(&bridge, "HEAD", &path, "").await;
        let same = format!("If-None-Match: {etag}\r\n");
        let again = get(&bridge, "GET", &path, &same).await;
        if again.status == 304 {
            assert!(again.body.is_empty());
            assert_eq!(head.header("etag"), Some(&*etag));
            assert_eq!(
                head.header("content-length").unwrap(),
                reply.body.len().to_string()
            );
            unchanged = Some(());
            break;
        }
    }
    unchanged.unwrap();
    for (method, path, status) in [
        ("POST", path.clone(), 405),
        ("GET", format!("/pki/crl/{}.crl", "00".repeat(20)), 404),
        ("GET", format!("/pki/crl/{hash}"), 404),
        ("GET", format!("/crl/{hash}.crl"), 404),
        ("GET", format!("/pki/crl/{hash}.delta.crl"), 200),
        ("GET", format!("/pki/crl/{hash}.delta.crl?base=x"), 400),
        ("GET", format!("/pki/crl/{hash}.delta.crl?base=1"), 404),
    ] {
        let reply = get(&bridge, method, &path, "").await;
        assert_eq!(reply.status, status, "{method} {path}");
    }
    // No event tells of it: the list is asked for anyway.
    book.lock().unwrap().revoke(6);
    let newer = until(&bridge, &path, |reply| has(reply, 6)).await;
    assert!(has(&newer, 1));
    bridge.stop().await;
    serving.abort();
}

#[tokio::test]
async fn nothing_is_served_that_the_node_does_not_vouch_for() {
    let folder = tempfile::tempdir().unwrap();
    let book = Arc::new(Mutex::new(Book::default()));
    book.lock().unwrap().revoke(1);
    book.lock().unwrap().revoke(2);
    book.lock().unwrap().unknown = true;
    let (url, serving) = node(Arc::clone(&book)).await;
    let (bridge, hash) = bridge(folder.path(), &url, "").await;
    let path = format!("/pki/crl/{hash}.crl");
    let says = |text: &'static str| {
        move |reply: &Reply| {
            reply.status == 503
                && reply.header("retry-after").is_some()
                && String::from_utf8_lossy(&reply.body).contains(text)
        }
    };
    until(&bridge, &path, says("not recorded")).await;
    book.lock().unwrap().unknown = false;
    until(&bridge, &path, |reply| has(reply, 2)).await;
    // A node that lost blocks: what was issued serves to its end, and nothing after it.
    book.lock().unwrap().behind = 1;
    until(&bridge, &path, says("lags behind")).await;
    book.lock().unwrap().behind = 0;
    until(&bridge, &path, |reply| has(reply, 2)).await;
    book.lock().unwrap().down = true;
    until(&bridge, &path, says("run out")).await;
    bridge.stop().await;
    serving.abort();
}

#[tokio::test]
async fn a_list_that_is_too_long_is_no_crl() {
    let folder = tempfile::tempdir().unwrap();
    let book = Arc::new(Mutex::new(Book::default()));
    for serial in 1..=5 {
        book.lock().unwrap().revoke(serial);
    }
    let (url, serving) = node(Arc::clone(&book)).await;
    let (bridge, hash) = bridge(folder.path(), &url, "entries = 4\n").await;
    let reply = until(&bridge, &format!("/pki/crl/{hash}.crl"), |reply| {
        String::from_utf8_lossy(&reply.body).contains("more than 4")
    })
    .await;
    assert_eq!(reply.status, 503);
    bridge.stop().await;
    serving.abort();
}
