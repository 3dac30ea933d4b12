//! From a request to its answer: filter, cache, live.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::try_join_all;
use ledger::CertificateHash;
use ocsp::{
    CertId, CertStatus, Frame, Request, RequestError, ResponseStatus, SignatureAlgorithm, Single,
    UnixTime,
};

use crate::answer::{Answer, Origin};
use crate::cache::{Cache, Content, Entry, Signed};
use crate::signer::Signer;
use crate::signers::{self, Signers};
use crate::source::{LookUp, Source, Unavailable};
use crate::translate::{NoncePolicy, Oddity, Policy, Translation};

/// An OCSP responder.
///
/// # Changes on the ledger
///
/// Whoever owns it calls [`forget`](Self::forget) for every status change, those of newly recorded certificates
/// included, and [`forget_all`](Self::forget_all) when changes were missed.
pub struct Responder {
    source: Arc<dyn Source>,
    settings: RwLock<Arc<Settings>>,
    tally: Tally,
}

/// What is replaced as a whole: answers that another signer signed, or that rest on another policy, go with it.
struct Settings {
    policy: Policy,
    signers: Signers,
    cache: Cache,
}

impl Responder {
    /// A responder that asks `source`.
    #[must_use]
    pub fn new(policy: Policy, signers: Signers, source: Arc<dyn Source>) -> Self {
        Self {
            source,
            settings: RwLock::new(Arc::new(Settings::new(policy, signers))),
            tally: Tally::default(),
        }
    }

