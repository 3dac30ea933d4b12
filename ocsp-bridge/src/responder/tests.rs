use std::time::Duration;

use ledger::{BlockTime, RevocationReason, Status};
use ocsp::{CertStatus, HashAlgorithm};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd};
use testkit::ocsp_requests::{self, Expect};

use super::*;
use crate::fixture::{
    Authority, NOW, Script, found, hash, local_signer, read, self_signed, signer_params,
};
use crate::signer::Signer;
use crate::source::{Finding, LookUp};
use crate::translate::NotRecordedPolicy;

struct Bench {
    ca: Authority,
    script: Arc<Script>,
    responder: Responder,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let mut signers = Signers::new();
        signers.add_local(local_signer(&PKCS_ECDSA_P256_SHA256));
        Self::with_signers(policy, signers)
    }

    fn with_signers(policy: Policy, signers: Signers) -> Self {
        let script = Arc::new(Script::default());
        Self {
            ca: Authority::new("ca"),
            responder: Responder::new(policy, signers, Arc::new(Arc::clone(&script))),
            script,
        }
    }

    async fn ask(&self, now: UnixTime, serial: u8) -> Answer {
        self.responder.answer(now, &self.ca.request(serial)).await
    }
}

fn seconds(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

#[tokio::test]
async fn a_valid_certificate_is_good_for_the_lifetime_from_the_block_on() {
    let bench = Bench::new(Policy::default());
    let answer = bench.ask(NOW, 1).await;
    assert_eq!(answer.status, ResponseStatus::Successful);
    assert_eq!(answer.origin, Origin::Signed);
    let reading = read(&answer.der);
    assert_eq!(reading.produced_at, NOW.0);
    assert_eq!(reading.nonce, None);
    assert!(!reading.extended_revoked);
    let [single] = &*reading.singles else {
        panic!()
    };
    assert_eq!(single.cert_id, bench.ca.cert_id(HashAlgorithm::Sha1, 1));
    assert_eq!(single.status, CertStatus::Good);
    assert_eq!(
        (single.this_update, single.next_update),
        (NOW.0 - 1, NOW.0 + 60)
    );
    assert_eq!(single.cert_hash.as_deref(), Some(hash(1).as_ref()));
    assert_eq!(single.archive_cutoff, None);
    let lifetime = answer.cacheable.unwrap();
    assert_eq!(lifetime.this_update, UnixTime(NOW.0 - 1));
    assert_eq!(lifetime.produced_at, NOW);
    assert_eq!(lifetime.next_update, seconds(60));
    assert_eq!(lifetime.etag, crate::ETag::of(&answer.der));
}

#[tokio::test]
async fn answers_are_given_again_for_half_of_their_lifetime() {
    let bench = Bench::new(Policy::default());
    let request = bench.ca.request(1);
    assert!(bench.responder.answer_at_once(NOW, &request).is_none());
    let first = bench.ask(NOW, 1).await;
    let again = bench.ask(seconds(29), 1).await;
    assert_eq!((again.origin, &again.der), (Origin::Cache, &first.der));
    assert_eq!(again.cacheable, first.cacheable);
    let at_once = bench.responder.answer_at_once(seconds(29), &request);
    assert_eq!(at_once.unwrap().der, first.der);
    assert_eq!(bench.script.asked(), 1);
    // A clock that was set back.
    let earlier = bench.ask(UnixTime(NOW.0 - 1), 1).await;
    assert_eq!(read(&earlier.der).produced_at, NOW.0 - 1);
    let bench = Bench::new(Policy::default());
    bench.ask(NOW, 1).await;
    let later = bench.ask(seconds(30), 1).await;
    assert_eq!(later.origin, Origin::Signed);
    assert_eq!(read(&later.der).singles[0].next_update, NOW.0 + 90);
    assert_eq!(bench.script.asked(), 2);
}

#[tokio::test]
async fn a_change_on_the_ledger_drops_what_was_kept() {
    let bench = Bench::new(Policy::default());
    let first = bench.ask(NOW, 1).await;
    let other = bench.ask(NOW, 2).await;
    let revoked = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(NOW.0 * 1_000 + 999),
    };
    bench.script.set(1, found(1, revoked));
    bench.responder.forget(&hash(1));
    let second = bench.ask(seconds(1), 1).await;
    assert_ne!(first.der, second.der);
    assert_eq!(
        read(&second.der).singles[0].status,
        CertStatus::Revoked {
            time: NOW,
            reason: RevocationReason::KeyCompromise
        }
    );
    assert_eq!(bench.ask(seconds(1), 2).await.der, other.der);
    bench.responder.forget_all();
    assert_eq!(bench.ask(seconds(1), 2).await.origin, Origin::Signed);
    assert_eq!(bench.script.asked(), 4);
}

