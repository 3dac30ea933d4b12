//! Writes the seeds of the target `ocsp_response` into `corpus/ocsp_response`: whole responses, and the parts that are
//! signed.
//!
//! `cargo run --example ocsp_response_seeds`, in this folder, after the forms of responses have changed.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use ledger::{CertificateHash, RevocationReason};
use ocsp::wire::{nested, tag};
use ocsp::{
    CertStatus, Frame, HashAlgorithm, SignatureAlgorithm, Single, TargetCertificate, UnixTime,
    response_data, successful,
};
use testkit::ocsp_responses::{self, NOW};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/ocsp_response");
    fs::create_dir_all(&folder)?;
    let lab = ocsp_responses::lab();
    let target = TargetCertificate::new(&lab.gateway, &lab.gateway).expect("a target");
    let key_hash = HashAlgorithm::Sha1.digest(ocsp_responses::signer_public_key().as_ref());
    let key_hash: [u8; 20] = key_hash.as_ref().try_into().expect("20 octets");
    let revoked = |reason| CertStatus::Revoked {
        time: UnixTime(NOW - 500),
        reason,
    };
    let cases = [
        ("good", HashAlgorithm::Sha1, CertStatus::Good),
        ("good-sha256", HashAlgorithm::Sha256, CertStatus::Good),
        ("unknown", HashAlgorithm::Sha512, CertStatus::Unknown),
        (
            "revoked",
            HashAlgorithm::Sha1,
            revoked(RevocationReason::Unspecified),
        ),
        (
            "hold",
            HashAlgorithm::Sha384,
            revoked(RevocationReason::CertificateHold),
        ),
    ];
    for (at, (name, algorithm, status)) in cases.into_iter().enumerate() {
        let id = target.cert_id(algorithm).expect("a CertID");
        let single = Single {
            status,
            this_update: UnixTime(NOW).minus(Duration::from_secs(60)),
            next_update: UnixTime(NOW).plus(Duration::from_secs(60)),
            cert_hash: (at % 2 == 0).then(|| CertificateHash::of(&lab.gateway)),
            archive_cutoff: (at % 3 == 0).then_some(UnixTime(0)),
        };
        let frame = Frame {
            responder_key_hash: &key_hash,
            produced_at: UnixTime(NOW),
            nonce: (at % 2 == 1).then_some(&[9; 32][..]),
            extended_revoked: at > 3,
        };
        let single = single.encode(&id);
        let data = response_data(frame, std::iter::repeat_n(&single[..], 1 + at / 2));
        let signature = ocsp_responses::signer_key().sign(&data);
        let mut certificates = Vec::new();
        nested(&mut certificates, tag::constructed(0), |out| {
            nested(out, tag::SEQUENCE, |out| out.extend_from_slice(&lab.signer));
        });
        let whole = successful(
            &data,
            SignatureAlgorithm::Ed25519,
            signature.as_ref(),
            &certificates,
        );
        fs::write(folder.join(format!("{name}.seed")), whole)?;
        fs::write(folder.join(format!("data-{name}.seed")), data)?;
    }
    for (name, status) in [("try-later", 3), ("unauthorized", 6), ("sig-required", 5)] {
        let octets = [0x30, 3, 0x0a, 1, status];
        fs::write(folder.join(format!("{name}.seed")), octets)?;
    }
    Ok(())
}
