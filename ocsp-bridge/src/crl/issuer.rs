//! The CRLs of one issuer: what the ledger says, and what was made of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::{ChainId, Height, IssuerId, RevocationPage};
use lru::LruCache;
use ocsp::UnixTime;
use thiserror::Error;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::spawn_blocking;

use super::CrlPolicy;
use super::encode::{Frame, Head};
use super::issued::Issued;
use super::number::CrlNumber;
use super::published::Crl;
use super::revocations::{PageError, Revocations};
use super::schedule::Schedule;
use super::signer::CrlSigner;
use crate::signer::SignError;

/// The most delta CRLs that are kept: one for each full one that relying parties hold.
const MOST_DELTAS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

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
    deltas: AsyncMutex<LruCache<CrlNumber, Arc<Crl>>>,
    /// The newest block that is known to have changed something on the ledger.
    wanted: watch::Sender<Height>,
    chain: Option<ChainId>,
}

/// How things stand with the ledger.
#[derive(Debug, Default)]
struct Standing {
    /// When everything was known, and the time of the newest block then.
    complete: Option<(Instant, UnixTime)>,
    /// What is wrong with the node's answers, or with the signing.
    problem: Option<String>,
    /// How long the last full CRL took to make.
    took: Duration,
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
            deltas: AsyncMutex::new(LruCache::new(MOST_DELTAS)),
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

    /// Signs with another key from the next CRL on.
    pub fn replace_signer(&self, signer: Arc<CrlSigner>) {
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = signer;
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

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn schedule(&self) -> Schedule {
        Schedule::new(self.policy.lifetime)
    }

    const fn delta_schedule(&self) -> Schedule {
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
        }
        Ok(())
    }

    /// Notes what keeps pages from being taken in, or CRLs from being signed. Tells whether that is news.
    pub(crate) fn note(&self, problem: String) -> bool {
        let mut standing = self.standing();
        let is_news = standing.problem.as_ref() != Some(&problem);
        standing.problem = Some(problem);
        is_news
    }

    /// Forgets everything that pages said: to begin anew after there were too many.
    pub(crate) fn forget(&self) {
        *self.revocations() =
            Revocations::new(self.policy.entries, self.policy.lifetime, self.chain);
        self.standing().complete = None;
    }

    /// Whether the ledger's answers are complete and fresh enough to issue something now.
    fn is_fresh(&self, now: UnixTime) -> Result<(), String> {
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
    fn number(schedule: Schedule, revocations: &Revocations, now: UnixTime) -> CrlNumber {
        let (height, time) = revocations.newest();
        let begin = schedule.begin(now);
        // The ledger's clock may be ahead of ours.
        let this_update = if time <= now { begin.max(time) } else { begin };
        CrlNumber::new(height, this_update)
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
        let url = self
            .policy
            .url
            .as_ref()
            .map(|url| format!("{url}/crl/{}.delta.crl?base={number}", self.name()));
        let crl = self.sign(
            now,
            schedule.next_update(now),
            number,
            None,
            url.as_deref(),
            entries,
            count,
        )?;
        let crl = Arc::new(crl);
        self.standing().took = began.elapsed();
        self.issued().put(Arc::clone(&crl));
        Ok(Some(crl))
    }

    #[expect(clippy::too_many_arguments, reason = "what a CRL consists of")]
    fn sign(
        &self,
        now: UnixTime,
        next_update: UnixTime,
        number: CrlNumber,
        base: Option<CrlNumber>,
        freshest: Option<&str>,
        entries: Vec<Bytes>,
        count: usize,
    ) -> Result<Crl, SignError> {
        let signer = self.signer();
        let head = Head {
            algorithm: signer.algorithm(),
            issuer: signer.issuer_name(),
            key_id: signer.key_id(),
            number,
            next_update: next_update.min(signer.not_after()),
            base,
            freshest,
        };
        let frame = Frame::new(&head, entries.iter().map(Bytes::len).sum());
        let signature = signer.sign(now, &frame.message(&entries))?;
        let pieces = frame.seal(head.algorithm, entries, &signature);
        Ok(Crl::new(number, head.next_update, count, pieces))
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
                    .or_else(|| self.standing().problem.clone())
                    .unwrap_or_else(|| "the next one is being made".to_owned()),
            )),
            None => Err(self.not_yet()),
        }
    }

    fn not_yet(&self) -> CrlUnavailable {
        let loaded = self.held();
        match &self.standing().problem {
            Some(problem) => CrlUnavailable::Hindered(problem.clone()),
            None => CrlUnavailable::Loading(loaded),
        }
    }

    /// The delta CRL that adds to the full one of this number; to the oldest that is still good, if none is named.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn delta(
        self: &Arc<Self>,
        now: UnixTime,
        base: Option<CrlNumber>,
    ) -> Result<Arc<Crl>, CrlUnavailable> {
        let newest = self.full(now)?;
        let base = match base {
            Some(base) => base,
            None => self.issued().oldest(now).unwrap_or_else(|| newest.number()),
        };
        // Any bridge may have issued it, before or after a restart of this one.
        let has_run_out = self.schedule().next_update(base.this_update()) <= now;
        if has_run_out || base > newest.number() {
            return Err(CrlUnavailable::Base);
        }
        // One at a time: who waits finds it made.
        let mut deltas = self.deltas.lock().await;
        if let Some(delta) = deltas.get(&base)
            && now < delta.next_update()
            && (self.is_fresh(now).is_err() || delta.number() >= self.delta_number(now))
        {
            return Ok(Arc::clone(delta));
        }
        self.is_fresh(now).map_err(CrlUnavailable::Hindered)?;
        let this = Arc::clone(self);
        let delta = spawn_blocking(move || this.issue_delta(now, base))
            .await
            .map_err(|_| CrlUnavailable::Hindered("the bridge is stopping".to_owned()))??;
        let delta = Arc::new(delta);
        deltas.put(base, Arc::clone(&delta));
        Ok(delta)
    }

    fn delta_number(&self, now: UnixTime) -> CrlNumber {
        Self::number(self.delta_schedule(), &self.revocations(), now)
    }

    fn issue_delta(&self, now: UnixTime, base: CrlNumber) -> Result<Crl, CrlUnavailable> {
        let schedule = self.delta_schedule();
        let (number, entries, count) = {
            let revocations = self.revocations();
            let entries = revocations
                .delta(base.height())
                .ok_or(CrlUnavailable::TooMuch)?;
            let number = Self::number(schedule, &revocations, now);
            (number, entries, revocations.len())
        };
        let entries = if entries.is_empty() {
            Vec::new()
        } else {
            vec![Bytes::from(entries)]
        };
        let next_update = schedule.next_update(now);
        self.sign(now, next_update, number, Some(base), None, entries, count)
            .map_err(|error| CrlUnavailable::Hindered(error.to_string()))
    }

    /// How long until something is due by the clock alone.
    pub(crate) fn until_due(&self, now: UnixTime) -> Duration {
        self.schedule().until_next(now)
    }

    /// What keeps a CRL from being served; nothing if one is.
    #[must_use]
    pub fn problem(&self, now: UnixTime) -> Option<String> {
        self.full(now).err().map(|error| error.to_string())
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
