//! Signers are exchanged under load.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ledger::CertificateHash;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::bridge::{ANY, Node, Says, says, write_signer};
use crate::stage::{Client, PATIENCE, post, request, request_with};

const RELOADS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_sighup_exchanges_the_signer_fifty_times() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = ["first", "second"].map(|name| write_signer(folder.path(), name));
    let node = Node::start(ANY, Arc::default()).await;
    node.record(1, CertificateHash::from_octets([1; 32]));
    let configure = |signer: &str| {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[signer]\ncertificate = \"{signer}.pem\"\nkey = \"{signer}.key\"\n\
             [ledger]\nnodes = [\"http://{}\"]\n",
            node.address
        );
        let (new, config) = (folder.path().join("new"), folder.path().join("bridge.toml"));
        fs::write(&new, text).unwrap();
        fs::rename(new, config).unwrap();
    };
    configure("first");
    let mut program = Command::new(env!("CARGO_BIN_EXE_ocsp-bridge"))
        .args(["run", "--config", "bridge.toml", "--log-format", "json"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&program);
    let (tell, mut lines) = mpsc::unbounded_channel();
    let errors = BufReader::new(program.stderr.take().unwrap());
    thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    let mut wait_for = async |message: &str| {
        let found = async {
            loop {
                let line = lines.recv().await.unwrap();
                if line["message"] == message {
                    return line;
                }
            }
        };
        timeout(PATIENCE, found).await.expect(message)
    };
    let line = wait_for("OCSP over HTTP listening").await;
    let address = line["address"].as_str().unwrap().parse().unwrap();
    // Until the ledger's stream is up.
    let began = Instant::now();
    loop {
        let mut client = Client::connect(address).await;
        client.send(&post(&request(1))).await;
        if says(&client.reply(true).await.unwrap(), 1) == Says::Good {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let by = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let clients: Vec<_> = (0..8_u8)
        .map(|number| {
            let (stop, by, certificates) =
                (Arc::clone(&stop), Arc::clone(&by), certificates.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    // Half of them from the cache.
                    let request = match number % 2 {
                        0 => request(1),
                        _ => request_with(1, &[number; 32]),
                    };
                    client.send(&post(&request)).await;
                    let reply = client.reply(true).await.expect("the connection was closed");
                    assert_eq!(says(&reply, 1), Says::Good);
                    let has = |certificate: &Vec<u8>| {
                        reply
                            .body
                            .windows(certificate.len())
                            .any(|octets| octets == certificate)
                    };
                    let signer = certificates.iter().position(has).expect("another signer");
                    by[signer].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..RELOADS {
        configure(if round % 2 == 0 { "second" } else { "first" });
        let before = by[0].load(Ordering::Relaxed) + by[1].load(Ordering::Relaxed);
        kill_process(pid, Signal::HUP).unwrap();
        wait_for("signers and policy reloaded").await;
        // Each pair of signers serves some.
        let began = Instant::now();
        while by[0].load(Ordering::Relaxed) + by[1].load(Ordering::Relaxed) < before + 20 {
            assert!(began.elapsed() < PATIENCE, "nobody is answered any more");
            sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let by = by.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(by.iter().all(|count| *count >= RELOADS), "{by:?}");
    println!("answered by the first and the second signer: {by:?}");
    kill_process(pid, Signal::TERM).unwrap();
    wait_for("stopping").await;
    assert_eq!(program.wait().unwrap().code(), Some(0));
    node.serving.abort();
}
