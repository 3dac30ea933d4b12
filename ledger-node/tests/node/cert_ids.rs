//! Certificates found by the names that OCSP has for them.

use std::slice::from_ref;

use ledger::{
    Body, CertId, CertIdAnswer, CertificateHash, HashAlgorithm, Height, IssuerId,
    MAX_CERTIFICATES_PER_CERT_ID, ParsedCertificate, RevocationReason, Status,
};
use ledger_node::{Node, NodeConfig};
use tempfile::tempdir;

use crate::authority::Authority;
use crate::consortium::{ACME, SetClock, act, device, node, submit};
use crate::formats;

fn cert_id(algorithm: HashAlgorithm, issuer: &[u8], serial: &[u8]) -> CertId {
    let issuer = ParsedCertificate::parse(issuer).unwrap();
    CertId::new(IssuerId::of(algorithm, &issuer), serial).unwrap()
}

fn sorted(certificates: &[Vec<u8>]) -> Vec<CertificateHash> {
    let mut hashes: Vec<_> = certificates
        .iter()
        .map(|der| CertificateHash::of(der))
        .collect();
    hashes.sort_unstable();
    hashes
}

/// Asks with every algorithm, of the node and of its index, which must all say the same.
fn find(node: &Node, issuer: &[u8], serial: &[u8]) -> CertIdAnswer {
    let answers = HashAlgorithm::ALL.map(|algorithm| {
        let id = cert_id(algorithm, issuer, serial);
        let answer = node.certificates_by_cert_id(&id).unwrap();
        let embedded = node.cert_id_index().certificates_by_cert_id(&id).unwrap();
        assert_eq!(answer, embedded);
        answer
    });
    let [first, rest @ ..] = answers;
    for answer in rest {
        assert_eq!(answer, first);
    }
    first
}

/// What was recorded, and what must be said of it before and after whatever is done to the store.
struct Recorded {
    authority: Authority,
    issued: Vec<u8>,
    twins: [Vec<u8>; 2],
    alone: Vec<u8>,
}

impl Recorded {
    fn new(node: &Node) -> Self {
        let authority = Authority::new("Root");
        authority.record(node, 1);
        let issued = authority.issue("henb-1", &[0xf0, 1, 2]);
        let twins = ["henb-2", "henb-3"].map(|name| authority.issue(name, &[5]));
        let alone = device("henb-4").0;
        let mut batch = vec![issued.clone(), alone.clone()];
        batch.extend_from_slice(&twins);
        assert_eq!(act(node, ACME, 2, submit(&batch)), [None; 4]);
        Self {
            authority,
            issued,
            twins,
            alone,
        }
    }

    fn check(&self, node: &Node) {
        let head = node.head().unwrap();
        let (height, block_time) = (head.height, head.time);
        let served = |hashes| CertIdAnswer {
            hashes,
            issuer_served: true,
            height,
            block_time,
        };
        let root = self.authority.der.as_slice();
        assert_eq!(
            find(node, root, &[0, 0xf0, 1, 2]),
            served(sorted(from_ref(&self.issued)))
        );
        assert_eq!(find(node, root, &[5]), served(sorted(&self.twins)));
        assert_eq!(find(node, root, &[6]), served(Vec::new()));
        for own in [&self.alone, &self.authority.der] {
            let serial = ParsedCertificate::parse(own).unwrap().serial();
            assert_eq!(find(node, own, serial), served(sorted(from_ref(own))));
        }
        let nobody = CertIdAnswer {
            hashes: Vec::new(),
            issuer_served: false,
            height,
            block_time,
        };
        assert_eq!(find(node, &device("henb-5").0, &[1]), nobody);
        assert_eq!(find(node, &Authority::new("Root").der, &[5]), nobody);
        // A device is nobody's issuer but its own.
        assert_eq!(find(node, &self.alone, &[1]), nobody);
    }
}

