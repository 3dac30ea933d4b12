//! A source that does as it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream;
use ledger::{
    BlockTime, CertificateHash, ChainId, Height, RevocationReason, Status, StatusAnswer,
    StatusEvent,
};
use ledger_client::{
    BoxFuture, Client, ClientConfig, EventStream, Source, SourceError, StreamItem, TokioClock,
};
use tokio::sync::mpsc;

pub(crate) const CHAIN: ChainId = ChainId::from_octets([0xc1; 32]);
pub(crate) const OTHER_CHAIN: ChainId = ChainId::from_octets([0xc2; 32]);
pub(crate) const SUSPENDED: Status = Status::Suspended {
    since: BlockTime(3),
};
pub(crate) const REVOKED: Status = Status::Revoked {
    reason: RevocationReason::KeyCompromise,
    time: BlockTime(4),
};

pub(crate) fn hash(n: u32) -> CertificateHash {
    CertificateHash::of(&n.to_be_bytes())
}

pub(crate) fn event(n: u32, status: Status, height: u64) -> StatusEvent {
    StatusEvent {
        height: Height(height),
        index: 0,
        hash: hash(n),
        status,
    }
}

pub(crate) fn answer(of: CertificateHash, status: Status, height: u64) -> StatusAnswer {
    StatusAnswer {
        hash: of,
        status,
        class: None,
        not_after: None,
        height: Height(height),
        block_time: BlockTime(1_000),
        chain: CHAIN,
    }
}

pub(crate) fn refused() -> SourceError {
    SourceError::Refused {
        status: 503,
        error: "down".to_owned(),
    }
}

/// How a scripted source answers inquiries.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer(StatusAnswer),
    Fail(SourceError),
    Hang,
    Panic,
}

pub(crate) struct Script {
    pub(crate) statuses: HashMap<CertificateHash, Status>,
    /// Overrides what `statuses` and `height` say.
    pub(crate) reply: Option<Reply>,
    pub(crate) delay: Duration,
    pub(crate) height: u64,
    pub(crate) chain: ChainId,
    /// Whether the event stream can be opened.
    pub(crate) streaming: bool,
    /// Whether opening the event stream panics.
    pub(crate) stream_panics: bool,
    /// The oldest height whose events are kept.
    pub(crate) oldest: u64,
    pub(crate) asked: Vec<CertificateHash>,
    /// The heights from which streams were opened.
    pub(crate) opened: Vec<u64>,
    stream: Option<mpsc::UnboundedSender<Result<StreamItem, SourceError>>>,
}

pub(crate) struct ScriptedSource {
    script: Mutex<Script>,
}

impl ScriptedSource {
    /// Answers `valid` for every hash given, as of height 10, and streams nothing.
    pub(crate) fn new(valid: impl IntoIterator<Item = u32>) -> Arc<Self> {
        let statuses = valid
            .into_iter()
            .map(|n| (hash(n), Status::Valid))
            .collect();
        let script = Script {
            statuses,
            reply: None,
            delay: Duration::from_millis(1),
            height: 10,
            chain: CHAIN,
            streaming: false,
            stream_panics: false,
            oldest: 0,
            asked: Vec::new(),
            opened: Vec::new(),
            stream: None,
        };
        Arc::new(Self {
            script: Mutex::new(script),
        })
    }

    pub(crate) fn streaming(valid: impl IntoIterator<Item = u32>) -> Arc<Self> {
        let source = Self::new(valid);
        source.with(|script| script.streaming = true);
        source
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    pub(crate) fn reply(&self, reply: Reply) {
        self.with(|script| script.reply = Some(reply));
    }

    pub(crate) fn asked(&self) -> usize {
        self.with(|script| script.asked.len())
    }

    /// Commits a change: answers and the stream, if one is open, have it from now on.
    pub(crate) fn commit(&self, n: u32, status: Status) -> u64 {
        let height = self.with(|script| {
            script.height += 1;
            script.statuses.insert(hash(n), status);
            script.height
        });
        self.send(Ok(StreamItem::Event(event(n, status, height))));
        height
    }

    pub(crate) fn send(&self, item: Result<StreamItem, SourceError>) {
        self.with(|script| {
            if let Some(stream) = &script.stream {
                let _gone = stream.send(item);
            }
        });
    }

    /// Ends the stream.
    pub(crate) fn cut(&self) {
        self.with(|script| script.stream = None);
    }
}

impl Source for ScriptedSource {
    fn name(&self) -> &str {
        "scripted"
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(async move {
            let probe = hash.as_octets() == &[0; 32];
            let (reply, delay) = self.with(|script| {
                if !probe {
                    script.asked.push(hash);
                }
                let status = script
                    .statuses
                    .get(&hash)
                    .copied()
                    .unwrap_or(Status::NotRecorded);
                let truth = StatusAnswer {
                    chain: script.chain,
                    ..answer(hash, status, script.height)
                };
                let reply = match &script.reply {
                    _ if probe && script.streaming => Reply::Answer(truth),
                    _ if probe => Reply::Fail(refused()),
                    Some(reply) => reply.clone(),
                    None => Reply::Answer(truth),
                };
                (reply, script.delay)
            });
            tokio::time::sleep(delay).await;
            match reply {
                Reply::Answer(answer) => Ok(answer),
                Reply::Fail(error) => Err(error),
                Reply::Hang => std::future::pending().await,
                Reply::Panic => panic!("a source with a defect, as scripted"),
            }
        })
    }

    fn events(&self, from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(async move {
            let panics = self.with(|script| script.stream_panics);
            assert!(!panics, "a source with a defect, as scripted");
            self.with(|script| {
                if !script.streaming {
                    return Err(refused());
                }
                script.opened.push(from.0);
                if from.0 < script.oldest {
                    return Err(SourceError::HistoryGone {
                        oldest: script.oldest,
                    });
                }
                let (sender, receiver) = mpsc::unbounded_channel();
                script.stream = Some(sender);
                let items = stream::unfold(receiver, |mut receiver| async {
                    receiver.recv().await.map(|item| (item, receiver))
                });
                Ok(Box::pin(items) as EventStream)
            })
        })
    }
}

pub(crate) fn spawn(config: ClientConfig, sources: &[&Arc<ScriptedSource>]) -> Client {
    let sources = sources
        .iter()
        .map(|source| Arc::clone(source) as Arc<dyn Source>)
        .collect();
    Client::spawn(config, sources, Arc::new(TokioClock)).unwrap()
}

/// Lets every task run that can, and a few timers of the sources fire.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A long quiet stream would be cut for its silence: these tests do not send heartbeats.
pub(crate) fn patient() -> ClientConfig {
    ClientConfig {
        stream_idle: Duration::from_secs(86_400),
        ..ClientConfig::default()
    }
}
