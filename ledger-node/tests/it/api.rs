//! The HTTP API over a loopback socket.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ledger::{Body, CertificateHash, Height, MAX_TRANSACTION, RevocationReason};
use ledger_node::{Receipt, http};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Served, certificate, device, endorser, octets, run, signed, submission};

#[tokio::test]
async fn a_status_is_told_alone_and_in_a_batch() {
    let served = Served::start().await;
    let (known, gone) = (device("one"), device("two"));
    let (known_hash, gone_hash) = (CertificateHash::of(&known), CertificateHash::of(&gone));
    run(&served.node, submission(vec![known, gone])).await;
    let reason = RevocationReason::KeyCompromise;
    run(
        &served.node,
        Body::Revoke {
            hash: gone_hash,
            reason,
        },
    )
    .await;

    let (status, answer) = served.get(&format!("/v1/status/{known_hash}")).await;
    assert_eq!(status, 200);
    assert_eq!(answer["hash"], known_hash.to_string());
    assert_eq!(answer["status"], "valid");
    assert_eq!(answer["class"], "device");
    assert_eq!(answer["height"], 2);
    assert_eq!(answer["chain"], served.node.chain().to_string());

    let unknown = CertificateHash::of(b"unknown");
    let question = json!({"hashes": [gone_hash, unknown, known_hash]}).to_string();
    let (status, answer) = served.post("/v1/status", question).await;
    assert_eq!(status, 200);
    let statuses: Vec<(&str, &str)> = answer["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["hash"].as_str().unwrap(), a["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        statuses,
        [
            (gone_hash.to_string().as_str(), "revoked"),
            (&unknown.to_string(), "not-recorded"),
            (&known_hash.to_string(), "valid"),
        ]
    );
    assert_eq!(answer["answers"][0]["reason"], "keyCompromise");

    // 2036: everything has expired, though no block was made since.
    served.clock.set(2_082_758_400_000);
    let (_, answer) = served.get(&format!("/v1/status/{known_hash}")).await;
    assert_eq!(answer["status"], "expired");
    served.stop().await;
}

#[tokio::test]
async fn a_batch_of_statuses_has_a_limit() {
    let served = Served::start().await;
    let hashes = |count| {
        let hash = CertificateHash::of(b"");
        json!({"hashes": vec![hash; count]}).to_string()
    };
    let (status, answer) = served.post("/v1/status", hashes(http::MAX_HASHES)).await;
    assert_eq!(
        (status, answer["answers"].as_array().unwrap().len()),
        (200, http::MAX_HASHES)
    );
    let (status, answer) = served
        .post("/v1/status", hashes(http::MAX_HASHES + 1))
        .await;
    assert_eq!((status, &answer["error"]), (400, &json!("too-many")));
    let (status, answer) = served.post("/v1/status", hashes(0)).await;
    assert_eq!((status, answer), (200, json!({"answers": []})));
}

#[tokio::test]
async fn a_transaction_is_answered_with_its_outcomes() {
    let served = Served::start().await;
    let (good, foreign) = (device("one"), certificate("two", "Somebody Else"));
    let transaction = signed(
        &served.node,
        submission(vec![
            good.clone(),
            foreign.clone(),
            good.clone(),
            vec![0x30, 0],
        ]),
    );
    let (status, answer) = served.post("/v1/transactions", transaction.encode()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["height"], 1);
    assert_eq!(answer["transaction"], transaction.id().to_string());
    let outcomes: Vec<(&Value, &Value)> = answer["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|outcome| (&outcome["accepted"], &outcome["refusal"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (&json!(true), &json!(null)),
            (&json!(false), &json!("foreign-organisation")),
            (&json!(false), &json!("duplicate")),
            (&json!(false), &json!("malformed")),
        ]
    );
    assert_eq!(
        answer["outcomes"][0]["hash"],
        CertificateHash::of(&good).to_string()
    );
    let receipt: Receipt = serde_json::from_value(answer).unwrap();
    assert!(!receipt.is_accepted());

    let head = served.node.head().unwrap();
    let (status, answer) = served.get("/v1/head").await;
    assert_eq!(status, 200);
    let head_answer: http::HeadAnswer = serde_json::from_value(answer).unwrap();
    assert_eq!(head_answer.name, "test");
    assert_eq!(
        (head_answer.height, head_answer.hash),
        (Height(1), head.hash)
    );
}

