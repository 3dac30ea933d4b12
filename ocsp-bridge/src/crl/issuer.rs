//! The CRLs of one issuer: what the ledger says, and what was made of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::{ChainId, Height, IssuerId, RevocationPage};
use ocsp::UnixTime;
use thiserror::Error;
use tokio::sync::watch;

use super::CrlPolicy;
use super::delta::Deltas;
use super::encode::{Frame, Head};
use super::issued::Issued;
use super::number::CrlNumber;
use super::published::Crl;
use super::revocations::{PageError, Revocations};
use super::schedule::Schedule;
use super::signer::CrlSigner;
use crate::signer::SignError;

/// Makes the CRLs of one issuer.
#[derive(Debug)]
pub struct CrlIssuer {
    policy: CrlPolicy,
    /// Without an answer of the ledger for so long, nothing new is issued.
    patience: Duration,
    id: IssuerId,
    key_hashes: [String; 2],
    signer: RwLock<Arc<CrlSigner>>,
    revocations: Mutex<Revocations>,
    standing: Mutex<Standing>,
    issued: Mutex<Issued>,
    deltas: Deltas,
    /// The newest block that is known to have changed something on the ledger.
    wanted: watch::Sender<Height>,
    chain: Option<ChainId>,
}

/// How things stand with the ledger.
#[derive(Debug, Default)]
struct Standing {
    /// When everything was known, and the time of the newest block then.
    complete: Option<(Instant, UnixTime)>,
    /// What is wrong with the node's answers.
    problem: Option<String>,
    /// And where that lies.
    fault: Fault,
    /// What kept the CRL that was due last from being signed.
    unsigned: Option<String>,
    /// How long the last full CRL took to make.
    took: Duration,
}

/// Where it lies that pages cannot be taken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Fault {
    /// With this bridge, or the nodes that it asks: another bridge may do better.
    #[default]
    Here,
    /// With what the ledger holds, or with the configuration: every bridge meets it, and OCSP does not.
    Everywhere,
}

impl Fault {
    /// Of a page that is refused, where a CRL was issued before or not: records do not vanish, so that an issuer which
    /// is not recorded any more is a node's fault.
    pub(crate) fn of(error: &PageError, was_issued: bool) -> Self {
        match error {
            PageError::TooMany(_) => Self::Everywhere,
            PageError::NotServed if !was_issued => Self::Everywhere,
            _ => Self::Here,
        }
    }
}

/// What a CRL consists of, apart from who signs it.
pub(super) struct Draft {
    pub(super) number: CrlNumber,
    pub(super) next_update: UnixTime,
    pub(super) base: Option<CrlNumber>,
    /// Where its delta CRLs are.
    pub(super) freshest: Option<String>,
    pub(super) entries: Vec<Bytes>,
    /// How many certificates are on the list.
    pub(super) count: usize,
}

/// Why there is no CRL to serve now.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CrlUnavailable {
    /// The delta CRL asked for would add to a full one that has run out, or that was never issued.
    #[error("there is no such base CRL, or it has run out: fetch the full CRL")]
    Base,
    /// Nothing could be issued.
    #[error("no CRL can be issued: {0}")]
    Hindered(String),
    /// Nothing was issued yet.
    #[error("the ledger's list is still being read: {0} revoked certificates so far")]
    Loading(usize),
    /// What was issued has run out.
    #[error("the last CRL has run out: {0}")]
    Stale(String),
    /// Too much has changed for a delta CRL.
    #[error("too much has changed since that base CRL: fetch the full CRL")]
    TooMuch,
}

impl CrlIssuer {
    /// An issuer of which nothing is known yet.
    pub fn new(
        policy: CrlPolicy,
        signer: CrlSigner,
        chain: Option<ChainId>,
        patience: Duration,
    ) -> Self {
        Self {
            id: signer.issuer().clone(),
            key_hashes: signer.key_hashes().clone(),
            revocations: Mutex::new(Revocations::new(policy.entries, policy.lifetime, chain)),
            policy,
            patience,
            signer: RwLock::new(Arc::new(signer)),
            standing: Mutex::default(),
            issued: Mutex::default(),
            deltas: Deltas::new(),
            wanted: watch::Sender::new(Height(0)),
            chain,
        }
    }

    /// The issuer, as a ledger node knows it.
    #[must_use]
    pub const fn id(&self) -> &IssuerId {
        &self.id
    }

    /// What its CRLs are like.
    #[must_use]
    pub const fn policy(&self) -> &CrlPolicy {
        &self.policy
    }

    /// The SHA-1 of its key, by which its URLs and metrics name it.
    #[must_use]
    pub fn name(&self) -> &str {
        let [sha1, _] = &self.key_hashes;
        sha1
    }

