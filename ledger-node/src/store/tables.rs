//! The store's tables, and how their values are written.

use std::ops::Bound;

use borsh::{BorshDeserialize, BorshSerialize};
use ledger::{
    Block, BlockTime, CertificateHash, Chain, Genesis, Head, Height, Member, Record,
    RevocationCursor, RevocationEntry, RevocationReason, Standing, StateError, Status, StatusEvent,
};
use redb::{ReadableTable, TableDefinition};

/// The layout below.
pub(crate) const FORMAT: u32 = 3;
/// The same without [`REVOCATIONS`].
pub(crate) const FORMAT_WITHOUT_REVOCATIONS: u32 = 2;
/// The same without [`CERT_IDS`] and [`ISSUERS`] either.
pub(crate) const FORMAT_WITHOUT_CERT_IDS: u32 = 1;

pub(crate) type Octets = &'static [u8];
pub(crate) type Key32 = &'static [u8; 32];
/// An index's key: 32 octets of what is looked for, and a number that keeps the order of arrival.
pub(crate) type Key36 = &'static [u8; 36];
/// A height and a transaction's identifier, both in big-endian order.
pub(crate) type Key40 = &'static [u8; 40];
/// A digest and an H(CERT).
pub(crate) type Key64 = &'static [u8; 64];
/// A digest, a height in big-endian order, and an H(CERT).
pub(crate) type Key72 = &'static [u8; 72];

/// By name: format, genesis, chain, head, oldest.
pub(crate) const META: TableDefinition<'_, &'static str, Octets> = TableDefinition::new("meta");
/// Blocks by height.
pub(crate) const BLOCKS: TableDefinition<'_, u64, Octets> = TableDefinition::new("blocks");
/// Events by height; blocks without any have no entry.
pub(crate) const EVENTS: TableDefinition<'_, u64, Octets> = TableDefinition::new("events");
/// Records by H(CERT).
pub(crate) const RECORDS: TableDefinition<'_, Key32, Octets> = TableDefinition::new("records");
/// H(CERT) by public key.
pub(crate) const KEYS: TableDefinition<'_, Key36, Key32> = TableDefinition::new("keys");
/// H(CERT) of class `ca` by subject name.
pub(crate) const AUTHORITIES: TableDefinition<'_, Key36, Key32> =
    TableDefinition::new("authorities");
/// What OCSP asks by: the digest of a `CertID`, and an H(CERT) that has it.
pub(crate) const CERT_IDS: TableDefinition<'_, Key64, ()> = TableDefinition::new("cert_ids");
/// The digests of the issuers of class `ca`, as a `CertID` names them.
pub(crate) const ISSUERS: TableDefinition<'_, Key32, ()> = TableDefinition::new("issuers");
/// What CRLs are made of: a certificate's last change of standing, by issuer and height. The issuer is
/// the digest of its SHA-256 name in a `CertID`.
pub(crate) const REVOCATIONS: TableDefinition<'_, Key72, Octets> =
    TableDefinition::new("revocations");
/// Members by name.
pub(crate) const MEMBERS: TableDefinition<'_, &'static str, Octets> =
    TableDefinition::new("members");
/// The last heights of applied transactions.
pub(crate) const APPLIED: TableDefinition<'_, Key32, u64> = TableDefinition::new("applied");
/// The same, by last height.
pub(crate) const EXPIRIES: TableDefinition<'_, Key40, ()> = TableDefinition::new("expiries");

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_GENESIS: &str = "genesis";
pub(crate) const META_CHAIN: &str = "chain";
pub(crate) const META_HEAD: &str = "head";
/// The oldest height whose events are kept.
pub(crate) const META_OLDEST: &str = "oldest";

/// An event as it is stored: height and index follow from where it stands.
pub(crate) type StoredEvent = (CertificateHash, Status);

pub(crate) fn encode<T: BorshSerialize>(value: &T) -> Result<Vec<u8>, StateError> {
    borsh::to_vec(value).map_err(StateError::new)
}

pub(crate) fn decode<T: BorshDeserialize>(what: &str, octets: &[u8]) -> Result<T, StateError> {
    borsh::from_slice(octets)
        .map_err(|error| StateError::new(format!("the stored {what} cannot be decoded: {error}")))
}

pub(crate) fn meta<T: BorshDeserialize>(
    table: &impl ReadableTable<&'static str, Octets>,
    name: &str,
) -> Result<Option<T>, StateError> {
    table
        .get(name)
        .map_err(StateError::new)?
        .map(|value| decode(name, value.value()))
        .transpose()
}

pub(crate) fn genesis(
    table: &impl ReadableTable<&'static str, Octets>,
) -> Result<Option<Genesis>, StateError> {
    meta(table, META_GENESIS)
}

