//! The certificate ledger's rules: records, transactions and a deterministic state machine.
//!
//! A consortium of members records certificates here by their hash, H(CERT), and says whether each
//! is in good standing. This crate is the part on which every node must agree to the last bit:
//!
//! - [`Transaction`] and [`SignedTransaction`]: what members ask for, and how it is encoded and signed;
//! - [`rule`]: what a submitted certificate must satisfy, each rule with the [`Refusal`] it leads to;
//! - [`Block`] and [`apply`]: the state transition. Time comes from the block, never from the machine;
//! - [`State`]: what a store must offer so that [`apply`] can run over it ([`MemoryState`] is one);
//! - [`Inquiry`], [`StatusAnswer`], [`StatusEvent`]: what relying parties ask, and what they are told;
//! - [`CertId`] and [`cert_ids`]: the names by which OCSP knows recorded certificates.
//!
//! There is no input or output here, no clock and no randomness: the same blocks give the same
//! state, the same outcomes and the same events everywhere.
//!
//! # Statuses
//!
//! | from | `revoke` | `suspend` | `resume` |
//! |---|---|---|---|
//! | valid | revoked | suspended | `wrong-status` |
//! | suspended | revoked | `wrong-status` | valid |
//! | revoked, superseded | `wrong-status` | `wrong-status` | `wrong-status` |
//! | expired (while valid) | revoked | `wrong-status` | `wrong-status` |
//! | expired (while suspended) | revoked | `wrong-status` | `wrong-status` |
//! | not recorded | `not-recorded` | `not-recorded` | `not-recorded` |
//!
//! A revoked certificate never becomes valid again. `expired` is not stored: it is computed from the
//! block time when the answer is made, and raises no event; answers carry `not_after` instead.
//!
//! # Who may do what
//!
//! | transaction | who | otherwise |
//! |---|---|---|
//! | any | a member, by its key | `not-endorsed` |
//! | `submit` | a member with the role `submission`, for its own organisations | `not-endorsed`, `foreign-organisation` |
//! | `revoke` | the member that endorsed the record; once that one has left the consortium, a member of kind operator | `not-permitted` |
//! | `suspend` | the member that endorsed the record, or a member of kind operator | `not-permitted` |
//! | `resume` | the member that suspended it; once that one has left the consortium, the endorser or a member of kind operator | `not-permitted` |
//! | `admit member`, `remove member` | a member with the role `validator` | `not-permitted` |

pub mod rule;

mod algorithm;
mod answer;
mod apply;
mod block;
mod cert_id;
mod certificate;
mod codec;
#[cfg(test)]
mod fixture;
mod genesis;
mod hash;
mod member;
mod memory;
mod outcome;
mod record;
mod revocation;
mod state;
mod transaction;

pub use algorithm::{AlgorithmError, KeyKind, SignatureKind};
pub use answer::{EventPage, Inquiry, InquiryError, StatusAnswer, StatusEvent};
pub use apply::{Applied, ApplyError, Context, ValidateError, apply, validate};
pub use block::{Block, BlockError, Header, MAX_BLOCK_TRANSACTIONS};
pub use cert_id::{
    CertId, CertIdAnswer, CertIdError, CertIdIndex, HashAlgorithm, IssuerId,
    MAX_CERTIFICATES_PER_CERT_ID, cert_ids, issuer_ids,
};
pub use certificate::{CertificateError, MAX_CERTIFICATE, ParsedCertificate};
pub use codec::{DecodeError, MAX_BATCH, MAX_TRANSACTION};
pub use genesis::{Chain, Genesis, GenesisError, Parameters};
pub use hash::{BlockHash, CertificateHash, ChainId, HexError, KeyHash, NameHash, TransactionId};
pub use member::{
    MAX_MEMBERS, MAX_ORGANISATIONS, Member, MemberError, MemberId, MemberKey, MemberKind,
    Organisation, Role, Roles,
};
pub use memory::MemoryState;
pub use outcome::{Outcome, Receipt, Refusal, Refused};
pub use record::{BlockTime, Class, Height, NameError, Record, RevocationReason, Standing, Status};
pub use revocation::{
    RevocationCursor, RevocationCursorError, RevocationEntry, RevocationPage, crl_issuers,
};
pub use rule::judge;
pub use state::{Head, MAX_AUTHORITIES_PER_NAME, MAX_RECORDS_PER_KEY, State, StateError};
pub use transaction::{Body, SignedTransaction, Transaction};
