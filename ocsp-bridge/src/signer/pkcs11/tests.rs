//! With SoftHSM. A module reads its environment when it is initialised, so each test runs in a process of its own: the
//! test binary again, with SoftHSM's configuration in the environment.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{env, fs, thread};

use cryptoki::error::RvError;
use der::{Decode as _, Encode as _};
use ledger::{RevocationReason, Status};
use rcgen::date_time_ymd;
use x509_cert::crl::CertificateList;

use super::module::module;
use super::*;
use crate::config::{KeySelector, TOKEN_SESSIONS};
use crate::crl::tests::{Model, octets, policy, take};
use crate::crl::{Crl, CrlIssuer, CrlSigner, CrlSignerError, Crls};
use crate::fixture::{Authority, NOW, Script, found, read, signer_params};
use crate::signer::token_key;
use crate::{Policy, Responder, ResponseStatus, Signer, SignerProblem, Signers};

const PIN: &str = "1234";
const VARIABLE: &str = "LEDGATE_TEST_SOFTHSM";

/// Where SoftHSM is, and what this test's token is made of.
struct Lab {
    folder: PathBuf,
    module: PathBuf,
}

/// Runs a test with a token labelled "lab"; the test's name within this module.
fn in_lab(test: &str, body: impl FnOnce(&Lab)) {
    let modules = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let module = modules.into_iter().find(|path| Path::new(path).exists());
    let has = |tool: &str| Command::new(tool).arg("--help").output().is_ok();
    let Some(module) = module.filter(|_| has("softhsm2-util") && has("pkcs11-tool")) else {
        eprintln!("skipped: SoftHSM (softhsm2) and pkcs11-tool (opensc) are not installed");
        return;
    };
    let module = PathBuf::from(module);
    if let Some(folder) = env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        return body(&Lab { folder, module });
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let config = folder.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\n", tokens.display());
    fs::write(&config, text).unwrap();
    let init = "--init-token --free --label lab --so-pin 5678 --pin 1234";
    let made = Command::new("softhsm2-util")
        .args(init.split(' '))
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let name = format!("signer::pkcs11::tests::{test}");
    let output = Command::new(env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .env(VARIABLE, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Lab {
    fn make_key(&self, kind: &str, label: &str, id: &str) {
        let made = Command::new("pkcs11-tool")
            .arg("--module")
            .arg(&self.module)
            .args(["--token-label", "lab", "--login", "--pin", PIN])
            .args(["--keypairgen", "--key-type", kind])
            .args(["--label", label, "--id", id])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    fn pin_file(&self, pin: &str, mode: u32) -> PathBuf {
        let path = self.folder.join("pin");
        fs::write(&path, pin).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn place(&self, key: KeySelector) -> TokenKey {
        TokenKey {
            module: self.module.clone(),
            token: "lab".to_owned(),
            key,
            pin_file: self.pin_file(&format!("{PIN}\n"), 0o600),
            sessions: TOKEN_SESSIONS,
        }
    }

    /// The key with this label, and a self-signed signer certificate for it.
    fn certified(&self, label: &str) -> (TokenKey, Vec<u8>) {
        let place = self.place(KeySelector::Label(label.to_owned()));
        let key = Pkcs11Key::with_its_public_key(&place).unwrap();
        let mut params = signer_params("on a token");
        params.not_before = date_time_ymd(2026, 1, 1);
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        (place, certificate)
    }
}

fn label(label: &str) -> KeySelector {
    KeySelector::Label(label.to_owned())
}

fn responder(key: Pkcs11Key, certificate: &[u8]) -> (Authority, Responder) {
    let mut signers = Signers::new();
    signers.add_local(Signer::new(NOW, Box::new(key), certificate).unwrap());
    let script = Arc::new(Script::default());
    script.set(1, found(1, Status::Valid));
    let responder = Responder::new(Policy::default(), signers, Arc::new(script));
    (Authority::new("ca"), responder)
}

#[test]
fn every_kind_of_key_signs() {
    in_lab("every_kind_of_key_signs", |lab| {
        for (kind, id, algorithms) in [
            ("EC:prime256v1", "01", 1),
            ("EC:secp384r1", "02", 1),
            ("EC:edwards25519", "03", 1),
            ("rsa:2048", "04", 3),
        ] {
            lab.make_key(kind, kind, id);
            let (place, certificate) = lab.certified(kind);
            let key = Pkcs11Key::for_certificate(&place, &certificate).unwrap();
            assert_eq!(SigningKey::algorithms(&key).len(), algorithms);
            for algorithm in SignatureAlgorithm::ALL {
                // Many, since r and s are shorter now and then.
                for round in 0..40_u8 {
                    let signed = SigningKey::sign(&key, algorithm, &[round]);
                    if key.algorithms.contains(&algorithm) {
                        let signature = signed.unwrap();
                        assert!(key.public_key.verifies(algorithm, &[round], &signature));
                    } else {
                        assert_eq!(signed, Err(SignError::Algorithm(algorithm)));
                    }
                }
            }
            // By its identifier, too.
            let place = lab.place(KeySelector::from_hex_id(id).unwrap());
            let key = Pkcs11Key::for_certificate(&place, &certificate).unwrap();
            // And in OCSP responses, many at a time.
            let (ca, responder) = responder(key, &certificate);
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let requests = (0..20).map(|octet| ca.request_with_nonce(1, &[octet; 32]));
                let answers = requests.map(async |request| responder.answer(NOW, &request).await);
                for answer in futures_util::future::join_all(answers).await {
                    assert_eq!(read(&answer.der).signer, certificate);
                }
            });
        }
    });
}

#[test]
fn what_cannot_be_used_is_told() {
    in_lab("what_cannot_be_used_is_told", |lab| {
        lab.make_key("EC:prime256v1", "one", "01");
        lab.make_key("EC:prime256v1", "other", "02");
        let (good, certificate) = lab.certified("one");
        let fails = |place: &TokenKey| Pkcs11Key::for_certificate(place, &certificate).unwrap_err();
        let with = |change: fn(&mut TokenKey)| {
            let mut place = good.clone();
            change(&mut place);
            fails(&place)
        };
        let no_token = with(|place| place.token = "lob".to_owned());
        assert_eq!(
            no_token.to_string(),
            "no token has the label \"lob\"; there are: \"lab\""
        );
        assert_eq!(with(|place| place.key = label("none")), Pkcs11Error::NoKey);
        assert_eq!(
            with(|place| place.key = KeySelector::Id(vec![9])),
            Pkcs11Error::NoKey
        );
        assert_eq!(
            with(|place| place.key = label("other")),
            Pkcs11Error::NotItsKey
        );
        for path in ["/nonexistent.so", "/etc/passwd"] {
            let mut place = good.clone();
            place.module = path.into();
            assert!(matches!(fails(&place), Pkcs11Error::Module(_)), "{path}");
        }
        lab.make_key("rsa:1024", "short", "05");
        let short = lab.place(label("short"));
        let error = Pkcs11Key::with_its_public_key(&short).unwrap_err();
        assert_eq!(error, Pkcs11Error::RsaLength { bits: 1_024 });
        let weak = Command::new("openssl")
            .args(
                "req -x509 -newkey rsa:1024 -nodes -keyout /dev/null -subj /CN=a -outform DER"
                    .split(' '),
            )
            .output()
            .unwrap();
        let error = Pkcs11Key::for_certificate(&short, &weak.stdout).unwrap_err();
        assert!(error.to_string().contains("RSA of 1024 bits"), "{error}");
        lab.make_key("EC:prime256v1", "one", "03");
        assert!(matches!(fails(&good), Pkcs11Error::Several(_)));
        assert!(matches!(
            Pkcs11Key::for_certificate(&good, b"no certificate"),
            Err(Pkcs11Error::Certificate(_))
        ));
        lab.pin_file(PIN, 0o640);
        // Whoever is logged in stays so: only a login reads the PIN.
        log_out(&good);
        let exposed = with(|place| place.key = label("other"));
        assert!(exposed.to_string().contains("chmod 600"), "{exposed}");
    });
}

/// As a token does that was reset: no session is logged in any more.
fn log_out(place: &TokenKey) {
    let module = module(&place.module).unwrap();
    let module = module.enter();
    let slots = module.pkcs11.get_slots_with_initialized_token().unwrap();
    for slot in slots {
        let session = module.pkcs11.open_ro_session(slot).unwrap();
        // None was.
        let _logged_out = session.logout();
    }
}

#[test]
fn a_wrong_pin_is_tried_once() {
    in_lab("a_wrong_pin_is_tried_once", |lab| {
        lab.make_key("EC:prime256v1", "key", "01");
        let (place, certificate) = lab.certified("key");
        let load = || Pkcs11Key::for_certificate(&place, &certificate);
        let key = load().unwrap();
        log_out(&place);
        lab.pin_file("4321", 0o600);
        let refused = |how: &str| Pkcs11Error::PinRefused(how.to_owned());
        assert_eq!(load().unwrap_err(), refused("PinIncorrect"));
        // Neither a reload nor a key that lost its login asks again.
        assert_eq!(load().unwrap_err(), refused("earlier"));
        let error = key.check().unwrap_err();
        assert!(error.to_string().contains("refused the PIN"), "{error}");
        assert!(!key.is_available());
        for text in [format!("{key:?}"), error.to_string()] {
            assert!(!text.contains(PIN) && !text.contains("4321"), "{text}");
        }
        // Nor is it asked again when another one was wrong in between, nor by two threads at once.
        lab.pin_file("9999", 0o600);
        let both = thread::scope(|scope| {
            let tried = [
                scope.spawn(|| load().unwrap_err()),
                scope.spawn(|| load().unwrap_err()),
            ];
            tried.map(|one| one.join().unwrap())
        });
        let count = |how| both.iter().filter(|error| **error == refused(how)).count();
        assert_eq!(
            (count("PinIncorrect"), count("earlier")),
            (1, 1),
            "{both:?}"
        );
        lab.pin_file("4321", 0o600);
        assert_eq!(load().unwrap_err(), refused("earlier"));
        // The right one ends it.
        lab.pin_file(PIN, 0o600);
        thread::sleep(RETRY_PAUSE);
        assert_eq!(key.check(), Ok(()));
        assert!(key.is_available());
        assert!(load().is_ok());
    });
}

#[test]
fn a_token_that_went_away_comes_back() {
    in_lab("a_token_that_went_away_comes_back", |lab| {
        lab.make_key("EC:prime256v1", "key", "01");
        let (place, certificate) = lab.certified("key");
        let key = Pkcs11Key::for_certificate(&place, &certificate).unwrap();
        // A lost login is mended within the signature that finds it out.
        log_out(&place);
        assert_eq!(key.check(), Ok(()));
        assert!(key.is_available());
        // One thread found it lost while the session of another was well: that is not for ever.
        *lock(&key.state) = State::Lost {
            at: Instant::now().checked_sub(RETRY_PAUSE).unwrap(),
            detail: String::new(),
        };
        assert_eq!(key.check(), Ok(()));
        assert!(key.is_available());

        let (ca, responder) = responder(key, &certificate);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ask = |octet| {
            let request = ca.request_with_nonce(1, &[octet; 32]);
            runtime.block_on(responder.answer(NOW, &request))
        };
        assert_eq!(ask(1).status, ResponseStatus::Successful);
        assert_eq!(responder.signer_problems(NOW), []);
        let (tokens, away) = (lab.folder.join("tokens"), lab.folder.join("away"));
        fs::rename(&tokens, &away).unwrap();
        for octet in 2..5 {
            assert_eq!(ask(octet).status, ResponseStatus::TryLater);
        }
        let unavailable = [SignerProblem::Unavailable];
        assert_eq!(responder.signer_problems(NOW), unavailable);
        runtime.block_on(responder.check_remote_keys());
        assert_eq!(responder.signer_problems(NOW), unavailable);
        fs::rename(&away, &tokens).unwrap();
        // SoftHSM sees a token that was away only when it is initialised anew, which has a pause of its own.
        let began = Instant::now();
        while !responder.signer_problems(NOW).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(200));
            runtime.block_on(responder.check_remote_keys());
        }
        assert_eq!(responder.signer_problems(NOW), []);
        assert_eq!(ask(6).status, ResponseStatus::Successful);
    });
}

#[test]
fn crls_are_signed_and_outlive_a_token_that_is_away() {
    in_lab("crls_are_signed_and_outlive_a_token_that_is_away", |lab| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (kind, id) in [
            ("EC:prime256v1", "01"),
            ("EC:secp384r1", "02"),
            ("EC:edwards25519", "03"),
            ("rsa:2048", "04"),
        ] {
            lab.make_key(kind, kind, id);
            let place = lab.place(label(kind));
            let key = Pkcs11Key::with_its_public_key(&place).unwrap();
            let authority = Authority::params("a CA on a token");
            let ca = authority.self_signed(&key).unwrap().der().to_vec();
            let public_key = key.public_key.clone();
            let algorithm = key.algorithms[0];
            drop(key);
            let load = || {
                let key = token_key(&place, &ca).map_err(CrlSignerError::from)?;
                CrlSigner::new(NOW, &ca, &ca, key)
            };
            let patience = Duration::from_secs(600);
            let issuer = CrlIssuer::new(policy(), load().unwrap(), None, patience);
            let issuer = Arc::new(issuer);
            let crls = Crls::new(vec![Arc::clone(&issuer)]).unwrap();
            let mut model = Model::default();
            model.change(1, RevocationReason::KeyCompromise);
            take(&issuer, &model, NOW);
            let verifies = |crl: &Arc<Crl>| {
                let list: CertificateList = CertificateList::from_der(&octets(crl)).unwrap();
                let tbs = list.tbs_cert_list.to_der().unwrap();
                public_key.verifies(algorithm, &tbs, list.signature.raw_bytes())
            };
            let issue = || runtime.block_on(issuer.issue_in_turn(NOW));
            let delta = |base| runtime.block_on(issuer.delta(NOW, Some(base)));
            let first = issue().unwrap().unwrap();
            let base = first.number();
            assert!(verifies(&first) && verifies(&delta(base).unwrap()));
            if id != "01" {
                continue;
            }
            let (tokens, away) = (lab.folder.join("tokens"), lab.folder.join("away"));
            fs::rename(&tokens, &away).unwrap();
            model.change(2, RevocationReason::KeyCompromise);
            take(&issuer, &model, NOW);
            assert!(issue().is_err());
            assert_eq!(issuer.full(NOW), Ok(Arc::clone(&first)));
            runtime.block_on(crls.check_remote_keys());
            let problems = crls.problems(NOW);
            let says = ["the next one cannot be signed", "on token \"lab\""];
            assert!(
                says.iter().all(|text| problems[0].contains(text)),
                "{problems:?}"
            );
            fs::rename(&away, &tokens).unwrap();
            let began = Instant::now();
            while !crls.problems(NOW).is_empty() {
                assert!(began.elapsed() < Duration::from_secs(20));
                thread::sleep(Duration::from_millis(200));
                runtime.block_on(crls.check_remote_keys());
            }
            let second = issue().unwrap().unwrap();
            assert!(verifies(&second) && second.number() > base);
            assert!(verifies(&delta(base).unwrap()));
        }
    });
}

#[test]
fn raw_signatures_become_der() {
    let mut raw = vec![0; 64];
    raw[31] = 0x7f;
    raw[32] = 0x80;
    let expected = [&b"\x30\x26\x02\x01\x7f\x02\x21\x00\x80"[..], &[0; 31]].concat();
    assert_eq!(ecdsa_der(&raw, 32), Ok(expected));
    assert_eq!(
        ecdsa_der(&[0; 64], 32).unwrap(),
        b"\x30\x06\x02\x01\x00\x02\x01\x00"
    );
    for length in [0, 31, 63, 65, 96] {
        assert!(matches!(
            ecdsa_der(&vec![1; length], 32),
            Err(Pkcs11Error::Token(_))
        ));
    }
    assert_eq!(
        token::text(&cryptoki::error::Error::Pkcs11(
            RvError::TokenNotPresent,
            cryptoki::context::Function::OpenSession
        )),
        "C_OpenSession: TokenNotPresent"
    );
}
