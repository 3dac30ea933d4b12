//! A disk that fills up: nothing acknowledged is lost, and the node says what is wrong.
//!
//! The node runs on a small file system of its own, which takes a mount namespace. Where the system
//! gives none, the test says so and ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use ledger::{ChainId, Height};
use ledger_node::{Endorser, key};
use serde_json::Value;

use crate::fixture::{client, device, octets, submission};

/// Makes a ledger on 4 MiB, and runs it twice: the second time on the disk as the first left it. A
/// line ends a run, and so does the end of the test.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=4M none "$1" || exit 1
"$0" init --dir "$1/ledger" --member acme --organisation "ACME Femto" >/dev/null || exit 1
cp -p "$1/ledger/acme.key" "$2" || exit 1
for run in first second; do
    "$0" run --dir "$1/ledger" --listen 127.0.0.1:0 --json --log-format json 2>"$2/$run.log" &
    node=$!
    read -r _
    kill -TERM $node
    wait $node || exit 1
done
"#;

fn namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command
}

/// The shell that the nodes run under.
struct Shell {
    child: Child,
    end_of_run: ChildStdin,
    out: BufReader<ChildStdout>,
}

impl Shell {
    fn start(place: &Path, out: &Path) -> Self {
        let mut child = namespace()
            .args(["sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_ledger-node")])
            .args([place, out])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            end_of_run: child.stdin.take().unwrap(),
            out: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The node that is ready now.
    fn node(&mut self) -> Running {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        let value: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Running {
            url: value["url"].as_str().unwrap().to_owned(),
            chain: value["chain"].as_str().unwrap().parse().unwrap(),
        }
    }

    fn end_run(&mut self) {
        self.end_of_run.write_all(b"\n").unwrap();
    }
}

struct Running {
    url: String,
    chain: ChainId,
}

impl Running {
    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = client().request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = octets(response).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Vec::new()).await
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let usable = namespace().arg("true").output();
    if !usable.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no mount namespace to be had here (unshare --user --mount)");
        return;
    }
    let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut shell = Shell::start(place.path(), out.path());
    let node = shell.node();
    let pair = key::read(&out.path().join("acme.key")).unwrap();
    let acme = Endorser::new("acme".parse().unwrap(), pair);

    let mut acknowledged = Vec::new();
    let refused = loop {
        let devices: Vec<_> = (0..50)
            .map(|index| device(&format!("henb-{index}")))
            .collect();
        let height = Height(acknowledged.len() as u64);
        let transaction = acme.sign(node.chain, height, submission(devices)).unwrap();
        let (status, answer) = node
            .call(Method::POST, "/v1/transactions", transaction.encode())
            .await;
        if status != 200 {
            break (status, answer["error"].clone());
        }
        let hash = answer["outcomes"][49]["hash"].as_str().unwrap().to_owned();
        assert_eq!(answer["outcomes"][49]["accepted"], true);
        acknowledged.push(hash);
        assert!(acknowledged.len() < 500, "the disk never fills up");
    };
    assert_eq!(refused, (503, Value::from("store-failed")));
    assert!(!acknowledged.is_empty());
    for path in ["/v1/ready", "/v1/health"] {
        let (status, answer) = node.get(path).await;
        assert_eq!(status == 200, path == "/v1/health", "{answer}");
    }
    let (_, answer) = node.get("/v1/ready").await;
    assert_eq!(answer["error"], "not-ready");
    assert!(
        answer["detail"].as_str().unwrap().contains("space"),
        "{answer}"
    );
    check(&node, &acknowledged).await;
    shell.end_run();

    // On the same full disk: everything is there, and can be asked for.
    let node = shell.node();
    check(&node, &acknowledged).await;
    shell.end_run();
    assert!(shell.child.wait().unwrap().success());

    let log = fs::read_to_string(out.path().join("first.log")).unwrap();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"ERROR\""))
        .collect();
    assert_eq!(errors.len(), 1, "one line says it: {log}");
    assert!(errors[0].contains("No space left on device"), "{log}");
}

async fn check(node: &Running, acknowledged: &[String]) {
    for hash in acknowledged {
        let (_, answer) = node.get(&format!("/v1/status/{hash}")).await;
        assert_eq!(answer["status"], "valid", "{hash} was acknowledged");
    }
    let (_, head) = node.get("/v1/head").await;
    assert_eq!(head["height"], acknowledged.len());
}
