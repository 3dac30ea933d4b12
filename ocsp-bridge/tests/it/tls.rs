//! TLS on the listener.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ocsp_bridge::UnixTime;
use ocsp_bridge::bridge::Bridge;
use ocsp_bridge::config::Config;
use ocsp_bridge::http::{HttpLimits, Tls, TlsError, TlsIdentity};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use crate::stage::{Client, GOOD, PATIENCE, Stage, post, post_with, request, signer};

/// A self-signed certificate for `bridge.test`, and its key, in DER.
fn server(not_after: i32) -> (Vec<u8>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["bridge.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), key.serialize_der())
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn identity(certificate: &[u8], key: &[u8]) -> TlsIdentity {
    TlsIdentity::new(now(), vec![certificate.to_vec()], key).unwrap()
}

async fn connect(
    address: SocketAddr,
    trusted: &[u8],
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trusted)).unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("bridge.test").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Asks twice on one connection; how many good answers came.
async fn ask(stream: &mut TlsStream<TcpStream>) -> usize {
    let first = post(&request(GOOD));
    let last = post_with("Connection: close\r\n", &request(GOOD));
    stream.write_all(&[first, last].concat()).await.unwrap();
    let mut octets = Vec::new();
    // It ends with close_notify: anything else is an error.
    stream.read_to_end(&mut octets).await.unwrap();
    let id_pkix_ocsp_basic = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let answers = octets
        .windows(9)
        .filter(|nine| **nine == id_pkix_ocsp_basic);
    answers.count()
}

#[tokio::test]
async fn both_versions_of_tls_are_served_and_a_new_certificate_takes_over() {
    let (old, old_key) = server(2099);
    let (new, new_key) = server(2099);
    let tls = Arc::new(Tls::new(identity(&old, &old_key)));
    let stage = Stage::with("/", HttpLimits::default(), Some(Arc::clone(&tls))).await;
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut stream = connect(stage.address, &old, version).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(ask(&mut stream).await, 2);
    }
    // A connection that is open outlives the change; the next one sees the new certificate.
    let mut open = connect(stage.address, &old, &TLS13).await.unwrap();
    tls.replace(identity(&new, &new_key));
    assert!(connect(stage.address, &old, &TLS13).await.is_err());
    let mut stream = connect(stage.address, &new, &TLS13).await.unwrap();
    assert_eq!(ask(&mut stream).await, 2);
    assert_eq!(ask(&mut open).await, 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_handshake_has_its_time_and_makes_room() {
    let (certificate, key) = server(2099);
    let tls = || Some(Arc::new(Tls::new(identity(&certificate, &key))));
    let limits = HttpLimits {
        head: Duration::from_millis(300),
        ..HttpLimits::default()
    };
    let stage = Stage::with("/", limits, tls()).await;
    // Silent, and half a ClientHello.
    let mut silent = stage.connect().await;
    let mut half = stage.connect().await;
    half.send(b"\x16\x03\x01\x02\x00\x01").await;
    let began = Instant::now();
    assert!(silent.is_closed_within(PATIENCE).await);
    assert!(half.is_closed_within(PATIENCE).await);
    assert!(began.elapsed() < Duration::from_secs(5));
    // No answer without TLS: at most an alert, never HTTP.
    let mut plain = Client::connect(stage.address).await;
    plain.send(&post(&request(GOOD))).await;
    while !plain.is_closed_within(PATIENCE).await {}
    assert!(!plain.buffer.starts_with(b"HTTP"));
    assert_eq!(stage.metrics.tls_handshakes_failed.get(), 3);
    stage.stop().await;

    let limits = HttpLimits {
        connections: 8,
        ..HttpLimits::default()
    };
    let stage = Stage::with("/", limits, tls()).await;
    let mut slow = Vec::new();
    for _ in 0..32 {
        slow.push(stage.connect().await);
    }
    let mut stream = connect(stage.address, &certificate, &TLS13).await.unwrap();
    assert_eq!(ask(&mut stream).await, 2);
    assert!(stage.metrics.connections_evicted.get() >= 24);
    assert!(slow[0].is_closed_within(PATIENCE).await);
    // Handshakes do not hold up the end.
    let began = Instant::now();
    stage.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn what_cannot_be_used_is_refused() {
    let (certificate, key) = server(2099);
    let (_, other) = server(2099);
    let (expired, expired_key) = server(2020);
    let refused = |certificates: &[&[u8]], key: &[u8]| {
        let certificates = certificates.iter().map(|der| der.to_vec()).collect();
        TlsIdentity::new(now(), certificates, key).unwrap_err()
    };
    assert!(matches!(
        refused(&[&certificate], &other),
        TlsError::KeyMismatch
    ));
    assert!(matches!(
        refused(&[&expired], &expired_key),
        TlsError::Expired { .. }
    ));
    assert!(matches!(
        refused(&[b"\x30\x00"], &key),
        TlsError::Certificate(_)
    ));
    assert!(matches!(
        refused(&[&certificate], b"\x30\x00"),
        TlsError::Key(_)
    ));
    assert!(matches!(refused(&[], &key), TlsError::NoCertificate));
    let early = TlsIdentity::new(UnixTime(0), vec![certificate], &key).unwrap_err();
    assert!(matches!(early, TlsError::NotYetValid { .. }));
}

fn write(folder: &Path, name: &str, (certificate, key): &(Vec<u8>, Vec<u8>)) {
    fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_bridge_serves_tls_and_reloads_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (old, new) = (server(2099), server(2099));
    write(at, "signer", &signer());
    write(at, "tls", &old);
    let text = "[listen.tls]\naddress = \"127.0.0.1:0\"\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n\
        [signer]\ncertificate = \"signer.pem\"\nkey = \"signer.key\"\n\
        [ledger]\nnodes = [\"http://127.0.0.1:1\"]\n";
    let config = || Config::parse(&at.join("bridge.toml"), text).unwrap();
    let bridge = Bridge::start(config()).await.unwrap();
    let address = bridge.addresses()[0];
    connect(address, &old.0, &TLS13).await.unwrap();

    // The key of another certificate: nothing changes.
    fs::write(at.join("tls.key"), &new.1).unwrap();
    let error = bridge.reload(config()).await.unwrap_err().to_string();
    assert!(
        error.contains("tls.pem")
            && error.contains("tls.key")
            && error.contains("not for this key"),
        "{error}"
    );
    connect(address, &old.0, &TLS13).await.unwrap();

    write(at, "tls", &new);
    bridge.reload(config()).await.unwrap();
    assert!(connect(address, &old.0, &TLS13).await.is_err());
    connect(address, &new.0, &TLS13).await.unwrap();
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_asks_over_tls() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (certificate, key) = server(2099);
    let tls = Arc::new(Tls::new(identity(&certificate, &key)));
    let stage = Stage::with("/", HttpLimits::default(), Some(tls)).await;
    let (other, _) = server(2099);
    fs::write(at.join("request.der"), request(GOOD)).unwrap();
    let port = stage.address.port();
    let curl = |trusted: &[u8]| {
        let pem = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, trusted);
        fs::write(at.join("trusted.pem"), pem.unwrap()).unwrap();
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "15", "--cacert", "trusted.pem"])
            .args(["--data-binary", "@request.der"])
            .args(["-H", "Content-Type: application/ocsp-request"])
            .arg("--resolve")
            .arg(format!("bridge.test:{port}:127.0.0.1"))
            .arg(format!("https://bridge.test:{port}/"))
            .current_dir(at)
            .output()
            .unwrap();
        (output.status.success(), output.stdout)
    };
    let (trusts, answer) = curl(&certificate);
    assert!(trusts);
    // OCSPResponse, successful.
    assert_eq!((answer[0], &answer[4..7]), (0x30, &[0x0a, 1, 0][..]));
    let (trusts, answer) = curl(&other);
    assert!(!trusts && answer.is_empty());
    stage.stop().await;
}
