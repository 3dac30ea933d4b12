//! Requests that come at the same time: one look-up, one signature, and none of them in the way of the others.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::time::Duration;

use ledger::{BlockTime, Status};
use ocsp::CertStatus;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::fixture::{
    Authority, Held, NOW, Script, found, hash, local_signer, read, self_signed, signer_params,
};
use crate::signer::{Signer, SigningCost};
use crate::source::{BoxFuture, Finding, LookUp};

/// A ledger that is read at the beginning of a look-up and answers when a test opens the gate.
struct Gate {
    script: Arc<Script>,
    open: Semaphore,
    /// Look-ups that were begun and neither ended nor were dropped.
    under_way: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Arc<Gate> {
    fn look_up<'a>(&'a self, id: &'a CertId<'a>) -> BoxFuture<'a, Result<Finding, Unavailable>> {
        Box::pin(async move {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let _under_way = UnderWay(Arc::clone(&self.under_way));
            let finding = self.script.look_up(id).await;
            self.open.acquire().await.unwrap().forget();
            finding
        })
    }
}

struct Bench {
    ca: Authority,
    gate: Arc<Gate>,
    responder: Arc<Responder>,
}

impl Bench {
    fn new(policy: Policy, signer: Signer) -> Self {
        let gate = Arc::new(Gate {
            script: Arc::default(),
            open: Semaphore::new(0),
            under_way: Arc::default(),
        });
        let mut signers = Signers::new();
        signers.add_local(signer);
        let source = Arc::new(Arc::clone(&gate));
        Self {
            ca: Authority::new("ca"),
            responder: Arc::new(Responder::new(policy, signers, source)),
            gate,
        }
    }

    fn quick() -> Self {
        Self::new(Policy::default(), local_signer(&PKCS_ECDSA_P256_SHA256))
    }

    fn ask_at(&self, now: UnixTime, request: Vec<u8>) -> JoinHandle<Answer> {
        let responder = Arc::clone(&self.responder);
        tokio::spawn(async move { responder.answer(now, &request).await })
    }

    fn ask(&self, serial: u8) -> JoinHandle<Answer> {
        self.ask_at(NOW, self.ca.request(serial))
    }

    fn under_way(&self) -> usize {
        self.gate.under_way.load(Ordering::SeqCst)
    }

    fn flights(&self) -> String {
        format!("{:?}", self.responder.settings().flights)
    }
}

/// Lets every task of a single-threaded runtime come to where it waits.
async fn settle() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

#[tokio::test]
async fn requests_for_one_cert_id_share_one_look_up_and_one_signature() {
    for key in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let bench = Bench::new(Policy::default(), local_signer(key));
        let plain: Vec<_> = (0..100).map(|_| bench.ask(1)).collect();
        let nonces: Vec<_> = (0..10)
            .map(|octet| bench.ask_at(NOW, bench.ca.request_with_nonce(1, &[octet; 32])))
            .collect();
        settle().await;
        assert_eq!(bench.gate.script.asked(), 1);
        bench.gate.open.add_permits(1);
        let mut signed = 0;
        let mut first = None;
        for answer in plain {
            let answer = answer.await.unwrap();
            signed += usize::from(answer.origin == Origin::Signed);
            assert_eq!(*first.get_or_insert_with(|| answer.der.clone()), answer.der);
        }
        assert_eq!(signed, 1);
        assert_eq!(read(&first.unwrap()).singles[0].status, CertStatus::Good);
        for (octet, answer) in (0..10).zip(nonces) {
            let nonce = read(&answer.await.unwrap().der).nonce.unwrap();
            assert_eq!(nonce, [octet; 32]);
        }
        let counters = bench.responder.counters();
        assert_eq!((counters.look_ups, counters.look_ups_joined), (1, 109));
        assert_eq!((counters.signed, counters.from_cache), (11, 99));
        assert_eq!(bench.flights(), "Flights { under_way: 0 }");
    }
}

