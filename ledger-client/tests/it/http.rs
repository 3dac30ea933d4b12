//! The source over HTTP, against a small server that answers as each test says. Real time, loopback only.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use ledger::{Height, Status};
use ledger_client::{
    Change, Client, ClientConfig, HttpSource, HttpTimeouts, Source, SourceError, StreamItem,
    TokioClock,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{REVOKED, answer, event, hash};

const HASTE: Duration = Duration::from_millis(300);

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn full(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// A body that comes in pieces, as they are sent, and breaks off where the piece is an error.
pub(crate) fn pieces(pieces: mpsc::UnboundedReceiver<Result<String, ()>>) -> Response<Body> {
    let frames = futures_util::stream::unfold(pieces, |mut pieces| async {
        let frame = match pieces.recv().await? {
            Ok(text) => Ok(Frame::data(Bytes::from(text))),
            Err(()) => {
                // What went before must reach the wire, or the client sees no stream at all.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("broken off"))
            }
        };
        Some((frame, pieces))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Serves every request with `respond`.
pub(crate) async fn serve<F>(respond: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Option<Response<Body>> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let respond = respond.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move {
                        match response {
                            Some(response) => Ok::<_, Infallible>(response),
                            None => std::future::pending().await,
                        }
                    }
                });
                let _closed = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn source(address: SocketAddr) -> HttpSource {
    HttpSource::new(&format!("http://{address}/")).unwrap()
}

/// For those tests that wait until the time is over.
fn hasty(address: SocketAddr) -> HttpSource {
    let timeouts = HttpTimeouts {
        connect: HASTE,
        response: HASTE,
    };
    HttpSource::with_timeouts(&format!("http://{address}"), timeouts).unwrap()
}

fn valid() -> String {
    serde_json::to_string(&answer(hash(1), Status::Valid, 7)).unwrap()
}

async fn status_of(
    respond: impl Fn() -> Option<Response<Body>> + Clone + Send + Sync + 'static,
) -> SourceError {
    let address = serve(move |_| respond()).await;
    source(address).status(hash(1)).await.unwrap_err()
}

#[tokio::test]
async fn a_good_answer_comes_from_the_right_path_over_one_connection() {
    let connections = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, from) = listener.accept().await.unwrap();
            seen.lock().unwrap().insert(from);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async move {
                    assert_eq!(request.uri().path(), format!("/v1/status/{}", hash(1)));
                    Ok::<_, Infallible>(full(200, valid()))
                });
                let _closed = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let source = source(address);
    for _ in 0..5 {
        assert_eq!(
            source.status(hash(1)).await.unwrap(),
            answer(hash(1), Status::Valid, 7)
        );
    }
    assert_eq!(connections.lock().unwrap().len(), 1, "kept alive");
}

#[tokio::test]
async fn an_error_answer_is_told_with_its_text() {
    let error = status_of(|| Some(full(500, r#"{"error":"store","detail":"disk full"}"#))).await;
    assert_eq!(
        error,
        SourceError::Refused {
            status: 500,
            error: "store: disk full".to_owned()
        }
    );
    let error = status_of(|| Some(full(502, "bad\ngateway"))).await;
    assert_eq!(
        error,
        SourceError::Refused {
            status: 502,
            error: "bad gateway".to_owned()
        }
    );
    let error = status_of(|| Some(full(503, "x".repeat(10_000)))).await;
    let SourceError::Refused { status: 503, error } = error else {
        panic!("{error}")
    };
    assert_eq!(error.len(), 200, "bounded");
}

#[tokio::test]
async fn garbage_is_refused() {
    for body in [
        "",
        "not json",
        "{}",
        "[]",
        r#"{"hash":"00","status":"valid"}"#,
        "\u{0}",
    ] {
        let error = status_of(move || Some(full(200, body))).await;
        assert!(
            matches!(
                error,
                SourceError::Malformed {
                    what: "status answer",
                    ..
                }
            ),
            "{body:?}: {error}"
        );
    }
}

#[tokio::test]
async fn an_oversize_body_is_refused_with_and_without_a_declared_length() {
    let declared = status_of(|| Some(full(200, " ".repeat(16 * 1024 + 1)))).await;
    assert_eq!(
        declared,
        SourceError::TooLarge {
            what: "status answer",
            limit: 16 * 1024
        }
    );
    let undeclared = status_of(|| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for _ in 0..17 {
            sender.send(Ok(" ".repeat(1024))).unwrap();
        }
        // Never ends: only the bound can end it before the timeout.
        std::mem::forget(sender);
        Some(pieces(receiver))
    })
    .await;
    assert_eq!(undeclared, declared);
}

#[tokio::test]
async fn a_hanging_server_meets_the_timeout_before_and_within_its_answer() {
    let late = Err(SourceError::Timeout { after: HASTE });
    let address = serve(|_| None).await;
    assert_eq!(hasty(address).status(hash(1)).await, late);
    assert_eq!(
        hasty(address).events(Height(5)).await.err(),
        late.clone().err()
    );
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Ok("{".to_owned())).unwrap();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let address = serve(move |_| receiver.lock().unwrap().take().map(pieces)).await;
    assert_eq!(hasty(address).status(hash(1)).await, late);
    drop(sender);
}

#[tokio::test]
async fn nobody_there_is_a_connect_error_and_so_is_a_connection_cut_within() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = source(address).status(hash(1)).await.unwrap_err();
    assert!(matches!(error, SourceError::Connect { .. }), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            .await
            .unwrap();
    });
    let error = source(address).status(hash(1)).await.unwrap_err();
    assert!(matches!(error, SourceError::Connect { .. }), "{error}");
}

async fn stream_of(chunks: &[Result<&str, ()>]) -> Vec<Result<StreamItem, SourceError>> {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk.map(str::to_owned))
        .collect();
    let address = serve(move |request| {
        assert_eq!(request.uri().path(), "/v1/events");
        assert_eq!(request.uri().query(), Some("from=5&follow=true"));
        let (sender, receiver) = mpsc::unbounded_channel();
        for chunk in &chunks {
            sender.send(chunk.clone()).unwrap();
        }
        Some(pieces(receiver))
    })
    .await;
    source(address)
        .events(Height(5))
        .await
        .unwrap()
        .collect()
        .await
}

