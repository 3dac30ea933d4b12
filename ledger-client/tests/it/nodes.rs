//! The bounded HTTP client and the nodes over it, against a small server. Real time, loopback only.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Response, service::service_fn};
use hyper_util::rt::TokioIo;
use ledger::CertificateHash;
use ledger_client::ConfigError;
use ledger_client::http::{HttpError, HttpLimits, NodeError, Nodes};
use tokio::{net::TcpListener, sync::mpsc};

use crate::http::{Body, full, pieces, serve};

const HASTE: Duration = Duration::from_millis(300);

fn nodes(addresses: &[SocketAddr]) -> Nodes {
    let urls: Vec<_> = addresses.iter().map(|at| format!("http://{at}/")).collect();
    Nodes::new(&urls, HttpLimits::within(HASTE)).unwrap()
}

/// What the HTTP client says of a node that answers so; the error must name that node.
async fn fault(
    respond: impl Fn() -> Option<Response<Body>> + Clone + Send + Sync + 'static,
) -> HttpError {
    let address = serve(move |_| respond()).await;
    match nodes(&[address]).get(0, "/v1/x", 1024).await {
        Err(NodeError::Http { node, error }) => {
            assert_eq!(node, format!("http://{address}"));
            error
        }
        other => panic!("{other:?}"),
    }
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn there_is_one_node_at_least_and_its_url_is_checked() {
    let limits = HttpLimits::default();
    assert_eq!(Nodes::new(&[], limits).unwrap_err(), ConfigError::NoSource);
    let bad = Nodes::new(
        &["http://a.example".to_owned(), "a.example".to_owned()],
        limits,
    );
    assert!(matches!(bad, Err(ConfigError::Url { url, .. }) if url == "a.example"));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peers = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&peers);
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            seen.lock().unwrap().insert(peer);
            tokio::spawn(async move {
                let service = service_fn(async |request: hyper::Request<_>| {
                    let _: &hyper::body::Incoming = request.body();
                    Ok::<_, hyper::Error>(full(200, request.uri().path().to_owned()))
                });
                let _closed = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let nodes = nodes(&[address]);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(nodes.get(0, path, 2).await.unwrap(), path);
    }
    assert_eq!(peers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_is_bounded_with_and_without_a_declared_length_and_in_its_head() {
    assert_eq!(
        fault(|| Some(full(200, " ".repeat(1025)))).await,
        HttpError::TooLarge { limit: 1024 }
    );
    let endless = fault(|| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for _ in 0..2 {
            sender.send(Ok(" ".repeat(1000))).unwrap();
        }
        // Never ends: only the bound can end it before the time is over.
        std::mem::forget(sender);
        Some(pieces(receiver))
    });
    assert_eq!(endless.await, HttpError::TooLarge { limit: 1024 });
    let long_head = fault(|| {
        let mut response = full(200, "");
        let value = "x".repeat(1_000_000).parse().unwrap();
        response.headers_mut().insert("x-long", value);
        Some(response)
    });
    let error = long_head.await;
    assert!(matches!(error, HttpError::Cut { .. }), "{error}");
}

#[tokio::test]
async fn what_hangs_meets_its_time_before_and_within_the_answer() {
    assert_eq!(fault(|| None).await, HttpError::Timeout { after: HASTE });
    let hangs = fault(|| {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(Ok("{".to_owned())).unwrap();
        std::mem::forget(sender);
        Some(pieces(receiver))
    });
    assert_eq!(hangs.await, HttpError::Timeout { after: HASTE });
}

#[tokio::test]
async fn a_refusal_is_told_and_no_redirection_is_followed() {
    // Its body is not looked at, however long.
    let refusal = fault(|| Some(full(503, " ".repeat(100_000)))).await;
    assert_eq!(refusal, HttpError::Status { status: 503 });
    let elsewhere = serve(|_| Some(full(200, "elsewhere"))).await;
    let redirection = fault(move || {
        let mut response = full(302, "");
        let to = format!("http://{elsewhere}/").parse().unwrap();
        response.headers_mut().insert("location", to);
        Some(response)
    });
    assert_eq!(redirection.await, HttpError::Status { status: 302 });
}

#[tokio::test]
async fn nobody_there_is_said_with_the_node_and_the_mend() {
    let address = nobody().await;
    let text = nodes(&[address])
        .get(0, "/v1/x", 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with(&format!("http://{address}: cannot be reached: ")),
        "{text}"
    );
    assert!(
        text.contains("refused") && text.contains("is it running"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_json_of_that_kind_is_malformed() {
    let address = serve(|_| Some(full(200, "[]"))).await;
    let nodes = nodes(&[address]);
    assert_eq!(nodes.get_json::<Vec<u8>>(0, "/v1/x", 9).await, Ok(vec![]));
    let text = nodes
        .get_json::<u8>(0, "/v1/x", 9)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with(&format!("http://{address}: its answer is malformed: ")),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_comes_from_the_first_node_that_has_it() {
    let hash = CertificateHash::of(b"a certificate");
    let path = format!("/v1/certificate/{hash}");
    let liar = serve(|_| Some(full(200, "another"))).await;
    let absent = serve(|_| Some(full(404, ""))).await;
    let asked = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&asked);
    let honest = serve(move |request| {
        assert_eq!(request.uri().path(), path);
        *counts.lock().unwrap() += 1;
        Some(full(200, "a certificate"))
    })
    .await;
    let found = nodes(&[nobody().await, absent, liar, honest])
        .certificate(&hash)
        .await;
    assert_eq!(found.unwrap(), "a certificate");
    // Those after it are not asked.
    assert!(nodes(&[honest, honest]).certificate(&hash).await.is_ok());
    assert_eq!(*asked.lock().unwrap(), 2);
    // The last one's error is told.
    let lies = nodes(&[absent, liar]).certificate(&hash).await.unwrap_err();
    assert_eq!(
        lies,
        NodeError::OtherCertificate {
            node: format!("http://{liar}")
        }
    );
}

#[tokio::test]
async fn nodes_are_counted_round() {
    let nodes = nodes(&[nobody().await, nobody().await]);
    assert_eq!((nodes.count(), nodes.preferred()), (2, 0));
    nodes.prefer(3);
    assert_eq!(nodes.preferred(), 1);
    assert_eq!(nodes.name(3), nodes.name(1));
    assert_ne!(nodes.name(2), nodes.name(1));
}