#[tokio::test]
async fn whoever_began_a_look_up_may_leave_it_to_the_others() {
    let bench = Bench::quick();
    let first = bench.ask(1);
    settle().await;
    let (second, third) = (bench.ask(1), bench.ask(1));
    settle().await;
    first.abort();
    settle().await;
    assert_eq!((bench.under_way(), bench.gate.script.asked()), (1, 1));
    second.abort();
    settle().await;
    bench.gate.open.add_permits(1);
    assert_eq!(third.await.unwrap().status, ResponseStatus::Successful);
    assert_eq!(bench.gate.script.asked(), 1);
    // With the last of them the look-up ends, and the next begins anew.
    let last = bench.ask(2);
    settle().await;
    assert_eq!((bench.under_way(), bench.gate.script.asked()), (1, 2));
    last.abort();
    settle().await;
    assert_eq!(bench.under_way(), 0);
    assert_eq!(bench.flights(), "Flights { under_way: 0 }");
    bench.gate.open.add_permits(1);
    assert_eq!(
        bench.ask(2).await.unwrap().status,
        ResponseStatus::Successful
    );
}

#[tokio::test]
async fn nobody_joins_a_look_up_that_a_change_has_overtaken() {
    let bench = Bench::quick();
    let before = bench.ask(1);
    settle().await;
    let held = Status::Suspended {
        since: BlockTime(5_000),
    };
    bench.gate.script.set(1, found(1, held));
    bench.responder.forget(&hash(1));
    let after = bench.ask(1);
    settle().await;
    assert_eq!(bench.gate.script.asked(), 2);
    // The newer one is joined, also once the older has ended: by whoever waited for that one, too.
    bench.gate.open.add_permits(1);
    settle().await;
    assert!(!before.is_finished());
    let joined = bench.ask(1);
    settle().await;
    assert_eq!(bench.gate.script.asked(), 2);
    bench.gate.open.add_permits(1);
    for answer in [before, after, joined] {
        let status = read(&answer.await.unwrap().der).singles[0].status;
        assert!(matches!(status, CertStatus::Revoked { .. }));
    }
    // Nor one that began later than now: the clock was set back.
    let ahead = bench.ask(2);
    settle().await;
    let behind = bench.ask_at(UnixTime(NOW.0 - 1), bench.ca.request(2));
    settle().await;
    assert_eq!(bench.gate.script.asked(), 4);
    bench.gate.open.add_permits(2);
    assert_eq!(read(&ahead.await.unwrap().der).produced_at, NOW.0);
    assert_eq!(read(&behind.await.unwrap().der).produced_at, NOW.0 - 1);
}

#[tokio::test]
async fn what_changes_overtake_again_and_again_is_not_given() {
    let bench = Bench::quick();
    let asked = bench.ask(1);
    for _ in 0..2 {
        settle().await;
        bench.responder.forget(&hash(1));
        bench.gate.open.add_permits(1);
    }
    assert_eq!(asked.await.unwrap().status, ResponseStatus::TryLater);
    assert_eq!(bench.gate.script.asked(), 2);
    // Nothing that was overtaken is in the cache, and what other certificates do overtakes nothing.
    let asked = bench.ask(1);
    for _ in 0..2 {
        settle().await;
        bench.responder.forget(&hash(2));
    }
    bench.gate.open.add_permits(1);
    assert_eq!(asked.await.unwrap().status, ResponseStatus::Successful);
    assert_eq!(bench.gate.script.asked(), 3);
    // One that is not recorded may be the one that was recorded just now: it is asked for once more, and told then,
    // since it says nothing good.
    bench.gate.script.set(3, Finding::new(LookUp::NotRecorded));
    let asked = bench.ask(3);
    for _ in 0..2 {
        settle().await;
        bench.responder.forget(&hash(2));
        bench.gate.open.add_permits(1);
    }
    let status = read(&asked.await.unwrap().der).singles[0].status;
    assert!(matches!(status, CertStatus::Revoked { .. }));
    assert_eq!(bench.gate.script.asked(), 5);
}

