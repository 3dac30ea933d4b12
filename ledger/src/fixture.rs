//! A small consortium and its certificates, for the tests.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm, date_time_ymd,
};
use ring::signature::Ed25519KeyPair;

use crate::apply::{Applied, Context, apply};
use crate::block::Block;
use crate::genesis::{Genesis, Parameters};
use crate::hash::{CertificateHash, ChainId};
use crate::member::{Member, MemberId, MemberKey, MemberKind, Roles};
use crate::memory::MemoryState;
use crate::outcome::{Outcome, Refusal};
use crate::record::{BlockTime, Class, Height, Status};
use crate::state::{Head, State};
use crate::transaction::{Body, SignedTransaction, Transaction};

/// 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: BlockTime = BlockTime(1_767_225_600_000);

pub(crate) const ACME: &str = "acme";
pub(crate) const OPERATOR: &str = "operator-one";
pub(crate) const SECOND_OPERATOR: &str = "operator-two";
pub(crate) const AUTHORITY: &str = "trust";
pub(crate) const WATCHER: &str = "watch";

pub(crate) fn id(name: &str) -> MemberId {
    name.parse().unwrap()
}

/// A key pair that depends on the member's name only.
pub(crate) fn pair(name: &str) -> Ed25519KeyPair {
    let seed = crate::hash::sha256(name.as_bytes());
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

pub(crate) fn member(name: &str, kind: MemberKind, roles: Roles, organisation: &str) -> Member {
    Member {
        id: id(name),
        key: MemberKey::of(&pair(name)),
        kind,
        roles,
        organisations: vec![organisation.parse().unwrap()],
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        name: "test".to_owned(),
        time: BEGIN,
        members: vec![
            member(ACME, MemberKind::Manufacturer, Roles::ALL, "ACME Femto"),
            member(
                OPERATOR,
                MemberKind::Operator,
                Roles::SUBMISSION,
                "Operator One",
            ),
            member(
                SECOND_OPERATOR,
                MemberKind::Operator,
                Roles::SUBMISSION,
                "Operator Two",
            ),
            member(AUTHORITY, MemberKind::Ca, Roles::SUBMISSION, "Trust"),
            member(WATCHER, MemberKind::ServiceProvider, Roles::NONE, "Watch"),
        ],
        parameters: Parameters::default(),
    }
}

pub(crate) struct Consortium {
    pub(crate) state: MemoryState,
    pub(crate) chain: ChainId,
    nonce: u64,
}

impl Consortium {
    pub(crate) fn new() -> Self {
        let mut state = MemoryState::new();
        let chain = genesis().establish(&mut state).unwrap();
        Self {
            state,
            chain,
            nonce: 0,
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.state.head().unwrap().unwrap()
    }

    pub(crate) fn context(&self) -> Context {
        Context::next(&self.state, self.later(1_000))
            .unwrap()
            .unwrap()
    }

    fn later(&self, milliseconds: u64) -> BlockTime {
        BlockTime(self.head().time.0 + milliseconds)
    }

    pub(crate) fn transaction(&mut self, member: &str, body: Body) -> Transaction {
        self.nonce += 1;
        Transaction {
            chain: self.chain,
            member: id(member),
            nonce: self.nonce,
            expires: Height(self.head().height.0 + 100),
            body,
        }
    }

    pub(crate) fn signed(&mut self, member: &str, body: Body) -> SignedTransaction {
        SignedTransaction::sign(self.transaction(member, body), &pair(member))
    }

    /// Commits a block a second after the last one.
    pub(crate) fn commit(&mut self, transactions: Vec<SignedTransaction>) -> Applied {
        self.commit_at(self.later(1_000), transactions)
    }

    pub(crate) fn commit_at(
        &mut self,
        time: BlockTime,
        transactions: Vec<SignedTransaction>,
    ) -> Applied {
        let block = Block::after(&self.head(), self.chain, time, transactions);
        apply(&block, &mut self.state).unwrap()
    }

    /// Commits one transaction, and gives its outcomes.
    pub(crate) fn run(&mut self, member: &str, body: Body) -> Vec<Outcome> {
        let signed = self.signed(member, body);
        let mut applied = self.commit(vec![signed]);
        assert_eq!(applied.receipts.len(), 1);
        applied.receipts.remove(0).outcomes
    }

    /// Commits one transaction with one outcome, and gives its refusal.
    pub(crate) fn act(&mut self, member: &str, body: Body) -> Option<Refusal> {
        let outcomes = self.run(member, body);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes[0].refusal()
    }

    pub(crate) fn submit(
        &mut self,
        member: &str,
        class: Class,
        certificates: &[Vec<u8>],
    ) -> Vec<Option<Refusal>> {
        self.run(
            member,
            Body::Submit {
                certificates: certificates.to_vec(),
                class,
            },
        )
        .iter()
        .map(Outcome::refusal)
        .collect()
    }

    /// Submits one certificate as acme's device.
    pub(crate) fn device(&mut self, certificate: &[u8]) -> Option<Refusal> {
        self.submit(ACME, Class::Device, &[certificate.to_vec()])[0]
    }

    pub(crate) fn status(&self, hash: &CertificateHash) -> Status {
        self.state
            .record(hash)
            .unwrap()
            .map_or(Status::NotRecorded, |record| {
                record.status_at(self.head().time)
            })
    }
}

/// What acme's devices look like. Valid 2025-01-01 to 2035-01-01.
pub(crate) fn device(name: &str) -> CertificateParams {
    subject(name, "ACME Femto")
}

pub(crate) fn subject(name: &str, organisation: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if !organisation.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params
}

pub(crate) fn authority(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = subject(name, "Trust");
    params.is_ca = IsCa::Ca(path_length.map_or(
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    ));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn key() -> KeyPair {
    key_for(&PKCS_ECDSA_P256_SHA256)
}

pub(crate) fn key_for(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// Signs with a new key of its own.
pub(crate) fn self_signed(params: &CertificateParams) -> Vec<u8> {
    signed_with(params, &key())
}

pub(crate) fn signed_with(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.self_signed(key).unwrap().der().to_vec()
}

/// A certificate for `key`, by an authority.
pub(crate) fn issued(
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &CertificateParams,
    issuer_key: &KeyPair,
) -> Vec<u8> {
    params
        .signed_by(key, &Issuer::from_params(issuer, issuer_key))
        .unwrap()
        .der()
        .to_vec()
}
