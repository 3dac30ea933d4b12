//! Whatever is asked in whatever order, nothing from before a change that was told is given: a small cache against a model that
//! keeps nothing.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use ledger::{BlockTime, Status};
use ocsp::{CertStatus, HashAlgorithm};
use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::PKCS_ED25519;

use super::*;
use crate::fixture::{Authority, NOW, Script, hash, read, self_signed, signer_params};
use crate::source::{Finding, LookUp};

/// So many certificates, of which the cache holds fewer.
const SERIALS: u8 = 5;

#[derive(Clone, Debug)]
enum Step {
    /// A request for these certificates.
    Ask {
        serials: Vec<u8>,
        algorithm: HashAlgorithm,
        nonce: bool,
    },
    /// The ledger records this certificate, or changes its status. It is not told yet.
    Change(u8),
    /// The change is told, if changes are.
    Tell(u8),
    /// The stream of changes breaks.
    Lose,
    /// It is there again: changes were missed.
    Resynchronise,
    /// The clock goes on.
    Wait(u64),
    /// The clock is set back.
    SetBack(u64),
    /// Another signer.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let serial = 0..SERIALS;
    let algorithm = prop_oneof![Just(HashAlgorithm::Sha1), Just(HashAlgorithm::Sha256)];
    let ask = (vec(serial.clone(), 1..=2), algorithm, any::<u8>()).prop_map(
        |(mut serials, algorithm, dice)| {
            serials.truncate(if dice < 200 { 1 } else { 2 });
            Step::Ask {
                serials,
                algorithm,
                nonce: dice % 8 == 0,
            }
        },
    );
    prop_oneof![
        12 => ask,
        3 => serial.clone().prop_map(Step::Change),
        3 => serial.prop_map(Step::Tell),
        1 => Just(Step::Lose),
        1 => Just(Step::Resynchronise),
        2 => (1..40_u64).prop_map(Step::Wait),
        1 => (1..3_u64).prop_map(Step::SetBack),
        1 => Just(Step::Reload),
    ]
}

/// What the ledger holds, and what of it the responder was told.
struct Model {
    now: UnixTime,
    /// How often each certificate has changed. 0: it is not recorded yet.
    versions: [u64; SERIALS as usize],
    told: [u64; SERIALS as usize],
    is_followed: bool,
    /// The versions when the clock first showed this second.
    at_second: HashMap<UnixTime, [u64; SERIALS as usize]>,
}

impl Model {
    fn show(&mut self, now: UnixTime) {
        self.now = now;
        self.at_second.entry(now).or_insert(self.versions);
    }

    /// The oldest version that may be given.
    fn oldest(&self, serial: u8) -> u64 {
        let at = usize::from(serial);
        let this_second = self.at_second[&self.now][at];
        if self.is_followed {
            self.told[at]
        } else {
            self.told[at].max(this_second)
        }
    }
}

/// The version of a certificate is told as the time of its revocation.
fn finding(serial: u8, version: u64) -> Finding {
    Finding::new(match version {
        0 => LookUp::NotRecorded,
        version => LookUp::Found {
            hash: hash(serial),
            status: Status::Suspended {
                since: BlockTime(version * 1_000),
            },
            not_after: None,
        },
    })
}

async fn run(capacity: usize, steps: Vec<Step>) {
    let ca = Authority::new("ca");
    let keys = [(); 2].map(|()| self_signed(&PKCS_ED25519, signer_params("signer")));
    let signers = |at: usize| {
        let mut signers = Signers::new();
        let (key, certificate) = &keys[at % keys.len()];
        signers.add_local(Signer::from_pkcs8(NOW, key, certificate).unwrap());
        signers
    };
    let policy = Policy {
        cache_capacity: NonZeroUsize::new(capacity).unwrap(),
        ..Policy::default()
    };
    let script = Arc::new(Script::default());
    for serial in 0..SERIALS {
        script.set(serial, finding(serial, 0));
    }
    let source = Arc::new(Arc::clone(&script));
    let responder = Responder::new(policy.clone(), signers(0), source);
    let mut model = Model {
        now: NOW,
        versions: [0; SERIALS as usize],
        told: [0; SERIALS as usize],
        is_followed: true,
        at_second: HashMap::new(),
    };
    model.show(NOW);
    let (mut reloads, mut asked, mut told) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Ask {
                serials,
                algorithm,
                nonce,
            } => {
                let ids: Vec<_> = serials
                    .iter()
                    .map(|&serial| ca.cert_id(algorithm, serial))
                    .collect();
                let ids: Vec<_> = ids.iter().map(|id| &**id).collect();
                let request = Request::encode(&ids, nonce.then_some(&[7; 32]));
                let answer = match responder.answer_at_once(model.now, &request) {
                    Some(answer) => answer,
                    None => responder.answer(model.now, &request).await,
                };
                let reading = read(&answer.der);
                asked += 1;
                told += serials.len() as u64;
                assert_eq!(reading.signer, keys[reloads % keys.len()].1);
                assert_eq!(reading.nonce.is_some(), nonce);
                for (serial, single) in serials.into_iter().zip(&reading.singles) {
                    assert!(single.this_update <= model.now.0);
                    assert!(model.now.0 < single.next_update);
                    let CertStatus::Revoked { time, .. } = single.status else {
                        panic!("{:?}", single.status);
                    };
                    let (oldest, newest) =
                        (model.oldest(serial), model.versions[usize::from(serial)]);
                    assert!(
                        (oldest..=newest).contains(&time.0),
                        "of {serial} version {} was given, not {oldest} to {newest}",
                        time.0
                    );
                }
            }
            Step::Change(serial) => {
                let version = &mut model.versions[usize::from(serial)];
                *version += 1;
                script.set(serial, finding(serial, *version));
            }
            Step::Tell(serial) if model.is_followed => {
                model.told[usize::from(serial)] = model.versions[usize::from(serial)];
                responder.forget(&hash(serial));
            }
            Step::Tell(_) => {}
            Step::Lose => {
                model.is_followed = false;
                responder.set_followed(false);
            }
            Step::Resynchronise => {
                model.told = model.versions;
                model.is_followed = true;
                responder.forget_all();
                responder.set_followed(true);
            }
            Step::Wait(seconds) => model.show(UnixTime(model.now.0 + seconds)),
            Step::SetBack(seconds) => model.show(UnixTime(model.now.0 - seconds)),
            Step::Reload => {
                reloads += 1;
                responder.replace(policy.clone(), signers(reloads));
            }
        }
    }
    let counters = responder.counters();
    assert_eq!(counters.successful, asked);
    assert_eq!(counters.from_cache + counters.signed, asked);
    assert_eq!(counters.revoked, told);
    assert!(counters.cached <= capacity as u64);
}

#[tokio::test]
async fn one_that_is_recorded_is_found_under_all_of_its_names() {
    let ask = |algorithm| Step::Ask {
        serials: vec![0],
        algorithm,
        nonce: false,
    };
    // By one name it was asked for before it was recorded, by the other one between that and the news of it.
    let steps = vec![
        ask(HashAlgorithm::Sha1),
        Step::Change(0),
        ask(HashAlgorithm::Sha256),
        Step::Tell(0),
        ask(HashAlgorithm::Sha1),
    ];
    run(5, steps).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_that_is_older_than_a_change_that_was_told(
        capacity in 1..6_usize,
        steps in vec(step(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(capacity, steps));
    }
}