pub(crate) fn chain(
    table: &impl ReadableTable<&'static str, Octets>,
) -> Result<Option<Chain>, StateError> {
    meta(table, META_CHAIN)
}

pub(crate) fn head(
    table: &impl ReadableTable<&'static str, Octets>,
) -> Result<Option<Head>, StateError> {
    meta(table, META_HEAD)
}

pub(crate) fn oldest(
    table: &impl ReadableTable<&'static str, Octets>,
) -> Result<Height, StateError> {
    Ok(meta(table, META_OLDEST)?.unwrap_or(Height(1)))
}

pub(crate) fn record(
    table: &impl ReadableTable<Key32, Octets>,
    hash: &CertificateHash,
) -> Result<Option<Record>, StateError> {
    table
        .get(hash.as_octets())
        .map_err(StateError::new)?
        .map(|value| decode("record", value.value()))
        .transpose()
}

pub(crate) fn member(
    table: &impl ReadableTable<&'static str, Octets>,
    id: &str,
) -> Result<Option<Member>, StateError> {
    table
        .get(id)
        .map_err(StateError::new)?
        .map(|value| decode("member", value.value()))
        .transpose()
}

pub(crate) fn members(
    table: &impl ReadableTable<&'static str, Octets>,
) -> Result<Vec<Member>, StateError> {
    let mut members = Vec::new();
    for entry in table.iter().map_err(StateError::new)? {
        let (_, value) = entry.map_err(StateError::new)?;
        members.push(decode("member", value.value())?);
    }
    Ok(members)
}

pub(crate) fn block(
    table: &impl ReadableTable<u64, Octets>,
    height: Height,
) -> Result<Option<Block>, StateError> {
    table
        .get(height.0)
        .map_err(StateError::new)?
        .map(|value| {
            Block::decode(value.value()).map_err(|error| {
                StateError::new(format!("block {height} cannot be decoded: {error}"))
            })
        })
        .transpose()
}

/// Appends a block's events.
pub(crate) fn events(
    height: Height,
    octets: &[u8],
    events: &mut Vec<StatusEvent>,
) -> Result<(), StateError> {
    let stored: Vec<StoredEvent> = decode("events", octets)?;
    events.extend(
        (0..)
            .zip(stored)
            .map(|(index, (hash, status))| StatusEvent {
                height,
                index,
                hash,
                status,
            }),
    );
    Ok(())
}

pub(crate) fn indexed(
    table: &impl ReadableTable<Key36, Key32>,
    of: &[u8; 32],
    limit: usize,
) -> Result<Vec<CertificateHash>, StateError> {
    let (first, last) = (index_key(of, 0), index_key(of, u32::MAX));
    let mut hashes = Vec::new();
    for entry in table
        .range::<&[u8; 36]>(&first..=&last)
        .map_err(StateError::new)?
        .take(limit)
    {
        let (_, hash) = entry.map_err(StateError::new)?;
        hashes.push(CertificateHash::from_octets(*hash.value()));
    }
    Ok(hashes)
}

/// The certificates with a `CertID`, at most `limit` of them.
pub(crate) fn with_cert_id(
    table: &impl ReadableTable<Key64, ()>,
    digest: &[u8; 32],
    limit: usize,
) -> Result<Vec<CertificateHash>, StateError> {
    let (first, last) = (
        cert_id_key(digest, &[0; 32]),
        cert_id_key(digest, &[0xff; 32]),
    );
    let mut hashes = Vec::new();
    for entry in table
        .range::<&[u8; 64]>(&first..=&last)
        .map_err(StateError::new)?
        .take(limit)
    {
        let (key, _) = entry.map_err(StateError::new)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(&key.value()[32..]);
        hashes.push(CertificateHash::from_octets(hash));
    }
    Ok(hashes)
}

pub(crate) fn cert_id_key(digest: &[u8; 32], hash: &[u8; 32]) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(digest);
    key[32..].copy_from_slice(hash);
    key
}

/// An entry of [`REVOCATIONS`], but for what its key says.
#[derive(BorshDeserialize, BorshSerialize)]
pub(crate) struct StoredRevocation {
    pub(crate) serial: Vec<u8>,
    pub(crate) reason: RevocationReason,
    /// The time of the block, where the record tells it.
    pub(crate) time: Option<BlockTime>,
    pub(crate) not_after: u64,
}

impl StoredRevocation {
    /// What is stored of a record; nothing if its standing never changed.
    pub(crate) fn of(record: &Record, serial: Vec<u8>) -> Option<Self> {
        let reason = match RevocationEntry::reason_for(&record.standing) {
            Some(reason) => reason,
            None if record.changed == record.recorded => return None,
            None => RevocationReason::RemoveFromCrl,
        };
        let time = match record.standing {
            Standing::Suspended { since, .. } => Some(since),
            Standing::Revoked { time, .. } => Some(time),
            Standing::Valid | Standing::Superseded { .. } => None,
        };
        Some(Self {
            serial,
            reason,
            time,
            not_after: record.not_after,
        })
    }
}

