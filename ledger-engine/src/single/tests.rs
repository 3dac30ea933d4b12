use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ledger::{
    Block, BlockTime, Body, CertificateHash, Chain, ChainId, Head, Height, MemberId, Parameters,
    Receipt, Transaction, ValidateError,
};

use super::*;

/// Accepts everything, and commits when the test says so.
struct Gated {
    head: Mutex<Head>,
    blocks: Mutex<Vec<usize>>,
    fail: AtomicBool,
    panic: AtomicBool,
    /// Tells the test that a commit began.
    begun: SyncSender<()>,
    /// Lets the commit go on. Closed: it goes on at once.
    go: Mutex<Receiver<()>>,
}

fn chain() -> Chain {
    Chain {
        id: ChainId::from_octets([1; 32]),
        name: "test".to_owned(),
        parameters: Parameters::default(),
    }
}

impl Application for Gated {
    fn validate(&self, transaction: &SignedTransaction) -> Result<(), ValidateError> {
        if transaction.transaction.nonce == u64::MAX {
            return Err(Refused::new(Refusal::WrongChain, "as the test wants").into());
        }
        Ok(())
    }

    fn build(&self, transactions: Vec<SignedTransaction>) -> Result<Block, ApplicationError> {
        let head = *self.head.lock().unwrap();
        Ok(Block::after(&head, chain().id, BlockTime(5), transactions))
    }

    fn commit(&self, block: &Block) -> Result<Vec<Receipt>, ApplicationError> {
        let _ = self.begun.try_send(());
        let _ = self.go.lock().unwrap().recv();
        assert!(!self.panic.load(Ordering::SeqCst), "as the test wants");
        if self.fail.load(Ordering::SeqCst) {
            return Err(ApplicationError::new("no space left"));
        }
        *self.head.lock().unwrap() = Head {
            height: block.header.height,
            hash: block.hash(),
            time: block.header.time,
        };
        self.blocks.lock().unwrap().push(block.transactions.len());
        Ok(block
            .transactions
            .iter()
            .map(|transaction| Receipt {
                transaction: transaction.id(),
                outcomes: Vec::new(),
            })
            .collect())
    }
}

struct Bench {
    application: Arc<Gated>,
    engine: Single,
    begun: Receiver<()>,
    go: Option<SyncSender<()>>,
}

fn bench(limits: Limits) -> Bench {
    let (begun_sender, begun) = sync_channel(64);
    let (go, go_receiver) = sync_channel(64);
    let application = Arc::new(Gated {
        head: Mutex::new(Head {
            height: Height(0),
            hash: chain().id.into(),
            time: BlockTime(0),
        }),
        blocks: Mutex::default(),
        fail: AtomicBool::new(false),
        panic: AtomicBool::new(false),
        begun: begun_sender,
        go: Mutex::new(go_receiver),
    });
    let engine = Single::start(Arc::clone(&application) as Arc<dyn Application>, limits).unwrap();
    Bench {
        application,
        engine,
        begun,
        go: Some(go),
    }
}

impl Bench {
    fn open_gate(&mut self) {
        self.go = None;
    }

    fn blocks(&self) -> Vec<usize> {
        self.application.blocks.lock().unwrap().clone()
    }
}

fn transaction(nonce: u64) -> SignedTransaction {
    SignedTransaction {
        transaction: Transaction {
            chain: chain().id,
            member: "acme".parse::<MemberId>().unwrap(),
            nonce,
            expires: Height(100),
            body: Body::Suspend {
                hash: CertificateHash::from_octets([9; 32]),
            },
        },
        signature: [0; 64],
    }
}

#[test]
fn what_is_pending_becomes_the_next_block() {
    let mut bench = bench(Limits::default());
    let first = bench.engine.submit(transaction(0)).unwrap();
    bench.begun.recv().unwrap();
    let others: Vec<_> = (1..11)
        .map(|nonce| bench.engine.submit(transaction(nonce)).unwrap())
        .collect();
    assert_eq!(bench.engine.pending(), 11);
    bench.open_gate();
    let first = first.wait().unwrap();
    assert_eq!((first.height, first.time), (Height(1), BlockTime(5)));
    assert_eq!(first.receipt.transaction, transaction(0).id());
    for (nonce, other) in (1..).zip(others) {
        let committed = other.wait().unwrap();
        assert_eq!(committed.height, Height(2));
        assert_eq!(committed.receipt.transaction, transaction(nonce).id());
    }
    assert_eq!(bench.blocks(), [1, 10]);
    assert_eq!(bench.engine.pending(), 0);
}

#[test]
fn the_mempool_and_the_blocks_are_bounded() {
    let mut bench = bench(Limits {
        pending: 6,
        block_transactions: 2,
        ..Limits::default()
    });
    let mut waiting = vec![bench.engine.submit(transaction(0)).unwrap()];
    bench.begun.recv().unwrap();
    for nonce in 1..6 {
        waiting.push(bench.engine.submit(transaction(nonce)).unwrap());
    }
    assert!(matches!(
        bench.engine.submit(transaction(6)),
        Err(SubmitError::Full)
    ));
    bench.open_gate();
    for pending in waiting {
        pending.wait().unwrap();
    }
    assert_eq!(bench.blocks(), [1, 2, 2, 1]);
    bench.engine.submit(transaction(6)).unwrap().wait().unwrap();
}

