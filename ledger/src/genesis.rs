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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::genesis;
    use crate::memory::MemoryState;

    #[test]
    fn a_genesis_has_this_json_form() {
        let key = "01".repeat(32);
        let json = format!(
            r#"{{"name":"example","time":5,"members":[{{"id":"acme","key":"{key}","kind":"service-provider","roles":["submission","validator"],"organisations":["ACME Femto"]}}],"parameters":{{"max_validity_days":7305,"max_lifetime":10000}}}}"#
        );
        let genesis: Genesis = serde_json::from_str(&json).unwrap();
        genesis.check().unwrap();
        assert_eq!(serde_json::to_string(&genesis).unwrap(), json);
        assert_eq!(genesis.parameters, Parameters::default());
        assert!(serde_json::from_str::<Genesis>(&json.replace("\"time\"", "\"tine\"")).is_err());
        let octets = borsh::to_vec(&genesis).unwrap();
        assert_eq!(borsh::from_slice::<Genesis>(&octets).unwrap(), genesis);
    }

    #[test]
    fn the_chain_is_named_by_everything_in_its_genesis() {
        let base = genesis();
        let mut renamed = base.clone();
        renamed.name.push('2');
        let mut later = base.clone();
        later.time.0 += 1;
        let mut fewer = base.clone();
        fewer.members.pop();
        let mut stricter = base.clone();
        stricter.parameters.max_validity_days -= 1;
        for other in [renamed, later, fewer, stricter] {
            assert_ne!(other.chain_id(), base.chain_id());
        }
        assert_eq!(genesis().chain_id(), base.chain_id());
    }

    #[test]
    fn an_unsound_genesis_is_refused() {
        type Change = fn(&mut Genesis);
        let cases: [(Change, &str); 9] = [
            (|g| g.name.clear(), "name"),
            (|g| g.name = "x".repeat(65), "name"),
            (|g| g.parameters.max_validity_days = 0, "max_validity_days"),
            (|g| g.parameters.max_lifetime = 0, "max_lifetime"),
            (|g| g.members.clear(), "validator"),
            (|g| g.members[1].id = g.members[0].id.clone(), "share"),
            (|g| g.members[1].key = g.members[0].key, "share"),
            (
                |g| g.members[1].organisations = g.members[0].organisations.clone(),
                "share",
            ),
            (|g| g.members[1].organisations.clear(), "organisations"),
        ];
        for (change, word) in cases {
            let mut genesis = genesis();
            change(&mut genesis);
            let error = genesis
                .establish(&mut MemoryState::new())
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_chain_begins_once() {
        let mut state = MemoryState::new();
        let id = genesis().establish(&mut state).unwrap();
        let head = state.head().unwrap().unwrap();
        assert_eq!(head.hash.as_octets(), id.as_octets());
        assert_eq!(head.height, Height(0));
        assert_eq!(state.members().unwrap().len(), genesis().members.len());
        assert!(matches!(
            genesis().establish(&mut state),
            Err(GenesisError::Established(established)) if established == id
        ));
    }
}
