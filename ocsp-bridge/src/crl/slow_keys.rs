//! Keys that are slow, hang, fail and come back: what is issued goes on being served, and nobody is kept.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ledger::RevocationReason;
use ocsp::SignatureAlgorithm;

use super::tests::{Model, policy, take};
use super::{CrlIssuer, CrlSigner, CrlUnavailable, Crls};
use crate::fixture::{Authority, Held, NOW};
use crate::signer::{SignError, SigningCost, SigningKey};

fn remote(at_once: usize) -> SigningCost {
    SigningCost::Remote {
        at_once: NonZeroUsize::new(at_once).unwrap(),
    }
}

/// The CRLs of an authority whose key a test holds.
struct Bench {
    authority: Authority,
    model: Model,
    issuer: Arc<CrlIssuer>,
    crls: Crls,
    held: Arc<Held>,
    go: mpsc::Sender<()>,
}

impl Bench {
    fn new(cost: SigningCost) -> Self {
        let authority = Authority::new("CA");
        let certificate = &authority.certificate;
        let (held, go) = Held::new(certificate, cost);
        let key = Box::new(Arc::clone(&held));
        let signer = CrlSigner::new(NOW, certificate, certificate, key).unwrap();
        let issuer = CrlIssuer::new(policy(), signer, None, Duration::from_secs(600));
        let issuer = Arc::new(issuer);
        let crls = Crls::new(vec![Arc::clone(&issuer)]).unwrap();
        let mut model = Model::default();
        model.change(1, RevocationReason::KeyCompromise);
        take(&issuer, &model, NOW);
        Self {
            authority,
            model,
            issuer,
            crls,
            held,
            go,
        }
    }

    /// Another certificate is revoked, so that a CRL is due.
    fn revoke(&mut self, serial: u64) {
        self.model.change(serial, RevocationReason::KeyCompromise);
        take(&self.issuer, &self.model, NOW);
    }

    fn begun(&self) -> usize {
        self.held.begun.load(Ordering::SeqCst)
    }

