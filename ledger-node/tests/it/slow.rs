//! Peers that take their time.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::fixture::Served;

/// What HTTP/2 begins with, but for its end.
const HALF_A_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

#[tokio::test]
async fn a_peer_that_asks_nothing_is_cut_and_holds_nobody_up() {
    let served = Served::start().await;
    for octets in [&b""[..], b"P", HALF_A_PREFACE] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(octets).await.unwrap();
        tokio::spawn(async move {
            let mut rest = [0; 64];
            // Held open for as long as the node bears it.
            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
        });
    }
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(served.get("/v1/health").await.0, 200);
    let ended = timeout(Duration::from_secs(15), silent.read(&mut [0; 64])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_peer_that_asks_nothing_does_not_delay_the_stop() {
    let served = Served::start().await;
    let _silent = TcpStream::connect(served.address).await.unwrap();
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(HALF_A_PREFACE).await.unwrap();
    // Idle between two requests.
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(idle.read(&mut [0; 512]).await.unwrap(), 0);
    let begin = Instant::now();
    served.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_request_that_is_under_way_is_finished_by_the_stop() {
    let served = Served::start().await;
    let address = served.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"hash")
        .await
        .unwrap();
    sleep(Duration::from_millis(200)).await;
    let stop = tokio::spawn(served.stop());
    sleep(Duration::from_millis(200)).await;
    TcpStream::connect(address)
        .await
        .expect_err("no new connection is taken");
    stream.write_all(b"es\":[]}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"answers\":[]}"),
        "{answer}"
    );
    stop.await.unwrap();
}

#[tokio::test]
async fn a_follower_hears_something_each_second() {
    let served = Served::start().await;
    let response = served
        .request(Method::GET, "/v1/events?follow=true", "")
        .await;
    let mut body = response.into_body();
    for _ in 0..4 {
        // The second that is promised, and what a busy machine adds to it.
        let frame = timeout(Duration::from_millis(1_500), body.frame()).await;
        let octets = frame.unwrap().unwrap().unwrap().into_data().unwrap();
        assert_eq!(octets, "{\"head\":0}\n");
    }
}
