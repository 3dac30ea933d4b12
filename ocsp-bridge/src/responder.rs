//! From a request to its answer: filter, cache, live.

mod flights;
mod known;
mod look_up;
mod settings;
mod tally;
mod unsigned;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::{join_all, try_join_all};
use ledger::CertificateHash;
use ocsp::{CertId, Request, RequestError, ResponseStatus, UnixTime};
use thiserror::Error;

use self::flights::Outcome;
use self::look_up::LookingUp;
use self::settings::Settings;
use self::tally::Tally;
use self::unsigned::{Unsigned, response_data};
use crate::answer::{Answer, Origin};
use crate::cache::{Entry, Signed, Span};
use crate::signer::{SignError, Signer};
use crate::signers::{self, Signers};
use crate::signing_queue::{RemoteQueue, Trial, Wanted};
use crate::source::{Source, Unavailable};
use crate::translate::{NoncePolicy, Policy};

pub use self::tally::Counters;

/// An OCSP responder.
///
/// Requests that come at the same time for the same CertID share one look-up and one signature. Slow signatures
/// (RSA, P-384, keys that are kept elsewhere) are made on other threads, so [`answer`](Self::answer) needs a Tokio
/// runtime for them.
///
/// # Changes on the ledger
///
/// Whoever owns it calls [`forget`](Self::forget) for every status change, those of newly recorded certificates
/// included, and [`forget_all`](Self::forget_all) when changes were missed.
pub struct Responder {
    source: Arc<dyn Source>,
    settings: RwLock<Arc<Settings>>,
    tally: Arc<Tally>,
    /// Of the settings that come next, too.
    is_followed: AtomicBool,
    /// Whether the last signature was made: the log tells when that changes, not each time.
    signs: AtomicBool,
}

impl Responder {
    /// A responder that asks `source`.
    #[must_use]
    pub fn new(policy: Policy, signers: Signers, source: Arc<dyn Source>) -> Self {
        Self {
            source,
            settings: RwLock::new(Arc::new(Settings::new(policy, signers))),
            tally: Arc::default(),
            is_followed: AtomicBool::new(true),
            signs: AtomicBool::new(true),
        }
    }

    /// Takes another policy and other signers from the next request on, and empties the cache. Requests under way
    /// end as they began.
    pub fn replace(&self, policy: Policy, signers: Signers) {
        let settings = Arc::new(Settings::new(policy, signers));
        let mut current = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Within the lock: whoever sets it later finds the new settings.
        settings
            .cache
            .set_followed(self.is_followed.load(Ordering::Acquire));
        *current = settings;
    }

    /// This certificate's status changed, or it was recorded: no answer from before is given again.
    pub fn forget(&self, hash: &CertificateHash) {
        self.settings().cache.forget(hash);
    }

    /// Changes were missed: no answer from before is given again.
    pub fn forget_all(&self) {
        self.settings().cache.forget_all();
    }

    /// Whether changes are told at all, which they are from the beginning. While they are not, nothing is given again but
    /// within the second of its look-up: what the source remembers decides.
    pub fn set_followed(&self, is_followed: bool) {
        self.is_followed.store(is_followed, Ordering::Release);
        self.settings().cache.set_followed(is_followed);
    }

    /// The answer to a DER `OCSPRequest`. It never fails: what cannot be answered has its response, too.
    pub async fn answer(&self, now: UnixTime, request: &[u8]) -> Answer {
        let settings = self.settings();
        let answer = match self.prepare(&settings, now, request) {
            Prepared::Answer(answer) => answer,
            Prepared::Ask(request) => Box::pin(self.ask(&settings, now, &request)).await,
        };
        self.tally.count(&answer);
        answer
    }

