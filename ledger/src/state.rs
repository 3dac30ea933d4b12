//! The state that blocks change, as a store must offer it.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::genesis::Chain;
use crate::hash::{BlockHash, CertificateHash, KeyHash, NameHash, TransactionId};
use crate::member::{Member, MemberId};
use crate::record::{BlockTime, Height, Record};

/// The most records with one public key. Beyond it the key is refused (`key-reuse`).
pub const MAX_RECORDS_PER_KEY: usize = 16;

/// The most records of class `ca` with one subject name that are tried as an issuer.
pub const MAX_AUTHORITIES_PER_NAME: usize = 16;

/// The newest block.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
pub struct Head {
    /// Its height; 0 when only the genesis is there.
    pub height: Height,
    /// Its hash; the chain identifier when only the genesis is there.
    pub hash: BlockHash,
    /// Its time.
    pub time: BlockTime,
}

/// A store failed.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's state cannot be read or written: {0}")]
pub struct StateError(#[source] Box<dyn core::error::Error + Send + Sync>);

impl StateError {
    /// Wraps a store's error.
    pub fn new(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// The state of one chain. [`apply`](crate::apply) reads and writes it through this trait alone.
///
/// An implementation over a store is meant to be one store transaction: if `apply` fails, drop it
/// and nothing has changed. Every write must be visible to the reads that follow.
pub trait State {
    /// The chain's identity and parameters; none before [`Genesis::establish`].
    ///
    /// [`Genesis::establish`]: crate::Genesis::establish
    ///
    /// # Errors
    ///
    /// When the store fails; so all below.
    fn chain(&self) -> Result<Option<Chain>, StateError>;

    /// Sets the chain's identity and parameters.
    fn put_chain(&mut self, chain: &Chain) -> Result<(), StateError>;

    /// The newest block; none before the genesis.
    fn head(&self) -> Result<Option<Head>, StateError>;

    /// Sets the newest block.
    fn put_head(&mut self, head: &Head) -> Result<(), StateError>;

    /// The record of a certificate.
    fn record(&self, hash: &CertificateHash) -> Result<Option<Record>, StateError>;

    /// Adds a record or replaces the one with the same hash, and keeps the two indexes below.
    /// Hash, key, subject and class never change after a record was added.
    fn put_record(&mut self, record: &Record) -> Result<(), StateError>;

    /// The records with a public key, in the order they were added, at most `limit` of them.
    fn records_with_key(
        &self,
        key: &KeyHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError>;

    /// The records of class `ca` with a subject name, in the order they were added, at most `limit`.
    fn authorities_named(
        &self,
        subject: &NameHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError>;

    /// A member.
    fn member(&self, id: &MemberId) -> Result<Option<Member>, StateError>;

    /// All members, by name.
    fn members(&self) -> Result<Vec<Member>, StateError>;

    /// Adds a member or replaces the one with the same name.
    fn put_member(&mut self, member: &Member) -> Result<(), StateError>;

    /// Removes a member.
    fn remove_member(&mut self, id: &MemberId) -> Result<(), StateError>;

    /// Whether a transaction was applied and is still remembered.
    fn is_applied(&self, id: &TransactionId) -> Result<bool, StateError>;

    /// Remembers a transaction until [`forget_expired`](Self::forget_expired) passes its last height.
    fn remember_applied(&mut self, id: &TransactionId, expires: Height) -> Result<(), StateError>;

    /// Forgets the transactions whose last height is below this one.
    fn forget_expired(&mut self, height: Height) -> Result<(), StateError>;
}
