//! The state transition: a block's transactions, one after the other.

use crate::answer::StatusEvent;
use crate::block::{Block, BlockError};
use crate::genesis::Parameters;
use crate::hash::{CertificateHash, ChainId, TransactionId};
use crate::member::{MAX_MEMBERS, Member, MemberId, MemberKind, Role};
use crate::outcome::{Outcome, Receipt, Refusal, Refused};
use crate::record::{BlockTime, Class, Height, Record, RevocationReason, Standing, Status};
use crate::rule;
use crate::state::{Head, State, StateError};
use crate::transaction::{Body, SignedTransaction, Transaction};

/// What a block did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Applied {
    /// What became of each transaction, in the order of the block.
    pub receipts: Vec<Receipt>,
    /// The changes of status, in order.
    pub events: Vec<StatusEvent>,
}

/// Why a block was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It does not follow the head.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The state has no chain yet.
    #[error("the state holds no chain; establish its genesis first")]
    NoChain,
    /// The store failed; the state may be half written: drop the store's transaction.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Where in the chain something is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Context {
    /// The chain.
    pub chain: ChainId,
    /// The height of the block that it would stand in.
    pub height: Height,
    /// That block's time.
    pub time: BlockTime,
    /// The chain's parameters.
    pub parameters: Parameters,
}

impl Context {
    /// The context of the block after the head, made at time `now`; none before the genesis.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn next(state: &dyn State, now: BlockTime) -> Result<Option<Self>, StateError> {
        let (Some(chain), Some(head)) = (state.chain()?, state.head()?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            chain: chain.id,
            height: head.height.next(),
            time: now.max(head.time),
            parameters: chain.parameters,
        }))
    }
}

/// Why a transaction, or a certificate, would not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// A rule refused it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ValidateError {
    /// Refuses, and says why.
    pub(crate) fn refused(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self::Refused(Refused::new(refusal, detail))
    }
}

/// Judges whether a transaction may wait for a block: chain, member, signature, heights, replay.
///
/// What it asks for is judged when its block is applied, since the blocks before that may change
/// the answer; only what no block could change is judged here too.
///
/// The order: `wrong-chain`, `expired`, `not-endorsed`, `replayed`, then the body's own form.
///
/// # Errors
///
/// The first rule that refuses it, or the store's failure.
pub fn validate(
    signed: &SignedTransaction,
    state: &dyn State,
    context: &Context,
) -> Result<(), ValidateError> {
    let member = endorser(signed, &signed.id(), state, context)?;
    Ok(check_form(&signed.transaction.body, &member)?)
}

/// Applies a block to the state: the same block on the same state gives the same result everywhere.
///
/// The block must follow the head. A refused transaction changes nothing but the memory of applied
/// transactions, and does not stop the others; nor does a refused certificate in a batch.
///
/// # Errors
///
/// When the block does not follow the head (the state is then untouched), or the store fails.
pub fn apply(block: &Block, state: &mut dyn State) -> Result<Applied, ApplyError> {
    let (Some(chain), Some(head)) = (state.chain()?, state.head()?) else {
        return Err(ApplyError::NoChain);
    };
    block.check_follows(&head, chain.id)?;
    let context = Context {
        chain: chain.id,
        height: block.header.height,
        time: block.header.time,
        parameters: chain.parameters,
    };
    state.forget_expired(context.height)?;
    let mut transition = Transition {
        state,
        context,
        events: Vec::new(),
    };
    let mut receipts = Vec::with_capacity(block.transactions.len());
    for signed in &block.transactions {
        receipts.push(transition.apply(signed)?);
    }
    let events = transition.events;
    state.put_head(&Head {
        height: context.height,
        hash: block.hash(),
        time: context.time,
    })?;
    Ok(Applied { receipts, events })
}