    /// The answer, if it takes neither a look-up on the ledger nor a slow signature: from the cache, signed quickly,
    /// or a refusal.
    #[must_use]
    pub fn answer_at_once(&self, now: UnixTime, request: &[u8]) -> Option<Answer> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        match self.prepare(&settings, now, request) {
            Prepared::Answer(answer) => {
                self.tally.count(&answer);
                Some(answer)
            }
            Prepared::Ask(_) => None,
        }
    }

    /// What keeps signers from signing at `now`; nothing, when there is a signer and all of them can sign.
    #[must_use]
    pub fn signer_problems(&self, now: UnixTime) -> Vec<SignerProblem> {
        let settings = self.settings();
        let mut problems = Vec::new();
        if settings.signers.iter().next().is_none() {
            problems.push(SignerProblem::NoSigner);
        }
        if settings.signers.iter().any(|signer| !signer.is_usable(now)) {
            problems.push(SignerProblem::Validity);
        }
        if settings.signers.iter().any(|signer| !signer.is_available()) {
            problems.push(SignerProblem::Unavailable);
        }
        problems
    }

    /// Tries the keys that are kept elsewhere: one that was lost and is back signs again, and one that is lost, or does
    /// not answer any more, is found out before a relying party asks. It ends within two seconds.
    ///
    /// It needs a Tokio runtime.
    pub async fn check_remote_keys(&self) {
        let settings = self.settings();
        let remote = settings
            .signers
            .iter()
            .filter_map(|signer| Some((signer, settings.queues.of_remote(signer)?)));
        join_all(remote.map(|(signer, queue)| self.check_remote_key(signer, queue))).await;
    }

    async fn check_remote_key(&self, signer: &Arc<Signer>, queue: &RemoteQueue) {
        match queue.try_key(signer.key()).await {
            Trial::Able => self.note_able(),
            Trial::Unable(error) => self.note_unable(&error),
            Trial::Busy => {}
        }
    }

    /// The time at which the first of the signers expires.
    #[must_use]
    pub fn first_expiry(&self) -> Option<UnixTime> {
        let settings = self.settings();
        settings
            .signers
            .iter()
            .map(|signer| signer.not_after())
            .min()
    }

    /// What was answered so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.counters(self.settings().cache.len())
    }

    fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&settings)
    }

    /// All that takes neither a look-up nor a slow signature.
    fn prepare<'a>(&self, settings: &Settings, now: UnixTime, octets: &'a [u8]) -> Prepared<'a> {
        if let Some(entry) = settings.known.find(octets)
            && settings.cache.may_be_given(now, &entry)
            && let Some(signed) = entry.signed.get()
        {
            entry.note_use();
            let answer = Answer::successful(signed.clone(), Origin::Cache);
            self.count_statuses(&answer, std::slice::from_ref(&entry));
            return Prepared::Answer(answer);
        }
        let request = match admit(&settings.policy, octets) {
            Ok(request) => request,
            Err(error) => return Prepared::Answer(Answer::error(error.response_status())),
        };
        let first = settings.signers.for_issuer(&request.first);
        let same = |id| std::ptr::eq(settings.signers.for_issuer(id), first);
        if first.is_empty() || !request.rest.iter().all(same) {
            // Nobody signs for this issuer, or nobody for all of them.
            return Prepared::Answer(Answer::error(ResponseStatus::Unauthorized));
        }
        if signers::usable(first, now).next().is_none() {
            return Prepared::Answer(Answer::error(ResponseStatus::InternalError));
        }
        let answer = if request.rest.is_empty() {
            settings
                .cache
                .find(now, request.first.der())
                .and_then(|entry| {
                    // With preferences, what is given depends on the signers at that time.
                    if request.nonce.is_none() && request.preferred.is_empty() {
                        settings.known.insert(octets, &entry);
                    }
                    self.answer_cached(settings, now, &request, &[entry])
                })
        } else {
            let cached: Option<Vec<_>> = request
                .cert_ids()
                .map(|id| settings.cache.find(now, id.der()))
                .collect();
            cached.and_then(|entries| self.answer_cached(settings, now, &request, &entries))
        };
        match answer {
            Some(answer) => Prepared::Answer(answer),
            None => Prepared::Ask(request),
        }
    }

    /// The answer with what is in the cache, unless that takes a slow signature.
    fn answer_cached(
        &self,
        settings: &Settings,
        now: UnixTime,
        request: &Request<'_>,
        entries: &[Arc<Entry>],
    ) -> Option<Answer> {
        let answer = match give(settings, now, request, entries) {
            Given::Answer(answer) => answer,
            Given::Unsigned(unsigned) if settings.queues.of(&unsigned.signer).is_some() => {
                return None;
            }
            Given::Unsigned(unsigned) => self.sign_at_once(unsigned),
        };
        self.count_statuses(&answer, entries);
        Some(answer)
    }

    /// The answer that may take a look-up, or a slow signature. What a change overtakes meanwhile is asked for once more.
    async fn ask(&self, settings: &Arc<Settings>, now: UnixTime, request: &Request<'_>) -> Answer {
        for is_last in [false, true] {
            let since = settings.cache.since();
            let entries =
                try_join_all(request.cert_ids().map(|id| self.entry(settings, now, id))).await;
            let entries = match entries {
                Ok(entries) => entries,
                Err(Unavailable { detail }) => {
                    tracing::debug!(id = %request.first, %detail, "no trustworthy answer from the ledger");
                    return Answer::error(ResponseStatus::TryLater);
                }
            };
            // Changes of others overtake an entry without a certificate, too. It says nothing good, so that the second
            // is told.
            let may_be_given = |entry: &Arc<Entry>| {
                (is_last && entry.hash.is_none()) || settings.cache.stands(since, entry)
            };
            if !entries.iter().all(may_be_given) {
                continue;
            }
            let answer = match give(settings, now, request, &entries) {
                Given::Answer(answer) => answer,
                Given::Unsigned(unsigned) => self.sign(settings, unsigned).await,
            };
            if answer.status != ResponseStatus::Successful || entries.iter().all(may_be_given) {
                self.count_statuses(&answer, &entries);
                return answer;
            }
        }
        tracing::debug!(id = %request.first, "its status changed again and again");
        Answer::error(ResponseStatus::TryLater)
    }

    fn count_statuses(&self, answer: &Answer, entries: &[Arc<Entry>]) {
        if answer.status == ResponseStatus::Successful {
            self.tally.statuses(entries);
        }
    }

    /// What the cache or else the ledger has for one CertID.
    async fn entry(&self, settings: &Arc<Settings>, now: UnixTime, id: &CertId<'_>) -> Outcome {
        if let Some(entry) = settings.cache.find(now, id.der()) {
            return Ok(entry);
        }
        let since = settings.cache.since();
        let begin = || {
            let look_up = LookingUp {
                source: Arc::clone(&self.source),
                settings: Arc::clone(settings),
                tally: Arc::clone(&self.tally),
                now,
                since,
            };
            Box::pin(look_up.run(id.der().into())) as _
        };
        let boarded = settings.flights.board(now, since, id.der(), begin);
        let Some((passenger, joined)) = boarded else {
            return Err(Unavailable {
                detail: "too many look-ups are under way".to_owned(),
            });
        };
        if joined {
            Tally::add(&self.tally.look_ups_joined);
        }
        let entry = passenger.await?;
        if entry.is_current(now) {
            Ok(entry)
        } else {
            Err(Unavailable {
                detail: "the look-up's answer was over when it came".to_owned(),
            })
        }
    }

    /// Signs here and now.
    fn sign_at_once(&self, unsigned: Unsigned) -> Answer {
        let (span, is_cacheable) = (unsigned.span, unsigned.is_cacheable);
        let keep_in = unsigned.keep_in.clone();
        let der = match unsigned.sign() {
            Ok(der) => der,
            Err(error) => return self.not_signed(&error),
        };
        Tally::add(&self.tally.signed);
        self.note_able();
        if !is_cacheable {
            return Answer::signed_once(der);
        }
        let signed = Signed::new(der, span);
        if let Some(entry) = keep_in {
            // Where another request was quicker, both responses are as good.
            let _is_kept = entry.signed.set(signed.clone());
        }
        Answer::successful(signed, Origin::Signed)
    }

    /// Signs where the signer's signatures are made. All who want the same response share one signature.
    async fn sign(&self, settings: &Settings, mut unsigned: Unsigned) -> Answer {
        let Some(queue) = settings.queues.of(&unsigned.signer) else {
            return self.sign_at_once(unsigned);
        };
        let (span, is_cacheable) = (unsigned.span, unsigned.is_cacheable);
        let keep_in = unsigned.keep_in.take();
        let (right, wanted) = match &keep_in {
            Some(entry) => (Some(entry.signing().await), Wanted::ByMany),
            None => (None, Wanted::ByOne),
        };
        if let Some(signed) = keep_in.as_ref().and_then(|entry| entry.signed.get()) {
            return Answer::successful(signed.clone(), Origin::Cache);
        }
        let tally = Arc::clone(&self.tally);
        // A signature that was begun is kept, also when nobody waits for it any more; until then, others wait for the
        // right to begin another one.
        let job = move || {
            let der = unsigned.sign()?;
            Tally::add(&tally.signed);
            if !is_cacheable {
                return Ok(Answer::signed_once(der));
            }
            let signed = Signed::new(der, span);
            if let Some(entry) = keep_in {
                let _is_kept = entry.signed.set(signed.clone());
            }
            drop(right);
            Ok(Answer::successful(signed, Origin::Signed))
        };
        match queue.run(wanted, job).await {
            Ok(answer) => {
                self.note_able();
                answer
            }
            Err(error) => self.not_signed(&error),
        }
    }

    fn note_able(&self) {
        if !self.signs.load(Ordering::Relaxed) && !self.signs.swap(true, Ordering::Relaxed) {
            tracing::info!("responses are signed again");
        }
    }

    fn not_signed(&self, error: &SignError) -> Answer {
        let status = match error {
            SignError::Busy => {
                Tally::add(&self.tally.signatures_shed);
                return Answer::error(ResponseStatus::TryLater);
            }
            SignError::Unavailable(_) => ResponseStatus::TryLater,
            _ => ResponseStatus::InternalError,
        };
        self.note_unable(error);
        Answer::error(status)
    }

    fn note_unable(&self, error: &SignError) {
        if self.signs.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "no response can be signed");
        } else {
            tracing::debug!(%error, "no response can be signed");
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        f.debug_struct("Responder")
            .field("policy", &settings.policy)
            .field("signers", &settings.signers)
            .finish_non_exhaustive()
    }
}

