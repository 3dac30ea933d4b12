//! HTTP that is wrong, hostile or odd, each with its answer.

use ocsp_bridge::http::HttpLimits;

use crate::stage::{GOOD, Stage, get, post, post_with, request};

/// What a case leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expect {
    /// One response with this HTTP status and no OCSP response.
    Http(u16),
    /// One response with status 200 and this OCSP responseStatus.
    Ocsp(u8),
    /// No response, and the connection is closed.
    Closed,
}

use Expect::{Closed, Http, Ocsp};

fn cases() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let good = request(GOOD);
    let line = |text: &str| format!("{text}\r\nHost: a.example\r\n\r\n").into_bytes();
    let with = |head: &str, body: &[u8]| [head.as_bytes(), b"\r\n\r\n", body].concat();
    let long_header = format!("X: {}\r\n", "x".repeat(64 * 1024));
    let many_headers = "X: y\r\n".repeat(200);
    let mut trailing = good.clone();
    trailing.push(0);
    vec![
        // Methods.
        ("put", line("PUT / HTTP/1.1"), Http(405)),
        ("delete", line("DELETE / HTTP/1.1"), Http(405)),
        ("options", line("OPTIONS * HTTP/1.1"), Http(405)),
        ("trace", line("TRACE / HTTP/1.1"), Http(405)),
        ("connect", line("CONNECT a.example:443 HTTP/1.1"), Http(405)),
        ("made-up method", line("OCSP / HTTP/1.1"), Http(405)),
        ("lower-case method", line("get / HTTP/1.1"), Http(405)),
        // Paths.
        ("get of nothing", line("GET / HTTP/1.1"), Http(404)),
        (
            "get of an icon",
            line("GET /favicon.ico HTTP/1.1"),
            Http(404),
        ),
        (
            "get of dots",
            line("GET /../../etc/passwd HTTP/1.1"),
            Http(404),
        ),
        ("get of a nul", line("GET /%00 HTTP/1.1"), Http(404)),
        ("get of a query", line("GET /?MDAwMDAw HTTP/1.1"), Http(404)),
        ("get of bad base64", line("GET /MD!! HTTP/1.1"), Ocsp(1)),
        ("get of a cut escape", line("GET /MDAw%2 HTTP/1.1"), Ocsp(1)),
        ("get of bad escapes", line("GET /MDAw%ZZ HTTP/1.1"), Ocsp(1)),
        ("get of padding within", line("GET /MD=w HTTP/1.1"), Ocsp(1)),
        ("get of a cut request", get("GET", &good[..20], ""), Ocsp(1)),
        ("get of too much", get("GET", &[0x30; 5_000], ""), Http(413)),
        (
            "get of far too much",
            get("GET", &[0x30; 60_000], ""),
            Http(431),
        ),
        (
            "post to elsewhere",
            with(
                "POST /elsewhere HTTP/1.1\r\nHost: a\r\nContent-Length: 0",
                b"",
            ),
            Http(404),
        ),
        // Bodies.
        ("empty post", post(b""), Ocsp(1)),
        ("no length at all", line("POST / HTTP/1.1"), Ocsp(1)),
        ("post of text", post(b"hello"), Ocsp(1)),
        ("post of an empty sequence", post(&[0x30, 0]), Ocsp(1)),
        (
            "post of an endless length",
            post(&[0x30, 0x80, 0, 0]),
            Ocsp(1),
        ),
        (
            "post of a huge length",
            post(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            Ocsp(1),
        ),
        ("post of base64", post(b"MDAwMDAwMDAw"), Ocsp(1)),
        ("post with trailing octets", post(&trailing), Ocsp(1)),
        ("post of 4096 octets", post(&[0x30; 4_096]), Ocsp(1)),
        ("post of 4097 octets", post(&[0x30; 4_097]), Http(413)),
        (
            "announced too much",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000",
                b"",
            ),
            Http(413),
        ),
        (
            "announced more than there is",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615",
                b"",
            ),
            Http(431),
        ),
        (
            "chunks of too much",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked",
                &[
                    b"2000\r\n".to_vec(),
                    vec![0x30; 0x2000],
                    b"\r\n0\r\n\r\n".to_vec(),
                ]
                .concat(),
            ),
            Http(413),
        ),
        (
            "chunks that are none",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked",
                b"zz\r\n",
            ),
            Http(400),
        ),
        (
            "a huge chunk",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked",
                b"ffffffffffffffffff\r\n",
            ),
            Http(400),
        ),
        (
            "a body that breaks off",
            with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100", b"abc"),
            Http(400),
        ),
        // Header fields.
        (
            "another type",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 2",
                &[0x30, 0],
            ),
            Http(415),
        ),
        (
            "two types",
            post_with("Content-Type: application/ocsp-request\r\n", &good),
            Http(415),
        ),
        (
            "a form",
            with(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2",
                &[0x30, 0],
            ),
            Http(415),
        ),
        ("no host", with("GET /MDAw HTTP/1.1", b""), Http(400)),
        (
            "two hosts",
            with("GET /MDAw HTTP/1.1\r\nHost: a\r\nHost: b", b""),
            Http(400),
        ),
        ("a long field", post_with(&long_header, &good), Http(431)),
        ("many fields", post_with(&many_headers, &good), Http(431)),
        (
            "two lengths",
            post_with("Content-Length: 3\r\n", &good),
            Http(400),
        ),
        (
            "a negative length",
            with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", b""),
            Http(400),
        ),
        (
            "a length that is none",
            with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x10", b""),
            Http(400),
        ),
        (
            "a field without a colon",
            line("GET / HTTP/1.1\r\nnonsense"),
            Http(400),
        ),
        (
            "a field with a space",
            line("GET / HTTP/1.1\r\nA b: c"),
            Http(400),
        ),
        (
            "a nul in a field",
            line("GET / HTTP/1.1\r\nA: b\0c"),
            Http(400),
        ),
        (
            "a folded field",
            line("GET / HTTP/1.1\r\nA: b\r\n c"),
            Http(400),
        ),
        (
            "an unknown coding",
            with("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", b""),
            Http(400),
        ),
        // What is no HTTP.
        ("nothing", b"".to_vec(), Closed),
        ("an end of line", b"\r\n".to_vec(), Closed),
        ("half a head", b"GET / HTTP/1.1\r\nHost:".to_vec(), Closed),
        ("a request without http", request(GOOD), Http(400)),
        (
            "tls",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec(),
            Http(400),
        ),
        ("http/0.9", b"GET /\r\n\r\n".to_vec(), Http(400)),
        (
            "http/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            Closed,
        ),
        ("http/9.9", line("GET / HTTP/9.9"), Http(400)),
        (
            "octets above ascii",
            line("GET /\u{e4} HTTP/1.1"),
            Http(404),
        ),
        (
            "octets above ascii in a request",
            line("GET /MDA\u{e4} HTTP/1.1"),
            Ocsp(1),
        ),
    ]
}

