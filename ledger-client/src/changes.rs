//! Telling subscribers of changes.

use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use crate::answer::Change;

/// A subscription to the ledger's changes, from [`Client::subscribe`](crate::Client::subscribe).
///
/// Whoever falls too far behind is not left in silence: the next item is then [`Change::Resynchronise`].
#[derive(Debug)]
pub struct Changes {
    receiver: Receiver<Change>,
}

impl Changes {
    pub(crate) const fn new(receiver: Receiver<Change>) -> Self {
        Self { receiver }
    }

    /// The next change; `None` once the client was shut down and all changes were taken.
    ///
    /// Cancel safe: dropping the future loses no change.
    pub async fn recv(&mut self) -> Option<Change> {
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => Some(Change::Resynchronise),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next change if there is one now, for event loops that do not await.
    pub fn try_recv(&mut self) -> Option<Change> {
        match self.receiver.try_recv() {
            Ok(change) => Some(change),
            Err(TryRecvError::Lagged(_)) => Some(Change::Resynchronise),
            Err(TryRecvError::Closed | TryRecvError::Empty) => None,
        }
    }
}
