//! The certificate status cache on the path of a handshake.

use std::sync::{Arc, Mutex};

use criterion::{Criterion, criterion_group, criterion_main};
use ledger::{
    BlockTime, CertificateHash, ChainId, EventPage, Height, Inquiry, InquiryError, Status,
    StatusAnswer,
};
use ledger_client::{Client, ClientConfig, EmbeddedSource, TokioClock};

type Notify = Box<dyn Fn(Height) + Send + Sync>;

/// Says "valid" of everything.
struct AllValid {
    on_commit: Mutex<Vec<Notify>>,
}

impl Inquiry for AllValid {
    fn chain(&self) -> ChainId {
        ChainId::from_octets([1; 32])
    }

    fn status(&self, hash: &CertificateHash) -> Result<StatusAnswer, InquiryError> {
        Ok(StatusAnswer {
            hash: *hash,
            status: Status::Valid,
            class: None,
            not_after: None,
            height: Height(1),
            block_time: BlockTime(1),
            chain: self.chain(),
        })
    }

    fn events(&self, _: Height, _: usize) -> Result<EventPage, InquiryError> {
        Ok(EventPage {
            events: Vec::new(),
            next: Height(2),
            head: Height(1),
        })
    }

    fn on_commit(&self, notify: Notify) {
        if let Ok(mut kept) = self.on_commit.lock() {
            kept.push(notify);
        }
    }
}

fn hit(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let client = runtime.block_on(async {
        let source = EmbeddedSource::new(Arc::new(AllValid {
            on_commit: Mutex::default(),
        }));
        Client::spawn(
            ClientConfig::default(),
            vec![Arc::new(source)],
            Arc::new(TokioClock),
        )
        .expect("a client")
    });
    let hashes: Vec<CertificateHash> = (0..10_000u32)
        .map(|n| CertificateHash::of(&n.to_be_bytes()))
        .collect();
    runtime.block_on(async {
        for hash in &hashes {
            client.status(hash).await.expect("an answer");
        }
    });
    let mut next = 0;
    c.bench_function("hit", |b| {
        b.iter(|| {
            next = (next + 1) % hashes.len();
            client.cached(&hashes[next]).expect("still in the cache")
        });
    });
}

criterion_group!(benches, hit);
criterion_main!(benches);