/// The entries of an issuer after a place, at most `limit`, and whether there are more.
pub(crate) fn revocations(
    table: &impl ReadableTable<Key72, Octets>,
    blocks: &impl ReadableTable<u64, Octets>,
    issuer: &[u8; 32],
    after: &RevocationCursor,
    limit: usize,
) -> Result<(Vec<RevocationEntry>, bool), StateError> {
    // No certificate has the hash of all ones, so that it stands for the end of a block.
    let place = after.hash.map_or([0xff; 32], |hash| *hash.as_octets());
    let begin = revocation_key(issuer, after.height, &place);
    let end = revocation_key(issuer, Height(u64::MAX), &[0xff; 32]);
    let mut entries = Vec::new();
    let mut newest = None;
    for entry in table
        .range::<&[u8; 72]>((Bound::Excluded(&begin), Bound::Included(&end)))
        .map_err(StateError::new)?
    {
        if entries.len() >= limit {
            return Ok((entries, true));
        }
        let (key, value) = entry.map_err(StateError::new)?;
        let (changed, hash) = revocation_parts(key.value());
        let stored: StoredRevocation = decode("revocation", value.value())?;
        let time = match (stored.time, newest) {
            (Some(time), _) => time,
            (None, Some((height, time))) if height == changed => time,
            (None, _) => {
                let header = block(blocks, changed)?
                    .ok_or_else(|| StateError::new(format!("block {changed} is missing")))?
                    .header;
                newest = Some((changed, header.time));
                header.time
            }
        };
        entries.push(RevocationEntry {
            hash,
            serial: stored.serial,
            reason: stored.reason,
            time,
            not_after: stored.not_after,
            changed,
        });
    }
    Ok((entries, false))
}

pub(crate) fn revocation_key(issuer: &[u8; 32], changed: Height, hash: &[u8; 32]) -> [u8; 72] {
    let mut key = [0; 72];
    key[..32].copy_from_slice(issuer);
    key[32..40].copy_from_slice(&changed.0.to_be_bytes());
    key[40..].copy_from_slice(hash);
    key
}

fn revocation_parts(key: &[u8; 72]) -> (Height, CertificateHash) {
    let mut height = [0; 8];
    height.copy_from_slice(&key[32..40]);
    let mut hash = [0; 32];
    hash.copy_from_slice(&key[40..]);
    (
        Height(u64::from_be_bytes(height)),
        CertificateHash::from_octets(hash),
    )
}

/// The authorities after a place in their index, and the place to go on from if there are more.
pub(crate) fn authorities(
    table: &impl ReadableTable<Key36, Key32>,
    after: Option<&[u8; 36]>,
    limit: usize,
) -> Result<(Vec<CertificateHash>, Option<[u8; 36]>), StateError> {
    let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut hashes = Vec::new();
    let mut last = None;
    for entry in table
        .range::<&[u8; 36]>((begin, Bound::Unbounded))
        .map_err(StateError::new)?
    {
        if hashes.len() >= limit {
            return Ok((hashes, last));
        }
        let (key, hash) = entry.map_err(StateError::new)?;
        last = Some(*key.value());
        hashes.push(CertificateHash::from_octets(*hash.value()));
    }
    Ok((hashes, None))
}

/// The key for the next entry of an index.
pub(crate) fn next_index_key(
    table: &impl ReadableTable<Key36, Key32>,
    of: &[u8; 32],
) -> Result<[u8; 36], StateError> {
    let (first, last) = (index_key(of, 0), index_key(of, u32::MAX));
    let mut range = table
        .range::<&[u8; 36]>(&first..=&last)
        .map_err(StateError::new)?;
    let Some(entry) = range.next_back() else {
        return Ok(first);
    };
    let (key, _) = entry.map_err(StateError::new)?;
    let mut number = [0; 4];
    number.copy_from_slice(&key.value()[32..]);
    u32::from_be_bytes(number)
        .checked_add(1)
        .map(|next| index_key(of, next))
        .ok_or_else(|| StateError::new("an index is full"))
}

fn index_key(of: &[u8; 32], number: u32) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(of);
    key[32..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn expiry_key(height: Height, id: &[u8; 32]) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(id);
    key
}

pub(crate) fn expiry_parts(key: &[u8; 40]) -> (Height, [u8; 32]) {
    let mut height = [0; 8];
    height.copy_from_slice(&key[..8]);
    let mut id = [0; 32];
    id.copy_from_slice(&key[8..]);
    (Height(u64::from_be_bytes(height)), id)
}
