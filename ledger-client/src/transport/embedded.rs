//! A ledger in this process.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use futures_util::stream;
use ledger::{CertificateHash, Height, Inquiry, InquiryError, StatusAnswer};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::source::{BoxFuture, EventStream, Source, SourceError, StreamItem};

/// How many events are read from the ledger at a time.
const PAGE: usize = 256;

/// How often the height is told while nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A [`Source`] over a ledger in the same process, without any network.
///
/// Inquiries run on the calling task: the ledger is expected to answer from memory or from a local store.
pub struct EmbeddedSource {
    ledger: Arc<dyn Inquiry>,
    head: watch::Receiver<Height>,
}

impl EmbeddedSource {
    /// A source over `ledger`, to whose commits it listens from now on.
    pub fn new(ledger: Arc<dyn Inquiry>) -> Self {
        let (commits, head) = watch::channel(Height(0));
        ledger.on_commit(Box::new(move |height| {
            commits.send_replace(height);
        }));
        Self { ledger, head }
    }
}

impl fmt::Debug for EmbeddedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSource")
            .field("chain", &self.ledger.chain())
            .finish_non_exhaustive()
    }
}

impl Source for EmbeddedSource {
    fn name(&self) -> &str {
        "embedded"
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(async move { self.ledger.status(&hash).map_err(failed) })
    }

    fn events(&self, from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(async move {
            let mut follower = Follower {
                ledger: Arc::clone(&self.ledger),
                commits: self.head.clone(),
                next: from,
                ready: VecDeque::new(),
                more: false,
                heartbeat: interval(HEARTBEAT),
            };
            follower
                .heartbeat
                .set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first page at once, so that a gap is told by the call itself.
            follower.read()?;
            let items = stream::unfold(Some(follower), |follower| async {
                let mut follower = follower?;
                match follower.item().await {
                    Ok(item) => Some((Ok(item), Some(follower))),
                    Err(error) => Some((Err(error), None)),
                }
            });
            Ok(Box::pin(items) as EventStream)
        })
    }
}

struct Follower {
    ledger: Arc<dyn Inquiry>,
    commits: watch::Receiver<Height>,
    next: Height,
    ready: VecDeque<StreamItem>,
    /// Whether the ledger has events that were not read yet.
    more: bool,
    heartbeat: Interval,
}

impl Follower {
    async fn item(&mut self) -> Result<StreamItem, SourceError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            if self.more {
                // A long history must not keep the other tasks of this thread waiting.
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    changed = self.commits.changed() => {
                        changed.map_err(|_| SourceError::Cut { detail: "the embedded ledger is gone".to_owned() })?;
                    }
                    _ = self.heartbeat.tick() => {}
                }
            }
            self.read()?;
        }
    }

    /// Reads the next page. The height is told only once all events below it have been.
    fn read(&mut self) -> Result<(), SourceError> {
        // Marked as seen before reading: a commit in between is then read twice rather than missed.
        self.commits.borrow_and_update();
        let page = self.ledger.events(self.next, PAGE).map_err(failed)?;
        self.more = page.next > self.next && page.next <= page.head;
        self.next = self.next.max(page.next);
        self.ready
            .extend(page.events.into_iter().map(StreamItem::Event));
        if !self.more {
            self.ready.push_back(StreamItem::Head(page.head));
        }
        Ok(())
    }
}

fn failed(error: InquiryError) -> SourceError {
    match error {
        InquiryError::HistoryGone { oldest } => SourceError::HistoryGone { oldest: oldest.0 },
        other => SourceError::Inquiry {
            detail: other.to_string(),
        },
    }
}
