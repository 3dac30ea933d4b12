//! The state within one write transaction.

use std::ops::Bound;

use ledger::{
    Applied, Block, CertificateHash, Chain, Class, Genesis, Head, Height, KeyHash, Member,
    MemberId, NameHash, Record, Standing, State, StateError, TransactionId,
};
use redb::{ReadableTable, Table, WriteTransaction};

use super::tables;
use super::tables::{
    APPLIED, AUTHORITIES, BLOCKS, CERT_IDS, EVENTS, EXPIRIES, FORMAT, ISSUERS, KEYS, Key32, Key36,
    Key40, Key64, Key72, MEMBERS, META, META_CHAIN, META_FORMAT, META_GENESIS, META_HEAD,
    META_OLDEST, Octets, RECORDS, REVOCATIONS, StoredEvent, StoredRevocation, cert_id_key, encode,
    expiry_key, expiry_parts, next_index_key, revocation_key,
};

/// The most blocks whose events are removed with one new block, so that a shorter history does not
/// hold up the first commit after it.
const MAX_PRUNED: usize = 1_000;

/// The most records in memory while an index is made from them.
const PAGE: usize = 1_000;

/// Every table, open for writing. Dropped without a commit of its transaction, nothing has changed.
pub(crate) struct WriteState<'a> {
    meta: Table<'a, &'static str, Octets>,
    blocks: Table<'a, u64, Octets>,
    events: Table<'a, u64, Octets>,
    records: Table<'a, Key32, Octets>,
    keys: Table<'a, Key36, Key32>,
    authorities: Table<'a, Key36, Key32>,
    cert_ids: Table<'a, Key64, ()>,
    issuers: Table<'a, Key32, ()>,
    revocations: Table<'a, Key72, Octets>,
    members: Table<'a, &'static str, Octets>,
    applied: Table<'a, Key32, u64>,
    expiries: Table<'a, Key40, ()>,
}