#[test]
fn octets_are_bounded_too() {
    let big = |nonce| {
        let mut signed = transaction(nonce);
        signed.transaction.body = Body::Submit {
            certificates: vec![vec![0; 900_000]],
            class: ledger::Class::Device,
        };
        signed
    };
    let mut bench = bench(Limits {
        pending_octets: 3_000_000,
        block_octets: 0,
        ..Limits::default()
    });
    let mut waiting = vec![bench.engine.submit(big(0)).unwrap()];
    bench.begun.recv().unwrap();
    waiting.push(bench.engine.submit(big(1)).unwrap());
    waiting.push(bench.engine.submit(big(2)).unwrap());
    assert!(matches!(
        bench.engine.submit(big(3)),
        Err(SubmitError::Full)
    ));
    bench.open_gate();
    for pending in waiting {
        pending.wait().unwrap();
    }
    assert_eq!(bench.blocks(), [1, 1, 1]);
}

#[test]
fn what_no_block_could_hold_is_refused() {
    let bench = bench(Limits::default());
    for certificates in [
        vec![vec![0; ledger::MAX_TRANSACTION]],
        vec![Vec::new(); ledger::MAX_BATCH + 1],
    ] {
        let mut signed = transaction(0);
        signed.transaction.body = Body::Submit {
            certificates,
            class: ledger::Class::Device,
        };
        let error = bench.engine.submit(signed).unwrap_err();
        assert!(
            matches!(&error, SubmitError::Refused(refused) if refused.refusal == Refusal::Malformed),
            "{error}"
        );
    }
    let error = bench.engine.submit(transaction(u64::MAX)).unwrap_err();
    assert!(
        matches!(&error, SubmitError::Refused(refused) if refused.refusal == Refusal::WrongChain),
        "{error}"
    );
    assert_eq!(bench.engine.pending(), 0);
}

#[test]
fn a_transaction_that_waits_is_not_taken_twice() {
    let mut bench = bench(Limits::default());
    let first = bench.engine.submit(transaction(0)).unwrap();
    bench.begun.recv().unwrap();
    let error = bench.engine.submit(transaction(0)).unwrap_err();
    assert!(
        matches!(&error, SubmitError::Refused(refused) if refused.refusal == Refusal::Replayed),
        "{error}"
    );
    bench.open_gate();
    first.wait().unwrap();
}

#[test]
fn stopping_commits_what_is_pending() {
    let mut bench = bench(Limits {
        block_transactions: 3,
        ..Limits::default()
    });
    let waiting: Vec<_> = (0..10)
        .map(|nonce| bench.engine.submit(transaction(nonce)).unwrap())
        .collect();
    bench.open_gate();
    bench.engine.stop();
    assert_eq!(bench.blocks().iter().sum::<usize>(), 10);
    for pending in waiting {
        pending.wait().unwrap();
    }
    assert!(matches!(
        bench.engine.submit(transaction(11)),
        Err(SubmitError::Stopped)
    ));
    assert_eq!(bench.engine.check(), Err(EngineStopped::Asked));
    bench.engine.stop();
}

#[test]
fn a_store_failure_fails_everybody() {
    let mut bench = bench(Limits::default());
    bench.application.fail.store(true, Ordering::SeqCst);
    let first = bench.engine.submit(transaction(0)).unwrap();
    bench.begun.recv().unwrap();
    let second = bench.engine.submit(transaction(1)).unwrap();
    bench.open_gate();
    for pending in [first, second] {
        let error = pending.wait().unwrap_err();
        assert!(
            matches!(&error, SubmitError::Store(detail) if detail == "no space left"),
            "{error}"
        );
        // Whoever was told finds it stopped.
        assert!(matches!(
            bench.engine.check(),
            Err(EngineStopped::Failed(_))
        ));
    }
    bench.engine.stop();
    assert!(matches!(
        bench.engine.submit(transaction(2)),
        Err(SubmitError::Store(_))
    ));
    assert!(matches!(
        bench.engine.check(),
        Err(EngineStopped::Failed(_))
    ));
    assert_eq!(bench.engine.pending(), 0);
}

#[test]
fn a_panic_leaves_nobody_waiting() {
    let mut bench = bench(Limits::default());
    bench.application.panic.store(true, Ordering::SeqCst);
    let first = bench.engine.submit(transaction(0)).unwrap();
    bench.begun.recv().unwrap();
    let second = bench.engine.submit(transaction(1)).unwrap();
    bench.open_gate();
    assert!(matches!(first.wait(), Err(SubmitError::Store(_))));
    assert!(matches!(second.wait(), Err(SubmitError::Store(_))));
    bench.engine.stop();
    assert!(matches!(
        bench.engine.check(),
        Err(EngineStopped::Failed(_))
    ));
}
