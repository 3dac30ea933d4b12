//! The event stream.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use ledger::{Body, CertificateHash, Height, StatusEvent};
use serde_json::{Value, json};

use crate::fixture::{Served, device, octets, run, submission};

/// Reads the stream line by line.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(served: &Served, path: &str) -> Self {
        let response = served.request(Method::GET, path, "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }

    /// The next line; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(5), self.body.frame())
                .await
                .expect("the stream is never silent for long")?;
            self.rest
                .extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    async fn event(&mut self) -> StatusEvent {
        serde_json::from_value(self.next().await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn events_are_told_from_a_height_on_and_the_stream_ends() {
    let served = Served::start().await;
    let (one, two) = (device("one"), device("two"));
    let hash = CertificateHash::of(&one);
    run(&served.node, submission(vec![one, two])).await;
    run(&served.node, Body::Suspend { hash }).await;
    run(&served.node, Body::Resume { hash }).await;

    let mut lines = Lines::open(&served, "/v1/events").await;
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await {
        seen.push((
            line["height"].clone(),
            line["index"].clone(),
            line["status"].clone(),
            line["head"].clone(),
        ));
    }
    let event = |height: u64, index: u64, status: &str| {
        (json!(height), json!(index), json!(status), json!(null))
    };
    assert_eq!(
        seen,
        [
            event(1, 0, "valid"),
            event(1, 1, "valid"),
            event(2, 0, "suspended"),
            event(3, 0, "valid"),
            (json!(null), json!(null), json!(null), json!(3)),
        ]
    );

    let mut lines = Lines::open(&served, "/v1/events?from=3&follow=false").await;
    assert_eq!(lines.event().await.height, Height(3));
    assert_eq!(lines.next().await, Some(json!({"head": 3})));
    assert_eq!(lines.next().await, None);
    let mut lines = Lines::open(&served, "/v1/events?from=4").await;
    assert_eq!(lines.next().await, Some(json!({"head": 3})));
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_follower_sees_each_change_and_a_heartbeat_and_can_resume() {
    let served = Served::start().await;
    let der = device("one");
    let hash = CertificateHash::of(&der);
    let mut lines = Lines::open(&served, "/v1/events?from=0&follow=true").await;
    assert_eq!(lines.next().await, Some(json!({"head": 0})));
    run(&served.node, submission(vec![der.clone()])).await;
    let event = lines.event().await;
    assert_eq!((event.height, event.hash), (Height(1), hash));
    assert!(event.status.is_valid());
    assert_eq!(lines.next().await, Some(json!({"head": 1})));
    // A block that changes nothing is told too.
    let refused = crate::fixture::signed(&served.node, submission(vec![der]));
    served.node.submit(refused).await.unwrap();
    assert_eq!(lines.next().await, Some(json!({"head": 2})));
    // And silence.
    assert_eq!(lines.next().await, Some(json!({"head": 2})));
    drop(lines);

    run(&served.node, Body::Suspend { hash }).await;
    let mut lines = Lines::open(&served, "/v1/events?from=3&follow=true").await;
    let event = lines.event().await;
    assert_eq!(
        (event.height, event.status.as_str()),
        (Height(3), "suspended")
    );
    assert_eq!(lines.next().await, Some(json!({"head": 3})));

    // Stopping ends the stream in order.
    let reader = tokio::spawn(async move { while lines.next().await.is_some() {} });
    served.stop().await;
    reader.await.unwrap();
}

#[tokio::test]
async fn a_long_history_comes_whole_and_in_order() {
    let served = Served::start().await;
    let devices: Vec<Vec<u8>> = (0..20).map(|n| device(&n.to_string())).collect();
    let hashes: Vec<CertificateHash> = devices.iter().map(|der| CertificateHash::of(der)).collect();
    run(&served.node, submission(devices)).await;
    for _ in 0..20 {
        for hash in &hashes {
            run(&served.node, Body::Suspend { hash: *hash }).await;
            run(&served.node, Body::Resume { hash: *hash }).await;
        }
    }
    let mut lines = Lines::open(&served, "/v1/events?from=1").await;
    for index in 0..20 {
        let event = lines.event().await;
        assert_eq!((event.height, event.index), (Height(1), index));
    }
    for height in 2..=801 {
        assert_eq!(lines.event().await.height, Height(height));
    }
    assert_eq!(lines.next().await, Some(json!({"head": 801})));
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_block_with_many_events_comes_whole_and_once() {
    const MANY: usize = 1_000;
    let served = Served::start().await;
    let small = device("small");
    run(&served.node, submission(vec![small])).await;
    let devices: Vec<Vec<u8>> = (0..MANY).map(|n| device(&n.to_string())).collect();
    let hashes: Vec<CertificateHash> = devices.iter().map(|der| CertificateHash::of(der)).collect();
    run(&served.node, submission(devices)).await;
    let hash = hashes[0];
    run(&served.node, Body::Suspend { hash }).await;
    for from in [0, 2] {
        let mut lines = Lines::open(&served, &format!("/v1/events?from={from}")).await;
        if from == 0 {
            assert_eq!(lines.event().await.height, Height(1));
        }
        for (index, hash) in (0..).zip(&hashes) {
            let event = lines.event().await;
            assert_eq!(
                (event.height, event.index, event.hash),
                (Height(2), index, *hash)
            );
        }
        assert_eq!(lines.event().await.height, Height(3));
        assert_eq!(lines.next().await, Some(json!({"head": 3})));
        assert_eq!(lines.next().await, None);
    }
}

#[tokio::test]
async fn history_that_is_gone_is_said_to_be() {
    let served = Served::start_with(|config| config.history = 2).await;
    let der = device("one");
    let hash = CertificateHash::of(&der);
    run(&served.node, submission(vec![der])).await;
    run(&served.node, Body::Suspend { hash }).await;
    run(&served.node, Body::Resume { hash }).await;
    for path in ["/v1/events?from=1", "/v1/events?from=0&follow=true"] {
        let (status, answer) = served.get(path).await;
        assert_eq!(status, 410);
        assert_eq!(answer["error"], "history-gone");
        assert_eq!(answer["oldest"], 2);
    }
    let mut lines = Lines::open(&served, "/v1/events?from=2").await;
    assert_eq!(lines.event().await.height, Height(2));
}

#[tokio::test]
async fn streams_beyond_the_bound_are_turned_away() {
    let served = Served::start_with(|config| config.http.streams = 1).await;
    let mut first = Lines::open(&served, "/v1/events?follow=true").await;
    first.next().await.unwrap();
    let (status, answer) = served.get("/v1/events?follow=true").await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("too-many-streams"))
    );
    let response = served.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(octets(response).await.to_vec()).unwrap();
    assert!(
        text.contains("ledgate_ledger_node_event_streams 1\n"),
        "{text}"
    );
    drop(first);
    // The node notices with the next heartbeat.
    for _ in 0..50 {
        let response = served.request(Method::GET, "/v1/events", "").await;
        if response.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there was never room again");
}