#[tokio::test]
async fn what_has_left_the_cache_is_not_given_after_a_change() {
    let capacity = std::num::NonZeroUsize::MIN;
    let bench = Bench::new(Policy {
        cache_capacity: capacity,
        ..Policy::default()
    });
    let good = bench.ask(NOW, 1).await;
    // Its octets are known by now, and somebody still has it; the other certificate takes its place in the cache.
    assert_eq!(bench.ask(NOW, 1).await.der, good.der);
    let known = bench.responder.settings().known.find(&bench.ca.request(1));
    assert!(known.is_some());
    bench.ask(NOW, 2).await;
    bench.script.set(1, Finding::new(LookUp::NotRecorded));
    bench.responder.forget(&hash(1));
    assert_ne!(bench.ask(NOW, 1).await.der, good.der);
    assert_eq!(bench.script.asked(), 3);
}

#[tokio::test]
async fn what_is_asked_for_all_the_time_stays_however_many_others_are_asked_for_once() {
    let bench = Bench::new(Policy {
        cache_capacity: std::num::NonZeroUsize::new(4).unwrap(),
        ..Policy::default()
    });
    let first = bench.ask(NOW, 1).await;
    for other in 2..20 {
        assert_eq!(bench.ask(NOW, 1).await.der, first.der, "after {other}");
        bench.ask(NOW, other).await;
    }
    assert_eq!(bench.script.asked(), 19);
    // What is asked for no more goes.
    for other in 20..30 {
        bench.ask(NOW, other).await;
    }
    assert_ne!(bench.ask(NOW, 1).await.origin, Origin::Cache);
}

#[tokio::test]
async fn what_has_left_the_cache_is_kept_nowhere_else() {
    let bench = Bench::new(Policy {
        cache_capacity: std::num::NonZeroUsize::new(2).unwrap(),
        ..Policy::default()
    });
    let request = bench.ca.request(1);
    for _ in 0..2 {
        bench.ask(NOW, 1).await;
    }
    let known = || bench.responder.settings().known.find(&request);
    let entry = Arc::downgrade(&known().unwrap());
    bench.responder.forget_all();
    assert!(known().is_none() && entry.upgrade().is_none());
}

#[tokio::test]
async fn only_requests_without_nonce_and_preferences_are_known_by_their_octets() {
    let bench = Bench::new(Policy {
        nonce: NoncePolicy::Ignored,
        ..Policy::default()
    });
    let known = |request: &[u8]| bench.responder.settings().known.find(request).is_some();
    let plain = bench.ca.request(1);
    let nonce = bench.ca.request_with_nonce(1, &[7; 16]);
    for request in [&plain, &nonce] {
        bench.responder.answer(NOW, request).await;
        let again = bench.responder.answer(NOW, request).await;
        assert_eq!(again.origin, Origin::Cache);
    }
    assert!(known(&plain) && !known(&nonce));
    // What follows the octets is another request, and as wrong as before.
    let longer = [&*plain, &[0]].concat();
    let refused = bench.responder.answer(NOW, &longer).await;
    assert_eq!(refused.status, ResponseStatus::MalformedRequest);
    // Another policy or other signers begin anew.
    let mut signers = Signers::new();
    signers.add_local(local_signer(&PKCS_ED25519));
    bench.responder.replace(Policy::default(), signers);
    assert!(!known(&plain));
    assert_eq!(bench.ask(NOW, 1).await.origin, Origin::Signed);
}

#[tokio::test]
async fn a_certificate_that_is_recorded_meanwhile_is_found() {
    let bench = Bench::new(Policy::default());
    bench.script.set(1, Finding::new(LookUp::NotRecorded));
    bench.script.set(2, Finding::new(LookUp::ForeignIssuer));
    let refused = bench.ask(NOW, 1).await;
    assert_eq!(bench.ask(NOW, 1).await.der, refused.der);
    let foreign = bench.ask(NOW, 2).await;
    assert_eq!(foreign.status, ResponseStatus::Unauthorized);
    assert_eq!(bench.ask(NOW, 2).await.status, ResponseStatus::Unauthorized);
    assert_eq!(bench.script.asked(), 2);
    for serial in [1, 2] {
        bench.script.set(serial, found(serial, Status::Valid));
        bench.responder.forget(&hash(serial));
        let good = bench.ask(NOW, serial).await;
        assert_eq!(read(&good.der).singles[0].status, CertStatus::Good);
    }
}

