//! What CRLs are made of, listed by issuer.

use std::collections::BTreeMap;

use ledger::{
    BlockTime, Body, CertificateHash, HashAlgorithm, Height, IssuerId, ParsedCertificate,
    RevocationCursor, RevocationEntry, RevocationReason,
};
use ledger_node::{MAX_REVOCATIONS, Node, NodeConfig};
use tempfile::tempdir;

use crate::authority::Authority;
use crate::consortium::{ACME, BEGIN, SetClock, act, device, node, submit};
use crate::formats;

fn issuer(der: &[u8]) -> IssuerId {
    IssuerId::of(
        HashAlgorithm::Sha256,
        &ParsedCertificate::parse(der).unwrap(),
    )
}

/// All pages of `limit` entries from a place on.
fn list(node: &Node, der: &[u8], after: RevocationCursor, limit: usize) -> Vec<RevocationEntry> {
    let (mut entries, mut after) = (Vec::new(), after);
    loop {
        let page = node.revocations(&issuer(der), &after, limit).unwrap();
        assert!(page.entries.len() <= limit);
        assert_eq!(page.height, node.head().unwrap().height);
        assert_eq!(page.block_time, node.head().unwrap().time);
        assert_eq!(page.chain, node.chain());
        entries.extend(page.entries);
        assert!(page.next >= after, "it never goes back");
        after = page.next;
        if page.complete {
            assert_eq!(after, RevocationCursor::end_of(page.height));
            return entries;
        }
    }
}

fn all(node: &Node, der: &[u8]) -> Vec<RevocationEntry> {
    list(node, der, RevocationCursor::START, MAX_REVOCATIONS)
}

fn entry(der: &[u8], reason: RevocationReason, changed: u64) -> RevocationEntry {
    let certificate = ParsedCertificate::parse(der).unwrap();
    RevocationEntry {
        hash: CertificateHash::of(der),
        serial: certificate.serial_octets().to_vec(),
        reason,
        // Where the clock stands.
        time: BlockTime(BEGIN + 1_000),
        not_after: certificate.not_after(),
        changed: Height(changed),
    }
}

fn revoke(der: &[u8], reason: RevocationReason) -> Body {
    Body::Revoke {
        hash: CertificateHash::of(der),
        reason,
    }
}

fn suspend(der: &[u8]) -> Body {
    let hash = CertificateHash::of(der);
    Body::Suspend { hash }
}

fn resume(der: &[u8]) -> Body {
    let hash = CertificateHash::of(der);
    Body::Resume { hash }
}

/// Two authorities with devices, some of which were revoked, suspended and resumed.
struct Recorded {
    authority: Authority,
    other: Authority,
    issued: Vec<Vec<u8>>,
    foreign: Vec<u8>,
    alone: Vec<u8>,
}

impl Recorded {
    fn new(node: &Node) -> Self {
        let (authority, other) = (Authority::new("Root"), Authority::new("Other"));
        authority.record(node, 1);
        other.record(node, 2);
        let issued: Vec<_> = (1..=4)
            .map(|serial| authority.issue(&format!("henb-{serial}"), &[0x80 + serial, serial]))
            .collect();
        let foreign = other.issue("henb-5", &[0x81, 1]);
        let alone = device("henb-6").0;
        let mut batch = issued.clone();
        batch.extend([foreign.clone(), alone.clone()]);
        assert_eq!(act(node, ACME, 3, submit(&batch)), [None; 6]);
        let key = RevocationReason::KeyCompromise;
        for (nonce, body) in (4..).zip([
            suspend(&issued[0]),
            revoke(&issued[1], key),
            suspend(&issued[2]),
            resume(&issued[0]),
            revoke(&issued[2], RevocationReason::Unspecified),
            revoke(&foreign, key),
            revoke(&alone, key),
        ]) {
            assert_eq!(act(node, ACME, nonce, body), [None]);
        }
        Self {
            authority,
            other,
            issued,
            foreign,
            alone,
        }
    }