#[tokio::test]
async fn a_transaction_that_may_not_wait_is_refused_by_name() {
    let served = Served::start().await;
    let node = &served.node;
    let body = || submission(vec![device("one")]);
    let first = signed(node, body());
    served.post("/v1/transactions", first.encode()).await;
    let head = node.head().unwrap().height;
    let acme = endorser("acme");
    let mut forged = signed(node, body());
    forged.signature[0] ^= 1;
    let other_chain = ledger::ChainId::from_octets([7; 32]);
    for (transaction, name) in [
        (first, "replayed"),
        (forged, "not-endorsed"),
        (
            endorser("stranger")
                .sign(node.chain(), head, body())
                .unwrap(),
            "not-endorsed",
        ),
        (acme.sign(other_chain, head, body()).unwrap(), "wrong-chain"),
        (
            acme.sign_until(node.chain(), Height(0), body()).unwrap(),
            "expired",
        ),
        (
            acme.sign_until(node.chain(), Height(u64::MAX), body())
                .unwrap(),
            "expired",
        ),
        (signed(node, submission(Vec::new())), "malformed"),
    ] {
        let (status, answer) = served.post("/v1/transactions", transaction.encode()).await;
        assert_eq!((status, &answer["error"]), (422, &json!(name)), "{answer}");
        assert!(
            answer["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    assert_eq!(
        node.head().unwrap().height,
        head,
        "no block was made of them"
    );
}

#[tokio::test]
async fn octets_that_are_no_transaction_are_refused() {
    let served = Served::start().await;
    let whole = signed(&served.node, submission(vec![device("one")])).encode();
    let mut longer = whole.clone();
    longer.push(0);
    for octets in [
        &[][..],
        &whole[..1],
        &whole[..whole.len() - 1],
        &longer,
        &[0xff; 300],
    ] {
        let (status, answer) = served.post("/v1/transactions", octets.to_vec()).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("malformed")),
            "{answer}"
        );
    }
    let (status, answer) = served
        .post("/v1/transactions", vec![0; MAX_TRANSACTION + 1])
        .await;
    assert_eq!((status, &answer["error"]), (413, &json!("too-large")));

    let request = Request::post(format!("http://{}/v1/transactions", served.address))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap();
    let response = crate::fixture::client().request(request).await.unwrap();
    assert_eq!(response.status(), 415);
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_bounded_too() {
    let served = Served::start().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"POST /v1/status HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        // The node answers and hangs up before it has taken all of this.
        while writer.write_all(&chunk).await.is_ok() {}
    };
    let read = async {
        let mut answer = Vec::new();
        let mut octets = [0; 512];
        while !answer.windows(9).any(|part| part == b"too-large") {
            let length = reader.read(&mut octets).await.unwrap();
            assert_ne!(length, 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&octets[..length]);
        }
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        tokio::select! {
            answer = read => answer,
            () = async { write.await; std::future::pending().await } => unreachable!(),
        }
    })
    .await
    .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_certificate_is_given_as_it_was_submitted() {
    let served = Served::start().await;
    let der = device("one");
    let hash = CertificateHash::of(&der);
    run(&served.node, submission(vec![der.clone()])).await;
    let response = served
        .request(Method::GET, &format!("/v1/certificate/{hash}"), "")
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/pkix-cert");
    assert_eq!(octets(response).await, der);
    let unknown = CertificateHash::of(b"unknown");
    let (status, answer) = served.get(&format!("/v1/certificate/{unknown}")).await;
    assert_eq!((status, &answer["error"]), (404, &json!("not-recorded")));
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let served = Served::start().await;
    let upper = CertificateHash::of(b"").to_string().to_uppercase();
    for (method, path, body, status, error) in [
        (Method::GET, "/", "", 404, "no-such-path"),
        (Method::GET, "/v1/blocks", "", 404, "no-such-path"),
        (Method::GET, "/v1/status/12", "", 400, "bad-hash"),
        (
            Method::GET,
            &format!("/v1/status/{upper}"),
            "",
            400,
            "bad-hash",
        ),
        (Method::GET, "/v1/certificate/%00", "", 400, "bad-hash"),
        (Method::POST, "/v1/status", "{", 400, "bad-json"),
        (
            Method::POST,
            "/v1/status",
            "{\"hashes\":[\"12\"]}",
            400,
            "bad-json",
        ),
        (Method::POST, "/v1/status", "{\"hash\":[]}", 400, "bad-json"),
        (Method::GET, "/v1/events?from=x", "", 400, "bad-query"),
        (Method::GET, "/v1/status", "", 405, "method-not-allowed"),
        (Method::DELETE, "/v1/head", "", 405, "method-not-allowed"),
        (
            Method::PUT,
            "/v1/transactions",
            "",
            405,
            "method-not-allowed",
        ),
        (Method::POST, "/v1/events", "", 405, "method-not-allowed"),
    ] {
        let response = served.request(method.clone(), path, body).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers().contains_key("allow"), status == 405);
        let answer: Value = serde_json::from_slice(&octets(response).await).unwrap();
        assert_eq!(answer["error"], error, "{method} {path}");
        assert!(
            answer["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    let response = served
        .request(Method::POST, "/v1/status", vec![b' '; 200_000])
        .await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn octets_that_are_no_http_do_not_disturb_others() {
    let served = Served::start().await;
    for octets in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &[0xff; 64],
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // It ends one way or another, and soon.
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
            .await
            .expect("the connection is closed");
    }
    assert_eq!(served.get("/v1/health").await.0, 200);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_served_too() {
    let served = Served::start().await;
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(HttpConnector::new());
    let request = Request::get(format!("http://{}/v1/head", served.address))
        .body(Full::default())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, Version::HTTP_2)
    );
    let answer: Value = serde_json::from_slice(&octets(response).await).unwrap();
    assert_eq!(answer["height"], 0);
    served.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_room() {
    let served = Served::start_with(|config| config.http.connections = 1).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first
        .write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut octets = [0; 512];
    assert_ne!(first.read(&mut octets).await.unwrap(), 0);

    let mut second = TcpStream::connect(served.address).await.unwrap();
    second
        .write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), second.read(&mut octets)).await;
    assert!(waited.is_err(), "answered without room");
    drop(first);
    let length = tokio::time::timeout(Duration::from_secs(5), second.read(&mut octets))
        .await
        .unwrap()
        .unwrap();
    assert!(octets[..length].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn members_health_and_readiness_are_told() {
    let served = Served::start().await;
    let (status, answer) = served.get("/v1/members").await;
    assert_eq!((status, &answer["members"][0]["id"]), (200, &json!("acme")));
    assert_eq!(answer["members"][0]["organisations"], json!(["ACME Femto"]));
    assert_eq!(
        served.get("/v1/health").await,
        (200, json!({"status": "ok"}))
    );
    assert_eq!(
        served.get("/v1/ready").await,
        (200, json!({"status": "ready", "height": 0}))
    );

    served.node.stop();
    let (status, answer) = served.get("/v1/ready").await;
    assert_eq!((status, &answer["error"]), (503, &json!("not-ready")));
    assert_eq!(served.get("/v1/health").await.0, 200);
    let late = signed(&served.node, submission(vec![device("late")]));
    let (status, answer) = served.post("/v1/transactions", late.encode()).await;
    assert_eq!((status, &answer["error"]), (503, &json!("stopping")));
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let served = Served::start().await;
    let der = device("one");
    let hash = CertificateHash::of(&der);
    run(&served.node, submission(vec![der.clone()])).await;
    served
        .post(
            "/v1/transactions",
            signed(&served.node, submission(vec![der])).encode(),
        )
        .await;
    served.get(&format!("/v1/status/{hash}")).await;
    served.get("/v1/status/12").await;
    let response = served.request(Method::GET, "/metrics", "").await;
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(octets(response).await.to_vec()).unwrap();
    for line in [
        "ledgate_ledger_node_height 2",
        "ledgate_ledger_node_transactions_total 2",
        "ledgate_ledger_node_outcomes_total{verdict=\"accepted\"} 1",
        "ledgate_ledger_node_outcomes_total{verdict=\"duplicate\"} 1",
        "ledgate_ledger_node_events_total 1",
        "ledgate_ledger_node_inquiries_total{status=\"valid\"} 1",
        "ledgate_ledger_node_commit_seconds_count 2",
        "ledgate_ledger_node_http_requests_total{route=\"status\",status=\"4xx\"} 1",
        "ledgate_ledger_node_pending_transactions 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}
