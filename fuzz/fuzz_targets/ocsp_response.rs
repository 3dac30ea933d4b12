//! Arbitrary octets as an OCSP response, and as the signed part of one that a trusted signer made: no panic, every list
//! within its bound, and nothing is believed of a certificate but what its CertID, its times and its signature allow.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ocsp::{
    MAX_RESPONSE, MAX_RESPONSE_CERTIFICATES, MAX_SINGLES, Response, SignatureAlgorithm,
    TargetCertificate, Trust, TrustedSigner, UnixTime, successful, verify,
};
use ring::signature::Ed25519KeyPair;
use testkit::ocsp_responses::{self, NOW};

struct Stage {
    target: TargetCertificate,
    trust: Trust,
    key: Ed25519KeyPair,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let lab = ocsp_responses::lab();
    Stage {
        target: TargetCertificate::new(&lab.gateway, &lab.gateway).expect("a target"),
        trust: Trust {
            signers: vec![TrustedSigner::new(&lab.signer).expect("a signer")],
            issuer: true,
            skew: SKEW,
        },
        key: ocsp_responses::signer_key(),
    }
});

const SKEW: Duration = Duration::from_secs(60);

fuzz_target!(|octets: &[u8]| {
    judge(octets);
    // The same octets as ResponseData, signed: so that what comes after the signature is reached.
    let signature = STAGE.key.sign(octets);
    judge(&successful(
        octets,
        SignatureAlgorithm::Ed25519,
        signature.as_ref(),
        &[],
    ));
});

fn judge(octets: &[u8]) {
    match Response::decode(octets) {
        Ok(response) => {
            assert!(octets.len() <= MAX_RESPONSE);
            assert!((1..=MAX_SINGLES).contains(&response.singles.len()));
            assert!(response.certificates.len() <= MAX_RESPONSE_CERTIFICATES);
        }
        Err(error) => {
            // The reason is for the log: short, and one line.
            let reason = error.to_string();
            assert!(reason.len() < 200 && !reason.contains('\n'));
        }
    }
    if let Ok(verified) = verify(octets, &STAGE.target, &STAGE.trust, None, UnixTime(NOW)) {
        assert!(verified.this_update <= verified.next_update);
        assert!(verified.this_update <= UnixTime(NOW).plus(SKEW));
        assert!(verified.next_update >= UnixTime(NOW).minus(SKEW));
    }
}
