//! A state in memory, for tests, trials and small embedded uses.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::genesis::Chain;
use crate::hash::{CertificateHash, KeyHash, NameHash, TransactionId, sha256};
use crate::member::{Member, MemberId};
use crate::record::{Class, Height, Record};
use crate::state::{Head, State, StateError};
use crate::transaction::encode_into;

/// A [`State`] in memory. Its calls never fail.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub struct MemoryState {
    chain: Option<Chain>,
    head: Option<Head>,
    records: BTreeMap<CertificateHash, Record>,
    keys: BTreeMap<KeyHash, Vec<CertificateHash>>,
    authorities: BTreeMap<NameHash, Vec<CertificateHash>>,
    members: BTreeMap<MemberId, Member>,
    applied: BTreeMap<TransactionId, Height>,
    expiries: BTreeSet<(Height, TransactionId)>,
}

impl MemoryState {
    /// An empty state, without a chain.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// SHA-256 over everything in the state: equal states have equal digests.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut octets = Vec::new();
        encode_into(self, &mut octets);
        sha256(&octets)
    }

    /// How many applied transactions are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.applied.len()
    }
}

impl State for MemoryState {
    fn chain(&self) -> Result<Option<Chain>, StateError> {
        Ok(self.chain.clone())
    }

    fn put_chain(&mut self, chain: &Chain) -> Result<(), StateError> {
        self.chain = Some(chain.clone());
        Ok(())
    }

    fn head(&self) -> Result<Option<Head>, StateError> {
        Ok(self.head)
    }

    fn put_head(&mut self, head: &Head) -> Result<(), StateError> {
        self.head = Some(*head);
        Ok(())
    }

    fn record(&self, hash: &CertificateHash) -> Result<Option<Record>, StateError> {
        Ok(self.records.get(hash).cloned())
    }

    fn put_record(&mut self, record: &Record) -> Result<(), StateError> {
        if self.records.insert(record.hash, record.clone()).is_none() {
            self.keys.entry(record.key).or_default().push(record.hash);
            if record.class == Class::Ca {
                self.authorities
                    .entry(record.subject)
                    .or_default()
                    .push(record.hash);
            }
        }
        Ok(())
    }

    fn records_with_key(
        &self,
        key: &KeyHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        Ok(first(self.keys.get(key), limit))
    }

    fn authorities_named(
        &self,
        subject: &NameHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        Ok(first(self.authorities.get(subject), limit))
    }

    fn member(&self, id: &MemberId) -> Result<Option<Member>, StateError> {
        Ok(self.members.get(id).cloned())
    }

    fn members(&self) -> Result<Vec<Member>, StateError> {
        Ok(self.members.values().cloned().collect())
    }

    fn put_member(&mut self, member: &Member) -> Result<(), StateError> {
        self.members.insert(member.id.clone(), member.clone());
        Ok(())
    }

    fn remove_member(&mut self, id: &MemberId) -> Result<(), StateError> {
        self.members.remove(id);
        Ok(())
    }

    fn is_applied(&self, id: &TransactionId) -> Result<bool, StateError> {
        Ok(self.applied.contains_key(id))
    }

    fn remember_applied(&mut self, id: &TransactionId, expires: Height) -> Result<(), StateError> {
        self.applied.insert(*id, expires);
        self.expiries.insert((expires, *id));
        Ok(())
    }

    fn forget_expired(&mut self, height: Height) -> Result<(), StateError> {
        while let Some((expires, id)) = self.expiries.first().copied() {
            if expires >= height {
                break;
            }
            self.expiries.pop_first();
            self.applied.remove(&id);
        }
        Ok(())
    }
}

fn first(hashes: Option<&Vec<CertificateHash>>, limit: usize) -> Vec<CertificateHash> {
    hashes.into_iter().flatten().copied().take(limit).collect()
}
