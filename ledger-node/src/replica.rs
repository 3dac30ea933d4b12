//! Inquiries answered from the store.

use std::sync::Arc;

use ledger::{
    CertId, CertIdAnswer, CertIdIndex, CertificateHash, ChainId, EventPage, Height, Inquiry,
    InquiryError, IssuerId, RevocationCursor, RevocationPage, StatusAnswer,
};

use crate::application::Commits;
use crate::clock::Clock;
use crate::error::ReadError;
use crate::issuer::{Issuer, IssuerCursor, IssuerPage};
use crate::metrics::Metrics;
use crate::store::Store;

/// Answers inquiries as of the newest durable block.
pub(crate) struct Replica {
    pub(crate) store: Arc<Store>,
    pub(crate) chain: ChainId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) commits: Arc<Commits>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Replica {
    /// The certificates with a `CertID`.
    pub(crate) fn find(&self, id: &CertId) -> Result<CertIdAnswer, ReadError> {
        Ok(self.store.snapshot()?.certificates_by_cert_id(id)?)
    }

    /// The recorded authorities after a place in their index.
    pub(crate) fn issuers(
        &self,
        after: Option<&IssuerCursor>,
        limit: usize,
    ) -> Result<IssuerPage, ReadError> {
        let snapshot = self.store.snapshot()?;
        let head = snapshot.newest()?;
        let now = self.clock.now().max(head.time);
        let (records, next) = snapshot.authorities(after.map(IssuerCursor::octets), limit)?;
        let issuers = records
            .iter()
            .map(|record| Issuer::new(record, now))
            .collect::<Result<_, _>>()?;
        Ok(IssuerPage {
            issuers,
            next: next.map(IssuerCursor::new),
            height: head.height,
        })
    }

    /// The entries of an issuer's CRLs after a place.
    pub(crate) fn revocations(
        &self,
        issuer: &IssuerId,
        after: &RevocationCursor,
        limit: usize,
    ) -> Result<RevocationPage, ReadError> {
        Ok(self.store.snapshot()?.revocations(issuer, after, limit)?)
    }

    /// The status of certificates, all as of the same block.
    pub(crate) fn statuses(
        &self,
        hashes: &[CertificateHash],
    ) -> Result<Vec<StatusAnswer>, ReadError> {
        let snapshot = self.store.snapshot()?;
        let head = snapshot.newest()?;
        let now = self.clock.now();
        let answers: Vec<StatusAnswer> = hashes
            .iter()
            .zip(snapshot.records(hashes)?)
            .map(|(hash, record)| {
                StatusAnswer::new(
                    *hash,
                    record.as_ref(),
                    self.chain,
                    head.height,
                    head.time,
                    now,
                )
            })
            .collect();
        for answer in &answers {
            self.metrics.inquired(&answer.status);
        }
        Ok(answers)
    }
}

impl CertIdIndex for Replica {
    fn certificates_by_cert_id(&self, id: &CertId) -> Result<CertIdAnswer, InquiryError> {
        Ok(self.find(id)?)
    }
}

impl Inquiry for Replica {
    fn chain(&self) -> ChainId {
        self.chain
    }

    fn status(&self, hash: &CertificateHash) -> Result<StatusAnswer, InquiryError> {
        self.statuses(&[*hash])?
            .pop()
            .ok_or_else(|| InquiryError::Unavailable {
                detail: "the store gave no answer".to_owned(),
            })
    }

    fn events(&self, from: Height, limit: usize) -> Result<EventPage, InquiryError> {
        self.store
            .snapshot()
            .map_err(ReadError::from)?
            .events(from, limit)
    }

    fn on_commit(&self, notify: Box<dyn Fn(Height) + Send + Sync>) {
        self.commits.listen(notify);
    }
}