    fn expected(&self) -> Vec<RevocationEntry> {
        vec![
            entry(&self.issued[1], RevocationReason::KeyCompromise, 5),
            entry(&self.issued[0], RevocationReason::RemoveFromCrl, 7),
            entry(&self.issued[2], RevocationReason::Unspecified, 8),
        ]
    }

    fn check(&self, node: &Node) {
        for limit in [1, 2, 3, MAX_REVOCATIONS] {
            assert_eq!(
                list(node, &self.authority.der, RevocationCursor::START, limit),
                self.expected()
            );
        }
        assert_eq!(
            all(node, &self.other.der),
            [entry(&self.foreign, RevocationReason::KeyCompromise, 9)]
        );
        // A device has no CRL of its own.
        assert_eq!(all(node, &self.alone), []);
        let page = |der: &[u8]| {
            node.revocations(&issuer(der), &RevocationCursor::START, 9)
                .unwrap()
        };
        assert!(page(&self.other.der).issuer_served);
        assert!(!page(&self.alone).issuer_served);
        assert!(!page(&Authority::new("Root").der).issuer_served);
    }
}

#[test]
fn the_last_change_of_each_certificate_is_listed_and_survives_reopening() {
    let folder = tempdir().unwrap();
    let first = node(folder.path());
    let recorded = Recorded::new(&first);
    recorded.check(&first);
    let root = &recorded.authority.der;
    for (height, left) in [(0, 3), (4, 3), (5, 2), (7, 1), (8, 0), (999, 0)] {
        let after = RevocationCursor::end_of(Height(height));
        let page = first.revocations(&issuer(root), &after, 9).unwrap();
        assert_eq!((page.entries.len(), page.complete), (left, true));
        assert_eq!(page.next.height, Height(height.max(10)));
    }
    drop(first);
    let second = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
    recorded.check(&second);
}

#[test]
fn who_stopped_somewhere_is_told_what_changed_since() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let recorded = Recorded::new(&node);
    let root = &recorded.authority.der;
    let first = node
        .revocations(&issuer(root), &RevocationCursor::START, 2)
        .unwrap();
    assert!(!first.complete);
    // Between two pages, one that was told is not told again, and one that was not moves behind.
    for (nonce, body) in [
        (20, suspend(&recorded.issued[0])),
        (21, suspend(&recorded.issued[3])),
        (22, resume(&recorded.issued[3])),
    ] {
        assert_eq!(act(&node, ACME, nonce, body), [None]);
    }
    let mut held: BTreeMap<CertificateHash, RevocationEntry> = BTreeMap::new();
    let rest = list(&node, root, first.next, 2);
    for entry in first.entries.into_iter().chain(rest) {
        held.insert(entry.hash, entry);
    }
    let whole: BTreeMap<_, _> = all(&node, root)
        .into_iter()
        .map(|entry| (entry.hash, entry))
        .collect();
    assert_eq!(held, whole);
    assert_eq!(
        whole[&CertificateHash::of(&recorded.issued[0])],
        entry(&recorded.issued[0], RevocationReason::CertificateHold, 11)
    );
}

#[test]
fn an_authority_is_listed_under_who_issued_it() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let authority = Authority::new("Root");
    authority.record(&node, 1);
    let reason = RevocationReason::CaCompromise;
    act(&node, ACME, 2, revoke(&authority.der, reason));
    assert_eq!(
        all(&node, &authority.der),
        [entry(&authority.der, reason, 2)]
    );
}

#[test]
fn stores_of_older_formats_get_the_list() {
    for older in [formats::to_first, formats::to_second] {
        let folder = tempdir().unwrap();
        let first = node(folder.path());
        let recorded = Recorded::new(&first);
        let head = first.head().unwrap();
        drop(first);
        older(folder.path());
        for _ in 0..2 {
            let opened = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
            recorded.check(&opened);
            assert_eq!(opened.verify().unwrap(), head);
        }
        let opened = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
        act(&opened, ACME, 30, suspend(&recorded.issued[3]));
        assert_eq!(all(&opened, &recorded.authority.der).len(), 4);
    }
}