#[tokio::test]
async fn a_failure_is_everybodys_and_is_not_kept() {
    let bench = Bench::quick();
    bench.gate.script.fail(1);
    let all = [bench.ask(1), bench.ask(1)];
    settle().await;
    bench.gate.open.add_permits(1);
    for answer in all {
        assert_eq!(answer.await.unwrap().status, ResponseStatus::TryLater);
    }
    bench.gate.script.set(1, found(1, Status::Valid));
    bench.gate.open.add_permits(1);
    assert_eq!(
        bench.ask(1).await.unwrap().status,
        ResponseStatus::Successful
    );
    assert_eq!(bench.gate.script.asked(), 2);
}

fn held(cost: SigningCost) -> (Signer, Arc<Held>, mpsc::Sender<()>) {
    held_with(cost, signer_params("held"))
}

fn held_with(
    cost: SigningCost,
    params: rcgen::CertificateParams,
) -> (Signer, Arc<Held>, mpsc::Sender<()>) {
    let (_, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, params);
    let (held, go) = Held::new(&certificate, cost);
    let signer = Signer::new(NOW, Box::new(Arc::clone(&held)), &certificate).unwrap();
    (signer, held, go)
}

#[tokio::test]
async fn slow_signatures_wait_in_a_bounded_queue_and_stop_nothing_else() {
    let cost = SigningCost::Remote {
        at_once: NonZeroUsize::MIN,
    };
    let policy = Policy {
        sign_queue: 2,
        ..Policy::default()
    };
    let (signer, held, go) = held(cost);
    let bench = Bench::new(policy, signer);
    bench.gate.open.add_permits(1);
    go.send(()).unwrap();
    let cached = bench.ask(1).await.unwrap();
    assert_eq!(cached.status, ResponseStatus::Successful);
    // One is being made, two wait.
    let nonce = |octet| bench.ca.request_with_nonce(1, &[octet; 32]);
    let waiting: Vec<_> = (0..3)
        .map(|octet| bench.ask_at(NOW, nonce(octet)))
        .collect();
    settle().await;
    let began = tokio::time::Instant::now();
    while held.begun.load(Ordering::SeqCst) < 2 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for octet in 3..6 {
        let answer = bench.ask_at(NOW, nonce(octet)).await.unwrap();
        assert_eq!(answer.status, ResponseStatus::TryLater);
    }
    assert_eq!(bench.responder.counters().signatures_shed, 3);
    assert!(bench.responder.answer_at_once(NOW, &nonce(6)).is_none());
    // What is signed already is given meanwhile.
    assert_eq!(bench.ask(1).await.unwrap().der, cached.der);
    // Who gives up leaves a place, and is not signed for.
    waiting[2].abort();
    settle().await;
    let next = bench.ask_at(NOW, nonce(7));
    settle().await;
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    let mut waiting = waiting.into_iter();
    for answer in [waiting.next().unwrap(), waiting.next().unwrap(), next] {
        assert_eq!(answer.await.unwrap().status, ResponseStatus::Successful);
    }
    assert_eq!(held.begun.load(Ordering::SeqCst), 4);
    assert_eq!(bench.responder.counters().signed, 4);
    // A key that fails is no load.
    drop(go);
    let answer = bench.ask_at(NOW, nonce(8)).await.unwrap();
    assert_eq!(answer.status, ResponseStatus::InternalError);
    assert_eq!(bench.responder.counters().signatures_shed, 3);
}

