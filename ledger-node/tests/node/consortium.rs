//! A small consortium, its keys and its certificates.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::{
    BlockTime, Body, CertificateHash, Class, Genesis, Height, Member, MemberKey, MemberKind,
    Outcome, Parameters, Refusal, Roles, SignedTransaction, Status, Transaction,
};
use ledger_node::{Clock, Node, NodeConfig, Receipt};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose};
use ring::digest::{SHA256, digest};
use ring::signature::Ed25519KeyPair;

pub(crate) const ACME: &str = "acme";
pub(crate) const OPERATOR: &str = "operator";

/// 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: u64 = 1_767_225_600_000;

/// A clock that stands where the test puts it.
pub(crate) struct SetClock(AtomicU64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(BEGIN + 1_000)))
    }

    pub(crate) fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> BlockTime {
        BlockTime(self.0.load(Ordering::SeqCst))
    }
}

/// A key pair that depends on the member's name only.
pub(crate) fn pair(name: &str) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(digest(&SHA256, name.as_bytes()).as_ref()).unwrap()
}

pub(crate) fn genesis() -> Genesis {
    let member = |name: &str, kind, roles, organisation: &str| Member {
        id: name.parse().unwrap(),
        key: MemberKey::of(&pair(name)),
        kind,
        roles,
        organisations: vec![organisation.parse().unwrap()],
    };
    Genesis {
        name: "test".to_owned(),
        time: BlockTime(BEGIN),
        members: vec![
            member(ACME, MemberKind::Manufacturer, Roles::ALL, "ACME Femto"),
            member(OPERATOR, MemberKind::Operator, Roles::SUBMISSION, "One"),
        ],
        parameters: Parameters::default(),
    }
}

/// Makes a ledger and opens it.
pub(crate) fn node(folder: &Path) -> Node {
    let config = NodeConfig::new(folder);
    Node::create(&config, &genesis()).unwrap();
    Node::open(config, SetClock::new()).unwrap()
}

pub(crate) fn signed(node: &Node, member: &str, nonce: u64, body: Body) -> SignedTransaction {
    let transaction = Transaction {
        chain: node.chain(),
        member: member.parse().unwrap(),
        nonce,
        expires: Height(node.head().unwrap().height.0 + 5_000),
        body,
    };
    SignedTransaction::sign(transaction, &pair(member))
}

/// Submits, and gives what the receipt says of each part.
pub(crate) fn act(node: &Node, member: &str, nonce: u64, body: Body) -> Vec<Option<Refusal>> {
    refusals(
        &node
            .submit_blocking(signed(node, member, nonce, body))
            .unwrap(),
    )
}

pub(crate) fn refusals(receipt: &Receipt) -> Vec<Option<Refusal>> {
    receipt.outcomes.iter().map(Outcome::refusal).collect()
}

/// A self-signed device certificate with a new key, valid 2025-01-01 to 2035-01-01.
pub(crate) fn certificate(name: &str, organisation: &str) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, organisation);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

pub(crate) fn device(name: &str) -> (Vec<u8>, CertificateHash) {
    let certificate = certificate(name, "ACME Femto");
    let hash = CertificateHash::of(&certificate);
    (certificate, hash)
}

pub(crate) fn submit(certificates: &[Vec<u8>]) -> Body {
    Body::Submit {
        certificates: certificates.to_vec(),
        class: Class::Device,
    }
}

pub(crate) fn status(node: &Node, hash: &CertificateHash) -> Status {
    node.status(hash).unwrap().status
}
