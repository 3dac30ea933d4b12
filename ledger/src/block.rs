//! Blocks: ordered transactions under a header that names its predecessor.

use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, bounded_vec, decode_all};
use crate::hash::{BlockHash, ChainId, sha256};
use crate::record::{BlockTime, Height};
use crate::state::Head;
use crate::transaction::{SignedTransaction, encode_into};

/// The most transactions in a block.
pub const MAX_BLOCK_TRANSACTIONS: usize = 10_000;

/// The longest encoded block, in octets.
const MAX_BLOCK: usize = 64 << 20;

/// The header's version. A later version will commit to the state after the block by a root hash
/// and to the next validators; version 1 commits to neither, and carries no value that claims to.
const VERSION: u8 = 1;

const HEADER_DOMAIN: &[u8] = b"ledgate header v1\0";
const TRANSACTIONS_DOMAIN: &[u8] = b"ledgate transactions v1\0";

/// What a block says of itself.
///
/// In JSON: `{"version":1,"chain":"…","height":7,"previous":"…","time":1767225600000,"transactions":"…"}`.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header {
    /// The header's version, 1. It comes first, so that later versions can have other fields.
    pub version: u8,
    /// The chain.
    pub chain: ChainId,
    /// Its place in the chain, from 1.
    pub height: Height,
    /// The block before it; for the first, the chain identifier.
    pub previous: BlockHash,
    /// Its time: never before its predecessor's. Everything that depends on time depends on this.
    pub time: BlockTime,
    /// SHA-256 over the number of transactions and the SHA-256 of each encoded one, signature
    /// included.
    #[serde(with = "hex")]
    pub transactions: [u8; 32],
}

impl Header {
    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        let mut octets = HEADER_DOMAIN.to_vec();
        encode_into(self, &mut octets);
        BlockHash::from_octets(sha256(&octets))
    }
}

/// Ordered transactions, and what they follow.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// What the block says of itself.
    pub header: Header,
    /// In the order they are applied.
    #[borsh(deserialize_with = "transactions")]
    pub transactions: Vec<SignedTransaction>,
}

/// Why a block does not follow the head.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Another chain's.
    #[error("block {height} is of the chain {found}, not of ours, {expected}")]
    Chain {
        /// The block.
        height: Height,
        /// Our chain.
        expected: ChainId,
        /// The block's.
        found: ChainId,
    },
    /// Not the next height.
    #[error("the next block is {expected}, and this one is {found}")]
    Height {
        /// The next height.
        expected: Height,
        /// The block's.
        found: Height,
    },
    /// Another predecessor.
    #[error("block {height} follows {found}, and our head is {expected}")]
    Previous {
        /// The block.
        height: Height,
        /// Our head.
        expected: BlockHash,
        /// The predecessor it names.
        found: BlockHash,
    },
    /// Older than its predecessor.
    #[error("block {height} has the time {found}, before its predecessor's {head}")]
    Time {
        /// The block.
        height: Height,
        /// The predecessor's time.
        head: BlockTime,
        /// The block's.
        found: BlockTime,
    },
    /// Too many transactions.
    #[error(
        "block {height} has {found} transactions; at most {MAX_BLOCK_TRANSACTIONS} are allowed"
    )]
    TooManyTransactions {
        /// The block.
        height: Height,
        /// How many it has.
        found: usize,
    },
    /// The header commits to other transactions.
    #[error("block {height} has other transactions than its header commits to")]
    Transactions {
        /// The block.
        height: Height,
    },
    /// A header version that this program does not know.
    #[error("block {height} has header version {found}; this program knows version {VERSION}")]
    Version {
        /// The block.
        height: Height,
        /// The block's version.
        found: u8,
    },
}

impl Block {
    /// Makes the block after `head`. A time before the head's is lifted to the head's.
    #[must_use]
    pub fn after(
        head: &Head,
        chain: ChainId,
        time: BlockTime,
        transactions: Vec<SignedTransaction>,
    ) -> Self {
        Self {
            header: Header {
                version: VERSION,
                chain,
                height: head.height.next(),
                previous: head.hash,
                time: time.max(head.time),
                transactions: transactions_hash(&transactions),
            },
            transactions,
        }
    }

    /// Decodes a block.
    ///
    /// # Errors
    ///
    /// When there are too many octets or transactions, octets are missing or left over, or the
    /// octets mean nothing.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        decode_all(octets, MAX_BLOCK)
    }

    /// The encoded form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        encode_into(self, &mut octets);
        octets
    }

    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// Checks that the block is well formed and follows the head. That its time is not in the
    /// future is for the validators to check, who have a clock.
    ///
    /// # Errors
    ///
    /// The first thing that does not fit.
    pub fn check_follows(&self, head: &Head, chain: ChainId) -> Result<(), BlockError> {
        let header = &self.header;
        let height = header.height;
        if header.version != VERSION {
            return Err(BlockError::Version {
                height,
                found: header.version,
            });
        }
        if header.chain != chain {
            return Err(BlockError::Chain {
                height,
                expected: chain,
                found: header.chain,
            });
        }
        // A chain at the last height has no next block.
        if height != head.height.next() || height == head.height {
            return Err(BlockError::Height {
                expected: head.height.next(),
                found: height,
            });
        }
        if header.previous != head.hash {
            return Err(BlockError::Previous {
                height,
                expected: head.hash,
                found: header.previous,
            });
        }
        if header.time < head.time {
            return Err(BlockError::Time {
                height,
                head: head.time,
                found: header.time,
            });
        }
        if self.transactions.len() > MAX_BLOCK_TRANSACTIONS {
            return Err(BlockError::TooManyTransactions {
                height,
                found: self.transactions.len(),
            });
        }
        if header.transactions != transactions_hash(&self.transactions) {
            return Err(BlockError::Transactions { height });
        }
        Ok(())
    }
}

fn transactions_hash(transactions: &[SignedTransaction]) -> [u8; 32] {
    let mut octets = TRANSACTIONS_DOMAIN.to_vec();
    octets.extend_from_slice(&(transactions.len() as u64).to_le_bytes());
    let mut encoded = Vec::new();
    for transaction in transactions {
        encoded.clear();
        encode_into(transaction, &mut encoded);
        octets.extend_from_slice(&sha256(&encoded));
    }
    sha256(&octets)
}

fn transactions<R: Read>(reader: &mut R) -> io::Result<Vec<SignedTransaction>> {
    bounded_vec(reader, "transactions", MAX_BLOCK_TRANSACTIONS)
}
