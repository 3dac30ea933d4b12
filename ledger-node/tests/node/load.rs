//! Many submitters at once, and more than fits.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use ledger::{Body, CertificateHash, Height, Status};
use ledger_node::{EngineStopped, Node, NodeConfig, SubmitError};
use tempfile::tempdir;

use crate::consortium::{ACME, SetClock, act, device, genesis, node, signed, status, submit};

const SUBMITTERS: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_submitters_share_blocks() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let mut tasks = Vec::new();
    for submitter in 0..SUBMITTERS {
        let node = node.clone();
        tasks.push(tokio::spawn(async move {
            let mut committed = Vec::new();
            for turn in 0..5 {
                let (der, hash) = device(&format!("henb-{submitter}-{turn}"));
                let nonce = submitter * 100 + turn;
                let transaction = signed(&node, ACME, nonce, submit(&[der]));
                let place = node.submit(transaction).await.unwrap();
                assert!(place.is_accepted());
                // Whoever has a receipt reads what it says.
                assert_eq!(status(&node, &hash), Status::Valid);
                committed.push((place.height, hash));
            }
            committed
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let total = usize::try_from(SUBMITTERS * 5).unwrap();
    assert_eq!(all.len(), total);
    let blocks = node.head().unwrap().height.0;
    assert!(blocks < SUBMITTERS * 5, "{blocks} blocks");
    let mut events: Vec<(Height, CertificateHash)> = Vec::new();
    let mut from = Height(0);
    loop {
        let page = node.inquiry().events(from, 7).unwrap();
        if page.events.is_empty() {
            break;
        }
        events.extend(page.events.iter().map(|event| (event.height, event.hash)));
        from = page.next;
    }
    events.sort_unstable();
    all.sort_unstable();
    assert_eq!(events, all);
    assert_eq!(node.verify().unwrap().height.0, blocks);
}

#[test]
fn what_does_not_fit_is_turned_away_and_stopping_commits_the_rest() {
    let folder = tempdir().unwrap();
    let mut config = NodeConfig::new(folder.path());
    config.limits.pending = 3;
    Node::create(&config, &genesis()).unwrap();
    let node = Node::open(config, SetClock::new()).unwrap();
    // Holds the first commit until the test lets it go.
    let (began, begun) = channel();
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    node.inquiry().on_commit(Box::new(move |_| {
        let _ = began.send(());
        let _ = gate.lock().unwrap().recv();
    }));
    let hash = CertificateHash::from_octets([1; 32]);
    let transactions: Vec<_> = (0..4)
        .map(|nonce| signed(&node, ACME, nonce, Body::Suspend { hash }))
        .collect();
    let queue = |index: usize| {
        let node = node.clone();
        let transaction = transactions[index].clone();
        let mut submission = Box::pin(async move { node.submit(transaction).await });
        // Polled once, it is queued, or turned away.
        let answer = submission.as_mut().now_or_never();
        (submission, answer)
    };
    let mut waiting = vec![queue(0)];
    begun.recv().unwrap();
    waiting.extend([queue(1), queue(2)]);
    assert!(matches!(queue(3).1, Some(Err(SubmitError::Full))));
    drop(go);
    node.stop();
    for (submission, answer) in waiting {
        assert!(answer.is_none(), "{answer:?}");
        submission.now_or_never().unwrap().unwrap();
    }
    assert!(matches!(queue(3).1, Some(Err(SubmitError::Stopped))));
    assert_eq!(node.check(), Err(EngineStopped::Asked));
    assert_eq!(status(&node, &hash), Status::NotRecorded);
    let sizes = [1, 2].map(|height| {
        let block = node.block(Height(height)).unwrap().unwrap();
        block.transactions.len()
    });
    assert_eq!(sizes, [1, 2]);
    node.verify().unwrap();
}

#[test]
fn a_node_stops_with_its_last_clone() {
    let folder = tempdir().unwrap();
    let node = Arc::new(node(folder.path()));
    let clone = node.as_ref().clone();
    drop(node);
    assert_eq!(act(&clone, ACME, 1, submit(&[device("henb").0])), [None]);
    drop(clone);
    Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
}