#[tokio::test]
async fn a_nonce_is_echoed_and_its_answer_kept_from_others() {
    let bench = Bench::new(Policy::default());
    for nonce in [&[7; 1][..], &[8; 16], &[9; 32], &[10; 128]] {
        let request = bench.ca.request_with_nonce(1, nonce);
        let answer = bench.responder.answer(NOW, &request).await;
        assert_eq!(answer.origin, Origin::Signed);
        assert!(answer.cacheable.is_none());
        assert_eq!(read(&answer.der).nonce.as_deref(), Some(nonce));
    }
    // One look-up for all of them, and for the one without.
    let plain = bench.ask(NOW, 1).await;
    assert_eq!(read(&plain.der).nonce, None);
    assert_eq!(bench.script.asked(), 1);
    assert_eq!(bench.responder.counters().signed, 5);
}

#[tokio::test]
async fn nonce_policies() {
    for (nonce, without, with) in [
        (NoncePolicy::Optional, true, Some(true)),
        (NoncePolicy::Ignored, true, Some(false)),
        (NoncePolicy::Required, false, Some(true)),
        (NoncePolicy::Forbidden, true, None),
    ] {
        let bench = Bench::new(Policy {
            nonce,
            ..Policy::default()
        });
        let answer = bench.ask(NOW, 1).await;
        let malformed = ResponseStatus::MalformedRequest;
        assert_eq!(answer.status != malformed, without, "{nonce:?}");
        let request = bench.ca.request_with_nonce(1, &[7; 16]);
        let answer = bench.responder.answer(NOW, &request).await;
        let echoed = (answer.status != malformed).then(|| read(&answer.der).nonce.is_some());
        assert_eq!(echoed, with, "{nonce:?}");
        if nonce == NoncePolicy::Ignored {
            assert_eq!(answer.origin, Origin::Cache);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_recorded_is_revoked_by_the_extended_definition() {
    let bench = Bench::new(Policy::default());
    bench.script.set(1, Finding::new(LookUp::NotRecorded));
    let reading = read(&bench.ask(NOW, 1).await.der);
    assert!(reading.extended_revoked);
    assert_eq!(
        reading.singles[0].status,
        CertStatus::Revoked {
            time: UnixTime::EPOCH,
            reason: RevocationReason::CertificateHold
        }
    );
    assert_eq!(reading.singles[0].cert_hash, None);
    assert_eq!(bench.responder.counters().not_recorded, 1);
    let bench = Bench::new(Policy {
        not_recorded: NotRecordedPolicy::Unknown,
        ..Policy::default()
    });
    bench.script.set(1, Finding::new(LookUp::NotRecorded));
    let reading = read(&bench.ask(NOW, 1).await.der);
    assert!(!reading.extended_revoked);
    assert_eq!(reading.singles[0].status, CertStatus::Unknown);
}

#[tokio::test]
async fn an_ambiguous_cert_id_is_revoked_and_counted() {
    let bench = Bench::new(Policy::default());
    bench
        .script
        .set(1, Finding::new(LookUp::Ambiguous { count: 2 }));
    let reading = read(&bench.ask(NOW, 1).await.der);
    assert!(matches!(
        reading.singles[0].status,
        CertStatus::Revoked { .. }
    ));
    assert!(!reading.extended_revoked);
    assert_eq!(bench.responder.counters().ambiguous, 1);
}

#[tokio::test]
async fn without_a_trustworthy_answer_the_relying_party_shall_try_later() {
    let bench = Bench::new(Policy {
        max_block_age: Some(Duration::from_secs(10)),
        ..Policy::default()
    });
    bench.script.fail(1);
    let old = Finding {
        block_time: Some(BlockTime((NOW.0 - 10) * 1_000)),
        ..found(2, Status::Valid)
    };
    bench.script.set(2, old);
    let lapsed = Finding {
        fresh_until: Some(NOW),
        ..found(3, Status::Valid)
    };
    bench.script.set(3, lapsed);
    for serial in [1, 2, 3] {
        let answer = bench.ask(NOW, serial).await;
        assert_eq!(answer.status, ResponseStatus::TryLater);
        assert!(answer.cacheable.is_none());
    }
    // Failures are not kept.
    bench.script.set(1, found(1, Status::Valid));
    assert_eq!(bench.ask(NOW, 1).await.status, ResponseStatus::Successful);
    assert_eq!(bench.responder.counters().try_later, 3);
}

#[tokio::test]
async fn several_certificates_in_one_request() {
    let bench = Bench::new(Policy::default());
    let suspended = Status::Suspended {
        since: BlockTime(5_000),
    };
    bench.script.set(2, found(2, suspended));
    bench.script.set(3, Finding::new(LookUp::NotRecorded));
    bench.script.set(4, Finding::new(LookUp::ForeignIssuer));
    let ids: Vec<_> = [
        (HashAlgorithm::Sha1, 1),
        (HashAlgorithm::Sha256, 2),
        (HashAlgorithm::Sha384, 3),
        (HashAlgorithm::Sha512, 4),
    ]
    .map(|(algorithm, serial)| bench.ca.cert_id(algorithm, serial))
    .into();
    let all: Vec<_> = ids.iter().map(|id| &**id).collect();
    for (request, origin_of_look_ups) in [
        (Request::encode(&all, Some(&[7; 32])), 4),
        (Request::encode(&all, None), 4),
    ] {
        let answer = bench.responder.answer(NOW, &request).await;
        let reading = read(&answer.der);
        assert!(reading.extended_revoked);
        let echoed: Vec<_> = reading
            .singles
            .iter()
            .map(|single| &*single.cert_id)
            .collect();
        assert_eq!(echoed, all);
        let statuses: Vec<_> = reading.singles.iter().map(|single| single.status).collect();
        let hold = |time| CertStatus::Revoked {
            time,
            reason: RevocationReason::CertificateHold,
        };
        let expected = [
            CertStatus::Good,
            hold(UnixTime(5)),
            hold(UnixTime::EPOCH),
            CertStatus::Unknown,
        ];
        assert_eq!(statuses, expected);
        assert_eq!(answer.cacheable.is_some(), reading.nonce.is_none());
        assert_eq!(bench.script.asked(), origin_of_look_ups);
    }
    // Nobody but the foreign one.
    let request = Request::encode(&[all[3], all[3]], None);
    let answer = bench.responder.answer(NOW, &request).await;
    assert_eq!(answer.status, ResponseStatus::Unauthorized);
    // One failure is everybody's.
    bench.script.fail(9);
    let ninth = bench.ca.cert_id(HashAlgorithm::Sha1, 9);
    let request = Request::encode(&[all[0], &ninth], None);
    let answer = bench.responder.answer(NOW, &request).await;
    assert_eq!(answer.status, ResponseStatus::TryLater);
}

#[tokio::test]
async fn delegates_sign_for_their_issuer_only() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let (key, certificate) = ca.delegate(&PKCS_ED25519);
    let signer = || Signer::from_pkcs8(NOW, &key, &certificate).unwrap();
    let mut signers = Signers::new();
    assert_eq!(
        signers.add_delegate(&other.certificate, signer()),
        Err(crate::SignerError::NotIssuedBy)
    );
    signers.add_delegate(&ca.certificate, signer()).unwrap();
    let bench = Bench::with_signers(Policy::default(), signers);
    for algorithm in HashAlgorithm::ALL {
        let request = Request::encode(&[&ca.cert_id(algorithm, 1)], None);
        let reading = read(&bench.responder.answer(NOW, &request).await.der);
        assert_eq!(reading.signer, certificate);
        // Two issuers of whom one has nobody to sign for it.
        let ids = [ca.cert_id(algorithm, 1), other.cert_id(algorithm, 1)];
        for ids in [[&*ids[0], &*ids[1]], [&*ids[1], &*ids[0]]] {
            let request = Request::encode(&ids, None);
            let answer = bench.responder.answer(NOW, &request).await;
            assert_eq!(answer.status, ResponseStatus::Unauthorized);
        }
    }
    let answer = bench.responder.answer(NOW, &other.request(1)).await;
    assert_eq!(answer.status, ResponseStatus::Unauthorized);
    // The other's certificates are not even looked up.
    assert_eq!(bench.script.asked(), 4);
}

#[tokio::test]
async fn preferred_algorithms_choose_the_signer() {
    let mut signers = Signers::new();
    signers.add_local(local_signer(&PKCS_ECDSA_P384_SHA384));
    signers.add_local(local_signer(&PKCS_ECDSA_P256_SHA256));
    let bench = Bench::with_signers(Policy::default(), signers);
    let preferring = ocsp_requests::all()
        .into_iter()
        .find(|case| case.name == "preferred-algorithms")
        .unwrap();
    let id = Request::decode(&preferring.octets, Policy::default().limits)
        .unwrap()
        .first;
    let plain = Request::encode(&[id.der()], None);
    let (p256, p384) = ("1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3");
    for (request, origin, algorithm) in [
        (&plain, Origin::Signed, p384),
        (&preferring.octets, Origin::Signed, p256),
        (&plain, Origin::Cache, p384),
        (&preferring.octets, Origin::Signed, p256),
    ] {
        let answer = bench.responder.answer(NOW, request).await;
        assert_eq!(answer.origin, origin);
        assert_eq!(read(&answer.der).algorithm, algorithm);
    }
    assert_eq!(bench.script.asked(), 1);
}

#[tokio::test]
async fn nothing_is_signed_past_the_signers_end() {
    let mut params = signer_params("signer");
    params.not_after = date_time_ymd(2026, 8, 1) + Duration::from_secs(30);
    let (key, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, params);
    let signer = Signer::from_pkcs8(NOW, &key, &certificate).unwrap();
    assert_eq!(
        Signer::from_pkcs8(seconds(31), &key, &certificate).unwrap_err(),
        SignError::Expired {
            not_after: seconds(30)
        }
        .into()
    );
    let mut signers = Signers::new();
    signers.add_local(signer);
    let bench = Bench::with_signers(Policy::default(), signers);
    let answer = bench.ask(NOW, 1).await;
    assert_eq!(answer.cacheable.unwrap().next_update, seconds(30));
    assert_eq!(bench.responder.first_expiry(), Some(seconds(30)));
    assert_eq!(bench.responder.signer_problems(seconds(30)), []);
    assert_eq!(
        bench.responder.signer_problems(seconds(31)),
        [SignerProblem::Validity]
    );
    let answer = bench.ask(seconds(31), 1).await;
    assert_eq!(answer.status, ResponseStatus::InternalError);
    assert_eq!(bench.script.asked(), 1);
    // Another takes over from the next request on.
    let mut signers = Signers::new();
    signers.add_local(local_signer(&PKCS_ED25519));
    bench.responder.replace(Policy::default(), signers);
    let answer = bench.ask(seconds(31), 1).await;
    assert_eq!(read(&answer.der).algorithm, "1.3.101.112");
}

#[tokio::test]
async fn without_signers_everybody_is_foreign() {
    let bench = Bench::with_signers(Policy::default(), Signers::new());
    assert_eq!(bench.ask(NOW, 1).await.status, ResponseStatus::Unauthorized);
    assert_eq!(
        bench.responder.signer_problems(NOW),
        [SignerProblem::NoSigner]
    );
    assert_eq!(bench.responder.first_expiry(), None);
}

#[tokio::test]
async fn an_archive_is_told_when_configured() {
    let bench = Bench::new(Policy {
        archive: Some(Duration::from_secs(86_400)),
        cert_hash: false,
        ..Policy::default()
    });
    let reading = read(&bench.ask(NOW, 1).await.der);
    assert_eq!(reading.singles[0].archive_cutoff, Some(NOW.0 - 86_400));
    assert_eq!(reading.singles[0].cert_hash, None);
}

#[tokio::test]
async fn every_case_is_answered_as_it_must_be() {
    let bench = Bench::new(Policy::default());
    for case in ocsp_requests::all() {
        let answer = bench.responder.answer(NOW, &case.octets).await;
        match case.expect {
            Expect::Answer(count) => {
                let reading = read(&answer.der);
                assert_eq!(reading.singles.len(), count, "{}", case.name);
            }
            Expect::Malformed(_) => assert_eq!(*answer.der, [0x30, 3, 0x0a, 1, 1], "{}", case.name),
            Expect::Unauthorized(_) => {
                assert_eq!(*answer.der, [0x30, 3, 0x0a, 1, 6], "{}", case.name);
            }
        }
    }
    let counters = bench.responder.counters();
    assert_eq!(counters.try_later + counters.internal_error, 0);
}
