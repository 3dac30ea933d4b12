//! The genesis: what a chain begins with, and what names it.

use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::codec::{bounded_string, bounded_vec};
use crate::hash::{BlockHash, ChainId, sha256};
use crate::member::{MAX_MEMBERS, Member, MemberError, MemberId, Role};
use crate::record::{BlockTime, Height};
use crate::state::{Head, State, StateError};
use crate::transaction::encode_into;

const DOMAIN: &[u8] = b"ledgate genesis v1\0";

/// The longest chain name, in octets.
const MAX_NAME: usize = 64;

/// What a consortium agreed for its chain.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The longest validity of a certificate, in days. Default 7 305, some twenty years: a device
    /// carries its first certificate for its whole life.
    pub max_validity_days: u32,
    /// How many blocks ahead a transaction's last height may be. Default 10 000. It bounds how long
    /// applied transactions are remembered against replay.
    pub max_lifetime: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            max_validity_days: 7_305,
            max_lifetime: 10_000,
        }
    }
}

impl Parameters {
    /// The longest validity, in seconds.
    #[must_use]
    pub const fn max_validity_seconds(&self) -> u64 {
        // u32 days are fewer than 2^49 seconds.
        self.max_validity_days as u64 * 86_400
    }
}

/// A chain as its state knows it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Chain {
    /// Its identifier, the hash of its genesis.
    pub id: ChainId,
    /// Its name, for people.
    #[borsh(deserialize_with = "name")]
    pub name: String,
    /// What the consortium agreed for it.
    pub parameters: Parameters,
}

/// What a chain begins with.
///
/// ```json
/// {"name":"example","time":1767225600000,
///  "members":[{"id":"acme","key":"<64 hexadecimal digits>","kind":"manufacturer",
///              "roles":["submission","validator"],"organisations":["ACME Femto"]}],
///  "parameters":{"max_validity_days":7305,"max_lifetime":10000}}
/// ```
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The chain's name, for people: 1 to 64 octets without control characters.
    #[borsh(deserialize_with = "name")]
    pub name: String,
    /// When it begins. No block is older.
    pub time: BlockTime,
    /// The first members; at least one with the role `validator`.
    #[borsh(deserialize_with = "members")]
    pub members: Vec<Member>,
    /// What the consortium agreed.
    #[serde(default)]
    pub parameters: Parameters,
}

/// Why a genesis cannot begin a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The state has a chain already.
    #[error("the state already holds the chain {0}; use an empty one")]
    Established(ChainId),
    /// A parameter that would refuse everything.
    #[error("genesis parameter {0} must not be zero")]
    Parameter(&'static str),
    /// A member's description cannot stand.
    #[error("genesis member: {0}")]
    Member(#[from] MemberError),
    /// Two members share a name, a key or an organisation.
    #[error(
        "genesis members {0} and {1} share a name, a key or an organisation; each must be one's own"
    )]
    Shared(MemberId, MemberId),
    /// The name is empty, too long, or has control characters.
    #[error("a chain's name is 1 to {MAX_NAME} octets without control characters")]
    Name,
    /// Nobody could ever admit a member or make a block.
    #[error("no genesis member has the role validator; give it to at least one")]
    NoValidator,
    /// Too many members.
    #[error("{0} genesis members are more than the {MAX_MEMBERS} allowed")]
    TooManyMembers(usize),
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Genesis {
    /// The chain's identifier.
    #[must_use]
    pub fn chain_id(&self) -> ChainId {
        let mut octets = DOMAIN.to_vec();
        encode_into(self, &mut octets);
        ChainId::from_octets(sha256(&octets))
    }

    /// Checks the genesis by itself.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.name.is_empty()
            || self.name.len() > MAX_NAME
            || self.name.chars().any(char::is_control)
        {
            return Err(GenesisError::Name);
        }
        if self.parameters.max_validity_days == 0 {
            return Err(GenesisError::Parameter("max_validity_days"));
        }
        if self.parameters.max_lifetime == 0 {
            return Err(GenesisError::Parameter("max_lifetime"));
        }
        if self.members.len() > MAX_MEMBERS {
            return Err(GenesisError::TooManyMembers(self.members.len()));
        }
        for (index, member) in self.members.iter().enumerate() {
            member.check()?;
            if let Some(other) = self.members.iter().take(index).find(|other| {
                other.id == member.id
                    || other.key == member.key
                    || other
                        .organisations
                        .iter()
                        .any(|name| member.organisations.contains(name))
            }) {
                return Err(GenesisError::Shared(other.id.clone(), member.id.clone()));
            }
        }
        if !self
            .members
            .iter()
            .any(|member| member.roles.contains(Role::Validator))
        {
            return Err(GenesisError::NoValidator);
        }
        Ok(())
    }

    /// Writes the chain's first state: head at height 0, parameters, members.
    ///
    /// # Errors
    ///
    /// When the genesis is not sound, the state is not empty, or the store fails.
    pub fn establish(&self, state: &mut dyn State) -> Result<ChainId, GenesisError> {
        self.check()?;
        if let Some(chain) = state.chain()? {
            return Err(GenesisError::Established(chain.id));
        }
        let id = self.chain_id();
        state.put_chain(&Chain {
            id,
            name: self.name.clone(),
            parameters: self.parameters,
        })?;
        for member in &self.members {
            state.put_member(member)?;
        }
        state.put_head(&Head {
            height: Height(0),
            hash: BlockHash::from(id),
            time: self.time,
        })?;
        Ok(id)
    }
}

fn name<R: Read>(reader: &mut R) -> io::Result<String> {
    bounded_string(reader, "chain name", MAX_NAME)
}

fn members<R: Read>(reader: &mut R) -> io::Result<Vec<Member>> {
    bounded_vec(reader, "members", MAX_MEMBERS)
}
