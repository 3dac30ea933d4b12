//! Transactions: what members ask of the ledger, each signed with a member's key.

use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::codec::{DecodeError, MAX_BATCH, MAX_TRANSACTION, bounded_vec, decode_all};
use crate::hash::{CertificateHash, ChainId, TransactionId, sha256};
use crate::member::{Member, MemberId, MemberKey};
use crate::record::{Class, Height, RevocationReason};

/// What stands before the encoded transaction under its signature, so that the signature can mean
/// nothing else.
const DOMAIN: &[u8] = b"ledgate transaction v1\0";

/// What a transaction asks for.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Body {
    /// Record certificates, one or a batch. Each is accepted or refused by itself.
    Submit {
        /// The DER certificates, at most [`MAX_BATCH`].
        #[borsh(deserialize_with = "certificates")]
        certificates: Vec<Vec<u8>>,
        /// What they are for.
        class: Class,
    } = 0,
    /// Revoke a certificate for good.
    Revoke {
        /// The certificate.
        hash: CertificateHash,
        /// Why.
        reason: RevocationReason,
    } = 1,
    /// Suspend a valid certificate.
    Suspend {
        /// The certificate.
        hash: CertificateHash,
    } = 2,
    /// Make a suspended certificate valid again.
    Resume {
        /// The certificate.
        hash: CertificateHash,
    } = 3,
    /// Admit an organisation to the consortium.
    AdmitMember {
        /// Its description.
        member: Member,
    } = 4,
    /// Remove an organisation. Its records stay.
    RemoveMember {
        /// Who.
        member: MemberId,
    } = 5,
}

/// What a member asks for, bound to a chain and to a span of heights.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Transaction {
    /// The chain that it is meant for.
    pub chain: ChainId,
    /// The member that asks.
    pub member: MemberId,
    /// Tells apart transactions that are otherwise alike. A random number will do.
    pub nonce: u64,
    /// The last height at which it may be applied. At most
    /// [`Parameters::max_lifetime`](crate::Parameters::max_lifetime) blocks ahead; until then its
    /// identifier is kept, so that a replay does nothing.
    pub expires: Height,
    /// What is asked for.
    pub body: Body,
}

impl Transaction {
    /// Names the transaction: the hash of the octets that are signed.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        TransactionId::from_octets(sha256(&self.signed_octets()))
    }

    /// The octets under the signature: the domain, the chain, the encoded transaction.
    fn signed_octets(&self) -> Vec<u8> {
        let mut octets = DOMAIN.to_vec();
        octets.extend_from_slice(self.chain.as_octets());
        encode_into(self, &mut octets);
        octets
    }
}

/// A transaction and its member's Ed25519 signature.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct SignedTransaction {
    /// What is asked for.
    pub transaction: Transaction,
    /// RFC 8032 Ed25519, over the domain, the chain and the encoded transaction.
    pub signature: [u8; 64],
}

impl SignedTransaction {
    /// Signs a transaction.
    #[must_use]
    pub fn sign(transaction: Transaction, pair: &Ed25519KeyPair) -> Self {
        let mut signature = [0; 64];
        signature.copy_from_slice(pair.sign(&transaction.signed_octets()).as_ref());
        Self {
            transaction,
            signature,
        }
    }

    /// Decodes a transaction. Whatever is decoded encodes to the same octets again.
    ///
    /// # Errors
    ///
    /// When there are more than [`MAX_TRANSACTION`] octets, a list or text is longer than its bound,
    /// octets are missing or left over, or the octets mean nothing.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        decode_all(octets, MAX_TRANSACTION)
    }

    /// The encoded form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        encode_into(self, &mut octets);
        octets
    }

    /// Names the transaction, whoever signed it.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.transaction.id()
    }

    /// Whether the signature is that key's.
    #[must_use]
    pub fn is_signed_by(&self, key: &MemberKey) -> bool {
        UnparsedPublicKey::new(&ED25519, key.as_octets())
            .verify(&self.transaction.signed_octets(), &self.signature)
            .is_ok()
    }
}

/// Appends the borsh form of a value to a vector.
pub(crate) fn encode_into<T: BorshSerialize>(value: &T, octets: &mut Vec<u8>) {
    // A vector takes every write, and no list here comes near 2^32 entries.
    let written = value.serialize(octets);
    debug_assert!(written.is_ok(), "encoding to memory failed: {written:?}");
}

fn certificates<R: Read>(reader: &mut R) -> io::Result<Vec<Vec<u8>>> {
    bounded_vec(reader, "certificates", MAX_BATCH)
}
