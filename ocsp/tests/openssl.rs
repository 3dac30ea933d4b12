//! `openssl ocsp` takes our requests, and what it answers is judged as it must be.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ledger::RevocationReason;
use ocsp::{
    CertStatus, HashAlgorithm, Request, TargetCertificate, Trust, TrustedSigner, UnixTime,
    VerifyError, verify,
};

const CONFIGURATION: &str = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical,CA:TRUE\n\
    keyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n[signer]\n\
    keyUsage = critical,digitalSignature\nextendedKeyUsage = OCSPSigning\nnoCheck = ignored\n[leaf]\n\
    subjectAltName = DNS:localhost\n";
/// Serial 2 good, 3 revoked, 4 not known.
const INDEX: &str = "V\t491231000000Z\t\t02\tunknown\t/CN=good\n\
    R\t491231000000Z\t260101000000Z,keyCompromise\t03\tunknown\t/CN=gone\n";

/// A folder with an authority, a delegate, a signer of its own, and three leaves.
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
        std::fs::write(lab.path("index.txt"), INDEX).unwrap();
        let key = [&["-nodes", "-newkey"], key].concat();
        for (name, section) in [("ca", "ca"), ("own", "signer")] {
            let line = format!(
                "req -x509 -config x.cnf -extensions {section} -subj /O=Lab/CN={name} -days 30 -keyout {name}.key -out {name}.pem"
            );
            lab.openssl(&line, &key);
        }
        for (name, section, serial) in [
            ("signer", "signer", 0x1001),
            ("good", "leaf", 2),
            ("gone", "leaf", 3),
            ("new", "leaf", 4),
        ] {
            let request = format!(
                "req -new -config x.cnf -subj /O=Lab/CN={name} -keyout {name}.key -out {name}.csr"
            );
            lab.openssl(&request, &key);
            let issue = format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 -extfile x.cnf -extensions {section} -out {name}.pem"
            );
            lab.openssl(&issue, &[]);
        }
        for name in ["ca", "own", "good", "gone", "new"] {
            let line = format!("x509 -in {name}.pem -outform DER -out {name}.der");
            lab.openssl(&line, &[]);
        }
        Some(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &str, more: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {text}");
    }

    fn target(&self, name: &str) -> TargetCertificate {
        let certificate = self.read(&format!("{name}.der"));
        TargetCertificate::new(&certificate, &self.read("ca.der")).unwrap()
    }

    /// What openssl answers to our request.
    fn answer(
        &self,
        target: &TargetCertificate,
        algorithm: HashAlgorithm,
        nonce: Option<&[u8]>,
        more: &[&str],
    ) -> Vec<u8> {
        let id = target.cert_id(algorithm).unwrap();
        std::fs::write(self.path("q.der"), Request::encode(&[&id], nonce)).unwrap();
        let line = "ocsp -index index.txt -CA ca.pem -nmin 5 -reqin q.der -respout r.der";
        self.openssl(line, more);
        self.read("r.der")
    }
}

fn trust(signers: &[&[u8]], issuer: bool) -> Trust {
    Trust {
        signers: signers
            .iter()
            .map(|der| TrustedSigner::new(der).unwrap())
            .collect(),
        issuer,
        skew: Duration::from_secs(60),
    }
}

fn judges(key: &[&str], digest: &str) {
    let Some(lab) = Lab::new(key) else { return };
    let now = UnixTime::from(SystemTime::now());
    let issuer = trust(&[], true);
    let own = trust(&[&lab.read("own.der")], false);
    let good = lab.target("good");
    for (signer, trust) in [("signer", &issuer), ("ca", &issuer), ("own", &own)] {
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let by_name = ["-rsigner", &certificate, "-rkey", &key, "-rmd", digest];
        let by_key = [&by_name[..], &["-resp_key_id"]].concat();
        for options in [&by_name[..], &by_key] {
            for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
                let response = lab.answer(&good, algorithm, Some(&[7; 32]), options);
                let judge = |target: &TargetCertificate, nonce, now| {
                    verify(&response, target, trust, nonce, now).map(|verified| verified.status)
                };
                let asked = Some(&[7; 32][..]);
                assert_eq!(judge(&good, asked, now), Ok(CertStatus::Good), "{signer}");
                let other = Some(&[8; 32][..]);
                assert_eq!(judge(&good, other, now), Err(VerifyError::Nonce));
                let gone = lab.target("gone");
                assert_eq!(judge(&gone, None, now), Err(VerifyError::NoStatus));
                let expired = judge(&good, None, now.plus(Duration::from_secs(600)));
                assert!(
                    matches!(expired, Err(VerifyError::Expired { .. })),
                    "{expired:?}"
                );
            }
            let ask = |name: &str| {
                let target = lab.target(name);
                let response = lab.answer(&target, HashAlgorithm::Sha1, None, options);
                verify(&response, &target, trust, None, now).map(|verified| verified.status)
            };
            assert!(matches!(
                ask("gone"),
                Ok(CertStatus::Revoked {
                    reason: RevocationReason::KeyCompromise,
                    ..
                })
            ));
            assert_eq!(ask("new"), Ok(CertStatus::Unknown));
        }
    }
    // Nobody believes a signer of one's own, but who was told to.
    let options = ["-rsigner", "own.pem", "-rkey", "own.key"];
    let response = lab.answer(&good, HashAlgorithm::Sha1, None, &options);
    assert_eq!(
        verify(&response, &good, &issuer, None, now),
        Err(VerifyError::DelegateNotIssued)
    );
    let without = [&options[..], &["-resp_no_certs"]].concat();
    let response = lab.answer(&good, HashAlgorithm::Sha1, None, &without);
    assert_eq!(
        verify(&response, &good, &issuer, None, now),
        Err(VerifyError::UnknownSigner)
    );
}

#[test]
fn ecdsa_p256() {
    judges(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "sha256");
}

#[test]
fn ecdsa_p384_with_sha384() {
    judges(&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "sha384");
}

#[test]
fn rsa_2048() {
    judges(&["rsa:2048"], "sha256");
}

#[test]
fn sha_1_signatures_are_refused() {
    let Some(lab) = Lab::new(&["rsa:2048"]) else {
        return;
    };
    let now = UnixTime::from(SystemTime::now());
    let good = lab.target("good");
    let options = ["-rsigner", "signer.pem", "-rkey", "signer.key", "-rmd"];
    let judged = |digest| {
        let options = [&options[..], &[digest]].concat();
        let response = lab.answer(&good, HashAlgorithm::Sha1, None, &options);
        verify(&response, &good, &trust(&[], true), None, now).map(|verified| verified.status)
    };
    assert_eq!(judged("sha512"), Ok(CertStatus::Good));
    assert!(matches!(
        judged("sha1"),
        Err(VerifyError::SignatureAlgorithm(_))
    ));
}