/// What keeps signers from signing.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SignerProblem {
    /// There is none.
    #[error("there is no signer")]
    NoSigner,
    /// A key that is kept elsewhere cannot be used now.
    #[error("a signer's key cannot be used now: the log says why")]
    Unavailable,
    /// A certificate has expired, or is not valid yet.
    #[error("a signer certificate is not valid now: renew it and send SIGHUP")]
    Validity,
}

enum Prepared<'a> {
    Answer(Answer),
    /// It takes a look-up, or a slow signature.
    Ask(Request<'a>),
}

enum Given {
    Answer(Answer),
    Unsigned(Unsigned),
}

/// The response that says what the entries say, signed already or not yet.
fn give(
    settings: &Settings,
    now: UnixTime,
    request: &Request<'_>,
    entries: &[Arc<Entry>],
) -> Given {
    let signers = settings.signers.for_issuer(&request.first);
    let Some(chosen) = signers::choose(signers, &request.preferred, now) else {
        return Given::Answer(Answer::error(ResponseStatus::InternalError));
    };
    if entries.iter().all(|entry| entry.is_foreign()) {
        return Given::Answer(Answer::error(ResponseStatus::Unauthorized));
    }
    let nonce = match settings.policy.nonce {
        NoncePolicy::Ignored => None,
        NoncePolicy::Forbidden | NoncePolicy::Optional | NoncePolicy::Required => request.nonce,
    };
    let is_default = || {
        request.preferred.is_empty()
            || signers::choose(signers, &[], now).is_some_and(|(signer, algorithm)| {
                Arc::ptr_eq(signer, chosen.0) && algorithm == chosen.1
            })
    };
    let keep_in = match entries {
        [entry] if nonce.is_none() && is_default() => Some(entry),
        _ => None,
    };
    if let Some(signed) = keep_in.and_then(|entry| entry.signed.get()) {
        return Given::Answer(Answer::successful(signed.clone(), Origin::Cache));
    }
    let (signer, algorithm) = chosen;
    Given::Unsigned(Unsigned {
        data: response_data(settings, now, request, entries, nonce, signer),
        signer: Arc::clone(signer),
        algorithm,
        span: Span::new(now, entries),
        is_cacheable: nonce.is_none(),
        keep_in: keep_in.map(Arc::clone),
    })
}

/// A request that is well formed and within the policy.
fn admit<'a>(policy: &Policy, octets: &'a [u8]) -> Result<Request<'a>, RequestError> {
    let request = Request::decode(octets, policy.limits)?;
    match (policy.nonce, request.nonce) {
        (NoncePolicy::Forbidden, Some(_)) => Err(RequestError::NonceForbidden),
        (NoncePolicy::Required, None) => Err(RequestError::NonceMissing),
        _ => Ok(request),
    }
}

#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod model;
#[cfg(test)]
mod openssl;
#[cfg(test)]
mod tests;