impl<'a> WriteState<'a> {
    /// Opens every table; those that do not exist are made.
    pub(crate) fn open(transaction: &'a WriteTransaction) -> Result<Self, StateError> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(StateError::new)?,
            blocks: transaction.open_table(BLOCKS).map_err(StateError::new)?,
            events: transaction.open_table(EVENTS).map_err(StateError::new)?,
            records: transaction.open_table(RECORDS).map_err(StateError::new)?,
            keys: transaction.open_table(KEYS).map_err(StateError::new)?,
            authorities: transaction
                .open_table(AUTHORITIES)
                .map_err(StateError::new)?,
            cert_ids: transaction.open_table(CERT_IDS).map_err(StateError::new)?,
            issuers: transaction.open_table(ISSUERS).map_err(StateError::new)?,
            revocations: transaction
                .open_table(REVOCATIONS)
                .map_err(StateError::new)?,
            members: transaction.open_table(MEMBERS).map_err(StateError::new)?,
            applied: transaction.open_table(APPLIED).map_err(StateError::new)?,
            expiries: transaction.open_table(EXPIRIES).map_err(StateError::new)?,
        })
    }

    /// Writes what a new store begins with, beside the state that the genesis establishes.
    pub(crate) fn put_genesis(&mut self, genesis: &Genesis) -> Result<(), StateError> {
        self.put_format()?;
        self.put_meta(META_GENESIS, &encode(genesis)?)
    }

    /// Keeps a block and its events, and removes events that are older than the last `history`
    /// blocks.
    pub(crate) fn put_block(
        &mut self,
        block: &Block,
        applied: &Applied,
        history: u64,
    ) -> Result<(), StateError> {
        let height = block.header.height;
        self.blocks
            .insert(height.0, block.encode().as_slice())
            .map_err(StateError::new)?;
        if !applied.events.is_empty() {
            let stored: Vec<StoredEvent> = applied
                .events
                .iter()
                .map(|event| (event.hash, event.status))
                .collect();
            self.events
                .insert(height.0, encode(&stored)?.as_slice())
                .map_err(StateError::new)?;
        }
        self.prune(Height(height.0.saturating_add(1).saturating_sub(history)))
    }

    /// Removes events before `oldest`. A longer history does not bring back what is gone.
    fn prune(&mut self, oldest: Height) -> Result<(), StateError> {
        let known = tables::oldest(&self.meta)?;
        let oldest = oldest.max(known);
        for _ in 0..MAX_PRUNED {
            let first = self
                .events
                .first()
                .map_err(StateError::new)?
                .map(|(height, _)| height.value());
            match first {
                Some(height) if height < oldest.0 => {
                    self.events.remove(height).map_err(StateError::new)?;
                }
                _ => break,
            }
        }
        if oldest > known {
            self.put_meta(META_OLDEST, &encode(&oldest)?)?;
        }
        Ok(())
    }

    /// Makes the index by `CertID` from the records.
    pub(crate) fn add_cert_ids(&mut self) -> Result<(), StateError> {
        self.for_each_record(Self::index_cert_ids)
    }

    /// Makes the lists of revocations from the records.
    pub(crate) fn add_revocations(&mut self) -> Result<(), StateError> {
        self.for_each_record(|state, record| state.index_revocation(record, None))
    }

    /// Notes that everything is there that this format has.
    pub(crate) fn put_format(&mut self) -> Result<(), StateError> {
        self.put_meta(META_FORMAT, &encode(&FORMAT)?)
    }

    fn for_each_record(
        &mut self,
        mut index: impl FnMut(&mut Self, &Record) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let mut after = [0; 32];
        loop {
            // A few at a time: the table of records stays readable for finding issuers.
            let mut page = Vec::new();
            for entry in self
                .records
                .range::<&[u8; 32]>((Bound::Excluded(&after), Bound::Unbounded))
                .map_err(StateError::new)?
                .take(PAGE)
            {
                let (hash, octets) = entry.map_err(StateError::new)?;
                after = *hash.value();
                page.push(tables::decode::<Record>("record", octets.value())?);
            }
            if page.is_empty() {
                return Ok(());
            }
            for record in page {
                index(self, &record)?;
            }
        }
    }

    /// Lists a record's last change of standing, in place of the one at height `before`.
    fn index_revocation(
        &mut self,
        record: &Record,
        before: Option<Height>,
    ) -> Result<(), StateError> {
        if before.is_none()
            && record.changed == record.recorded
            && record.standing == Standing::Valid
        {
            return Ok(());
        }
        let (issuers, serial) = ledger::crl_issuers(record, self)?;
        let hash = record.hash.as_octets();
        let stored = StoredRevocation::of(record, serial)
            .map(|stored| encode(&stored))
            .transpose()?;
        for issuer in issuers {
            let issuer = issuer.digest();
            if let Some(before) = before {
                self.revocations
                    .remove(&revocation_key(&issuer, before, hash))
                    .map_err(StateError::new)?;
            }
            if let Some(octets) = &stored {
                self.revocations
                    .insert(
                        &revocation_key(&issuer, record.changed, hash),
                        octets.as_slice(),
                    )
                    .map_err(StateError::new)?;
            }
        }
        Ok(())
    }

    fn index_cert_ids(&mut self, record: &Record) -> Result<(), StateError> {
        for id in ledger::cert_ids(record, self)? {
            self.cert_ids
                .insert(&cert_id_key(&id.digest(), record.hash.as_octets()), ())
                .map_err(StateError::new)?;
        }
        if record.class == Class::Ca {
            for id in ledger::issuer_ids(record)? {
                self.issuers
                    .insert(&id.digest(), ())
                    .map_err(StateError::new)?;
            }
        }
        Ok(())
    }

    fn put_meta(&mut self, name: &str, octets: &[u8]) -> Result<(), StateError> {
        self.meta.insert(name, octets).map_err(StateError::new)?;
        Ok(())
    }
}

