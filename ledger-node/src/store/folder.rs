//! The folder that a ledger lives in.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, hard_link, remove_file};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ledger::StateError;

use crate::error::NodeError;

const DATABASE: &str = "ledger.redb";
/// What a ledger is called until it is complete.
const UNFINISHED: &str = "ledger.redb.new";
const LOCK: &str = "lock";

/// A folder, locked against every other process and every other use in this one.
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes and locks a folder that has no ledger yet.
    pub(crate) fn create(path: &Path) -> Result<Self, NodeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| io_error(path, error))?;
        let folder = Self::lock(path)?;
        if folder.has_database()? {
            return Err(NodeError::Exists(path.to_owned()));
        }
        Ok(folder)
    }

    /// Locks a folder that has a ledger.
    pub(crate) fn open(path: &Path) -> Result<Self, NodeError> {
        // Asked before the lock, which would put a file into a folder that is none of ours.
        if !path.join(DATABASE).is_file() {
            return Err(NodeError::Missing(path.to_owned()));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, NodeError> {
        let file = path.join(LOCK);
        let lock = private()
            .create(true)
            .open(&file)
            .map_err(|error| io_error(&file, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                lock,
            }),
            Err(TryLockError::WouldBlock) => Err(NodeError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(io_error(&file, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    fn has_database(&self) -> Result<bool, NodeError> {
        let database = self.database();
        database
            .try_exists()
            .map_err(|error| io_error(&database, error))
    }

    /// Makes an empty file, readable by its owner alone, for a ledger that is not complete yet.
    pub(crate) fn begin(&self) -> Result<PathBuf, NodeError> {
        let path = self.path.join(UNFINISHED);
        match remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_error(&path, error));
            }
            _ => {}
        }
        private()
            .create_new(true)
            .open(&path)
            .map_err(|error| io_error(&path, error))?;
        Ok(path)
    }

    /// Gives the complete ledger its name, durably.
    pub(crate) fn finish(&self) -> Result<(), NodeError> {
        let (from, to) = (self.path.join(UNFINISHED), self.database());
        hard_link(&from, &to).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => NodeError::Exists(self.path.clone()),
            _ => io_error(&to, error),
        })?;
        remove_file(&from).map_err(|error| io_error(&from, error))?;
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| io_error(&self.path, error))
    }

    pub(crate) fn store_error(&self, error: StateError) -> NodeError {
        NodeError::Store {
            folder: self.path.clone(),
            error,
        }
    }
}

impl Drop for Folder {
    /// Closing alone would not do: a process that is being started elsewhere in this program holds
    /// a copy of the descriptor until it runs, and the lock with it.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(folder = %self.path.display(), %error, "the lock could not be released");
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn io_error(path: &Path, error: io::Error) -> NodeError {
    NodeError::Io {
        path: path.to_owned(),
        error,
    }
}
