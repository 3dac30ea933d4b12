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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{ACME, Consortium, pair};
    use crate::member::{MAX_ORGANISATIONS, MemberError, MemberKind, Organisation, Roles};

    fn body() -> impl Strategy<Value = Body> {
        let hash = any::<[u8; 32]>().prop_map(CertificateHash::from_octets);
        let class = prop::sample::select(Class::ALL.to_vec());
        let reason = prop::sample::select(RevocationReason::ALL.to_vec());
        let name = "[a-z0-9][a-z0-9.-]{0,31}".prop_map(|name| name.parse::<MemberId>().unwrap());
        let kind = prop::sample::select(MemberKind::ALL.to_vec());
        let roles = prop::sample::select(vec![
            Roles::NONE,
            Roles::SUBMISSION,
            Roles::VALIDATOR,
            Roles::ALL,
        ]);
        let organisation = "[A-Za-zé]{1,64}".prop_map(|name| name.parse::<Organisation>().unwrap());
        let member = (
            name.clone(),
            any::<[u8; 32]>().prop_map(MemberKey::from_octets),
            kind,
            roles,
            prop::collection::vec(organisation, 0..4),
        )
            .prop_map(|(id, key, kind, roles, organisations)| Member {
                id,
                key,
                kind,
                roles,
                organisations,
            });
        prop_oneof![
            (
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..5),
                class
            )
                .prop_map(|(certificates, class)| Body::Submit {
                    certificates,
                    class
                }),
            (hash.clone(), reason).prop_map(|(hash, reason)| Body::Revoke { hash, reason }),
            hash.clone().prop_map(|hash| Body::Suspend { hash }),
            hash.prop_map(|hash| Body::Resume { hash }),
            member.prop_map(|member| Body::AdmitMember { member }),
            name.prop_map(|member| Body::RemoveMember { member }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            body in body(),
            nonce: u64,
            expires: u64,
            chain: [u8; 32],
        ) {
            let transaction = Transaction {
                chain: ChainId::from_octets(chain),
                member: ACME.parse().unwrap(),
                nonce,
                expires: Height(expires),
                body,
            };
            let pair = pair(ACME);
            let signed = SignedTransaction::sign(transaction, &pair);
            let octets = signed.encode();
            prop_assert_eq!(SignedTransaction::decode(&octets), Ok(signed.clone()));
            prop_assert!(signed.is_signed_by(&MemberKey::of(&pair)));
            if let Body::AdmitMember { member } = &signed.transaction.body {
                let json = serde_json::to_string(member).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Member>(&json).unwrap(), member);
            }
        }

        #[test]
        fn any_octets_decode_or_are_refused(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(signed) = SignedTransaction::decode(&octets) {
                prop_assert_eq!(signed.encode(), octets);
            }
        }
    }

    fn suspend() -> SignedTransaction {
        let hash = CertificateHash::from_octets([0x22; 32]);
        let transaction = Transaction {
            chain: ChainId::from_octets([0x11; 32]),
            member: "acme".parse().unwrap(),
            nonce: 0x0102,
            expires: Height(7),
            body: Body::Suspend { hash },
        };
        SignedTransaction::sign(transaction, &pair(ACME))
    }

    #[test]
    fn the_encoding_is_this_one() {
        let signed = suspend();
        let mut expected = hex::decode(format!(
            "{}04000000{}0201000000000000070000000000000002{}",
            "11".repeat(32),
            hex::encode("acme"),
            "22".repeat(32)
        ))
        .unwrap();
        expected.extend_from_slice(&signed.signature);
        assert_eq!(signed.encode(), expected);
    }

    #[test]
    fn cut_and_trailing_octets_are_refused() {
        let octets = suspend().encode();
        for length in 0..octets.len() {
            assert_eq!(
                SignedTransaction::decode(&octets[..length]),
                Err(DecodeError::Truncated),
                "cut to {length}"
            );
        }
        let mut trailing = octets;
        trailing.extend_from_slice(&[0, 0]);
        assert_eq!(
            SignedTransaction::decode(&trailing),
            Err(DecodeError::Trailing { count: 2 })
        );
    }

    #[test]
    fn lengths_at_both_edges_of_their_bounds() {
        let mut consortium = Consortium::new();
        let mut decode = |body: Body| {
            let transaction = consortium.transaction(ACME, body);
            let octets = SignedTransaction::sign(transaction, &pair(ACME)).encode();
            SignedTransaction::decode(&octets).map(|_| octets.len())
        };
        let submit = |certificates: Vec<Vec<u8>>| Body::Submit {
            certificates,
            class: Class::Device,
        };
        assert!(decode(submit(vec![vec![]; MAX_BATCH])).is_ok());
        assert_eq!(
            decode(submit(vec![vec![]; MAX_BATCH + 1])),
            Err(DecodeError::TooMany {
                what: "certificates",
                found: MAX_BATCH + 1,
                limit: MAX_BATCH
            })
        );
        let frame = decode(submit(vec![vec![]])).unwrap();
        let longest = MAX_TRANSACTION - frame;
        assert_eq!(decode(submit(vec![vec![0; longest]])), Ok(MAX_TRANSACTION));
        assert_eq!(
            decode(submit(vec![vec![0; longest + 1]])),
            Err(DecodeError::TooLong {
                found: MAX_TRANSACTION + 1,
                limit: MAX_TRANSACTION
            })
        );
        let member = |count: usize| Body::AdmitMember {
            member: Member {
                organisations: vec!["x".parse().unwrap(); count],
                ..crate::fixture::genesis().members.remove(0)
            },
        };
        assert!(decode(member(MAX_ORGANISATIONS)).is_ok());
        assert_eq!(
            decode(member(MAX_ORGANISATIONS + 1)),
            Err(DecodeError::TooMany {
                what: "organisations",
                found: MAX_ORGANISATIONS + 1,
                limit: MAX_ORGANISATIONS
            })
        );
    }

    #[test]
    fn octets_that_mean_nothing_are_refused() {
        let octets = suspend().encode();
        let at = |place: usize, value: u8| {
            let mut octets = octets.clone();
            octets[place] = value;
            SignedTransaction::decode(&octets).unwrap_err()
        };
        // The member's name: its length, then its first octet.
        assert_eq!(
            at(32, 33),
            DecodeError::TooMany {
                what: "member name",
                found: 33,
                limit: 32
            }
        );
        assert_eq!(at(36, b'A'), DecodeError::Member(MemberError::Id));
        assert!(matches!(at(36, 0xff), DecodeError::Encoding { .. }));
        // The body's tag.
        assert!(matches!(at(56, 0x77), DecodeError::Encoding { .. }));
    }

    #[test]
    fn the_identifier_does_not_depend_on_the_signature() {
        let signed = suspend();
        let other = SignedTransaction::sign(signed.transaction.clone(), &pair("other"));
        assert_ne!(signed.signature, other.signature);
        assert_eq!(signed.id(), other.id());
        assert!(!other.is_signed_by(&MemberKey::of(&pair(ACME))));
    }
}
