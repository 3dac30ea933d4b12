//! The delta CRLs of one issuer.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use ocsp::UnixTime;

use super::issuer::{CrlIssuer, CrlUnavailable, Draft};
use super::number::CrlNumber;
use super::published::Crl;

/// The most delta CRLs that are kept: one for each full one that relying parties hold.
const MOST_DELTAS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// Those that were made, by the number of their base.
#[derive(Debug)]
pub(super) struct Deltas(Mutex<LruCache<CrlNumber, Arc<Crl>>>);

impl Deltas {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MOST_DELTAS)))
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<CrlNumber, Arc<Crl>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that has not run out.
    fn find(&self, base: CrlNumber, now: UnixTime) -> Option<Arc<Crl>> {
        let mut kept = self.kept();
        kept.get(&base)
            .filter(|delta| now < delta.next_update())
            .map(Arc::clone)
    }

    /// Takes one in, unless a newer one was made meanwhile.
    fn put(&self, base: CrlNumber, delta: &Arc<Crl>) {
        let mut kept = self.kept();
        if kept
            .peek(&base)
            .is_none_or(|older| older.number() <= delta.number())
        {
            kept.put(base, Arc::clone(delta));
        }
    }
}

impl CrlIssuer {
    /// The delta CRL that adds to the full one of this number; to the oldest that is still good, if none is named. As a
    /// full one does, it serves until its nextUpdate while no newer one can be made.
    ///
    /// It needs a Tokio runtime.
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
        let kept = self.deltas().find(base, now);
        let is_fresh = self.is_fresh(now);
        if let Some(delta) = &kept
            && (is_fresh.is_err() || delta.number() >= self.delta_number(now))
        {
            return Ok(Arc::clone(delta));
        }
        is_fresh.map_err(CrlUnavailable::Hindered)?;
        match (self.make_delta(now, base).await, kept) {
            (Err(CrlUnavailable::Hindered(_)), Some(kept)) => Ok(kept),
            (made, _) => made,
        }
    }

    async fn make_delta(
        self: &Arc<Self>,
        now: UnixTime,
        base: CrlNumber,
    ) -> Result<Arc<Crl>, CrlUnavailable> {
        let maker = Arc::clone(self);
        // Where nobody waits for it any more, the next one finds it made.
        let job = move || {
            let found = maker.deltas().find(base, now);
            if let Some(delta) = found.filter(|found| found.number() >= maker.delta_number(now)) {
                return Ok(Ok(delta));
            }
            let made = maker.issue_delta(now, base).map(Arc::new);
            if let Ok(delta) = &made {
                maker.deltas().put(base, delta);
            }
            Ok(made)
        };
        let made = self.signer().make_delta(job).await;
        made.unwrap_or_else(|error| Err(CrlUnavailable::Hindered(error.to_string())))
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
        let draft = Draft {
            number,
            next_update: schedule.next_update(now),
            base: Some(base),
            freshest: None,
            entries,
            count,
        };
        self.sign(now, draft)
            .map_err(|error| CrlUnavailable::Hindered(error.to_string()))
    }
}