/// The member that signed the transaction, once everything about the envelope is in order.
fn endorser(
    signed: &SignedTransaction,
    id: &TransactionId,
    state: &dyn State,
    context: &Context,
) -> Result<Member, ValidateError> {
    let transaction = &signed.transaction;
    check_chain(transaction, context)?;
    check_heights(transaction, context)?;
    let member = state.member(&transaction.member)?.ok_or_else(|| {
        Refused::new(
            Refusal::NotEndorsed,
            format!("{} is not a member of this consortium", transaction.member),
        )
    })?;
    if !signed.is_signed_by(&member.key) {
        return Err(ValidateError::refused(
            Refusal::NotEndorsed,
            format!("the signature is not by the key of member {}", member.id),
        ));
    }
    if state.is_applied(id)? {
        return Err(ValidateError::refused(
            Refusal::Replayed,
            "this transaction was applied already; make a new one with another nonce",
        ));
    }
    Ok(member)
}

fn check_chain(transaction: &Transaction, context: &Context) -> Result<(), Refused> {
    if transaction.chain == context.chain {
        return Ok(());
    }
    Err(Refused::new(
        Refusal::WrongChain,
        format!(
            "the transaction is for the chain {}, and this is {}",
            transaction.chain, context.chain
        ),
    ))
}

fn check_heights(transaction: &Transaction, context: &Context) -> Result<(), Refused> {
    let last = Height(
        context
            .height
            .0
            .saturating_add(context.parameters.max_lifetime),
    );
    if transaction.expires < context.height {
        return Err(Refused::new(
            Refusal::Expired,
            format!(
                "the transaction was good until height {}, and this is {}; sign a new one",
                transaction.expires, context.height
            ),
        ));
    }
    if transaction.expires > last {
        return Err(Refused::new(
            Refusal::Expired,
            format!(
                "the transaction would be good until height {}, beyond {last}, the furthest allowed now",
                transaction.expires
            ),
        ));
    }
    Ok(())
}

/// What can be said of a body without the records.
fn check_form(body: &Body, member: &Member) -> Result<(), Refused> {
    match body {
        Body::Submit { certificates, .. } => {
            rule::check_endorsement(member)?;
            if certificates.is_empty() {
                return Err(Refused::new(
                    Refusal::Malformed,
                    "the batch holds no certificate",
                ));
            }
            Ok(())
        }
        Body::Revoke { reason, .. } if !reason.is_final() => Err(Refused::new(
            Refusal::WrongReason,
            format!(
                "{reason} is not a reason to revoke; suspend or resume the certificate instead"
            ),
        )),
        Body::Revoke { .. } | Body::Suspend { .. } | Body::Resume { .. } => Ok(()),
        Body::AdmitMember { member: admitted } => {
            require_validator(member)?;
            admitted
                .check()
                .map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))
        }
        Body::RemoveMember { .. } => require_validator(member),
    }
}

fn require_validator(member: &Member) -> Result<(), Refused> {
    if member.roles.contains(Role::Validator) {
        return Ok(());
    }
    Err(Refused::new(
        Refusal::NotPermitted,
        format!(
            "member {} does not have the role {}",
            member.id,
            Role::Validator
        ),
    ))
}

/// Takes the rules' refusals out of the way of the store's failures.
fn verdict(result: Result<(), ValidateError>) -> Result<Result<(), Refused>, StateError> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(ValidateError::Refused(refused)) => Ok(Err(refused)),
        Err(ValidateError::State(error)) => Err(error),
    }
}

struct Transition<'a> {
    state: &'a mut dyn State,
    context: Context,
    events: Vec<StatusEvent>,
}

