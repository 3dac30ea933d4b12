//! A node that is killed with SIGKILL while it commits.
//!
//! The test starts this test program again, with only `child` in it and the folder in its
//! environment. The child prints the hash of each certificate after its receipt; whatever was
//! printed must be there afterwards.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use ledger::{CertificateHash, Status};
use ledger_node::{Node, NodeConfig};
use tempfile::tempdir;

use crate::consortium::{ACME, SetClock, device, genesis, signed, status, submit};

const FOLDER: &str = "LEDGER_NODE_CRASH_FOLDER";
const ACKNOWLEDGED: &str = "acknowledged ";
const ROUNDS: u64 = 6;
const THREADS: u64 = 4;

#[test]
#[ignore = "run by nothing_acknowledged_is_lost, in a process of its own"]
fn child() {
    let folder = PathBuf::from(env::var_os(FOLDER).expect("the parent names the folder"));
    let node = Node::open(NodeConfig::new(folder), SetClock::new()).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let node = &node;
            scope.spawn(move || {
                for turn in 0_u64.. {
                    let (der, hash) = device(&format!("henb-{thread}-{turn}"));
                    let transaction = signed(node, ACME, thread << 32 | turn, submit(&[der]));
                    let receipt = node.submit_blocking(transaction).unwrap();
                    assert!(receipt.outcomes[0].is_accepted(), "{receipt:?}");
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{ACKNOWLEDGED}{hash}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// A process that does not outlive the test, whatever becomes of that.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        // SIGKILL on Unix.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Done already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Killed {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Killed(child)
}

/// Lets the child acknowledge at least one, kills it a moment later, and gives all it acknowledged.
fn run_and_kill(folder: &Path, moment: Duration) -> Vec<CertificateHash> {
    let mut child = start(folder);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    // A line that the kill cut short is no acknowledgement; it does not parse.
    let parse = |line: String| -> Option<CertificateHash> {
        let (_, hash) = line.split_once(ACKNOWLEDGED)?;
        hash.parse().ok()
    };
    let first = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(parse)
        .expect("the child acknowledges something");
    let reader = thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .filter_map(parse)
            .collect::<Vec<_>>()
    });
    thread::sleep(moment);
    child.kill();
    let mut acknowledged = reader.join().unwrap();
    acknowledged.push(first);
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost() {
    let folder = tempdir().unwrap();
    Node::create(&NodeConfig::new(folder.path()), &genesis()).unwrap();
    let mut acknowledged = Vec::new();
    let mut heights = Vec::new();
    for round in 0..ROUNDS {
        let random = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .subsec_nanos();
        let moment = Duration::from_micros(u64::from(random) / 1_000 % 150_000);
        acknowledged.extend(run_and_kill(folder.path(), moment));

        let node = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
        let head = node.verify().unwrap();
        heights.push(head.height);
        for hash in &acknowledged {
            assert_eq!(
                status(&node, hash),
                Status::Valid,
                "round {round}, killed after {moment:?}: {hash} was acknowledged"
            );
        }
        assert_eq!(node.check(), Ok(()));
    }
    assert!(
        heights.is_sorted_by(|earlier, later| earlier < later),
        "{heights:?}"
    );
    assert!(acknowledged.len() as u64 >= ROUNDS);
}
