//! The state as of one block, for reading.

use ledger::{
    Block, CertId, CertIdAnswer, CertificateHash, Chain, EventPage, Genesis, Head, Height,
    InquiryError, IssuerId, KeyHash, MAX_CERTIFICATES_PER_CERT_ID, Member, MemberId, NameHash,
    Record, RevocationCursor, RevocationPage, State, StateError, StatusEvent, TransactionId,
};
use redb::{Key, ReadOnlyTable, ReadTransaction, TableDefinition, Value};

use super::tables;
use super::tables::{
    APPLIED, AUTHORITIES, BLOCKS, CERT_IDS, EVENTS, ISSUERS, KEYS, MEMBERS, META, META_FORMAT,
    RECORDS, REVOCATIONS,
};

/// The most events on one page, but for one block's that are more.
const MAX_EVENTS: usize = 10_000;

/// A snapshot: nothing that is committed while it lives is seen through it.
pub(crate) struct Snapshot(ReadTransaction);

impl Snapshot {
    pub(crate) const fn new(transaction: ReadTransaction) -> Self {
        Self(transaction)
    }

    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StateError> {
        self.0.open_table(table).map_err(StateError::new)
    }

    pub(crate) fn format(&self) -> Result<Option<u32>, StateError> {
        tables::meta(&self.table(META)?, META_FORMAT)
    }

    pub(crate) fn genesis(&self) -> Result<Genesis, StateError> {
        tables::genesis(&self.table(META)?)?
            .ok_or_else(|| StateError::new("the store holds no genesis"))
    }

    pub(crate) fn established_chain(&self) -> Result<Chain, StateError> {
        self.chain()?
            .ok_or_else(|| StateError::new("the store holds no chain"))
    }

    pub(crate) fn newest(&self) -> Result<Head, StateError> {
        self.head()?
            .ok_or_else(|| StateError::new("the store holds no head"))
    }

    pub(crate) fn block(&self, height: Height) -> Result<Option<Block>, StateError> {
        tables::block(&self.table(BLOCKS)?, height)
    }

    /// The records of many certificates, in the order asked for.
    pub(crate) fn records(
        &self,
        hashes: &[CertificateHash],
    ) -> Result<Vec<Option<Record>>, StateError> {
        let table = self.table(RECORDS)?;
        hashes
            .iter()
            .map(|hash| tables::record(&table, hash))
            .collect()
    }

    /// The certificates with a `CertID`, and whether its issuer is served.
    pub(crate) fn certificates_by_cert_id(&self, id: &CertId) -> Result<CertIdAnswer, StateError> {
        let hashes = tables::with_cert_id(
            &self.table(CERT_IDS)?,
            &id.digest(),
            MAX_CERTIFICATES_PER_CERT_ID,
        )?;
        let issuer_served = !hashes.is_empty()
            || self
                .table(ISSUERS)?
                .get(&id.issuer().digest())
                .map_err(StateError::new)?
                .is_some();
        let head = self.newest()?;
        Ok(CertIdAnswer {
            hashes,
            issuer_served,
            height: head.height,
            block_time: head.time,
        })
    }

    /// The entries of an issuer's CRLs after a place.
    pub(crate) fn revocations(
        &self,
        issuer: &IssuerId,
        after: &RevocationCursor,
        limit: usize,
    ) -> Result<RevocationPage, StateError> {
        let digest = issuer.digest();
        let head = self.newest()?;
        let (entries, more) = tables::revocations(
            &self.table(REVOCATIONS)?,
            &self.table(BLOCKS)?,
            &digest,
            after,
            limit,
        )?;
        let issuer_served = self
            .table(ISSUERS)?
            .get(&digest)
            .map_err(StateError::new)?
            .is_some();
        let next = match entries.last() {
            Some(last) if more => RevocationCursor {
                height: last.changed,
                hash: Some(last.hash),
            },
            // Never back: who asks beyond the newest block waits there.
            _ => RevocationCursor::end_of(head.height).max(*after),
        };
        Ok(RevocationPage {
            entries,
            next,
            complete: !more,
            issuer_served,
            height: head.height,
            block_time: head.time,
            chain: self.established_chain()?.id,
        })
    }