impl Transition<'_> {
    fn apply(&mut self, signed: &SignedTransaction) -> Result<Receipt, StateError> {
        let transaction = &signed.transaction;
        let id = signed.id();
        let member = match endorser(signed, &id, self.state, &self.context) {
            Ok(member) => {
                // Remembered whatever becomes of the body, or a refused one could be replayed when
                // the state suits it better.
                self.state.remember_applied(&id, transaction.expires)?;
                Ok(member)
            }
            Err(ValidateError::Refused(refused)) => Err(refused),
            Err(ValidateError::State(error)) => return Err(error),
        };
        let member = member.and_then(|member| {
            check_form(&transaction.body, &member)?;
            Ok(member)
        });
        let outcomes = match member {
            Ok(member) => self.perform(&member, &transaction.body)?,
            Err(refused) => refuse(&transaction.body, &refused),
        };
        Ok(Receipt {
            transaction: id,
            outcomes,
        })
    }

    fn perform(&mut self, member: &Member, body: &Body) -> Result<Vec<Outcome>, StateError> {
        if let Body::Submit {
            certificates,
            class,
        } = body
        {
            return certificates
                .iter()
                .map(|certificate| self.submit(member, certificate, *class))
                .collect();
        }
        let (hash, result) = match body {
            Body::Submit { .. } => return Ok(Vec::new()),
            Body::Revoke { hash, reason } => (Some(*hash), self.revoke(member, hash, *reason)),
            Body::Suspend { hash } => (Some(*hash), self.suspend(member, hash)),
            Body::Resume { hash } => (Some(*hash), self.resume(member, hash)),
            Body::AdmitMember { member: admitted } => (None, self.admit(admitted)),
            Body::RemoveMember { member: removed } => (None, self.remove(removed)),
        };
        Ok(vec![Outcome {
            hash,
            verdict: verdict(result)?,
        }])
    }

    fn submit(
        &mut self,
        member: &Member,
        certificate: &[u8],
        class: Class,
    ) -> Result<Outcome, StateError> {
        let result = rule::judge(certificate, class, member, self.state, &self.context);
        let hash = Some(CertificateHash::of(certificate));
        let record = match result {
            Ok(record) => record,
            Err(ValidateError::Refused(refused)) => {
                return Ok(Outcome {
                    hash,
                    verdict: Err(refused),
                });
            }
            Err(ValidateError::State(error)) => return Err(error),
        };
        self.put(&record)?;
        Ok(Outcome {
            hash,
            verdict: Ok(()),
        })
    }

    fn revoke(
        &mut self,
        member: &Member,
        hash: &CertificateHash,
        reason: RevocationReason,
    ) -> Result<(), ValidateError> {
        let mut record = self.record(hash)?;
        let heir = is_operator(member);
        if record.endorser != member.id && !(heir && self.has_left(&record.endorser)?) {
            return Err(ValidateError::refused(
                Refusal::NotPermitted,
                format!(
                    "only member {}, who endorsed it, may revoke {hash}",
                    record.endorser
                ),
            ));
        }
        if !matches!(
            record.standing,
            Standing::Valid | Standing::Suspended { .. }
        ) {
            return Err(self.wrong_status(&record, "revoked"));
        }
        record.standing = Standing::Revoked {
            reason,
            time: self.context.time,
        };
        self.change(record)
    }

    fn suspend(&mut self, member: &Member, hash: &CertificateHash) -> Result<(), ValidateError> {
        let mut record = self.record(hash)?;
        if record.endorser != member.id && !is_operator(member) {
            return Err(ValidateError::refused(
                Refusal::NotPermitted,
                format!(
                    "only member {}, who endorsed it, and members of kind operator may suspend {hash}",
                    record.endorser
                ),
            ));
        }
        if record.status_at(self.context.time) != Status::Valid {
            return Err(self.wrong_status(&record, "suspended"));
        }
        record.standing = Standing::Suspended {
            since: self.context.time,
            suspender: member.id.clone(),
        };
        self.change(record)
    }

    fn resume(&mut self, member: &Member, hash: &CertificateHash) -> Result<(), ValidateError> {
        let mut record = self.record(hash)?;
        let status = record.status_at(self.context.time);
        let (Standing::Suspended { suspender, .. }, Status::Suspended { .. }) =
            (&record.standing, status)
        else {
            return Err(self.wrong_status(&record, "resumed"));
        };
        let heir = record.endorser == member.id || is_operator(member);
        if *suspender != member.id && !(heir && self.has_left(suspender)?) {
            return Err(ValidateError::refused(
                Refusal::NotPermitted,
                format!("only member {suspender}, who suspended it, may resume {hash}"),
            ));
        }
        record.standing = Standing::Valid;
        self.change(record)
    }

    fn admit(&mut self, admitted: &Member) -> Result<(), ValidateError> {
        let members = self.state.members()?;
        if members.len() >= MAX_MEMBERS {
            return Err(ValidateError::refused(
                Refusal::TooMany,
                format!("the consortium has {MAX_MEMBERS} members, the most allowed"),
            ));
        }
        for member in members {
            if member.id == admitted.id || member.key == admitted.key {
                return Err(ValidateError::refused(
                    Refusal::Duplicate,
                    format!("member {} has this name or this key already", member.id),
                ));
            }
            if let Some(organisation) = admitted
                .organisations
                .iter()
                .find(|name| member.organisations.contains(name))
            {
                return Err(ValidateError::refused(
                    Refusal::ForeignOrganisation,
                    format!(
                        "the organisation \"{organisation}\" is registered to member {}",
                        member.id
                    ),
                ));
            }
        }
        Ok(self.state.put_member(admitted)?)
    }

    fn remove(&mut self, removed: &MemberId) -> Result<(), ValidateError> {
        let Some(member) = self.state.member(removed)? else {
            return Err(ValidateError::refused(
                Refusal::NotRecorded,
                format!("{removed} is not a member of this consortium"),
            ));
        };
        if member.roles.contains(Role::Validator) {
            let others = self
                .state
                .members()?
                .iter()
                .any(|other| other.id != member.id && other.roles.contains(Role::Validator));
            if !others {
                return Err(ValidateError::refused(
                    Refusal::LastValidator,
                    format!("{removed} is the only validator; admit another one first"),
                ));
            }
        }
        Ok(self.state.remove_member(removed)?)
    }

    fn record(&self, hash: &CertificateHash) -> Result<Record, ValidateError> {
        self.state.record(hash)?.ok_or_else(|| {
            ValidateError::refused(Refusal::NotRecorded, format!("{hash} is not recorded"))
        })
    }

    fn has_left(&self, id: &MemberId) -> Result<bool, StateError> {
        Ok(self.state.member(id)?.is_none())
    }

    fn wrong_status(&self, record: &Record, wanted: &str) -> ValidateError {
        ValidateError::refused(
            Refusal::WrongStatus,
            format!(
                "{} is {} and cannot be {wanted}",
                record.hash,
                record.status_at(self.context.time)
            ),
        )
    }

    fn change(&mut self, mut record: Record) -> Result<(), ValidateError> {
        record.changed = self.context.height;
        Ok(self.put(&record)?)
    }

    fn put(&mut self, record: &Record) -> Result<(), StateError> {
        self.state.put_record(record)?;
        // At most MAX_BLOCK_TRANSACTIONS times MAX_BATCH events: fewer than 2^32.
        let index = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.events.push(StatusEvent {
            height: self.context.height,
            index,
            hash: record.hash,
            status: record.status_at(self.context.time),
        });
        Ok(())
    }
}

fn is_operator(member: &Member) -> bool {
    member.kind == MemberKind::Operator
}

/// The same refusal for everything that the body asks for.
fn refuse(body: &Body, refused: &Refused) -> Vec<Outcome> {
    let hashes = match body {
        Body::Submit { certificates, .. } if !certificates.is_empty() => certificates
            .iter()
            .map(|certificate| Some(CertificateHash::of(certificate)))
            .collect(),
        Body::Revoke { hash, .. } | Body::Suspend { hash } | Body::Resume { hash } => {
            vec![Some(*hash)]
        }
        Body::Submit { .. } | Body::AdmitMember { .. } | Body::RemoveMember { .. } => vec![None],
    };
    hashes
        .into_iter()
        .map(|hash| Outcome {
            hash,
            verdict: Err(refused.clone()),
        })
        .collect()
}

#[cfg(test)]
mod tests;