#[test]
fn certificates_are_found_whatever_their_status_and_after_reopening() {
    let folder = tempdir().unwrap();
    let first = node(folder.path());
    let recorded = Recorded::new(&first);
    recorded.check(&first);
    for (nonce, der) in [(3, &recorded.issued), (4, &recorded.authority.der)] {
        let revoke = Body::Revoke {
            hash: CertificateHash::of(der),
            reason: RevocationReason::Superseded,
        };
        assert_eq!(act(&first, ACME, nonce, revoke), [None]);
    }
    recorded.check(&first);
    drop(first);
    let second = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
    recorded.check(&second);
}

#[test]
fn a_refused_certificate_is_not_found() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let authority = Authority::new("Root");
    let issued = authority.issue("henb-1", &[1]);
    assert_ne!(act(&node, ACME, 1, submit(&[issued])), [None]);
    let answer = find(&node, &authority.der, &[1]);
    assert_eq!((answer.hashes.len(), answer.issuer_served), (0, false));
}

#[test]
fn many_with_one_name_are_told_up_to_a_bound() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let authority = Authority::new("Root");
    authority.record(&node, 1);
    let twins: Vec<_> = (0..=MAX_CERTIFICATES_PER_CERT_ID)
        .map(|index| authority.issue(&format!("henb-{index}"), &[1]))
        .collect();
    act(&node, ACME, 2, submit(&twins));
    let mut expected = sorted(&twins);
    expected.truncate(MAX_CERTIFICATES_PER_CERT_ID);
    assert_eq!(find(&node, &authority.der, &[1]).hashes, expected);
}

#[test]
fn authorities_are_listed_in_pages() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    assert!(node.issuers(None, 10).unwrap().issuers.is_empty());
    let authorities: Vec<_> = (0..3)
        .map(|index| Authority::new(&format!("Root {index}")))
        .collect();
    for (nonce, authority) in (1..).zip(&authorities) {
        authority.record(&node, nonce);
    }
    let hash = CertificateHash::of(&authorities[0].der);
    act(&node, ACME, 4, Body::Suspend { hash });
    act(&node, ACME, 5, submit(&[device("henb").0]));

    let (mut after, mut issuers) = (None, Vec::new());
    let mut pages = 0;
    loop {
        let page = node.issuers(after.as_ref(), 2).unwrap();
        assert_eq!(page.height, Height(5));
        assert!(page.issuers.len() <= 2);
        issuers.extend(page.issuers);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, issuers.len()), (2, 3));
    for authority in &authorities {
        let hash = CertificateHash::of(&authority.der);
        let issuer = issuers.iter().find(|issuer| issuer.hash == hash).unwrap();
        assert_eq!(
            issuer.status == Status::Valid,
            authority.der != authorities[0].der
        );
        let names: Vec<_> = issuer
            .names
            .iter()
            .map(|name| format!("{}/{}/{}/01", name.algorithm, name.name, name.key))
            .collect();
        let expected = HashAlgorithm::ALL
            .map(|algorithm| cert_id(algorithm, &authority.der, &[1]).to_string());
        assert_eq!(names, expected);
    }
    // One exactly full page is the last.
    assert_eq!(node.issuers(None, 3).unwrap().next, None);
}

#[test]
fn a_store_of_the_first_format_gets_the_index() {
    let folder = tempdir().unwrap();
    let first = node(folder.path());
    let recorded = Recorded::new(&first);
    let head = first.head().unwrap();
    drop(first);
    formats::to_first(folder.path());
    for _ in 0..2 {
        let opened = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
        recorded.check(&opened);
        assert_eq!(opened.verify().unwrap(), head);
    }
    let opened = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap();
    let (der, _) = device("henb-6");
    act(&opened, ACME, 9, submit(from_ref(&der)));
    let serial = ParsedCertificate::parse(&der).unwrap().serial();
    assert_eq!(find(&opened, &der, serial).hashes, sorted(from_ref(&der)));
}