    /// The hashes of its key, SHA-1 and SHA-256.
    pub(crate) fn key_hashes(&self) -> [String; 2] {
        self.key_hashes.clone()
    }

    /// Who signs.
    #[must_use]
    pub fn signer(&self) -> Arc<CrlSigner> {
        Arc::clone(&self.signer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs with another key from the next CRL on; at once, where the last one has not signed what is due.
    pub fn replace_signer(&self, signer: Arc<CrlSigner>) {
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = signer;
        self.try_again();
    }

    /// Block `height` changed something on the ledger.
    pub fn changed(&self, height: Height) {
        self.wanted.send_if_modified(|wanted| {
            let newer = height > *wanted;
            *wanted = height.max(*wanted);
            newer
        });
    }

    pub(crate) fn wanted(&self) -> watch::Receiver<Height> {
        self.wanted.subscribe()
    }

    pub(crate) fn revocations(&self) -> MutexGuard<'_, Revocations> {
        self.revocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn deltas(&self) -> &Deltas {
        &self.deltas
    }

    pub(super) const fn schedule(&self) -> Schedule {
        Schedule::new(self.policy.lifetime)
    }

    pub(super) const fn delta_schedule(&self) -> Schedule {
        Schedule::new(self.policy.delta_lifetime)
    }

    /// Takes in a page of a node's list.
    pub(crate) fn take(&self, page: &RevocationPage, now: UnixTime) -> Result<(), PageError> {
        let begin = self.schedule().begin(now);
        self.revocations().take(page, begin)?;
        if page.complete {
            let mut standing = self.standing();
            standing.complete = Some((Instant::now(), UnixTime(page.block_time.seconds())));
            standing.problem = None;
            standing.fault = Fault::Here;
        }
        Ok(())
    }

    /// Notes what keeps pages from being taken in. Tells whether that is news.
    pub(crate) fn note(&self, problem: String, fault: Fault) -> bool {
        let mut standing = self.standing();
        let is_news = standing.problem.as_ref() != Some(&problem);
        standing.problem = Some(problem);
        standing.fault = fault;
        is_news
    }

    /// Notes what keeps the CRL that is due from being signed, or that nothing does. Tells whether that is news.
    fn note_unsigned(&self, problem: Option<String>) -> bool {
        let mut standing = self.standing();
        let is_news = standing.unsigned != problem;
        standing.unsigned = problem;
        is_news
    }

    /// Its key is back: what is due is tried again at once.
    pub(crate) fn try_again(&self) {
        self.wanted.send_modify(|_| {});
    }

    /// Forgets everything that pages said: to begin anew after there were too many.
    pub(crate) fn forget(&self) {
        *self.revocations() =
            Revocations::new(self.policy.entries, self.policy.lifetime, self.chain);
        self.standing().complete = None;
    }

    /// Whether the ledger's answers are complete and fresh enough to issue something now.
    pub(super) fn is_fresh(&self, now: UnixTime) -> Result<(), String> {
        let standing = self.standing();
        let because = || {
            standing
                .problem
                .clone()
                .unwrap_or_else(|| "the ledger's nodes do not answer".to_owned())
        };
        let Some((when, block)) = standing.complete else {
            return Err(because());
        };
        if when.elapsed() > self.patience {
            return Err(because());
        }
        match self.policy.max_block_age {
            Some(age) if block.plus(age) < now => {
                Err("the ledger's newest block is older than answers.max_block_age_s".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The number of what would be issued now by this schedule.
    pub(super) fn number(
        schedule: Schedule,
        revocations: &Revocations,
        now: UnixTime,
    ) -> CrlNumber {
        let (height, time) = revocations.newest();
        let begin = schedule.begin(now);
        // The ledger's clock may be ahead of ours.
        let this_update = if time <= now { begin.max(time) } else { begin };
        CrlNumber::new(height, this_update)
    }

    /// Issues the full CRL that is due, if one is and the ledger's answers allow it, where the signer's signatures are
    /// made. A key that does not answer is not waited for without end: the CRL is issued when it answers after all, and
    /// until then no other one is begun.
    ///
    /// # Errors
    ///
    /// When the key cannot sign, or has not yet.
    pub(crate) async fn issue_in_turn(
        self: &Arc<Self>,
        now: UnixTime,
    ) -> Result<Option<Arc<Crl>>, SignError> {
        self.issued().withdraw_stale(now);
        if self.is_fresh(now).is_err() {
            return Ok(None);
        }
        let due = Self::number(self.schedule(), &self.revocations(), now);
        let made = if self.newest().is_some_and(|crl| crl.number() >= due) {
            Ok(None)
        } else {
            let maker = Arc::clone(self);
            self.signer().make_full(move || maker.issue(now)).await
        };
        let problem = made.as_ref().err().map(ToString::to_string);
        match &made {
            Ok(_) if self.note_unsigned(None) => {
                tracing::info!(issuer = self.name(), "CRLs are signed again");
            }
            Err(error) if self.note_unsigned(problem) => {
                tracing::error!(issuer = self.name(), %error, "no new CRL can be signed");
            }
            Ok(_) | Err(_) => {}
        }
        made
    }

    /// Issues the full CRL that is due, if one is and the ledger's answers allow it. Takes as long as hashing and signing
    /// the whole list does: not for a thread that serves.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub(crate) fn issue(&self, now: UnixTime) -> Result<Option<Arc<Crl>>, SignError> {
        let schedule = self.schedule();
        self.issued().withdraw_stale(now);
        if self.is_fresh(now).is_err() {
            return Ok(None);
        }
        let began = Instant::now();
        let (number, entries, count) = {
            let mut revocations = self.revocations();
            let number = Self::number(schedule, &revocations, now);
            if self.newest().is_some_and(|crl| crl.number() >= number) {
                return Ok(None);
            }
            revocations.expire(schedule.begin(now));
            (number, revocations.full(), revocations.len())
        };
        let url = self.policy.url.as_ref();
        let draft = Draft {
            number,
            next_update: schedule.next_update(now),
            base: None,
            freshest: url.map(|url| format!("{url}/crl/{}.delta.crl?base={number}", self.name())),
            entries,
            count,
        };
        let crl = Arc::new(self.sign(now, draft)?);
        if !self.issued().put(Arc::clone(&crl)) {
            return Ok(None);
        }
        self.standing().took = began.elapsed();
        Ok(Some(crl))
    }

    pub(super) fn sign(&self, now: UnixTime, draft: Draft) -> Result<Crl, SignError> {
        let signer = self.signer();
        let head = Head {
            algorithm: signer.algorithm(),
            issuer: signer.issuer_name(),
            key_id: signer.key_id(),
            number: draft.number,
            next_update: draft.next_update.min(signer.not_after()),
            base: draft.base,
            freshest: draft.freshest.as_deref(),
        };
        let entries = draft.entries;
        let frame = Frame::new(&head, entries.iter().map(Bytes::len).sum());
        let signature = signer.sign(now, &frame.message(&entries))?;
        let pieces = frame.seal(head.algorithm, entries, &signature);
        Ok(Crl::new(head.number, head.next_update, draft.count, pieces))
    }

    /// The newest full CRL, run out or not.
    pub(crate) fn newest(&self) -> Option<Arc<Crl>> {
        self.issued().newest()
    }

    /// The newest full CRL.
    ///
    /// # Errors
    ///
    /// When there is none that has not run out.
    pub fn full(&self, now: UnixTime) -> Result<Arc<Crl>, CrlUnavailable> {
        match self.newest() {
            Some(crl) if now < crl.next_update() => Ok(crl),
            Some(_) => Err(CrlUnavailable::Stale(
                self.is_fresh(now)
                    .err()
                    .or_else(|| self.hindrance())
                    .unwrap_or_else(|| "the next one is being made".to_owned()),
            )),
            None => Err(self.not_yet()),
        }
    }

    fn not_yet(&self) -> CrlUnavailable {
        let loaded = self.held();
        match self.hindrance() {
            Some(problem) => CrlUnavailable::Hindered(problem),
            None => CrlUnavailable::Loading(loaded),
        }
    }

    fn hindrance(&self) -> Option<String> {
        let standing = self.standing();
        let problem = standing.problem.as_ref();
        problem.or(standing.unsigned.as_ref()).cloned()
    }

    /// How long until something is due by the clock alone.
    pub(crate) fn until_due(&self, now: UnixTime) -> Duration {
        self.schedule().until_next(now)
    }

    /// What keeps a CRL from being served, or the next one from being signed; nothing if all is well.
    #[must_use]
    pub fn problem(&self, now: UnixTime) -> Option<String> {
        match self.full(now) {
            Ok(_) => self.signer().problem(),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Whether there is no CRL for a reason that every bridge meets, and that keeps nobody from OCSP.
    pub(crate) fn is_hindered_everywhere(&self, now: UnixTime) -> bool {
        self.full(now).is_err() && self.standing().fault == Fault::Everywhere
    }

    /// How long the last full CRL took to make.
    pub(crate) fn took(&self) -> Duration {
        self.standing().took
    }

    /// How many certificates are known to be revoked or on hold.
    pub(crate) fn held(&self) -> usize {
        self.revocations().len()
    }
}