#[tokio::test]
async fn each_has_its_answer_and_the_next_client_is_served() {
    let stage = Stage::new(HttpLimits::default()).await;
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 55);
    for (name, octets, expected) in cases {
        let replies = stage.exchange(&octets).await;
        let found = match replies.as_slice() {
            [] => Closed,
            [one, ..] if one.status == 200 => one.ocsp_status().map_or(Http(200), Ocsp),
            [one, ..] => Http(one.status),
        };
        if found != expected || replies.len() > 1 {
            wrong.push(format!(
                "{name}: expected {expected:?}, found {found:?}, {} replies",
                replies.len()
            ));
        }
        // A refusal is small.
        assert!(replies.iter().all(|reply| reply.body.len() < 200), "{name}");
        let replies = stage.exchange(&post(&request(GOOD))).await;
        assert_eq!(replies[0].ocsp_status(), Some(0), "after {name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    stage.stop().await;
}

#[tokio::test]
async fn what_is_refused_ends_the_connection_where_its_end_is_not_known() {
    let stage = Stage::new(HttpLimits::default()).await;
    // A refused body may still be on its way: what follows it must not be taken for a request.
    let smuggled = post(&request(GOOD));
    for (head, status) in [
        (
            format!(
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                smuggled.len()
            ),
            405,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n".to_owned(),
            413,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                smuggled.len()
            ),
            415,
        ),
    ] {
        let replies = stage.exchange(&[head.as_bytes(), &smuggled].concat()).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [status], "{head}");
        assert_eq!(replies[0].header("connection"), Some("close"));
    }
    assert!(stage.script.asked.lock().unwrap().is_empty());
    // Transfer-Encoding has the last word over Content-Length (RFC 9112 §6.3), so nothing is left over.
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let replies = stage.exchange(both.as_bytes()).await;
    assert!(
        replies.len() == 1 && (replies[0].status == 400 || replies[0].ocsp_status() == Some(1)),
        "{replies:?}"
    );
    stage.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let stage = Stage::new(HttpLimits::default()).await;
    let der = request(GOOD);
    let mut client = stage.connect().await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        der.len()
    );
    client.send(head.as_bytes()).await;
    assert_eq!(client.reply(true).await.unwrap().status, 100);
    client.send(&der).await;
    assert_eq!(client.reply(true).await.unwrap().ocsp_status(), Some(0));
    // Not for what would be refused.
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n";
    client.send(head.as_bytes()).await;
    assert_eq!(client.reply(true).await.unwrap().status, 413);
    stage.stop().await;
}
