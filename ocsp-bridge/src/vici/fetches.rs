//! Fetching the certificates that the ledger revokes, for their names: the daemon may have forgotten them.
//!
//! A fetch that fails is tried again, with a growing pause, until its time is over.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use ledger::{CertificateHash, Height, Status};
use ocsp::UnixTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::identity::NamedCertificate;
use super::recorded::Recorded;

/// An event of the ledger for which the certificate's names are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub(super) hash: CertificateHash,
    pub(super) status: Status,
    pub(super) height: Height,
    /// When the event came.
    pub(super) at: UnixTime,
    /// The same, on the clock that only goes forward.
    pub(super) noticed: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Its names; none when it has no name that an IKE identity can be.
    Named(Wanted, Option<NamedCertificate>),
    /// No node gave it, for so long.
    Abandoned(Wanted, Duration),
}

/// The fetches that wait and those that are under way: bounded, both.
#[derive(Debug)]
pub(super) struct Fetches {
    recorded: Recorded,
    /// How long a certificate is asked for.
    patience: Duration,
    waiting: VecDeque<Wanted>,
    /// The hashes of those that wait or are under way.
    pending: HashSet<CertificateHash>,
    under_way: JoinSet<Fetched>,
}

impl Fetches {
    pub(super) fn new(recorded: Recorded) -> Self {
        Self {
            recorded,
            patience: PATIENCE,
            waiting: VecDeque::new(),
            pending: HashSet::new(),
            under_way: JoinSet::new(),
        }
    }

    /// How many are not done.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Puts one in the line. Says false when the line is full.
    pub(super) fn push(&mut self, wanted: Wanted) -> bool {
        if self.pending.contains(&wanted.hash) {
            return true;
        }
        if self.pending.len() >= MAX_PENDING {
            return false;
        }
        self.pending.insert(wanted.hash);
        self.waiting.push_back(wanted);
        true
    }

    /// Drops all: there is nothing that they could close.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.pending.clear();
        self.under_way.abort_all();
    }

    /// The next that is done; waits for ever when there is none. Can be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Fetched {
        loop {
            while self.under_way.len() < MAX_UNDER_WAY
                && let Some(wanted) = self.waiting.pop_front()
            {
                self.under_way
                    .spawn(fetch(self.recorded.clone(), wanted, self.patience));
            }
            match self.under_way.join_next().await {
                Some(Ok(fetched)) => {
                    let (Fetched::Named(wanted, _) | Fetched::Abandoned(wanted, _)) = &fetched;
                    self.pending.remove(&wanted.hash);
                    return fetched;
                }
                // It was cleared.
                Some(Err(_)) => {}
                None => core::future::pending().await,
            }
        }
    }
}

async fn fetch(recorded: Recorded, wanted: Wanted, patience: Duration) -> Fetched {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match recorded.certificate(&wanted.hash).await {
            Ok(octets) => return Fetched::Named(wanted, NamedCertificate::read(&octets)),
            Err(error) => {
                tracing::debug!(hash = %wanted.hash, %error, "the certificate was not fetched");
            }
        }
        let took = began.elapsed();
        if took >= patience {
            return Fetched::Abandoned(wanted, took);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(600);

/// The most requests at one time: a node must not be drowned by a recall of many devices.
const MAX_UNDER_WAY: usize = 32;

/// The most that wait or are under way.
const MAX_PENDING: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::PKCS_ECDSA_P256_SHA256;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::fixture::{params, self_signed};

    /// A node that refuses so many times, then serves `certificate` for whatever it is asked.
    async fn node(refusals: usize, certificate: Vec<u8>) -> (Recorded, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1_024];
                let _read = stream.read(&mut head).await.unwrap();
                let (status, body) = if counter.fetch_add(1, Ordering::SeqCst) < refusals {
                    ("503 Service Unavailable", &[][..])
                } else {
                    ("200 OK", certificate.as_slice())
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(body).await.unwrap();
            }
        });
        (Recorded::new(&[url]).unwrap(), asked)
    }

    fn wanted(hash: CertificateHash) -> Wanted {
        Wanted {
            hash,
            status: Status::Expired,
            height: Height(1),
            at: UnixTime(1),
            noticed: Instant::now(),
        }
    }

    #[tokio::test]
    async fn a_node_that_fails_is_asked_again() {
        let (_key, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, params("HeNB"));
        let hash = CertificateHash::of(&certificate);
        let (recorded, asked) = node(3, certificate.clone()).await;
        let mut fetches = Fetches::new(recorded);
        assert!(fetches.push(wanted(hash)));
        assert!(fetches.push(wanted(hash)), "once is enough");
        assert_eq!(fetches.len(), 1);
        let Fetched::Named(done, Some(named)) = fetches.next().await else {
            panic!("no certificate");
        };
        assert_eq!((done.hash, named.hash), (hash, hash));
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        assert_eq!(fetches.len(), 0);
    }

    #[tokio::test]
    async fn a_node_that_lies_is_asked_until_the_time_is_over() {
        let (recorded, asked) = node(0, b"another".to_vec()).await;
        let mut fetches = Fetches::new(recorded);
        fetches.patience = Duration::from_millis(400);
        let hash = CertificateHash::of(b"this");
        fetches.push(wanted(hash));
        let Fetched::Abandoned(done, took) = fetches.next().await else {
            panic!("it took another certificate for this one");
        };
        assert_eq!(done.hash, hash);
        assert!(took >= fetches.patience, "{took:?}");
        // After 0, 100, 300 and 700 ms.
        let asked = asked.load(Ordering::SeqCst);
        assert!((2..=4).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn what_is_cleared_does_not_come() {
        let (recorded, _) = node(usize::MAX, Vec::new()).await;
        let mut fetches = Fetches::new(recorded);
        fetches.push(wanted(CertificateHash::of(b"this")));
        let next = tokio::time::timeout(Duration::from_millis(50), fetches.next());
        assert!(next.await.is_err());
        fetches.clear();
        let next = tokio::time::timeout(Duration::from_millis(50), fetches.next());
        assert!(next.await.is_err());
        assert_eq!(fetches.len(), 0);
    }

    #[tokio::test]
    async fn the_line_is_bounded() {
        let (recorded, _) = node(usize::MAX, Vec::new()).await;
        let mut fetches = Fetches::new(recorded);
        for number in 0..MAX_PENDING {
            assert!(fetches.push(wanted(CertificateHash::of(&number.to_be_bytes()))));
        }
        assert!(!fetches.push(wanted(CertificateHash::of(b"one too many"))));
        assert_eq!(fetches.len(), MAX_PENDING);
    }
}
