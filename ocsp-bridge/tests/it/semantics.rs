//! What HTTP says about OCSP's answers.

use ocsp_bridge::http::HttpLimits;

use crate::stage::{DOWN, GOOD, REVOKED, Stage, get, post, request, request_with};

#[tokio::test]
async fn post_get_and_head_give_the_same() {
    let stage = Stage::new(HttpLimits::default()).await;
    let mut client = stage.connect().await;
    // -> POST, GET, HEAD on one connection  <- the very same signed octets
    client.send(&post(&request(GOOD))).await;
    let posted = client.reply(true).await.unwrap();
    assert_eq!((posted.status, posted.ocsp_status()), (200, Some(0)));
    assert_eq!(
        posted.header("content-type"),
        Some("application/ocsp-response")
    );
    client.send(&get("GET", &request(GOOD), "")).await;
    let got = client.reply(true).await.unwrap();
    assert_eq!(got.body, posted.body);
    client.send(&get("HEAD", &request(GOOD), "")).await;
    let head = client.reply(false).await.unwrap();
    assert_eq!(head.header("content-length"), got.header("content-length"));
    for name in [
        "cache-control",
        "etag",
        "expires",
        "last-modified",
        "content-type",
    ] {
        assert!(got.header(name).is_some(), "{name}");
        if name != "cache-control" {
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
    }
    assert!(got.header("date").is_some());
    let cache = got.header("cache-control").unwrap();
    assert!(
        cache.ends_with(", public, no-transform, must-revalidate"),
        "{cache}"
    );
    // The ledger was asked once, and something was signed once.
    assert_eq!(*stage.script.asked.lock().unwrap(), [GOOD]);
    stage.stop().await;
}

#[tokio::test]
async fn conditional_requests_save_the_body() {
    let stage = Stage::new(HttpLimits::default()).await;
    let mut client = stage.connect().await;
    client.send(&get("GET", &request(REVOKED), "")).await;
    let first = client.reply(true).await.unwrap();
    let condition = format!("If-None-Match: {}\r\n", first.header("etag").unwrap());
    client
        .send(&get("GET", &request(REVOKED), &condition))
        .await;
    let second = client.reply(true).await.unwrap();
    assert_eq!(
        (second.status, second.header("etag")),
        (304, first.header("etag"))
    );
    assert!(second.header("expires").is_some() && second.header("cache-control").is_some());
    let condition = format!(
        "If-Modified-Since: {}\r\n",
        first.header("last-modified").unwrap()
    );
    client
        .send(&get("GET", &request(REVOKED), &condition))
        .await;
    assert_eq!(client.reply(true).await.unwrap().status, 304);
    client
        .send(&get(
            "GET",
            &request(REVOKED),
            "If-None-Match: \"other\"\r\n",
        ))
        .await;
    let other = client.reply(true).await.unwrap();
    assert_eq!((other.status, other.body), (200, first.body));
    stage.stop().await;
}

#[tokio::test]
async fn what_holds_a_nonce_or_no_answer_is_not_kept() {
    let stage = Stage::new(HttpLimits::default()).await;
    let nonce = [0x5a; 32];
    for (der, ocsp) in [
        (request_with(GOOD, &nonce), 0),
        (request(DOWN), 3),
        (b"M".to_vec(), 1),
    ] {
        let replies = stage.exchange(&post(&der)).await;
        assert_eq!(replies.len(), 1);
        assert_eq!(
            (replies[0].status, replies[0].ocsp_status()),
            (200, Some(ocsp))
        );
        assert_eq!(replies[0].header("cache-control"), Some("no-store"));
        assert_eq!(replies[0].header("etag"), None);
        let echoed = replies[0].body.windows(32).any(|octets| octets == nonce);
        assert_eq!(echoed, ocsp == 0);
    }
    stage.stop().await;
}

#[tokio::test]
async fn old_clients_are_served() {
    let stage = Stage::new(HttpLimits::default()).await;
    let der = request(GOOD);
    // openssl: HTTP/1.0, and the connection ends with the answer.
    let head = format!(
        "POST / HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
        der.len()
    );
    let mut client = stage.connect().await;
    client.send(&[head.as_bytes(), &der].concat()).await;
    let replies = client.rest().await;
    assert_eq!((replies.len(), replies[0].ocsp_status()), (1, Some(0)));
    // No Content-Type; a type with a parameter and other capitals; chunks; a proxy's absolute form.
    let length = der.len();
    for head in [
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: Application/OCSP-Request; a=b\r\nContent-Length: {length}\r\n\r\n"
        ),
        format!("POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
        format!("POST // HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
    ] {
        let replies = stage.exchange(&[head.as_bytes(), &der].concat()).await;
        assert_eq!(replies[0].ocsp_status(), Some(0), "{head}");
    }
    let (one, two) = der.split_at(5);
    let chunked = [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".to_vec(),
        one.to_vec(),
        format!("\r\n{:x}\r\n", two.len()).into_bytes(),
        two.to_vec(),
        b"\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    assert_eq!(stage.exchange(&chunked).await[0].ocsp_status(), Some(0));
    stage.stop().await;
}

#[tokio::test]
async fn another_path_is_kept_to() {
    let stage = Stage::at("/pki/ocsp", HttpLimits::default()).await;
    let der = request(GOOD);
    let to = |path: &str| {
        String::from_utf8_lossy(&get("GET", &der, "")).replacen("GET /", &format!("GET {path}"), 1)
    };
    for (path, status) in [
        ("/pki/ocsp/", 200),
        ("//pki/ocsp//", 200),
        ("/", 404),
        ("/pki/ocspx/", 404),
    ] {
        let replies = stage.exchange(to(path).as_bytes()).await;
        assert_eq!(replies[0].status, status, "{path}");
    }
    let post = |path: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            der.len()
        );
        [head.as_bytes(), &der].concat()
    };
    for (path, status) in [
        ("/pki/ocsp", 200),
        ("/pki/ocsp/", 200),
        ("/", 404),
        ("/pki/ocsp/more", 404),
    ] {
        let replies = stage.exchange(&post(path)).await;
        assert_eq!(replies[0].status, status, "{path}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order() {
    let stage = Stage::new(HttpLimits::default()).await;
    let mut octets = Vec::new();
    for _ in 0..20 {
        octets.extend(post(&request(GOOD)));
        octets.extend(get("GET", &request(DOWN), ""));
        octets.extend(post(b"nonsense"));
    }
    let replies = stage.exchange(&octets).await;
    let statuses: Vec<_> = replies
        .iter()
        .map(|reply| reply.ocsp_status().unwrap())
        .collect();
    assert_eq!(statuses, [0, 3, 1].repeat(20));
    stage.stop().await;
}