    /// The records of class `ca` after a place in their index, and where to go on if there are more.
    pub(crate) fn authorities(
        &self,
        after: Option<&[u8; 36]>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<[u8; 36]>), StateError> {
        let (hashes, next) = tables::authorities(&self.table(AUTHORITIES)?, after, limit)?;
        let records = self.records(&hashes)?.into_iter().flatten().collect();
        Ok((records, next))
    }

    pub(crate) fn events(&self, from: Height, limit: usize) -> Result<EventPage, InquiryError> {
        let unavailable = |error: StateError| InquiryError::Unavailable {
            detail: error.to_string(),
        };
        let oldest = self
            .table(META)
            .and_then(|table| tables::oldest(&table))
            .map_err(unavailable)?;
        // The genesis changes no status.
        let from = from.max(Height(1));
        if from < oldest {
            return Err(InquiryError::HistoryGone { oldest });
        }
        self.page(from, limit.clamp(1, MAX_EVENTS))
            .map_err(unavailable)
    }

    fn page(&self, from: Height, limit: usize) -> Result<EventPage, StateError> {
        let head = self.newest()?.height;
        let table = self.table(EVENTS)?;
        let mut events: Vec<StatusEvent> = Vec::new();
        for entry in table.range(from.0..).map_err(StateError::new)? {
            let (height, octets) = entry.map_err(StateError::new)?;
            let height = Height(height.value());
            if events.len() >= limit {
                return Ok(EventPage {
                    events,
                    next: height,
                    head,
                });
            }
            tables::events(height, octets.value(), &mut events)?;
        }
        Ok(EventPage {
            events,
            next: from.max(head.next()),
            head,
        })
    }
}

fn read_only() -> StateError {
    StateError::new("a snapshot of the store cannot be written to")
}

impl State for Snapshot {
    fn chain(&self) -> Result<Option<Chain>, StateError> {
        tables::chain(&self.table(META)?)
    }

    fn put_chain(&mut self, _: &Chain) -> Result<(), StateError> {
        Err(read_only())
    }

    fn head(&self) -> Result<Option<Head>, StateError> {
        tables::head(&self.table(META)?)
    }

    fn put_head(&mut self, _: &Head) -> Result<(), StateError> {
        Err(read_only())
    }

    fn record(&self, hash: &CertificateHash) -> Result<Option<Record>, StateError> {
        tables::record(&self.table(RECORDS)?, hash)
    }

    fn put_record(&mut self, _: &Record) -> Result<(), StateError> {
        Err(read_only())
    }

    fn records_with_key(
        &self,
        key: &KeyHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        tables::indexed(&self.table(KEYS)?, key.as_octets(), limit)
    }

    fn authorities_named(
        &self,
        subject: &NameHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        tables::indexed(&self.table(AUTHORITIES)?, subject.as_octets(), limit)
    }

    fn member(&self, id: &MemberId) -> Result<Option<Member>, StateError> {
        tables::member(&self.table(MEMBERS)?, id.as_str())
    }

    fn members(&self) -> Result<Vec<Member>, StateError> {
        tables::members(&self.table(MEMBERS)?)
    }

    fn put_member(&mut self, _: &Member) -> Result<(), StateError> {
        Err(read_only())
    }

    fn remove_member(&mut self, _: &MemberId) -> Result<(), StateError> {
        Err(read_only())
    }

    fn is_applied(&self, id: &TransactionId) -> Result<bool, StateError> {
        Ok(self
            .table(APPLIED)?
            .get(id.as_octets())
            .map_err(StateError::new)?
            .is_some())
    }

    fn remember_applied(&mut self, _: &TransactionId, _: Height) -> Result<(), StateError> {
        Err(read_only())
    }

    fn forget_expired(&mut self, _: Height) -> Result<(), StateError> {
        Err(read_only())
    }
}
