//! Every way in which a request's body can come, and that none of them keeps anybody waiting.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ocsp_bridge::UnixTime;
use ocsp_bridge::http::{HttpLimits, Tls, TlsIdentity};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::ClientConfig;

use crate::stage::{DOWN, GOOD, SLOW, Stage, post, post_with, request};

/// Much less than the server's own limits here, at which its timers would wake a connection that sleeps for no reason.
const BOUND: Duration = Duration::from_secs(15);

const LIMITS: HttpLimits = HttpLimits {
    connections: 1_000,
    request_octets: 4_096,
    head: Duration::from_secs(120),
    body: Duration::from_secs(120),
    answer: Duration::from_millis(200),
};

/// What is written at once, one after the other.
type Pieces = Vec<Vec<u8>>;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.example\r\n";

fn with_length(line: &str, length: usize) -> Vec<u8> {
    format!("{HEAD}{line}Content-Length: {length}\r\n\r\n").into_bytes()
}

fn chunks_head(line: &str) -> Vec<u8> {
    format!("{HEAD}{line}Transfer-Encoding: chunked\r\n\r\n").into_bytes()
}

fn chunk(octets: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", octets.len());
    [size.as_bytes(), octets, b"\r\n"].concat()
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The ways of sending a request for one certificate, with the number of OCSP responses that they lead to.
fn ways() -> Vec<(&'static str, Pieces, usize)> {
    let body = request(GOOD);
    let (begin, end) = body.split_at(body.len() / 2);
    let whole = post(&body);
    let head = with_length("", body.len());
    let chunked = [chunks_head(""), chunk(&body), LAST_CHUNK.to_vec()];
    let each = |octets: &[u8]| octets.iter().map(|octet| vec![*octet]).collect::<Pieces>();
    let expect = "Expect: 100-continue\r\n";
    let trailers = b"0\r\nX-A: b\r\nX-C: d\r\n\r\n".to_vec();
    let old = |line: &str| {
        let head = format!(
            "POST / HTTP/1.0\r\n{line}Content-Length: {}\r\n\r\n",
            body.len()
        );
        head.into_bytes()
    };
    let keep_alive = "Connection: keep-alive\r\n";
    vec![
        ("in one piece", vec![whole.clone()], 1),
        ("head and body", vec![head.clone(), body.clone()], 1),
        (
            "half of the body with its head",
            vec![[&*head, begin].concat(), end.to_vec()],
            1,
        ),
        (
            "all but the last octet with its head",
            vec![
                whole[..whole.len() - 1].to_vec(),
                whole[whole.len() - 1..].to_vec(),
            ],
            1,
        ),
        ("octet by octet", each(&whole), 1),
        (
            "body octet by octet",
            [vec![head.clone()], each(&body)].concat(),
            1,
        ),
        ("chunked in one piece", vec![chunked.concat()], 1),
        ("chunked in three pieces", chunked.to_vec(), 1),
        ("chunked octet by octet", each(&chunked.concat()), 1),
        (
            "many chunks in one piece",
            vec![
                [
                    chunks_head(""),
                    body.iter().flat_map(|octet| chunk(&[*octet])).collect(),
                    LAST_CHUNK.to_vec(),
                ]
                .concat(),
            ],
            1,
        ),
        (
            "many chunks in many pieces",
            [
                vec![chunks_head("")],
                body.iter().map(|octet| chunk(&[*octet])).collect(),
                vec![LAST_CHUNK.to_vec()],
            ]
            .concat(),
            1,
        ),
        (
            "the last chunk apart",
            vec![
                [chunks_head(""), chunk(&body)].concat(),
                LAST_CHUNK.to_vec(),
            ],
            1,
        ),
        (
            "trailers with all of it",
            vec![[chunks_head(""), chunk(&body), trailers.clone()].concat()],
            1,
        ),
        (
            "trailers apart",
            vec![[chunks_head(""), chunk(&body)].concat(), trailers.clone()],
            1,
        ),
        (
            "no chunk but trailers",
            vec![[chunks_head(""), trailers].concat()],
            1,
        ),
        ("empty", vec![with_length("", 0)], 1),
        (
            "empty chunked",
            vec![[&*chunks_head(""), LAST_CHUNK].concat()],
            1,
        ),
        (
            "empty chunked in two pieces",
            vec![chunks_head(""), LAST_CHUNK.to_vec()],
            1,
        ),
        (
            "expecting 100",
            vec![with_length(expect, body.len()), body.clone()],
            1,
        ),
        (
            "expecting 100 and not waiting for it",
            vec![[with_length(expect, body.len()), body.clone()].concat()],
            1,
        ),
        (
            "expecting 100, body in two pieces",
            vec![
                with_length(expect, body.len()),
                begin.to_vec(),
                end.to_vec(),
            ],
            1,
        ),
        (
            "expecting 100, chunked",
            vec![
                chunks_head(expect),
                [chunk(&body), LAST_CHUNK.to_vec()].concat(),
            ],
            1,
        ),
        (
            "expecting 100, chunked, all of it at once",
            vec![[chunks_head(expect), chunk(&body), LAST_CHUNK.to_vec()].concat()],
            1,
        ),
        ("two in one piece", vec![whole.repeat(2)], 2),
        ("fifty in one piece", vec![whole.repeat(50)], 50),
        (
            "fifty chunked in one piece",
            vec![chunked.concat().repeat(50)],
            50,
        ),
        (
            "a body with the next head",
            vec![
                head.clone(),
                [body.clone(), head.clone()].concat(),
                body.clone(),
            ],
            2,
        ),
        (
            "the end of a body with the next head",
            vec![
                [&*head, begin].concat(),
                [end, &*head].concat(),
                body.clone(),
            ],
            2,
        ),
        (
            "half of the second with the first",
            vec![[&*whole, &*head, begin].concat(), end.to_vec()],
            2,
        ),
        (
            "chunked, then with a length",
            vec![[chunked.concat(), whole.clone()].concat()],
            2,
        ),
        (
            "one that is looked up, then one that is known",
            vec![[post(&request(DOWN)), whole.clone()].concat()],
            2,
        ),
        (
            "one that takes its time, then one that is known",
            vec![[post(&request(SLOW)), whole.clone()].concat()],
            2,
        ),
        (
            "HTTP/1.0 kept alive",
            vec![[old(keep_alive), body.clone()].concat()],
            1,
        ),
        (
            "HTTP/1.0 kept alive, head and body",
            vec![old(keep_alive), body.clone()],
            1,
        ),
    ]
}

/// Reads so many final responses; 100 is passed over.
async fn replies(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, count: usize) {
    for _ in 0..count {
        loop {
            let head = loop {
                if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    let rest = buffer.split_off(at + 4);
                    let head = String::from_utf8(std::mem::replace(buffer, rest)).unwrap();
                    break head;
                }
                assert_ne!(
                    stream.read_buf(buffer).await.unwrap(),
                    0,
                    "closed before a head"
                );
            };
            if head.starts_with("HTTP/1.1 100 ") {
                continue;
            }
            assert_eq!(&head[9..12], "200", "{head}");
            let field = |line: &str| line.strip_prefix("content-length: ")?.parse::<usize>().ok();
            let length = head.lines().find_map(field).unwrap();
            while buffer.len() < length {
                assert_ne!(
                    stream.read_buf(buffer).await.unwrap(),
                    0,
                    "closed within a body"
                );
            }
            let _body = buffer.drain(..length);
            break;
        }
    }
}