    /// Until the signature that was begun has ended.
    async fn ended(&self, signer: &CrlSigner) {
        let began = Instant::now();
        while signer.make_full(|| Ok(())).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[tokio::test]
async fn a_key_that_does_not_answer_keeps_nobody() {
    let mut bench = Bench::new(remote(4));
    bench.go.send(()).unwrap();
    let first = bench.issuer.issue_in_turn(NOW).await.unwrap().unwrap();
    bench.go.send(()).unwrap();
    let number = first.number();
    let delta = bench.issuer.delta(NOW, Some(number)).await.unwrap();
    assert_eq!(bench.issuer.problem(NOW), None);
    assert_eq!(bench.begun(), 2);

    bench.revoke(2);
    let error = bench.issuer.issue_in_turn(NOW).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no signature came within 5 s"), "{text}");
    // What is there serves, and no second one is begun.
    assert_eq!(bench.issuer.full(NOW), Ok(Arc::clone(&first)));
    let error = bench.issuer.issue_in_turn(NOW).await.unwrap_err();
    assert!(error.to_string().contains("the last CRL"), "{error}");
    assert_eq!(bench.begun(), 3);
    // So it is with delta CRLs; a client waits for a second at most.
    for _ in 0..2 {
        let began = Instant::now();
        let kept = bench.issuer.delta(NOW, Some(number)).await.unwrap();
        assert!(Arc::ptr_eq(&kept, &delta) && began.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(bench.begun(), 4);
    // The trial finds it out, and from then on nobody waits at all.
    bench.crls.check_remote_keys().await;
    let problem = bench.issuer.problem(NOW).unwrap();
    assert!(problem.contains("does not answer within 2 s"), "{problem}");
    assert!(!bench.issuer.signer().is_available());
    let kept = bench.issuer.delta(NOW, Some(number)).await.unwrap();
    assert!(Arc::ptr_eq(&kept, &delta));
    assert!(bench.issuer.issue_in_turn(NOW).await.is_err());
    assert_eq!(bench.begun(), 5);

    // Another signer need not wait for it.
    let hanging = bench.issuer.signer();
    let certificate = &bench.authority.certificate;
    let key = bench.authority.key_pkcs8();
    let signer = CrlSigner::from_pkcs8(NOW, certificate, certificate, &key).unwrap();
    bench.issuer.replace_signer(Arc::new(signer));
    let second = bench.issuer.issue_in_turn(NOW).await.unwrap().unwrap();
    assert!(second.number() > number);
    let newer = bench.issuer.delta(NOW, Some(number)).await.unwrap();
    assert!(newer.number() > delta.number());
    assert_eq!(bench.issuer.problem(NOW), None);
    // What the first one signs after all takes nothing back.
    for _ in 0..3 {
        bench.go.send(()).unwrap();
    }
    bench.ended(&hanging).await;
    assert_eq!(bench.issuer.full(NOW), Ok(second));
}

#[tokio::test]
async fn what_a_slow_key_signs_is_issued_though_nobody_waits_for_it() {
    let mut bench = Bench::new(remote(1));
    bench.go.send(()).unwrap();
    let first = bench.issuer.issue_in_turn(NOW).await.unwrap().unwrap();
    bench.revoke(2);
    let issuer = Arc::clone(&bench.issuer);
    let issuing = tokio::spawn(async move { issuer.issue_in_turn(NOW).await });
    bench.held.has_begun(2).await;
    issuing.abort();
    assert!(issuing.await.unwrap_err().is_cancelled());
    assert_eq!(bench.issuer.full(NOW), Ok(Arc::clone(&first)));
    bench.go.send(()).unwrap();
    bench.ended(&bench.issuer.signer()).await;
    assert!(bench.issuer.full(NOW).unwrap().number() > first.number());
    // Without a signature there is no delta CRL, and the client is told so.
    let asked = bench.issuer.delta(NOW, Some(first.number())).await;
    assert!(
        matches!(asked, Err(CrlUnavailable::Hindered(_))),
        "{asked:?}"
    );
}

/// A key that a test takes away.
#[derive(Debug)]
struct Away {
    key: Box<dyn SigningKey>,
    is_away: Arc<AtomicBool>,
}

impl SigningKey for Away {
    fn algorithms(&self) -> &[SignatureAlgorithm] {
        self.key.algorithms()
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn cost(&self) -> SigningCost {
        remote(1)
    }

    fn is_available(&self) -> bool {
        !self.is_away.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), SignError> {
        if self.is_available() {
            return Ok(());
        }
        Err(SignError::Unavailable("the token is away".to_owned()))
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.check()?;
        self.key.sign(algorithm, message)
    }
}

#[tokio::test]
async fn a_key_that_was_away_signs_what_is_due_when_it_is_back() {
    let mut bench = Bench::new(SigningCost::Quick);
    let certificate = &bench.authority.certificate;
    let is_away = Arc::new(AtomicBool::new(false));
    let key = Away {
        key: crate::signer::pkcs8_key(&bench.authority.key_pkcs8()).unwrap(),
        is_away: Arc::clone(&is_away),
    };
    let signer = CrlSigner::new(NOW, certificate, certificate, Box::new(key)).unwrap();
    bench.issuer.replace_signer(Arc::new(signer));
    let first = bench.issuer.issue_in_turn(NOW).await.unwrap().unwrap();
    bench.crls.check_remote_keys().await;
    assert_eq!(bench.crls.problems(NOW), [""; 0]);
    is_away.store(true, Ordering::SeqCst);
    bench.crls.check_remote_keys().await;
    let problems = bench.crls.problems(NOW);
    assert!(
        problems[0].contains("the next one cannot be signed")
            && problems[0].contains("the token is away"),
        "{problems:?}"
    );
    bench.revoke(2);
    assert!(bench.issuer.issue_in_turn(NOW).await.is_err());
    assert_eq!(bench.issuer.full(NOW), Ok(Arc::clone(&first)));
    // When it has run out, the reason is the key's.
    let error = bench.issuer.full(first.next_update()).unwrap_err();
    assert!(error.to_string().contains("the token is away"), "{error}");
    // Whoever issues CRLs is woken when it is back.
    let mut wanted = bench.issuer.wanted();
    wanted.mark_unchanged();
    bench.crls.check_remote_keys().await;
    assert!(!wanted.has_changed().unwrap());
    is_away.store(false, Ordering::SeqCst);
    bench.crls.check_remote_keys().await;
    assert!(wanted.has_changed().unwrap());
    assert!(bench.issuer.issue_in_turn(NOW).await.unwrap().is_some());
    assert_eq!(bench.crls.problems(NOW), [""; 0]);
}
