//! A responder on loopback with a scripted ledger, and a client that sends any octets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ledger::{CertificateHash, RevocationReason, Status};
use ocsp_bridge::http::{self, AccessPolicy, HttpLimits, Service, Tls};
use ocsp_bridge::metrics::Metrics;
use ocsp_bridge::{
    BoxFuture, CertId, Finding, HashAlgorithm, LookUp, Policy, Responder, Signer, Signers, Source,
    Unavailable, UnixTime,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Serial numbers that the scripted ledger knows.
pub(crate) const GOOD: u8 = 1;
pub(crate) const REVOKED: u8 = 2;
/// The ledger gives no answer for it.
pub(crate) const DOWN: u8 = 3;
/// The ledger takes longer than any deadline for it.
pub(crate) const SLOW: u8 = 4;

/// A ledger that answers by serial number.
pub(crate) struct Script {
    look_ups: HashMap<u8, LookUp>,
    pub(crate) asked: Mutex<Vec<u8>>,
}

impl Script {
    fn new() -> Self {
        let found = |status| LookUp::Found {
            hash: CertificateHash::from_octets([7; 32]),
            status,
            not_after: None,
        };
        let revoked = Status::Revoked {
            reason: RevocationReason::KeyCompromise,
            time: ledger::BlockTime(1_000),
        };
        Self {
            look_ups: HashMap::from([(GOOD, found(Status::Valid)), (REVOKED, found(revoked))]),
            asked: Mutex::default(),
        }
    }
}

impl Source for Script {
    fn look_up<'a>(&'a self, id: &'a CertId<'a>) -> BoxFuture<'a, Result<Finding, Unavailable>> {
        Box::pin(async move {
            let serial = *id.serial().last().unwrap();
            self.asked.lock().unwrap().push(serial);
            if serial == SLOW {
                sleep(Duration::from_secs(3_600)).await;
            }
            self.look_ups
                .get(&serial)
                .map(|look_up| Finding::new(look_up.clone()))
                .ok_or_else(|| Unavailable {
                    detail: "scripted".to_owned(),
                })
        })
    }
}

/// A responder that serves.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) script: Arc<Script>,
    pub(crate) metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn new(limits: HttpLimits) -> Self {
        Self::at("/", limits).await
    }

    pub(crate) async fn at(path: &str, limits: HttpLimits) -> Self {
        Self::with(path, limits, None).await
    }

    pub(crate) async fn with(path: &str, limits: HttpLimits, tls: Option<Arc<Tls>>) -> Self {
        let script = Arc::new(Script::new());
        let metrics = Arc::new(Metrics::new());
        let mut signers = Signers::new();
        let (certificate, key) = signer();
        let now = UnixTime::from(SystemTime::now());
        signers.add_local(Signer::from_pkcs8(now, &key, &certificate).unwrap());
        let responder = Responder::new(Policy::default(), signers, Arc::clone(&script) as _);
        let service = Service::new(
            path,
            limits,
            AccessPolicy::All,
            Arc::new(responder),
            Arc::clone(&metrics),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(http::serve(Arc::new(service), listener, tls, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            script,
            metrics,
            stop,
            serving,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends octets on a new connection, closes its sending side, and takes all that comes.
    pub(crate) async fn exchange(&self, octets: &[u8]) -> Vec<Reply> {
        let mut client = self.connect().await;
        client.send(octets).await;
        client.stream.shutdown().await.unwrap();
        client.rest().await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: Vec<u8>,
}

/// One HTTP response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The OCSP responseStatus.
    pub(crate) fn ocsp_status(&self) -> Option<u8> {
        let at = match self.body.get(1)? {
            0x82 => 4,
            0x81 => 3,
            _ => 2,
        };
        match self.body.get(at..at + 3)? {
            [0x0a, 1, status] => Some(*status),
            _ => None,
        }
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// Sends; that the server has closed already shows when reading.
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
    }

    /// The next response; none when the server closes. `has_body` is false for HEAD.
    pub(crate) async fn reply(&mut self, has_body: bool) -> Option<Reply> {
        timeout(PATIENCE, self.read_reply(has_body))
            .await
            .expect("the server neither answers nor closes")
    }

    async fn read_reply(&mut self, has_body: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        if reply.status == 100 {
            return Some(reply);
        }
        let length: usize = reply
            .header("content-length")
            .map_or(0, |value| value.parse().unwrap());
        if has_body && reply.status != 304 {
            while self.buffer.len() < length {
                assert!(self.more().await, "the body broke off: {reply:?}");
            }
            reply.body = self.buffer.drain(..length).collect();
        }
        Some(reply)
    }

    /// All responses until the server closes.
    pub(crate) async fn rest(mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.reply(true).await {
            replies.push(reply);
        }
        replies
    }

    /// Whether the server closes within a time.
    pub(crate) async fn is_closed_within(&mut self, time: Duration) -> bool {
        matches!(timeout(time, self.more()).await, Ok(false))
    }

    async fn more(&mut self) -> bool {
        let mut octets = [0; 4_096];
        match self.stream.read(&mut octets).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&octets[..length]);
                true
            }
        }
    }
}

/// A self-signed signer: certificate and key in DER.
pub(crate) fn signer() -> (Vec<u8>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::OcspSigning];
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), key.serialize_der())
}

/// DER: tag, length, content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// An OCSPRequest for one serial number, by SHA-1 of made-up issuer names.
pub(crate) fn request(serial: u8) -> Vec<u8> {
    request_with(serial, &[])
}

/// The same with a nonce.
pub(crate) fn request_with(serial: u8, nonce: &[u8]) -> Vec<u8> {
    let id = CertId::encode(HashAlgorithm::Sha1, b"\x30\x00", b"key", &[serial]);
    let mut tbs = tlv(0x30, &tlv(0x30, &id));
    if !nonce.is_empty() {
        let id_pkix_ocsp_nonce = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
        let value = tlv(0x04, &tlv(0x04, nonce));
        let extension = tlv(0x30, &[tlv(0x06, &id_pkix_ocsp_nonce), value].concat());
        tbs.extend(tlv(0xa2, &tlv(0x30, &extension)));
    }
    tlv(0x30, &tlv(0x30, &tbs))
}

/// A POST as strongSwan sends it.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    post_with("", body)
}

/// The same with more header lines.
pub(crate) fn post_with(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nContent-Type: application/ocsp-request\r\n{lines}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A GET for these octets.
pub(crate) fn get(method: &str, der: &[u8], lines: &str) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD
        .encode(der)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    format!("{method} /{text} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n").into_bytes()
}

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