fn append(
    table: &mut Table<'_, Key36, Key32>,
    of: &[u8; 32],
    hash: &CertificateHash,
) -> Result<(), StateError> {
    let key = next_index_key(table, of)?;
    table
        .insert(&key, hash.as_octets())
        .map_err(StateError::new)?;
    Ok(())
}

impl State for WriteState<'_> {
    fn chain(&self) -> Result<Option<Chain>, StateError> {
        tables::chain(&self.meta)
    }

    fn put_chain(&mut self, chain: &Chain) -> Result<(), StateError> {
        self.put_meta(META_CHAIN, &encode(chain)?)
    }

    fn head(&self) -> Result<Option<Head>, StateError> {
        tables::head(&self.meta)
    }

    fn put_head(&mut self, head: &Head) -> Result<(), StateError> {
        self.put_meta(META_HEAD, &encode(head)?)
    }

    fn record(&self, hash: &CertificateHash) -> Result<Option<Record>, StateError> {
        tables::record(&self.records, hash)
    }

    fn put_record(&mut self, record: &Record) -> Result<(), StateError> {
        let octets = encode(record)?;
        let before = self
            .records
            .insert(record.hash.as_octets(), octets.as_slice())
            .map_err(StateError::new)?
            .map(|octets| tables::decode::<Record>("record", octets.value()))
            .transpose()?
            .map(|record| record.changed);
        if before.is_none() {
            append(&mut self.keys, record.key.as_octets(), &record.hash)?;
            if record.class == Class::Ca {
                append(
                    &mut self.authorities,
                    record.subject.as_octets(),
                    &record.hash,
                )?;
            }
            self.index_cert_ids(record)?;
        }
        self.index_revocation(record, before)
    }

    fn records_with_key(
        &self,
        key: &KeyHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        tables::indexed(&self.keys, key.as_octets(), limit)
    }

    fn authorities_named(
        &self,
        subject: &NameHash,
        limit: usize,
    ) -> Result<Vec<CertificateHash>, StateError> {
        tables::indexed(&self.authorities, subject.as_octets(), limit)
    }

    fn member(&self, id: &MemberId) -> Result<Option<Member>, StateError> {
        tables::member(&self.members, id.as_str())
    }

    fn members(&self) -> Result<Vec<Member>, StateError> {
        tables::members(&self.members)
    }

    fn put_member(&mut self, member: &Member) -> Result<(), StateError> {
        self.members
            .insert(member.id.as_str(), encode(member)?.as_slice())
            .map_err(StateError::new)?;
        Ok(())
    }

    fn remove_member(&mut self, id: &MemberId) -> Result<(), StateError> {
        self.members.remove(id.as_str()).map_err(StateError::new)?;
        Ok(())
    }

    fn is_applied(&self, id: &TransactionId) -> Result<bool, StateError> {
        Ok(self
            .applied
            .get(id.as_octets())
            .map_err(StateError::new)?
            .is_some())
    }

    fn remember_applied(&mut self, id: &TransactionId, expires: Height) -> Result<(), StateError> {
        self.applied
            .insert(id.as_octets(), expires.0)
            .map_err(StateError::new)?;
        self.expiries
            .insert(&expiry_key(expires, id.as_octets()), ())
            .map_err(StateError::new)?;
        Ok(())
    }

    fn forget_expired(&mut self, height: Height) -> Result<(), StateError> {
        loop {
            let first = self
                .expiries
                .first()
                .map_err(StateError::new)?
                .map(|(key, _)| *key.value());
            let Some(key) = first else { break };
            let (expires, id) = expiry_parts(&key);
            if expires >= height {
                break;
            }
            self.expiries.remove(&key).map_err(StateError::new)?;
            self.applied.remove(&id).map_err(StateError::new)?;
        }
        Ok(())
    }
}
