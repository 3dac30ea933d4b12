//! The source over a ledger in the same process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ledger::{
    CertificateHash, ChainId, EventPage, Height, Inquiry, InquiryError, Status, StatusAnswer,
    StatusEvent,
};
use ledger_client::{Change, Client, ClientConfig, EmbeddedSource, Source, TokioClock};
use tokio::time::{Instant, sleep};

use crate::support::{CHAIN, REVOKED, answer, event, hash};

type Notify = Box<dyn Fn(Height) + Send + Sync>;

/// A ledger with one event in a block.
struct SmallLedger {
    blocks: Mutex<Vec<Option<StatusEvent>>>,
    notify: Mutex<Vec<Notify>>,
    oldest: u64,
}

impl SmallLedger {
    fn new(oldest: u64) -> Arc<Self> {
        let blocks = (0..=oldest).map(|_| None).collect();
        Arc::new(Self {
            blocks: Mutex::new(blocks),
            notify: Mutex::new(Vec::new()),
            oldest,
        })
    }

    fn commit(&self, n: u32, status: Status) -> u64 {
        let mut blocks = self.blocks.lock().unwrap();
        let height = blocks.len() as u64;
        blocks.push(Some(event(n, status, height)));
        drop(blocks);
        for notify in &*self.notify.lock().unwrap() {
            notify(Height(height));
        }
        height
    }
}

impl Inquiry for SmallLedger {
    fn chain(&self) -> ChainId {
        CHAIN
    }

    fn status(&self, of: &CertificateHash) -> Result<StatusAnswer, InquiryError> {
        let blocks = self.blocks.lock().unwrap();
        let last = blocks.iter().flatten().rfind(|event| event.hash == *of);
        let status = last.map_or(Status::NotRecorded, |event| event.status);
        Ok(answer(*of, status, blocks.len() as u64 - 1))
    }

    fn events(&self, from: Height, limit: usize) -> Result<EventPage, InquiryError> {
        if from.0 < self.oldest {
            return Err(InquiryError::HistoryGone {
                oldest: Height(self.oldest),
            });
        }
        let blocks = self.blocks.lock().unwrap();
        let end = blocks.len().min(from.0 as usize + limit);
        let events = blocks.get(from.0 as usize..end).unwrap_or_default();
        Ok(EventPage {
            events: events.iter().flatten().cloned().collect(),
            next: Height(from.0.max(end as u64)),
            head: Height(blocks.len() as u64 - 1),
        })
    }

    fn on_commit(&self, notify: Notify) {
        self.notify.lock().unwrap().push(notify);
    }
}

fn spawn(ledger: &Arc<SmallLedger>) -> Client {
    let source = EmbeddedSource::new(Arc::clone(ledger) as Arc<dyn Inquiry>);
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(source)];
    Client::spawn(ClientConfig::default(), sources, Arc::new(TokioClock)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_heard_without_waiting_for_a_heartbeat() {
    let ledger = SmallLedger::new(0);
    let client = spawn(&ledger);
    let mut changes = client.subscribe();
    ledger.commit(1, Status::Valid);
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
    // Long enough for silence to be noticed, were there no heartbeats.
    sleep(Duration::from_millis(30_100)).await;
    assert_eq!(client.metrics().stream_cuts, 0);
    while changes.try_recv().is_some() {}
    let begin = Instant::now();
    let height = ledger.commit(1, REVOKED);
    let expected = Change::Status {
        hash: hash(1),
        status: REVOKED,
        height: Height(height),
    };
    assert_eq!(changes.recv().await, Some(expected));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(client.cached(&hash(1)).unwrap().status, REVOKED);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_commits_comes_whole_and_in_order() {
    let ledger = SmallLedger::new(0);
    let client = spawn(&ledger);
    let mut changes = client.subscribe();
    sleep(Duration::from_millis(10)).await;
    for n in 0..2000 {
        ledger.commit(n, Status::Valid);
    }
    for n in 0..2000 {
        let Some(Change::Status { hash: of, .. }) = changes.recv().await else {
            panic!("cut")
        };
        assert_eq!(of, hash(n));
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.metrics().stream_height, 2000);
    assert_eq!(changes.try_recv(), None);
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_is_told_by_the_call() {
    let ledger = SmallLedger::new(50);
    let source = EmbeddedSource::new(ledger as Arc<dyn Inquiry>);
    let Err(error) = source.events(Height(49)).await else {
        panic!("history is not gone")
    };
    assert_eq!(
        error,
        ledger_client::SourceError::HistoryGone { oldest: 50 }
    );
    assert!(source.events(Height(50)).await.is_ok());
}

/// Real threads: whoever asks after a change was told never hears the status before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_admitted_after_the_revocation_was_told() {
    let ledger = SmallLedger::new(0);
    let client = spawn(&ledger);
    let mut changes = client.subscribe();
    for n in 0..300 {
        ledger.commit(n, Status::Valid);
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    // Until the revocation shows, which it must without the TTL's help.
                    while client.status(&hash(n)).await.unwrap().is_valid() {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        ledger.commit(n, REVOKED);
        loop {
            match changes.recv().await {
                Some(Change::Status {
                    hash: of, status, ..
                }) if of == hash(n) && status == REVOKED => break,
                Some(_) => {}
                None => panic!("the changes ended"),
            }
        }
        assert_eq!(
            client.cached(&hash(n)).map(|answer| answer.status),
            Some(REVOKED)
        );
        assert_eq!(client.status(&hash(n)).await.unwrap().status, REVOKED);
        for asker in askers {
            tokio::time::timeout(Duration::from_secs(20), asker)
                .await
                .unwrap()
                .unwrap();
        }
    }
    assert_eq!(client.metrics().inquiries_under_way, 0);
}
