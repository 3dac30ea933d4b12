//! One chain's blocks and state in one folder.
//!
//! A `redb` file, `ledger.redb`, and a lock file beside it. One write transaction for each block; it
//! holds the block, its events and all its changes of state, so that no crash can part them.

mod folder;
mod read;
mod tables;
mod write;

use std::path::{Path, PathBuf};

use ledger::{Applied, ApplyError, Block, Genesis, Head, Height, StateError};
use redb::{Database, DatabaseError, Durability, ReadableDatabase, WriteTransaction};

use self::folder::Folder;
pub(crate) use self::read::Snapshot;
use self::write::WriteState;
use crate::error::NodeError;

/// The most memory for cached pages, in octets. What does not fit is in the system's cache.
const CACHE: usize = 128 << 20;

/// The chain that is open.
pub(crate) struct Store {
    // Before the folder: its lock goes last.
    database: Database,
    folder: Folder,
    history: u64,
}

impl Store {
    /// Makes the folder and its ledger. Interrupted, it can be done again.
    pub(crate) fn create(folder: &Path, genesis: &Genesis) -> Result<(), NodeError> {
        genesis.check()?;
        let folder = Folder::create(folder)?;
        let path = folder.begin()?;
        let database = Database::create(&path).map_err(|error| opening(folder.path(), error))?;
        let transaction = begin(&database).map_err(|error| folder.store_error(error))?;
        {
            let mut state =
                WriteState::open(&transaction).map_err(|error| folder.store_error(error))?;
            state
                .put_genesis(genesis)
                .map_err(|error| folder.store_error(error))?;
            genesis.establish(&mut state)?;
        }
        transaction
            .commit()
            .map_err(|error| folder.store_error(StateError::new(error)))?;
        drop(database);
        folder.finish()
    }

    /// Opens the ledger in a folder, brings an older format up to date, and checks that the newest
    /// block is the head's and follows the one before.
    pub(crate) fn open(folder: &Path, history: u64) -> Result<Self, NodeError> {
        let folder = Folder::open(folder)?;
        let database = Database::builder()
            .set_cache_size(CACHE)
            .open(folder.database())
            .map_err(|error| opening(folder.path(), error))?;
        let store = Self {
            database,
            folder,
            history: history.max(1),
        };
        store.check_format()?;
        store.check_head()?;
        Ok(store)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, StateError> {
        Ok(Snapshot::new(
            self.database.begin_read().map_err(StateError::new)?,
        ))
    }

    /// Applies a block. When this returns, it is on the disk.
    pub(crate) fn commit(&self, block: &Block) -> Result<Applied, ApplyError> {
        let transaction = begin(&self.database)?;
        let applied = {
            let mut state = WriteState::open(&transaction)?;
            let applied = ledger::apply(block, &mut state)?;
            state.put_block(block, &applied, self.history)?;
            applied
        };
        transaction.commit().map_err(StateError::new)?;
        Ok(applied)
    }

    /// Follows the whole chain, from the genesis to the head.
    pub(crate) fn verify(&self) -> Result<Head, NodeError> {
        let snapshot = self.read(self.snapshot())?;
        let genesis = self.read(snapshot.genesis())?;
        let chain = self.read(snapshot.established_chain())?;
        if genesis.chain_id() != chain.id {
            return Err(NodeError::Damaged {
                height: Height(0),
                detail: format!(
                    "the genesis has the hash {}, and the chain is {}",
                    genesis.chain_id(),
                    chain.id
                ),
            });
        }
        let newest = self.read(snapshot.newest())?;
        let mut head = Head {
            height: Height(0),
            hash: chain.id.into(),
            time: genesis.time,
        };
        while head.height < newest.height {
            let height = head.height.next();
            let block = block(&snapshot, height)?;
            block
                .check_follows(&head, chain.id)
                .map_err(|error| NodeError::Damaged {
                    height,
                    detail: error.to_string(),
                })?;
            head = head_of(&block);
        }
        matches(&newest, &head)?;
        Ok(newest)
    }

    fn check_format(&self) -> Result<(), NodeError> {
        let found = self
            .read(self.snapshot().and_then(|snapshot| snapshot.format()))?
            .unwrap_or(0);
        match found {
            tables::FORMAT => Ok(()),
            tables::FORMAT_WITHOUT_CERT_IDS | tables::FORMAT_WITHOUT_REVOCATIONS => {
                self.read(self.bring_up_to_date(found))
            }
            found => Err(NodeError::Format {
                folder: self.folder.path().to_owned(),
                found,
                expected: tables::FORMAT,
            }),
        }
    }

    /// One transaction: interrupted, it begins anew at the next start.
    fn bring_up_to_date(&self, found: u32) -> Result<(), StateError> {
        tracing::info!(
            folder = %self.folder.path().display(),
            found,
            expected = tables::FORMAT,
            "the store is of an older format: making the indexes for OCSP and CRLs that it lacks; programs older than this one cannot open it afterwards"
        );
        let transaction = begin(&self.database)?;
        {
            let mut state = WriteState::open(&transaction)?;
            if found == tables::FORMAT_WITHOUT_CERT_IDS {
                state.add_cert_ids()?;
            }
            state.add_revocations()?;
            state.put_format()?;
        }
        transaction.commit().map_err(StateError::new)
    }

    fn check_head(&self) -> Result<(), NodeError> {
        let snapshot = self.read(self.snapshot())?;
        let chain = self.read(snapshot.established_chain())?;
        let newest = self.read(snapshot.newest())?;
        let genesis = self.read(snapshot.genesis())?;
        let mut previous = Head {
            height: Height(0),
            hash: chain.id.into(),
            time: genesis.time,
        };
        if newest.height == Height(0) {
            return matches(&newest, &previous);
        }
        if newest.height > Height(1) {
            previous = head_of(&block(&snapshot, Height(newest.height.0 - 1))?);
        }
        let block = block(&snapshot, newest.height)?;
        block
            .check_follows(&previous, chain.id)
            .map_err(|error| NodeError::Damaged {
                height: newest.height,
                detail: error.to_string(),
            })?;
        matches(&newest, &head_of(&block))
    }

    fn read<T>(&self, result: Result<T, StateError>) -> Result<T, NodeError> {
        result.map_err(|error| self.folder.store_error(error))
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, StateError> {
    let mut transaction = database.begin_write().map_err(StateError::new)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(StateError::new)?;
    Ok(transaction)
}

fn opening(folder: &Path, error: DatabaseError) -> NodeError {
    let folder = PathBuf::from(folder);
    match error {
        DatabaseError::DatabaseAlreadyOpen => NodeError::Busy(folder),
        error => NodeError::Store {
            folder,
            error: StateError::new(error),
        },
    }
}

fn block(snapshot: &Snapshot, height: Height) -> Result<Block, NodeError> {
    let damaged = |detail| NodeError::Damaged { height, detail };
    snapshot
        .block(height)
        .map_err(|error| damaged(error.to_string()))?
        .ok_or_else(|| damaged("the block is missing".to_owned()))
}

fn head_of(block: &Block) -> Head {
    Head {
        height: block.header.height,
        hash: block.hash(),
        time: block.header.time,
    }
}

fn matches(newest: &Head, found: &Head) -> Result<(), NodeError> {
    if newest == found {
        return Ok(());
    }
    Err(NodeError::Damaged {
        height: newest.height,
        detail: format!(
            "the state is of block {}, and the newest block is {}",
            newest.hash, found.hash
        ),
    })
}
