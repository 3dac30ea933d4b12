//! What the responder counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ocsp::{CertStatus, ResponseStatus};

use crate::answer::{Answer, Origin};
use crate::cache::{Content, Entry};

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
    /// Requests that waited for a look-up which another had begun.
    pub look_ups_joined: u64,
    /// Responses signed.
    pub signed: u64,
    /// Responses not signed since too many slow signatures were waited for.
    pub signatures_shed: u64,
    /// Responses given from the cache without signing.
    pub from_cache: u64,
    /// Entries in the cache now.
    pub cached: u64,
}

/// The counters themselves.
#[derive(Default)]
pub(super) struct Tally {
    successful: AtomicU64,
    malformed_request: AtomicU64,
    internal_error: AtomicU64,
    try_later: AtomicU64,
    unauthorized: AtomicU64,
    good: AtomicU64,
    revoked: AtomicU64,
    unknown: AtomicU64,
    pub(super) not_recorded: AtomicU64,
    pub(super) ambiguous: AtomicU64,
    pub(super) look_ups: AtomicU64,
    pub(super) look_ups_joined: AtomicU64,
    pub(super) signed: AtomicU64,
    pub(super) signatures_shed: AtomicU64,
    from_cache: AtomicU64,
}

impl Tally {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, answer: &Answer) {
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

    pub(super) fn statuses(&self, entries: &[Arc<Entry>]) {
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

    pub(super) fn counters(&self, cached: usize) -> Counters {
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
            look_ups_joined: get(&self.look_ups_joined),
            signed: get(&self.signed),
            signatures_shed: get(&self.signatures_shed),
            from_cache: get(&self.from_cache),
            cached: cached as u64,
        }
    }
}