#[tokio::test]
async fn signatures_for_one_alone_take_no_room_of_those_that_are_kept() {
    let cost = SigningCost::Remote {
        at_once: NonZeroUsize::MIN,
    };
    let policy = Policy {
        sign_queue: 2,
        ..Policy::default()
    };
    let (signer, held, go) = held(cost);
    let bench = Bench::new(policy, signer);
    bench.gate.open.add_permits(3);
    // One is being made, two wait, and there is room for no more of these.
    let nonces: Vec<_> = (0..9)
        .map(|octet| bench.ask_at(NOW, bench.ca.request_with_nonce(1, &[octet; 32])))
        .collect();
    held.has_begun(1).await;
    settle().await;
    assert_eq!(bench.responder.counters().signatures_shed, 6);
    // Nor does it help to ask for several at once, which nobody keeps either.
    let (one, two) = (
        bench.ca.cert_id(ocsp::HashAlgorithm::Sha1, 1),
        bench.ca.cert_id(ocsp::HashAlgorithm::Sha1, 2),
    );
    let both = bench.ask_at(NOW, Request::encode(&[&one, &two], None));
    assert_eq!(both.await.unwrap().status, ResponseStatus::TryLater);
    // Those that are kept come next.
    let kept = [bench.ask(2), bench.ask(3)];
    settle().await;
    go.send(()).unwrap();
    held.has_begun(2).await;
    for kept in kept {
        go.send(()).unwrap();
        assert_eq!(kept.await.unwrap().status, ResponseStatus::Successful);
    }
    assert_eq!(nonces.iter().filter(|asked| asked.is_finished()).count(), 7);
    assert_eq!(bench.responder.counters().signed, 3);
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    let mut successful = 0;
    for asked in nonces {
        let answer = asked.await.unwrap();
        successful += usize::from(answer.status == ResponseStatus::Successful);
    }
    assert_eq!(successful, 3);
}

#[tokio::test]
async fn a_signature_outlives_whoever_wanted_it_first() {
    let (signer, held, go) = held(SigningCost::Slow);
    let bench = Bench::new(Policy::default(), signer);
    bench.gate.open.add_permits(2);
    let first = bench.ask(1);
    held.has_begun(1).await;
    let second = bench.ask(1);
    settle().await;
    first.abort();
    settle().await;
    go.send(()).unwrap();
    let answer = second.await.unwrap();
    assert_eq!(answer.status, ResponseStatus::Successful);
    assert_eq!(bench.ask(1).await.unwrap().der, answer.der);
    assert_eq!(held.begun.load(Ordering::SeqCst), 1);
    // Also when nobody waits for it any more: the next one finds it.
    let last = bench.ask(2);
    held.has_begun(2).await;
    last.abort();
    assert!(last.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    let answer = bench.ask(2).await.unwrap();
    assert_eq!(answer.origin, Origin::Cache);
    assert_eq!(held.begun.load(Ordering::SeqCst), 2);
    assert_eq!(bench.responder.counters().signed, 2);
}

#[tokio::test]
async fn what_a_change_overtakes_in_the_signing_queue_is_not_given() {
    let (signer, held, go) = held(SigningCost::Slow);
    let bench = Bench::new(Policy::default(), signer);
    bench.gate.open.add_permits(8);
    let nonce = bench.ca.request_with_nonce(1, &[1; 32]);
    for (round, request) in [bench.ca.request(1), nonce].into_iter().enumerate() {
        bench.gate.script.set(1, found(1, Status::Valid));
        bench.responder.forget(&hash(1));
        let asked = bench.ask_at(NOW, request);
        held.has_begun(2 * round + 1).await;
        let held_since = Status::Suspended {
            since: BlockTime(5_000),
        };
        bench.gate.script.set(1, found(1, held_since));
        bench.responder.forget(&hash(1));
        go.send(()).unwrap();
        go.send(()).unwrap();
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, ResponseStatus::Successful);
    }
    assert_eq!(held.begun.load(Ordering::SeqCst), 4);
    let counters = bench.responder.counters();
    assert_eq!((counters.good, counters.revoked), (0, 2));
}

