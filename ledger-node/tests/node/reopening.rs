//! What stays when a node is closed, and what is refused when it is opened.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::slice::from_ref;

use ledger::{Body, Height, Refusal, Status};
use ledger_node::{Node, NodeConfig, NodeError, SubmitError};
use tempfile::tempdir;

use crate::consortium::{ACME, SetClock, act, device, genesis, node, signed, status, submit};

#[test]
fn everything_is_kept() {
    let folder = tempdir().unwrap();
    let first = node(folder.path());
    let (der, hash) = device("henb-1");
    act(&first, ACME, 1, submit(from_ref(&der)));
    let suspend = signed(&first, ACME, 2, Body::Suspend { hash });
    first.submit_blocking(suspend.clone()).unwrap();
    let head = first.head().unwrap();
    let events = first.inquiry().events(Height(1), 100).unwrap();
    let answer = first.status(&hash).unwrap();
    drop(first);

    let config = NodeConfig::new(folder.path());
    let second = Node::open(config, SetClock::new()).unwrap();
    assert_eq!(second.chain(), genesis().chain_id());
    assert_eq!(second.chain_description().unwrap().name, genesis().name);
    assert_eq!(second.head().unwrap(), head);
    assert_eq!(second.verify().unwrap(), head);
    assert_eq!(second.status(&hash).unwrap(), answer);
    assert_eq!(second.inquiry().events(Height(1), 100).unwrap(), events);
    assert_eq!(second.members().unwrap().len(), 2);
    // What was applied is remembered, and so is what is recorded.
    let error = second.submit_blocking(suspend).unwrap_err();
    assert!(
        matches!(&error, SubmitError::Refused(refused) if refused.refusal == Refusal::Replayed),
        "{error}"
    );
    assert_eq!(
        act(&second, ACME, 3, submit(&[der])),
        [Some(Refusal::Duplicate)]
    );
    assert_eq!(act(&second, ACME, 4, Body::Resume { hash }), [None]);
    assert_eq!(status(&second, &hash), Status::Valid);
    second.verify().unwrap();
}

#[test]
fn a_folder_is_opened_once() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let error = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap_err();
    assert!(matches!(error, NodeError::Busy(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&folder.path().display().to_string()),
        "{text}"
    );
    drop(node);
    Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
}

#[test]
fn a_ledger_is_not_made_over_another() {
    let folder = tempdir().unwrap();
    let config = NodeConfig::new(folder.path().join("a").join("b"));
    Node::create(&config, &genesis()).unwrap();
    let error = Node::create(&config, &genesis()).unwrap_err();
    assert!(matches!(error, NodeError::Exists(_)), "{error}");

    let none = NodeConfig::new(folder.path().join("none"));
    let error = Node::open(none.clone(), SetClock::new()).unwrap_err();
    assert!(matches!(error, NodeError::Missing(_)), "{error}");
    assert!(!none.folder.exists());

    let mut unsound = genesis();
    unsound.members.clear();
    let error = Node::create(&none, &unsound).unwrap_err();
    assert!(matches!(error, NodeError::Genesis(_)), "{error}");
    assert!(!none.folder.exists());
}

#[test]
fn an_interrupted_creation_can_be_done_again() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("ledger.redb.new"), b"half a file").unwrap();
    let node = node(folder.path());
    assert_eq!(node.verify().unwrap().height, Height(0));
}

#[test]
fn only_the_owner_may_read() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("ledger");
    let _node = node(&folder);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 2, "the store and its lock");
}

#[test]
fn damage_is_found() {
    const BLOCKS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("blocks");
    let folder = tempdir().unwrap();
    let first = node(folder.path());
    for nonce in 1..=4 {
        act(&first, ACME, nonce, submit(&[device("henb").0]));
    }
    let octets = |height| first.block(Height(height)).unwrap().unwrap().encode();
    let (second, third) = (octets(2), octets(3));
    drop(first);
    let put = |height: u64, octets: &[u8]| {
        let database = redb::Database::open(folder.path().join("ledger.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(BLOCKS)
            .unwrap()
            .insert(height, octets)
            .unwrap();
        transaction.commit().unwrap();
    };
    let open = || Node::open(NodeConfig::new(folder.path()), SetClock::new());

    // In the middle of the chain, only the whole check finds it.
    put(2, &third);
    let node = open().unwrap();
    let error = node.verify().unwrap_err();
    assert!(
        matches!(&error, NodeError::Damaged { height, .. } if *height == Height(2)),
        "{error}"
    );
    drop(node);
    put(2, &second);
    open().unwrap().verify().unwrap();

    // At the head, opening does.
    put(4, &third);
    let error = open().unwrap_err();
    assert!(
        matches!(&error, NodeError::Damaged { height, .. } if *height == Height(4)),
        "{error}"
    );
    put(4, b"");
    let error = open().unwrap_err();
    assert!(matches!(error, NodeError::Damaged { .. }), "{error}");
}