/// Sends one way after the other on one connection, each twice, and takes the answers.
async fn go_all_ways(mut stream: impl AsyncRead + AsyncWrite + Unpin, pause: Duration) {
    let mut buffer = Vec::new();
    for (name, pieces, count) in ways() {
        for round in 0..2 {
            let sent_and_read = async {
                for piece in &pieces {
                    stream.write_all(piece).await.unwrap();
                    stream.flush().await.unwrap();
                    // Long enough for the server to come to rest in between, most times.
                    sleep(pause).await;
                }
                replies(&mut stream, &mut buffer, count).await;
            };
            let done = timeout(BOUND, sent_and_read).await;
            assert!(done.is_ok(), "{name} was not answered, round {round}");
            assert_eq!(buffer, b"", "{name}");
        }
    }
    let last = post_with("Connection: close\r\n", &request(GOOD));
    let ended = async {
        stream.write_all(&last).await.unwrap();
        replies(&mut stream, &mut buffer, 1).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    };
    timeout(BOUND, ended).await.expect("it was not closed");
}

#[tokio::test]
async fn every_way_is_answered_at_once() {
    let stage = Stage::new(LIMITS).await;
    for pause in [Duration::from_millis(2), Duration::ZERO] {
        let stream = TcpStream::connect(stage.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        go_all_ways(stream, pause).await;
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn also_by_many_clients_and_threads() {
    let stage = Stage::new(LIMITS).await;
    let mut clients = JoinSet::new();
    for number in 0..12_u64 {
        let address = stage.address;
        clients.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            go_all_ways(stream, Duration::from_millis(number % 2)).await;
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    stage.stop().await;
}

#[tokio::test]
async fn also_over_tls() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["bridge.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let now = UnixTime::from(SystemTime::now());
    let identity = TlsIdentity::new(now, vec![certificate.clone()], &key.serialize_der());
    let tls = Arc::new(Tls::new(identity.unwrap()));
    let stage = Stage::with("/", LIMITS, Some(tls)).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate)).unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(stage.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("bridge.test").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    go_all_ways(stream, Duration::from_millis(1)).await;
    stage.stop().await;
}

#[tokio::test]
async fn who_sends_too_much_or_breaks_off_is_told_and_left_at_once() {
    let much = vec![0x30; 5_000];
    let old = b"POST / HTTP/1.0\r\nContent-Length: 5000\r\n\r\n".to_vec();
    let cases: Vec<(&str, Pieces, u16)> = vec![
        ("a length beyond the limit", vec![post(&much)], 413),
        ("such a head alone", vec![with_length("", 5_000)], 413),
        (
            "such a head, expecting 100",
            vec![with_length("Expect: 100-continue\r\n", 5_000)],
            413,
        ),
        ("in HTTP/1.0", vec![old, much.clone()], 413),
        (
            "one chunk of too much",
            vec![[chunks_head(""), chunk(&much)].concat()],
            413,
        ),
        (
            "one chunk of too much, to its end",
            vec![[chunks_head(""), chunk(&much), LAST_CHUNK.to_vec()].concat()],
            413,
        ),
        (
            "one chunk of too much after its head",
            vec![chunks_head(""), chunk(&much)],
            413,
        ),
        (
            "two chunks, one within the limit",
            vec![
                [
                    chunks_head(""),
                    chunk(&much[..3_000]),
                    chunk(&much[..3_000]),
                ]
                .concat(),
            ],
            413,
        ),
        (
            "two chunks in two pieces",
            vec![
                [chunks_head(""), chunk(&much[..3_000])].concat(),
                chunk(&much[..3_000]),
            ],
            413,
        ),
        (
            "a chunk that is none",
            vec![[&*chunks_head(""), b"xyz\r\n"].concat()],
            400,
        ),
        (
            "a chunk that is none after its head",
            vec![chunks_head(""), b"xyz\r\n".to_vec()],
            400,
        ),
    ];
    let stage = Stage::new(LIMITS).await;
    for (name, pieces, status) in cases {
        let mut client = stage.connect().await;
        for piece in &pieces {
            client.send(piece).await;
            sleep(Duration::from_millis(5)).await;
        }
        // The client does not close its side: the server must not wait for that.
        let reply = timeout(BOUND, client.reply(true)).await.expect(name);
        let reply = reply.expect(name);
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.header("connection"), Some("close"), "{name}");
        assert!(client.is_closed_within(BOUND).await, "{name}: left open");
    }
    stage.stop().await;
}
