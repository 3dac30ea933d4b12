//! The ledger of the demo: two members, one embedded node in a folder that goes when the demo ends.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use henb_sim::enrolment::DeviceIdentity;
use ledger::{
    BlockTime, Body, CertificateHash, Class, Genesis, Inquiry, Member, MemberKind, Parameters,
    RevocationReason, Roles,
};
use ledger_node::{Endorser, Node, NodeConfig, SystemClock};
use tempfile::TempDir;

/// The manufacturer's organisation, in each device's certificate.
pub(super) const MANUFACTURER: &str = "Example Femto";

/// The operator's organisation, in the gateway's certificate.
pub(super) const OPERATOR: &str = "Example Mobile";

/// The members with their keys, and their node.
pub(super) struct Consortium {
    shared: Arc<Shared>,
    // After the node, which has its store in it.
    _folder: TempDir,
}

struct Shared {
    node: Node,
    manufacturer: Endorser,
    operator: Endorser,
}

/// A revocation under way.
pub(super) struct Revocation(JoinHandle<Result<(), ConsortiumError>>);

impl Consortium {
    /// Makes the keys, the genesis and the node.
    pub(super) fn found() -> Result<Self, ConsortiumError> {
        let endorser = |name: &str| -> Result<Endorser, ConsortiumError> {
            Endorser::generate(name.parse().map_err(failed)?).map_err(failed)
        };
        let (manufacturer, operator) = (endorser("example-femto")?, endorser("example-mobile")?);
        let member =
            |endorser: &Endorser, kind, organisation: &str| -> Result<Member, ConsortiumError> {
                Ok(Member {
                    id: endorser.member().clone(),
                    key: endorser.key(),
                    kind,
                    roles: Roles::ALL,
                    organisations: vec![organisation.parse().map_err(failed)?],
                })
            };
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(failed)?;
        let genesis = Genesis {
            name: "quick start".to_owned(),
            time: BlockTime(u64::try_from(since_epoch.as_millis()).map_err(failed)?),
            members: vec![
                member(&manufacturer, MemberKind::Manufacturer, MANUFACTURER)?,
                member(&operator, MemberKind::Operator, OPERATOR)?,
            ],
            parameters: Parameters::default(),
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        let config = NodeConfig::new(folder.path().join("store"));
        Node::create(&config, &genesis).map_err(failed)?;
        let node = Node::open(config, Arc::new(SystemClock)).map_err(failed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                node,
                manufacturer,
                operator,
            }),
            _folder: folder,
        })
    }

    /// The manufacturer endorses and submits certificates, in batches.
    pub(super) fn enrol_devices<'a>(
        &self,
        identities: impl Iterator<Item = &'a DeviceIdentity>,
    ) -> Result<(), ConsortiumError> {
        let certificates: Vec<Vec<u8>> = identities
            .filter_map(|identity| identity.chain.first().cloned())
            .collect();
        for batch in certificates.chunks(BATCH) {
            let body = Body::Submit {
                certificates: batch.to_vec(),
                class: Class::Device,
            };
            self.shared.commit(&self.shared.manufacturer, body)?;
        }
        Ok(())
    }

    /// The operator endorses and submits its gateway's certificate.
    pub(super) fn enrol_gateway(&self, identity: &DeviceIdentity) -> Result<(), ConsortiumError> {
        let body = Body::Submit {
            certificates: identity.chain.clone(),
            class: Class::Gateway,
        };
        self.shared.commit(&self.shared.operator, body)
    }

    /// The operator suspends a certificate.
    pub(super) fn suspend(&self, hash: CertificateHash) -> Result<(), ConsortiumError> {
        self.shared
            .commit(&self.shared.operator, Body::Suspend { hash })
    }

    /// The manufacturer revokes a certificate, on a thread of its own.
    pub(super) fn revoke_in_background(&self, hash: CertificateHash) -> Revocation {
        let shared = Arc::clone(&self.shared);
        Revocation(thread::spawn(move || {
            let reason = RevocationReason::KeyCompromise;
            shared.commit(&shared.manufacturer, Body::Revoke { hash, reason })
        }))
    }

    /// Waits for a revocation to be committed.
    pub(super) fn finish(&self, revocation: Revocation) -> Result<(), ConsortiumError> {
        revocation
            .0
            .join()
            .unwrap_or_else(|_| Err(ConsortiumError("the revocation panicked".to_owned())))
    }

    /// For the gateway's ledger client.
    pub(super) fn inquiry(&self) -> Arc<dyn Inquiry> {
        self.shared.node.inquiry()
    }
}

impl Shared {
    /// Signs, submits and waits until it is durable; every part of it must be accepted.
    fn commit(&self, member: &Endorser, body: Body) -> Result<(), ConsortiumError> {
        let head = self.node.head().map_err(failed)?;
        let transaction = member
            .sign(self.node.chain(), head.height, body)
            .map_err(failed)?;
        let receipt = self.node.submit_blocking(transaction).map_err(failed)?;
        match receipt
            .outcomes
            .into_iter()
            .find_map(|outcome| outcome.verdict.err())
        {
            Some(refused) => Err(failed(refused)),
            None => Ok(()),
        }
    }
}

/// What the ledger could not do, in its own words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ConsortiumError(String);

fn failed(error: impl ToString) -> ConsortiumError {
    ConsortiumError(error.to_string())
}

/// Certificates in one transaction.
const BATCH: usize = 200;