#[tokio::test]
async fn the_stream_gives_heads_and_events_over_any_chunks() {
    let line = serde_json::to_string(&event(1, REVOKED, 6)).unwrap();
    let (begin, end) = line.split_at(20);
    let end = format!("{end}\r\n\n{{\"head\":9}}\n");
    let items = stream_of(&[Ok("{\"head\":5}\n"), Ok(begin), Ok(&end)]).await;
    assert_eq!(items.len(), 4);
    assert_eq!(items[0], Ok(StreamItem::Head(Height(5))));
    assert_eq!(items[1], Ok(StreamItem::Event(event(1, REVOKED, 6))));
    assert_eq!(items[2], Ok(StreamItem::Head(Height(9))));
    assert_eq!(
        items[3],
        Err(SourceError::Cut {
            detail: "it ended".to_owned()
        })
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_garbled_or_endless_ends_with_the_reason() {
    let cut = stream_of(&[Ok("{\"head\":5}\n{\"he")]).await;
    assert_eq!(
        cut[1..],
        [Err(SourceError::Cut {
            detail: "it ended within a line".to_owned()
        })]
    );
    let broken = stream_of(&[Ok("{\"head\":5}\n"), Err(())]).await;
    assert!(
        matches!(&broken[..], [Ok(_), Err(SourceError::Cut { .. })]),
        "{broken:?}"
    );
    let garbled = stream_of(&[Ok("{\"head\":5}\n<html>\n{\"head\":6}\n")]).await;
    assert!(
        matches!(&garbled[..], [Ok(_), Err(SourceError::Malformed { .. })]),
        "{garbled:?}"
    );
    let endless = "x".repeat(5000);
    let endless = stream_of(&[Ok(&endless)]).await;
    let what = "line of the event stream";
    assert_eq!(endless, [Err(SourceError::TooLarge { what, limit: 4096 })]);
}

#[tokio::test]
async fn history_that_is_gone_is_recognised() {
    let address = serve(|_| {
        Some(full(
            410,
            r#"{"error":"history-gone","detail":"pruned","oldest":42}"#,
        ))
    })
    .await;
    let Err(error) = source(address).events(Height(5)).await else {
        panic!("not gone")
    };
    assert_eq!(error, SourceError::HistoryGone { oldest: 42 });
    let address = serve(|_| Some(full(410, r#"{"error":"other"}"#))).await;
    let Err(error) = source(address).events(Height(5)).await else {
        panic!("not refused")
    };
    assert_eq!(
        error,
        SourceError::Refused {
            status: 410,
            error: "other".to_owned()
        }
    );
}

#[tokio::test]
async fn a_client_over_http_hears_a_revocation_through_a_cut_stream() {
    let (sender, receiver) = mpsc::unbounded_channel::<Result<String, ()>>();
    let streams = Arc::new(std::sync::Mutex::new(vec![receiver]));
    let more = Arc::clone(&streams);
    let address = serve(move |request| {
        let path = request.uri().path();
        if path == "/v1/events" {
            return Some(match more.lock().unwrap().pop() {
                Some(receiver) => pieces(receiver),
                None => full(503, "not yet"),
            });
        }
        let of = path.strip_prefix("/v1/status/").unwrap().parse().unwrap();
        Some(full(
            200,
            serde_json::to_string(&answer(of, Status::Valid, 7)).unwrap(),
        ))
    })
    .await;
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(source(address))];
    let client = Client::spawn(ClientConfig::default(), sources, Arc::new(TokioClock)).unwrap();
    let mut changes = client.subscribe();
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
    sender.send(Ok("{\"head\":7}\n".to_owned())).unwrap();
    let up = async {
        while !client.metrics().stream_up {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), up)
        .await
        .unwrap();
    sender.send(Err(())).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let line = serde_json::to_string(&event(1, REVOKED, 8)).unwrap();
    sender.send(Ok(format!("{line}\n"))).unwrap();
    streams.lock().unwrap().push(receiver);
    let change = tokio::time::timeout(Duration::from_secs(10), changes.recv())
        .await
        .unwrap();
    assert_eq!(
        change,
        Some(Change::Status {
            hash: hash(1),
            status: REVOKED,
            height: Height(8)
        })
    );
    assert_eq!(client.cached(&hash(1)).unwrap().status, REVOKED);
    let metrics = client.metrics();
    assert_eq!(metrics.stream_connects, 2);
    assert!(metrics.stream_cuts >= 1);
    client.shutdown().await;
}
