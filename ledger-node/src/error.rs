//! What can go wrong with a node's folder and its store.

use std::io;
use std::path::PathBuf;

use ledger::{GenesisError, Height, InquiryError, StateError};

/// Why a ledger cannot be created, opened or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The folder has a ledger already.
    #[error(
        "the folder {} holds a ledger already; open it, or choose another folder for a new one",
        .0.display()
    )]
    Exists(PathBuf),
    /// The folder has no ledger.
    #[error("the folder {} holds no ledger; create one there first", .0.display())]
    Missing(PathBuf),
    /// Another process, or this one, has the ledger open.
    #[error(
        "the ledger in the folder {} is open already, here or in another process; stop that first",
        .0.display()
    )]
    Busy(PathBuf),
    /// The file system refused something.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
    /// The genesis cannot begin a chain.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store was written by another version of this program.
    #[error(
        "the ledger in the folder {} has format {found}, and this program reads format {expected}",
        .folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// The store's format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The blocks do not form one chain.
    #[error(
        "the ledger is damaged at height {height}: {detail}; restore the folder from a backup or another node"
    )]
    Damaged {
        /// Where.
        height: Height,
        /// What does not fit.
        detail: String,
    },
    /// The store failed.
    #[error("the ledger in the folder {}: {error}", .folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        error: StateError,
    },
    /// The system gave no thread for the engine.
    #[error("the engine's thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// The store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReadError(#[from] StateError);

impl From<ReadError> for InquiryError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable {
            detail: error.to_string(),
        }
    }
}