    /// Takes another policy and other signers from the next request on, and empties the cache. Requests under way
    /// end as they began.
    pub fn replace(&self, policy: Policy, signers: Signers) {
        let settings = Arc::new(Settings::new(policy, signers));
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// This certificate's status changed, or it was recorded: no answer from before is given again.
    pub fn forget(&self, hash: &CertificateHash) {
        self.settings().cache.forget(hash);
    }

    /// Changes were missed: no answer from before is given again.
    pub fn forget_all(&self) {
        self.settings().cache.forget_all();
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

    /// The answer, if it takes no look-up on the ledger: from the cache, or a refusal.
    #[must_use]
    pub fn answer_at_once(&self, now: UnixTime, request: &[u8]) -> Option<Answer> {
        match self.prepare(&self.settings(), now, request) {
            Prepared::Answer(answer) => {
                self.tally.count(&answer);
                Some(answer)
            }
            Prepared::Ask(_) => None,
        }
    }

    /// Whether at `now` there is a signer, and all of them can sign.
    #[must_use]
    pub fn is_able_to_sign(&self, now: UnixTime) -> bool {
        let settings = self.settings();
        let mut signers = settings.signers.iter().peekable();
        signers.peek().is_some() && signers.all(|signer| signer.is_usable(now))
    }

    /// The time at which the first of the signers expires.
    #[must_use]
    pub fn first_expiry(&self) -> Option<UnixTime> {
        self.settings().signers.iter().map(Signer::not_after).min()
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

    /// All that takes no look-up.
    fn prepare<'a>(&self, settings: &Settings, now: UnixTime, request: &'a [u8]) -> Prepared<'a> {
        let request = match admit(&settings.policy, request) {
            Ok(request) => request,
            Err(error) => return Prepared::Answer(Answer::error(error.response_status())),
        };
        let first = settings.signers.for_issuer(&request.first);
        let same = |id| std::ptr::eq(settings.signers.for_issuer(id), first);
        if first.is_empty() || !request.rest.iter().all(same) {
            // Nobody signs for this issuer, or nobody for all of them.
            return Prepared::Answer(Answer::error(ResponseStatus::Unauthorized));
        }
        if !first.iter().any(|signer| signer.is_usable(now)) {
            return Prepared::Answer(Answer::error(ResponseStatus::InternalError));
        }
        if request.rest.is_empty() {
            return match settings.cache.find(now, request.first.der()) {
                Some(entry) => Prepared::Answer(self.give(settings, now, &request, &[entry])),
                None => Prepared::Ask(request),
            };
        }
        let cached: Option<Vec<_>> = request
            .cert_ids()
            .map(|id| settings.cache.find(now, id.der()))
            .collect();
        match cached {
            Some(entries) => Prepared::Answer(self.give(settings, now, &request, &entries)),
            None => Prepared::Ask(request),
        }
    }

    async fn ask(&self, settings: &Settings, now: UnixTime, request: &Request<'_>) -> Answer {
        let entries = try_join_all(request.cert_ids().map(|id| self.entry(settings, now, id)));
        match entries.await {
            Ok(entries) => self.give(settings, now, request, &entries),
            Err(Unavailable { detail }) => {
                tracing::debug!(id = %request.first, %detail, "no trustworthy answer from the ledger");
                Answer::error(ResponseStatus::TryLater)
            }
        }
    }

    /// What the cache or else the ledger has for one CertID.
    async fn entry(
        &self,
        settings: &Settings,
        now: UnixTime,
        id: &CertId<'_>,
    ) -> Result<Arc<Entry>, Unavailable> {
        if let Some(entry) = settings.cache.find(now, id.der()) {
            return Ok(entry);
        }
        let since = settings.cache.since();
        Tally::add(&self.tally.look_ups);
        let finding = self.source.look_up(id).await?;
        let (content, next_update) = match settings.policy.translate(now, &finding) {
            Translation::Answer { single, oddity } => {
                self.note(id, oddity);
                settings.content(now, id, single, oddity)?
            }
            Translation::Foreign => (Content::Foreign, now.plus(settings.policy.lifetime)),
            Translation::Stale => {
                return Err(Unavailable {
                    detail: "the ledger's answer is too old, or contradicts itself".to_owned(),
                });
            }
        };
        let hash = match finding.look_up {
            LookUp::Found { hash, .. } => Some(hash),
            LookUp::Ambiguous { .. } | LookUp::ForeignIssuer | LookUp::NotRecorded => None,
        };
        // Whoever gets it from the cache can still use it for half of its lifetime.
        let refresh_at = now.plus(now.until(next_update) / 2);
        let entry = Arc::new(Entry::new(content, hash, now, refresh_at, since));
        settings.cache.insert(since, id.der(), &entry);
        Ok(entry)
    }

    fn note(&self, id: &CertId<'_>, oddity: Option<Oddity>) {
        match oddity {
            Some(Oddity::Ambiguous { count }) => {
                Tally::add(&self.tally.ambiguous);
                tracing::warn!(
                    %id, count,
                    "several recorded certificates have this CertID: answered as revoked; find out which issuer gave one serial number twice"
                );
            }
            Some(Oddity::NotIssued) => Tally::add(&self.tally.not_recorded),
            None => {}
        }
    }

    /// The response that says what the entries say.
    fn give(
        &self,
        settings: &Settings,
        now: UnixTime,
        request: &Request<'_>,
        entries: &[Arc<Entry>],
    ) -> Answer {
        let signers = settings.signers.for_issuer(&request.first);
        let Some(chosen) = signers::choose(signers, &request.preferred, now) else {
            return Answer::error(ResponseStatus::InternalError);
        };
        let nonce = match settings.policy.nonce {
            NoncePolicy::Ignored => None,
            NoncePolicy::Forbidden | NoncePolicy::Optional | NoncePolicy::Required => request.nonce,
        };
        let [entry] = entries else {
            return self.give_many(settings, now, request, entries, chosen, nonce);
        };
        let Content::Single {
            der,
            extended_revoked,
            ..
        } = &entry.content
        else {
            return Answer::error(ResponseStatus::Unauthorized);
        };
        self.tally.statuses(entries);
        let is_default = request.preferred.is_empty()
            || signers::choose(signers, &[], now).is_some_and(|(signer, algorithm)| {
                std::ptr::eq(signer, chosen.0) && algorithm == chosen.1
            });
        let keeps = nonce.is_none() && is_default;
        if keeps && let Some(signed) = entry.signed.get() {
            return Answer::successful(signed.clone(), Origin::Cache);
        }
        let frame = Frame {
            responder_key_hash: chosen.0.key_hash(),
            produced_at: now,
            nonce,
            extended_revoked: *extended_revoked,
        };
        match self.sign(chosen, frame, std::iter::once(&**der)) {
            Some(der) if nonce.is_none() => {
                let signed = Signed::new(der, now, entries);
                if keeps {
                    // Where another request was quicker, both responses are as good.
                    let _: Result<(), Signed> = entry.signed.set(signed.clone());
                }
                Answer::successful(signed, Origin::Signed)
            }
            Some(der) => Answer::signed_once(der),
            None => Answer::error(ResponseStatus::InternalError),
        }
    }

    fn give_many(
        &self,
        settings: &Settings,
        now: UnixTime,
        request: &Request<'_>,
        entries: &[Arc<Entry>],
        chosen: (&Signer, SignatureAlgorithm),
        nonce: Option<&[u8]>,
    ) -> Answer {
        if entries.iter().all(|entry| entry.is_foreign()) {
            return Answer::error(ResponseStatus::Unauthorized);
        }
        self.tally.statuses(entries);
        let mut extended = false;
        let singles: Vec<_> = request
            .cert_ids()
            .zip(entries)
            .map(|(id, entry)| match &entry.content {
                Content::Single {
                    der,
                    extended_revoked,
                    ..
                } => {
                    extended |= extended_revoked;
                    Cow::Borrowed(&**der)
                }
                // RFC 6960 §2.2: unknown, usually since the issuer is not served.
                Content::Foreign => Cow::Owned(
                    Single {
                        status: CertStatus::Unknown,
                        this_update: entry.looked_up_at,
                        next_update: entry.looked_up_at.plus(settings.policy.lifetime),
                        cert_hash: None,
                        archive_cutoff: None,
                    }
                    .encode(id.der()),
                ),
            })
            .collect();
        let frame = Frame {
            responder_key_hash: chosen.0.key_hash(),
            produced_at: now,
            nonce,
            extended_revoked: extended,
        };
        match self.sign(chosen, frame, singles.iter().map(AsRef::as_ref)) {
            Some(der) if nonce.is_none() => {
                Answer::successful(Signed::new(der, now, entries), Origin::Signed)
            }
            Some(der) => Answer::signed_once(der),
            None => Answer::error(ResponseStatus::InternalError),
        }
    }

    fn sign<'s>(
        &self,
        (signer, algorithm): (&Signer, SignatureAlgorithm),
        frame: Frame<'_>,
        singles: impl Iterator<Item = &'s [u8]> + Clone,
    ) -> Option<Bytes> {
        match signer.respond(algorithm, frame, singles) {
            Ok(der) => {
                Tally::add(&self.tally.signed);
                Some(der.into())
            }
            Err(error) => {
                tracing::error!(%error, "no response can be signed");
                None
            }
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

impl Settings {
    fn new(policy: Policy, signers: Signers) -> Self {
        let cache = Cache::new(policy.cache_capacity);
        Self {
            policy,
            signers,
            cache,
        }
    }

    /// The encoded answer, and how long it lasts: no longer than its signer.
    fn content(
        &self,
        now: UnixTime,
        id: &CertId<'_>,
        mut single: Single,
        oddity: Option<Oddity>,
    ) -> Result<(Content, UnixTime), Unavailable> {
        let signer = signers::choose(self.signers.for_issuer(id), &[], now);
        let until = signer.map_or(now, |(signer, _)| signer.not_after());
        single.next_update = single.next_update.min(until);
        if single.next_update <= now {
            return Err(Unavailable {
                detail: "the signer expires this very second".to_owned(),
            });
        }
        let content = Content::Single {
            der: single.encode(id.der()),
            status: single.status,
            extended_revoked: oddity == Some(Oddity::NotIssued),
            this_update: single.this_update,
            next_update: single.next_update,
        };
        Ok((content, single.next_update))
    }
}

enum Prepared<'a> {
    Answer(Answer),
    Ask(Request<'a>),
}

/// A snapshot of what was answered so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Responses with the status `successful`.
    pub successful: u64,
    /// Responses with the status `malformedRequest`.
    pub malformed_request: u64,
    /// Responses with the status `internalError`: no signer can sign.
    pub internal_error: u64,
    /// Responses with the status `tryLater`: no trustworthy answer from the ledger.
    pub try_later: u64,
    /// Responses with the status `unauthorized`: issuers that are not served.
    pub unauthorized: u64,
    /// Certificates answered as good.
    pub good: u64,
    /// Certificates answered as revoked, for whatever reason.
    pub revoked: u64,
    /// Certificates answered as unknown.
    pub unknown: u64,
    /// Look-ups that found no recorded certificate and were answered by the extended definition of revoked.
    pub not_recorded: u64,
    /// Look-ups that found several recorded certificates with one CertID. None should ever be.
    pub ambiguous: u64,
    /// Look-ups on the ledger.
    pub look_ups: u64,
    /// Responses signed.
    pub signed: u64,
    /// Responses given from the cache without signing.
    pub from_cache: u64,
    /// Entries in the cache now.
    pub cached: u64,
}

#[derive(Default)]
struct Tally {
    successful: AtomicU64,
    malformed_request: AtomicU64,
    internal_error: AtomicU64,
    try_later: AtomicU64,
    unauthorized: AtomicU64,
    good: AtomicU64,
    revoked: AtomicU64,
    unknown: AtomicU64,
    not_recorded: AtomicU64,
    ambiguous: AtomicU64,
    look_ups: AtomicU64,
    signed: AtomicU64,
    from_cache: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, answer: &Answer) {
        Self::add(match answer.status {
            ResponseStatus::Successful => &self.successful,
            ResponseStatus::MalformedRequest => &self.malformed_request,
            ResponseStatus::InternalError => &self.internal_error,
            ResponseStatus::TryLater => &self.try_later,
            ResponseStatus::Unauthorized => &self.unauthorized,
        });
        if answer.origin == Origin::Cache {
            Self::add(&self.from_cache);
        }
    }

    fn statuses(&self, entries: &[Arc<Entry>]) {
        for entry in entries {
            Self::add(match entry.content {
                Content::Single {
                    status: CertStatus::Good,
                    ..
                } => &self.good,
                Content::Single {
                    status: CertStatus::Revoked { .. },
                    ..
                } => &self.revoked,
                Content::Foreign
                | Content::Single {
                    status: CertStatus::Unknown,
                    ..
                } => &self.unknown,
            });
        }
    }

    fn counters(&self, cached: usize) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            successful: get(&self.successful),
            malformed_request: get(&self.malformed_request),
            internal_error: get(&self.internal_error),
            try_later: get(&self.try_later),
            unauthorized: get(&self.unauthorized),
            good: get(&self.good),
            revoked: get(&self.revoked),
            unknown: get(&self.unknown),
            not_recorded: get(&self.not_recorded),
            ambiguous: get(&self.ambiguous),
            look_ups: get(&self.look_ups),
            signed: get(&self.signed),
            from_cache: get(&self.from_cache),
            cached: cached as u64,
        }
    }
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
mod openssl;
#[cfg(test)]
mod tests;