#[tokio::test]
async fn a_key_that_does_not_answer_gives_way_until_it_does() {
    let cost = SigningCost::Remote {
        at_once: NonZeroUsize::new(4).unwrap(),
    };
    let (signer, held, go) = held(cost);
    let mut signers = Signers::new();
    signers.add_local(signer);
    signers.add_local(local_signer(&PKCS_ECDSA_P256_SHA256));
    let bench = Bench::quick();
    bench.responder.replace(Policy::default(), signers);
    bench.gate.open.add_permits(8);
    assert_eq!(bench.responder.signer_problems(NOW), []);
    for _ in 0..2 {
        bench.responder.check_remote_keys().await;
        assert_eq!(
            bench.responder.signer_problems(NOW),
            [SignerProblem::Unavailable]
        );
    }
    // The second trial waited for the first.
    assert_eq!(held.begun.load(Ordering::SeqCst), 1);
    // The other one signs.
    let answer = bench.ask(1).await.unwrap();
    assert_eq!(read(&answer.der).singles[0].status, CertStatus::Good);
    assert_eq!(held.begun.load(Ordering::SeqCst), 1);
    // It answers after all.
    go.send(()).unwrap();
    go.send(()).unwrap();
    bench.responder.check_remote_keys().await;
    assert_eq!(bench.responder.signer_problems(NOW), []);
}

#[tokio::test]
async fn no_answer_outlives_a_signer_whose_key_was_away_at_its_look_up() {
    let cost = SigningCost::Remote {
        at_once: NonZeroUsize::MIN,
    };
    let mut params = signer_params("held");
    params.not_after = rcgen::date_time_ymd(2026, 8, 1) + Duration::from_secs(40);
    let (signer, _held, go) = held_with(cost, params);
    let until = UnixTime(NOW.0 + 40);
    assert_eq!(signer.not_after(), until);
    let mut signers = Signers::new();
    signers.add_local(signer);
    signers.add_local(local_signer(&PKCS_ECDSA_P256_SHA256));
    let away = Arc::clone(signers.iter().next().unwrap());
    let bench = Bench::quick();
    bench.responder.replace(Policy::default(), signers);
    bench.gate.open.add_permits(1);
    away.key().note_hanging(away.key().ended());
    // The look-up is made while the other one signs, and the response without the nonce when this one is back.
    let nonce = bench.ca.request_with_nonce(1, &[1; 32]);
    let other = bench.ask_at(NOW, nonce).await.unwrap();
    let reading = read(&other.der);
    assert_ne!(reading.signer, away.certificate());
    assert_eq!(reading.singles[0].next_update, until.0);
    go.send(()).unwrap();
    away.check().unwrap();
    go.send(()).unwrap();
    let answer = bench.ask(1).await.unwrap();
    assert!(
        answer
            .der
            .windows(away.certificate().len())
            .any(|octets| octets == away.certificate())
    );
    assert_eq!(answer.cacheable.unwrap().next_update, until);
    assert_eq!(bench.gate.script.asked(), 1);
}

#[tokio::test]
async fn look_ups_under_way_are_bounded() {
    let bench = Bench::quick();
    let settings = bench.responder.settings();
    let since = settings.cache.since();
    let board = |id: u32| {
        let begin = || Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>;
        settings.flights.board(NOW, since, &id.to_be_bytes(), begin)
    };
    let mut passengers: Vec<_> = (0..16_384).map(|id| board(id).unwrap().0).collect();
    assert!(board(16_384).is_none());
    // Those that are under way can still be joined.
    let (joined, was_joined) = board(7).unwrap();
    assert!(was_joined);
    drop(passengers.pop());
    let (last, was_joined) = board(16_384).unwrap();
    assert!(!was_joined);
    drop((passengers, last));
    assert_eq!(bench.flights(), "Flights { under_way: 1 }");
    drop(joined);
    assert_eq!(bench.flights(), "Flights { under_way: 0 }");
}
