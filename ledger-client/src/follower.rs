//! Follows the event stream of one source at a time, for as long as the client lives.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _};
use ledger::{CertificateHash, Height};

use crate::{
    answer::Change,
    client::Shared,
    events::{Backoff, Cursor},
    inquiry::Health,
    source::{EventStream, Source, SourceError, StreamItem},
};

/// Asked about before a stream is followed: whatever the answer, it says which chain the source serves and how
/// far it is. No certificate has this hash that anyone could make.
const PROBE: CertificateHash = CertificateHash::from_octets([0; 32]);

/// Follows until the client is shut down.
pub(crate) async fn follow(shared: Arc<Shared>) {
    // However this task ends, the gauge must not go on saying that the stream is up.
    let _down_at_the_end = Down(&shared);
    let mut stop = shared.stop.subscribe();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        never = Follower::new(&shared).run() => match never {},
    }
}

struct Down<'a>(&'a Shared);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.counters().stream_up.store(false, Ordering::Relaxed);
    }
}

struct Follower<'a> {
    shared: &'a Shared,
    cursor: Option<Cursor>,
    health: Health,
    backoff: Backoff,
}

impl<'a> Follower<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            cursor: None,
            health: Health::new(shared.sources.len()),
            backoff: Backoff::new(shared.config.backoff_min, shared.config.backoff_max),
        }
    }

    async fn run(mut self) -> Infallible {
        loop {
            let best = self
                .health
                .order(self.shared.clock.now())
                .first()
                .copied()
                .unwrap_or(0);
            if let Some(source) = self.shared.sources.get(best) {
                // A source that panics must not end the following for good. It is polled while no change to
                // the follower's own state is half done.
                let following = AssertUnwindSafe(self.follow_one(best, source.as_ref()));
                let error = match following.catch_unwind().await {
                    Ok(Ok(never)) => match never {},
                    Ok(Err(error)) => error,
                    Err(_panic) => SourceError::Cut {
                        detail: "the source panicked".to_owned(),
                    },
                };
                self.shared
                    .counters()
                    .stream_up
                    .store(false, Ordering::Relaxed);
                self.shared.counters().stream_cuts.add();
                if self.health.failed(self.shared.clock.now(), best) {
                    tracing::warn!(
                        source = source.name(),
                        reason = error.name(),
                        %error,
                        "ledger event stream lost; until it is back, revocations take up to the TTL"
                    );
                } else {
                    tracing::debug!(source = source.name(), %error, "ledger event stream still down");
                }
            }
            let pause = self.backoff.pause();
            self.shared
                .clock
                .sleep_until(self.shared.clock.now() + pause)
                .await;
        }
    }

    async fn follow_one(
        &mut self,
        at: usize,
        source: &dyn Source,
    ) -> Result<Infallible, SourceError> {
        let deadline = self.shared.config.deadline;
        let probe = self.in_time(deadline, source.status(PROBE)).await?;
        self.shared.check(&PROBE, &probe)?;
        let cursor = self.begin(probe.height);
        let mut stream = match self
            .in_time(deadline, source.events(cursor.resume_at()))
            .await
        {
            Err(SourceError::HistoryGone { oldest }) => {
                self.resynchronise(source, probe.height, oldest);
                self.in_time(deadline, source.events(probe.height)).await?
            }
            other => other?,
        };
        self.shared.counters().stream_connects.add();
        self.shared
            .counters()
            .stream_up
            .store(true, Ordering::Relaxed);
        tracing::info!(
            source = source.name(),
            height = probe.height.0,
            "following the ledger's event stream"
        );
        let mut stall: Option<(Height, Instant)> = None;
        loop {
            let item = self.next(&mut stream).await?;
            // Only now it is well: a source that accepts connections and cuts them at once is not.
            self.health.succeeded(at);
            self.backoff.reset();
            let Some((reached, newest)) = self.take(item) else {
                continue;
            };
            let now = self.shared.clock.now();
            stall = match stall {
                _ if reached >= newest || self.shared.sources.len() < 2 => None,
                Some((at, since)) if at == reached => {
                    if now.saturating_duration_since(since) >= self.shared.config.stream_idle {
                        self.shared.knowledge.left_behind();
                        return Err(SourceError::Stalled {
                            reached: reached.0,
                            newest: newest.0,
                        });
                    }
                    stall
                }
                _ => Some((reached, now)),
            };
        }
    }

    /// The cursor to follow a source with that is at `head`.
    fn begin(&mut self, head: Height) -> Cursor {
        let cursor = match self.cursor {
            None => Cursor::start(self.shared.knowledge.begin(head)),
            Some(mut cursor) => {
                cursor.meet(head);
                cursor
            }
        };
        self.cursor = Some(cursor);
        cursor
    }

    fn resynchronise(&mut self, source: &dyn Source, head: Height, oldest: u64) {
        tracing::warn!(
            source = source.name(),
            head = head.0,
            oldest,
            "ledger events were missed and are gone from history; the cache is emptied"
        );
        self.shared
            .knowledge
            .resynchronise(self.shared.clock.now(), head);
        self.cursor = Some(Cursor::start(head));
        self.shared.tell(Change::Resynchronise);
    }

    /// Returns how far the stream is now, and how far the chain is at least.
    fn take(&mut self, item: StreamItem) -> Option<(Height, Height)> {
        let cursor = self.cursor.as_mut()?;
        match item {
            StreamItem::Head(head) => cursor.head(head),
            StreamItem::Event(event) => {
                if cursor.admits(&event) {
                    self.shared.knowledge.event(self.shared.clock.now(), &event);
                    let (hash, status, height) = (event.hash, event.status, event.height);
                    self.shared.tell(Change::Status {
                        hash,
                        status,
                        height,
                    });
                }
            }
        }
        let reached = cursor.resume_at();
        Some((reached, self.shared.knowledge.reached(reached)))
    }

    async fn next(&self, stream: &mut EventStream) -> Result<StreamItem, SourceError> {
        let ended = || SourceError::Cut {
            detail: "it ended".to_owned(),
        };
        let item = async { stream.next().await.unwrap_or_else(|| Err(ended())) };
        self.in_time(self.shared.config.stream_idle, item).await
    }

    async fn in_time<T>(
        &self,
        after: Duration,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let clock = &self.shared.clock;
        tokio::select! {
            biased;
            answer = answer => answer,
            () = clock.sleep_until(clock.now() + after) => Err(SourceError::Timeout { after }),
        }
    }
}
