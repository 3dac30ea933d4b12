//! The judgement of a client that we did not write: `openssl ocsp`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use ledger::{BlockTime, RevocationReason, Status};

use super::*;
use crate::fixture::{Script, found};
use crate::signer::Signer;
use crate::source::{Finding, LookUp};

const CONFIGURATION: &str = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical,CA:TRUE\n\
    keyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n[signer]\n\
    keyUsage = critical,digitalSignature\nextendedKeyUsage = OCSPSigning\nnoCheck = ignored\n[leaf]\n\
    subjectAltName = DNS:localhost\n";

/// A folder with an authority, a delegate, and four leaves: serial 2 good, 3 revoked, 4 suspended, 5 not recorded.
struct Lab(tempfile::TempDir);

impl Lab {
    /// `None` where openssl is not installed.
    fn new(key: &[&str]) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        let lab = Self(tempfile::tempdir().unwrap());
        std::fs::write(lab.path("x.cnf"), CONFIGURATION).unwrap();
        let new_key = [&["-nodes", "-newkey"], key].concat();
        let ca = "req -x509 -config x.cnf -extensions ca -subj /C=XX/O=Lab/CN=ca -days 30 -keyout ca.key -out ca.pem";
        lab.openssl(ca, &new_key);
        let own = "req -x509 -config x.cnf -extensions signer -subj /CN=own -days 30 -keyout own.key -out own.pem";
        lab.openssl(own, &new_key);
        for (name, section, serial) in [
            ("signer", "signer", 0x1001),
            ("good", "leaf", 2),
            ("revoked", "leaf", 3),
            ("held", "leaf", 4),
            ("absent", "leaf", 5),
        ] {
            let request = format!(
                "req -new -config x.cnf -subj /C=XX/O=Lab/CN={name} -keyout {name}.key -out {name}.csr"
            );
            lab.openssl(&request, &new_key);
            let issue = format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 -extfile x.cnf -extensions {section} -out {name}.pem"
            );
            lab.openssl(&issue, &[]);
        }
        for name in ["signer", "own"] {
            lab.openssl(
                &format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER -out {name}.p8"),
                &[],
            );
            lab.openssl(
                &format!("x509 -in {name}.pem -outform DER -out {name}.der"),
                &[],
            );
        }
        lab.openssl("x509 -in ca.pem -outform DER -out ca.der", &[]);
        Some(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs it, wants success, and gives both of its outputs.
    fn openssl(&self, arguments: &str, more: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "openssl {arguments}: {text}");
        text
    }

    fn signer(&self, name: &str, now: UnixTime) -> Signer {
        let (key, certificate) = (
            self.read(&format!("{name}.p8")),
            self.read(&format!("{name}.der")),
        );
        Signer::from_pkcs8(now, &key, &certificate).unwrap()
    }
}

fn scripted(now: UnixTime) -> Arc<Script> {
    let script = Arc::new(Script::default());
    let at = BlockTime((now.0 - 5) * 1_000);
    let as_of = |finding| Finding {
        block_time: Some(at),
        ..finding
    };
    let reason = RevocationReason::KeyCompromise;
    script.set(2, as_of(found(2, Status::Valid)));
    script.set(3, as_of(found(3, Status::Revoked { reason, time: at })));
    script.set(4, as_of(found(4, Status::Suspended { since: at })));
    script.set(5, as_of(Finding::new(LookUp::NotRecorded)));
    script
}

async fn openssl_accepts(key: &[&str]) {
    let Some(lab) = Lab::new(key) else { return };
    let now = UnixTime::from(SystemTime::now());
    let mut delegated = Signers::new();
    delegated
        .add_delegate(&lab.read("ca.der"), lab.signer("signer", now))
        .unwrap();
    let mut local = Signers::new();
    local.add_local(lab.signer("own", now));
    for (signers, trust) in [(delegated, "-CAfile ca.pem"), (local, "-VAfile own.pem")] {
        let responder = Responder::new(Policy::default(), signers, Arc::new(scripted(now)));
        for hash in ["", "-sha256", "-sha384", "-sha512"] {
            for nonce in ["", "-no_nonce"] {
                let ids = "-cert good.pem -cert revoked.pem -cert held.pem -cert absent.pem";
                let question = format!("-issuer ca.pem {hash} {ids}");
                lab.openssl(&format!("ocsp {question} {nonce} -reqout req.der"), &[]);
                let answer = responder.answer(now, &lab.read("req.der")).await;
                std::fs::write(lab.path("resp.der"), &answer.der).unwrap();
                let judged = lab.openssl(
                    &format!("ocsp -respin resp.der -reqin req.der -no_nonce {question} {trust} -resp_text"),
                    &[],
                );
                for expected in [
                    "Response verify OK",
                    "good.pem: good",
                    "revoked.pem: revoked",
                    "Reason: keyCompromise",
                    "held.pem: revoked",
                    "Reason: certificateHold",
                    "absent.pem: revoked",
                    "Revocation Time: Jan  1 00:00:00 1970 GMT",
                ] {
                    assert!(
                        judged.contains(expected),
                        "{hash} {nonce} {expected}: {judged}"
                    );
                }
                assert!(!judged.contains("WARNING"), "{judged}");
                assert_eq!(judged.contains("OCSP Nonce"), nonce.is_empty(), "{judged}");
            }
        }
        // And one alone, from the cache.
        lab.openssl(
            "ocsp -issuer ca.pem -cert good.pem -no_nonce -reqout req.der",
            &[],
        );
        responder.answer(now, &lab.read("req.der")).await;
        let answer = responder.answer(now, &lab.read("req.der")).await;
        assert_eq!(answer.origin, Origin::Cache);
        std::fs::write(lab.path("resp.der"), &answer.der).unwrap();
        let judged = lab.openssl(
            &format!("ocsp -respin resp.der -reqin req.der -no_nonce -issuer ca.pem -cert good.pem {trust}"),
            &[],
        );
        assert!(judged.contains("Response verify OK") && judged.contains("good.pem: good"));
    }
}

#[tokio::test]
async fn openssl_accepts_p256() {
    openssl_accepts(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]).await;
}

#[tokio::test]
async fn openssl_accepts_p384() {
    openssl_accepts(&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]).await;
}

#[tokio::test]
async fn openssl_accepts_ed25519() {
    openssl_accepts(&["ed25519"]).await;
}

#[tokio::test]
async fn openssl_accepts_rsa() {
    openssl_accepts(&["rsa:2048"]).await;
}

/// The test can fail: an answer that was changed after signing is refused.
#[tokio::test]
async fn openssl_refuses_a_forged_answer() {
    let Some(lab) = Lab::new(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]) else {
        return;
    };
    let now = UnixTime::from(SystemTime::now());
    let mut signers = Signers::new();
    signers.add_local(lab.signer("own", now));
    let responder = Responder::new(Policy::default(), signers, Arc::new(scripted(now)));
    lab.openssl(
        "ocsp -issuer ca.pem -cert good.pem -no_nonce -reqout req.der",
        &[],
    );
    let answer = responder.answer(now, &lab.read("req.der")).await;
    let mut forged = answer.der.to_vec();
    let at = forged
        .windows(3)
        .position(|octets| octets == b"202")
        .unwrap();
    forged[at + 3] ^= 1;
    std::fs::write(lab.path("resp.der"), &forged).unwrap();
    let output = Command::new("openssl")
        .args(
            "ocsp -respin resp.der -no_nonce -issuer ca.pem -cert good.pem -VAfile own.pem"
                .split(' '),
        )
        .current_dir(lab.0.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
}
