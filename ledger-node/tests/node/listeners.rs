//! Whoever listens for commits cannot hold up or undo one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ledger::{Height, Status};
use ledger_node::Node;
use tempfile::tempdir;

use crate::consortium::{ACME, act, device, node, status, submit};

/// Commits a new certificate, which must not take long.
fn commit(node: &Node, nonce: u64) {
    let (done, finished) = mpsc::channel();
    let committing = node.clone();
    thread::spawn(move || {
        let (der, hash) = device("henb");
        let refusals = act(&committing, ACME, nonce, submit(&[der]));
        let _ = done.send((refusals, hash));
    });
    let (refusals, hash) = finished
        .recv_timeout(Duration::from_secs(20))
        .expect("the commit is acknowledged");
    assert_eq!(refusals, [None]);
    assert_eq!(status(node, &hash), Status::Valid);
}

#[test]
fn a_listener_that_panics_stops_nothing() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let seen = Arc::new(AtomicU64::new(0));
    node.inquiry()
        .on_commit(Box::new(|height| panic!("told of {height}")));
    let last = Arc::clone(&seen);
    node.inquiry().on_commit(Box::new(move |height| {
        last.store(height.0, Ordering::SeqCst)
    }));
    commit(&node, 1);
    commit(&node, 2);
    assert_eq!(seen.load(Ordering::SeqCst), 2, "those after it are told");
    node.check().unwrap();
}

#[test]
fn a_listener_may_register_another_and_inquire() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let calls = Arc::new(AtomicU64::new(0));
    let inquiry = Arc::downgrade(&node.inquiry());
    let counted = Arc::clone(&calls);
    node.inquiry().on_commit(Box::new(move |height| {
        let Some(inquiry) = inquiry.upgrade() else {
            return;
        };
        assert_eq!(inquiry.events(Height(0), 10).unwrap().head, height);
        let counted = Arc::clone(&counted);
        inquiry.on_commit(Box::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        }));
    }));
    commit(&node, 1);
    commit(&node, 2);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "from the next block on");
}
