use ledger::RevocationReason;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, SigningKey as _, date_time_ymd,
};

use super::*;
use crate::encode::{Frame, Single, response_data, successful};
use crate::wire::{nested, tag};
use crate::{Request, SignatureAlgorithm};

const NOW: UnixTime = UnixTime(1_785_542_400); // 2026-08-01
const SKEW: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

/// A key with its certificate.
struct Certified {
    key: KeyPair,
    der: Vec<u8>,
    params: CertificateParams,
}

impl Certified {
    fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::self_signed_with(params, key)
    }

    fn self_signed_with(params: CertificateParams, key: KeyPair) -> Self {
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, der, params }
    }

    fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Self { key, der, params }
    }

    fn key_hash(&self) -> [u8; 20] {
        let parsed = ParsedCertificate::parse(&self.der).unwrap();
        let hash = HashAlgorithm::Sha1.digest(parsed.public_key());
        hash.as_ref().try_into().unwrap()
    }
}

fn named(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn responder(name: &str) -> CertificateParams {
    let mut params = named(name, 77);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    params
}

/// An authority, a gateway that it certified, a delegate, and a signer that is trusted locally.
struct Lab {
    ca: Certified,
    gateway: Certified,
    delegate: Certified,
    local: Certified,
}

impl Lab {
    fn new() -> Self {
        let ca = Certified::self_signed(authority("ca"));
        let gateway = ca.issue(named("segw.example", 0x80aa));
        let delegate = ca.issue(responder("delegate"));
        let local = Certified::self_signed(responder("local"));
        Self {
            ca,
            gateway,
            delegate,
            local,
        }
    }

    fn target(&self) -> TargetCertificate {
        TargetCertificate::new(&self.gateway.der, &self.ca.der).unwrap()
    }

    /// Believes the local signer alone.
    fn local_trust(&self) -> Trust {
        Trust {
            signers: vec![TrustedSigner::new(&self.local.der).unwrap()],
            issuer: false,
            skew: SKEW,
        }
    }
}

/// Believes the issuer and its delegates.
const ISSUER: Trust = Trust {
    signers: Vec::new(),
    issuer: true,
    skew: SKEW,
};

/// A response before it is signed.
#[derive(Clone)]
struct Draft {
    singles: Vec<(Vec<u8>, Single)>,
    produced_at: UnixTime,
    nonce: Option<Vec<u8>>,
    extended_revoked: bool,
}

impl Draft {
    fn about(cert_id: Vec<u8>, status: CertStatus) -> Self {
        let single = Single {
            status,
            this_update: NOW.minus(MINUTE),
            next_update: NOW.plus(MINUTE),
            cert_hash: None,
            archive_cutoff: None,
        };
        Self {
            singles: vec![(cert_id, single)],
            produced_at: NOW,
            nonce: None,
            extended_revoked: false,
        }
    }

    fn good(target: &TargetCertificate) -> Self {
        let id = target.cert_id(HashAlgorithm::Sha1).unwrap();
        Self::about(id, CertStatus::Good)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn data(&self, signer: &Certified) -> Vec<u8> {
        let frame = Frame {
            responder_key_hash: &signer.key_hash(),
            produced_at: self.produced_at,
            nonce: self.nonce.as_deref(),
            extended_revoked: self.extended_revoked,
        };
        let singles: Vec<_> = self
            .singles
            .iter()
            .map(|(id, single)| single.encode(id))
            .collect();
        response_data(frame, singles.iter().map(Vec::as_slice))
    }

    fn signed_by(&self, signer: &Certified) -> Vec<u8> {
        sign(&self.data(signer), signer)
    }
}

fn sign(data: &[u8], signer: &Certified) -> Vec<u8> {
    sign_beside(data, signer, &[&signer.der])
}

/// Signed, with these certificates beside the signature.
fn sign_beside(data: &[u8], signer: &Certified, beside: &[&[u8]]) -> Vec<u8> {
    let algorithm = if signer.key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256) {
        SignatureAlgorithm::EcdsaSha256
    } else if signer.key.is_compatible(&rcgen::PKCS_ECDSA_P384_SHA384) {
        SignatureAlgorithm::EcdsaSha384
    } else {
        SignatureAlgorithm::Ed25519
    };
    let mut certificates = Vec::new();
    nested(&mut certificates, tag::constructed(0), |out| {
        nested(out, tag::SEQUENCE, |out| {
            beside.iter().for_each(|der| out.extend_from_slice(der));
        });
    });
    let signature = signer.key.sign(data).unwrap();
    successful(data, algorithm, &signature, &certificates)
}

fn judged(
    response: &[u8],
    target: &TargetCertificate,
    trust: &Trust,
) -> Result<CertStatus, VerifyError> {
    verify(response, target, trust, None, NOW).map(|verified| verified.status)
}

#[test]
fn each_signer_that_rfc_6960_allows_is_believed() {
    let lab = Lab::new();
    let target = lab.target();
    let draft = Draft::good(&target);
    for (signer, trust) in [
        (&lab.local, &lab.local_trust()),
        (&lab.ca, &ISSUER),
        (&lab.delegate, &ISSUER),
    ] {
        let expected = Verified {
            status: CertStatus::Good,
            this_update: NOW.minus(MINUTE),
            next_update: NOW.plus(MINUTE),
        };
        let response = draft.signed_by(signer);
        assert_eq!(verify(&response, &target, trust, None, NOW), Ok(expected));
    }
    // And nobody else.
    assert_eq!(
        judged(&draft.signed_by(&lab.local), &target, &ISSUER),
        Err(VerifyError::DelegateNotIssued)
    );
    let unknown = VerifyError::UnknownSigner;
    for signer in [&lab.ca, &lab.delegate] {
        let response = draft.signed_by(signer);
        assert_eq!(
            judged(&response, &target, &lab.local_trust()),
            Err(unknown.clone())
        );
    }
}

#[test]
fn keys_of_each_kind_sign() {
    let lab = Lab::new();
    let target = lab.target();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let local = Certified::self_signed_with(responder("local"), key);
        let response = Draft::good(&target).signed_by(&local);
        let trust = Trust {
            signers: vec![TrustedSigner::new(&local.der).unwrap()],
            issuer: false,
            skew: SKEW,
        };
        assert_eq!(judged(&response, &target, &trust), Ok(CertStatus::Good));
    }
}

#[test]
fn what_a_delegate_must_be() {
    let lab = Lab::new();
    let target = lab.target();
    let stranger = Certified::self_signed(authority("ca"));
    let mut without_purpose = responder("delegate");
    without_purpose.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut without_usage = responder("delegate");
    without_usage.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    let mut over = responder("delegate");
    over.not_after = date_time_ymd(2026, 7, 31);
    let mut early = responder("delegate");
    early.not_before = date_time_ymd(2026, 8, 2);
    type IsMeant = fn(&VerifyError) -> bool;
    let cases: [(Certified, IsMeant); 6] = [
        (lab.ca.issue(without_purpose), |e| {
            *e == VerifyError::DelegateUsage
        }),
        (lab.ca.issue(without_usage), |e| {
            *e == VerifyError::DelegateUsage
        }),
        (lab.ca.issue(over), |e| {
            matches!(e, VerifyError::SignerValidity { .. })
        }),
        (lab.ca.issue(early), |e| {
            matches!(e, VerifyError::SignerValidity { .. })
        }),
        // The issuer's name, but not its key.
        (stranger.issue(responder("delegate")), |e| {
            *e == VerifyError::DelegateNotIssued
        }),
        (Certified::self_signed(responder("delegate")), |e| {
            *e == VerifyError::DelegateNotIssued
        }),
    ];
    for (at, (delegate, is_meant)) in cases.iter().enumerate() {
        let response = Draft::good(&target).signed_by(delegate);
        let error = judged(&response, &target, &ISSUER).unwrap_err();
        assert!(is_meant(&error), "case {at}: {error:?}");
    }
}

/// The same key with another certificate.
fn renewed(signer: &Certified, params: CertificateParams) -> Certified {
    let key = KeyPair::try_from(signer.key.serialized_der()).unwrap();
    Certified::self_signed_with(params, key)
}

fn over(mut params: CertificateParams) -> CertificateParams {
    params.not_after = date_time_ymd(2026, 7, 31);
    params
}

/// Names the responder by name where [`Draft::data`] does it by key.
fn by_name(data: &[u8], signer: &Certified) -> Vec<u8> {
    let parsed = ParsedCertificate::parse(&signer.der).unwrap();
    let by_key = [&[0xa2, 22, 0x04, 20][..], &signer.key_hash()].concat();
    let content = wire::Tlv::only(data).unwrap().value;
    let rest = content.strip_prefix(&by_key[..]).unwrap();
    let mut out = Vec::new();
    nested(&mut out, tag::SEQUENCE, |out| {
        wire::tlv(out, tag::constructed(1), parsed.subject());
        out.extend_from_slice(rest);
    });
    out
}

#[test]
fn each_trusted_signer_with_the_name_or_key_is_tried() {
    let lab = Lab::new();
    let target = lab.target();
    let trust = |signers: [&Certified; 2]| Trust {
        signers: signers.map(|s| TrustedSigner::new(&s.der).unwrap()).into(),
        issuer: false,
        skew: SKEW,
    };
    // Renewed with the same key, while the old certificate is still in the file.
    let old = renewed(&lab.local, over(responder("local")));
    let data = Draft::good(&target).data(&lab.local);
    let response = sign(&data, &lab.local);
    for signers in [[&old, &lab.local], [&lab.local, &old]] {
        let status = judged(&response, &target, &trust(signers));
        assert_eq!(status, Ok(CertStatus::Good));
    }
    // Another key under the same name.
    let other = Certified::self_signed(responder("local"));
    let response = sign(&by_name(&data, &lab.local), &lab.local);
    for signers in [[&other, &lab.local], [&lab.local, &other]] {
        let status = judged(&response, &target, &trust(signers));
        assert_eq!(status, Ok(CertStatus::Good));
    }
    // The one who did sign tells more than the one who did not.
    for signers in [[&other, &old], [&old, &other]] {
        let status = judged(&response, &target, &trust(signers));
        assert!(
            matches!(status, Err(VerifyError::SignerValidity { .. })),
            "{status:?}"
        );
    }
    let strangers = judged(&response, &target, &trust([&other, &other]));
    assert_eq!(strangers, Err(VerifyError::Signature));
    // A trusted one that is over stands in nobody's way.
    let delegate = lab.ca.issue(responder("local"));
    let response = sign(&by_name(&data, &lab.local), &delegate);
    let both = Trust {
        issuer: true,
        ..trust([&old, &other])
    };
    assert_eq!(judged(&response, &target, &both), Ok(CertStatus::Good));
}

#[test]
fn each_delegate_beside_the_signature_is_tried_and_what_is_no_certificate_is_passed_over() {
    let lab = Lab::new();
    let target = lab.target();
    let issuer = Issuer::from_params(&lab.ca.params, &lab.ca.key);
    let again = |params: CertificateParams| {
        let der = params.signed_by(&lab.delegate.key, &issuer).unwrap();
        der.der().to_vec()
    };
    let over = again(over(responder("delegate")));
    let useless = again(named("delegate", 78));
    let foreign = renewed(&lab.delegate, responder("delegate")).der;
    let junk = vec![tag::SEQUENCE, 0];
    let data = Draft::good(&target).data(&lab.delegate);
    let right = &lab.delegate.der;
    for wrong in [&over, &useless, &foreign, &junk, &lab.ca.der] {
        for beside in [[wrong, right], [right, wrong]] {
            let response = sign_beside(&data, &lab.delegate, &beside.map(Vec::as_slice));
            let status = judged(&response, &target, &ISSUER);
            assert_eq!(status, Ok(CertStatus::Good));
        }
    }
    // Alone, each has its own error, whatever stands beside it.
    let errors = |beside: &[&[u8]]| {
        let response = sign_beside(&data, &lab.delegate, beside);
        judged(&response, &target, &ISSUER).unwrap_err()
    };
    let junk = &junk[..];
    assert!(matches!(errors(&[junk]), VerifyError::Delegate(_)));
    assert_eq!(errors(&[]), VerifyError::UnknownSigner);
    assert_eq!(errors(&[&lab.ca.der]), VerifyError::UnknownSigner);
    for beside in [[junk, &foreign], [&foreign, junk]] {
        assert_eq!(errors(&beside), VerifyError::DelegateNotIssued);
    }
    for beside in [[&useless[..], &foreign], [&foreign, &useless]] {
        assert_eq!(errors(&beside), VerifyError::DelegateUsage);
    }
    for beside in [[&useless[..], &over], [&over, &useless]] {
        let error = errors(&beside);
        assert!(
            matches!(error, VerifyError::SignerValidity { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn no_key_vouches_for_its_own_certificate() {
    let own = Certified::self_signed(responder("segw.example"));
    let target = TargetCertificate::new(&own.der, &own.der).unwrap();
    let draft = Draft::good(&target);
    let itself = Err(VerifyError::VouchesForItself);
    assert_eq!(judged(&draft.signed_by(&own), &target, &ISSUER), itself);
    let delegate = own.issue(responder("delegate"));
    assert_eq!(
        judged(&draft.signed_by(&delegate), &target, &ISSUER),
        itself
    );
    let trusted = Trust {
        signers: vec![TrustedSigner::new(&own.der).unwrap()],
        issuer: false,
        skew: SKEW,
    };
    assert_eq!(judged(&draft.signed_by(&own), &target, &trusted), itself);
    // A gateway that its authority made a delegate too.
    let lab = Lab::new();
    let gateway = lab.ca.issue(responder("segw.example"));
    let target = TargetCertificate::new(&gateway.der, &lab.ca.der).unwrap();
    let response = Draft::good(&target).signed_by(&gateway);
    assert_eq!(judged(&response, &target, &ISSUER), itself);
    // A self-signed one that a local signer knows is the usual case.
    let lab_target = TargetCertificate::new(&own.der, &own.der).unwrap();
    let response = draft.signed_by(&lab.local);
    assert_eq!(
        judged(&response, &lab_target, &lab.local_trust()),
        Ok(CertStatus::Good)
    );
}

#[test]
fn the_certificate_is_found_by_each_hash_function_and_nothing_else_is() {
    let lab = Lab::new();
    let target = lab.target();
    let trust = lab.local_trust();
    for algorithm in HashAlgorithm::ALL {
        let id = target.cert_id(algorithm).unwrap();
        let response = Draft::about(id, CertStatus::Good).signed_by(&lab.local);
        assert_eq!(judged(&response, &target, &trust), Ok(CertStatus::Good));
    }
    // As OpenSSL asks: the octets of CertID, and a request around them.
    let id = target.cert_id(HashAlgorithm::Sha1).unwrap();
    let asked = CertId::decode(&id).unwrap();
    assert_eq!(asked.serial_octets(), [0, 0x80, 0xaa], "a positive number");
    let fields = id.len() - 7;
    let request = Request::encode(&[&id], None);
    let read = Request::decode(&request, crate::Limits::default()).unwrap();
    assert_eq!(read.first.der(), id);
    // The last octets of the serial number, the key hash and the name hash.
    for at in [id.len() - 1, fields, fields - 22] {
        let mut other = id.clone();
        other[at] ^= 1;
        let response = Draft::about(other, CertStatus::Good).signed_by(&lab.local);
        assert_eq!(
            judged(&response, &target, &trust),
            Err(VerifyError::NoStatus),
            "octet {at}"
        );
    }
    let elsewhere = Certified::self_signed(authority("ca"));
    let other = elsewhere.issue(named("segw.example", 0x80aa));
    assert_eq!(
        TargetCertificate::new(&other.der, &lab.ca.der).unwrap_err(),
        TargetError::NotIssued
    );
}

#[test]
fn the_worst_that_is_said_of_the_certificate_is_believed() {
    let lab = Lab::new();
    let target = lab.target();
    let trust = lab.local_trust();
    let revoked = CertStatus::Revoked {
        time: NOW.minus(MINUTE),
        reason: RevocationReason::KeyCompromise,
    };
    let statuses = [CertStatus::Good, CertStatus::Unknown, revoked];
    for (a, first) in statuses.into_iter().enumerate() {
        for (b, second) in statuses.into_iter().enumerate() {
            let draft = Draft::about(target.cert_id(HashAlgorithm::Sha1).unwrap(), first);
            let more = Draft::about(target.cert_id(HashAlgorithm::Sha256).unwrap(), second);
            let both = draft.with(|draft| draft.singles.extend(more.singles));
            let response = both.signed_by(&lab.local);
            assert_eq!(judged(&response, &target, &trust), Ok(statuses[a.max(b)]));
        }
    }
}

#[test]
fn of_several_single_responses_the_first_to_end_bounds_the_whole() {
    let lab = Lab::new();
    let target = lab.target();
    let id = |hash| target.cert_id(hash).unwrap();
    let first = Draft::about(id(HashAlgorithm::Sha1), CertStatus::Good);
    let mut second = Draft::about(id(HashAlgorithm::Sha256), CertStatus::Good);
    second.singles[0].1.next_update = NOW.plus(MINUTE / 2);
    for (mut a, b) in [(first.clone(), second.clone()), (second, first)] {
        a.singles.extend(b.singles);
        let response = a.signed_by(&lab.local);
        let verified = verify(&response, &target, &lab.local_trust(), None, NOW).unwrap();
        assert_eq!(verified.next_update, NOW.plus(MINUTE / 2));
    }
}

#[test]
fn every_reason_is_read() {
    let lab = Lab::new();
    let target = lab.target();
    for reason in RevocationReason::ALL {
        let status = CertStatus::Revoked {
            time: UnixTime::EPOCH,
            reason,
        };
        let id = target.cert_id(HashAlgorithm::Sha256).unwrap();
        let draft = Draft::about(id, status).with(|draft| draft.extended_revoked = true);
        let response = draft.signed_by(&lab.local);
        assert_eq!(judged(&response, &target, &lab.local_trust()), Ok(status));
    }
}

#[test]
fn times_are_checked_with_the_allowance_for_clocks() {
    let lab = Lab::new();
    let target = lab.target();
    let trust = lab.local_trust();
    let at = |change: fn(&mut Draft)| {
        judged(
            &Draft::good(&target).with(change).signed_by(&lab.local),
            &target,
            &trust,
        )
    };
    let over = SKEW + Duration::from_secs(1);
    let old = |next: UnixTime| {
        let draft = Draft::good(&target).with(|draft| {
            draft.singles[0].1.this_update = NOW.minus(MINUTE * 60);
            draft.singles[0].1.next_update = next;
        });
        judged(&draft.signed_by(&lab.local), &target, &trust)
    };
    assert_eq!(old(NOW.minus(SKEW)), Ok(CertStatus::Good));
    assert!(matches!(
        old(NOW.minus(over)),
        Err(VerifyError::Expired { .. })
    ));
    assert_eq!(
        at(|draft| draft.singles[0].1.this_update = NOW.plus(SKEW)),
        Ok(CertStatus::Good)
    );
    assert!(matches!(
        at(|draft| {
            draft.singles[0].1.this_update = NOW.plus(SKEW + Duration::from_secs(1));
            draft.singles[0].1.next_update = NOW.plus(SKEW * 2);
        }),
        Err(VerifyError::NotYetValid { .. })
    ));
    assert_eq!(
        at(|draft| draft.singles[0].1.next_update = NOW.minus(MINUTE * 2)),
        Err(VerifyError::Window)
    );
    assert_eq!(
        at(|draft| draft.produced_at = NOW.plus(SKEW)),
        Ok(CertStatus::Good)
    );
    assert!(matches!(
        at(|draft| draft.produced_at = NOW.plus(SKEW + Duration::from_secs(1))),
        Err(VerifyError::ProducedInFuture { .. })
    ));
}

#[test]
fn without_next_update_nothing_is_relied_upon() {
    let lab = Lab::new();
    let target = lab.target();
    let id = target.cert_id(HashAlgorithm::Sha1).unwrap();
    let data = Draft::good(&target).data(&lab.local);
    let mut single = Vec::new();
    nested(&mut single, tag::SEQUENCE, |out| {
        out.extend_from_slice(&id);
        wire::tlv(out, tag::primitive(0), &[]);
        wire::tlv(out, tag::GENERALIZED_TIME, &NOW.generalized());
    });
    let frame = Frame {
        responder_key_hash: &lab.local.key_hash(),
        produced_at: NOW,
        nonce: None,
        extended_revoked: false,
    };
    let without = response_data(frame, std::iter::once(&single[..]));
    assert!(without.len() < data.len());
    assert_eq!(
        judged(&sign(&without, &lab.local), &target, &lab.local_trust()),
        Err(VerifyError::NoNextUpdate)
    );
}

#[test]
fn a_nonce_that_was_asked_for_must_come_back() {
    let lab = Lab::new();
    let target = lab.target();
    let trust = lab.local_trust();
    let answer = |nonce: Option<&[u8]>| {
        let nonce = nonce.map(<[u8]>::to_vec);
        let draft = Draft::good(&target).with(|draft| draft.nonce = nonce);
        draft.signed_by(&lab.local)
    };
    let ask = |response: &[u8], nonce| verify(response, &target, &trust, nonce, NOW).map(|_| ());
    let asked = Some(&[7; 32][..]);
    assert_eq!(ask(&answer(asked), asked), Ok(()));
    assert_eq!(ask(&answer(asked), None), Ok(()), "nobody asked");
    assert_eq!(ask(&answer(None), asked), Err(VerifyError::Nonce));
    let other = Some(&[8; 32][..]);
    assert_eq!(ask(&answer(other), asked), Err(VerifyError::Nonce));
    let long = [7; 129];
    let decoded = ask(&answer(Some(&long)), None);
    assert_eq!(decoded, Err(VerifyError::Response(ResponseError::Nonce)));
}

#[test]
fn cert_hash_tells_two_certificates_of_one_cert_id_apart() {
    let lab = Lab::new();
    let target = lab.target();
    let twin = lab.ca.issue(named("segw.example", 0x80aa));
    let twin_target = TargetCertificate::new(&twin.der, &lab.ca.der).unwrap();
    let draft = Draft::good(&target).with(|draft| {
        draft.singles[0].1.cert_hash = Some(CertificateHash::of(&lab.gateway.der));
        draft.singles[0].1.archive_cutoff = Some(UnixTime::EPOCH);
    });
    let response = draft.signed_by(&lab.local);
    let trust = lab.local_trust();
    assert_eq!(judged(&response, &target, &trust), Ok(CertStatus::Good));
    assert_eq!(
        judged(&response, &twin_target, &trust),
        Err(VerifyError::CertHash)
    );
}

#[test]
fn sha_1_signatures_are_refused() {
    let lab = Lab::new();
    let target = lab.target();
    let response = Draft::good(&target).signed_by(&lab.local);
    // ecdsa-with-SHA256 (RFC 5758 §3.2) becomes ecdsa-with-SHA1 (RFC 3279 §2.2.3), one octet shorter in the arc.
    let sha256 = hex("06082a8648ce3d040302");
    let unknown = hex("06082a8648ce3d040301");
    let at = response
        .windows(sha256.len())
        .position(|window| window == sha256)
        .unwrap();
    let mut weaker = response;
    weaker[at..at + unknown.len()].copy_from_slice(&unknown);
    assert!(matches!(
        judged(&weaker, &target, &lab.local_trust()),
        Err(VerifyError::SignatureAlgorithm(_))
    ));
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn every_flipped_bit_is_refused_or_means_the_same() {
    let lab = Lab::new();
    let target = lab.target();
    let draft = Draft::good(&target).with(|draft| {
        draft.nonce = Some(vec![9; 16]);
        draft.singles[0].1.cert_hash = Some(CertificateHash::of(&lab.gateway.der));
    });
    for (signer, trust) in [(&lab.local, lab.local_trust()), (&lab.delegate, ISSUER)] {
        let response = draft.signed_by(signer);
        let whole = verify(&response, &target, &trust, None, NOW).unwrap();
        let signed = Response::decode(&response).unwrap();
        let certificate = signed.certificates[0];
        let at = certificate.as_ptr() as usize - response.as_ptr() as usize;
        for bit in 0..response.len() * 8 {
            let mut flipped = response.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match verify(&flipped, &target, &trust, None, NOW) {
                Err(_) => {}
                // The certificate of a locally trusted signer is not looked at: ours is.
                Ok(same) => {
                    assert!(!trust.issuer && (at..).contains(&(bit / 8)), "bit {bit}");
                    assert_eq!(same, whole);
                }
            }
        }
        for end in 0..response.len() {
            assert!(verify(&response[..end], &target, &trust, None, NOW).is_err());
        }
        let longer = [&response[..], &[0]].concat();
        assert!(verify(&longer, &target, &trust, None, NOW).is_err());
    }
}

#[test]
fn refusals_of_a_responder_are_told_apart() {
    for (octets, expected) in [
        (
            "30030a0101",
            ResponseError::Status(crate::ResponseStatus::MalformedRequest),
        ),
        (
            "30030a0102",
            ResponseError::Status(crate::ResponseStatus::InternalError),
        ),
        (
            "30030a0103",
            ResponseError::Status(crate::ResponseStatus::TryLater),
        ),
        (
            "30030a0106",
            ResponseError::Status(crate::ResponseStatus::Unauthorized),
        ),
        // sigRequired, and what there is not.
        ("30030a0105", ResponseError::StatusCode),
        ("30030a0104", ResponseError::StatusCode),
        ("30040a020000", ResponseError::StatusCode),
        ("30030a0100", ResponseError::NoResponseBytes),
    ] {
        let octets = hex(octets);
        assert_eq!(Response::decode(&octets).unwrap_err(), expected);
    }
    let long = vec![0x30; crate::MAX_RESPONSE + 1];
    assert!(matches!(
        Response::decode(&long),
        Err(ResponseError::TooLong { .. })
    ));
}

#[test]
fn lists_are_bounded() {
    let lab = Lab::new();
    let target = lab.target();
    let many = |count| {
        let draft = Draft::good(&target);
        let single = draft.singles[0].clone();
        draft.with(|draft| draft.singles = vec![single; count])
    };
    let decode = |draft: Draft| Response::decode(&draft.signed_by(&lab.local)).map(|_| ());
    assert_eq!(decode(many(crate::MAX_SINGLES)), Ok(()));
    assert_eq!(
        decode(many(crate::MAX_SINGLES + 1)),
        Err(ResponseError::TooManySingles)
    );
    assert_eq!(decode(many(0)), Err(ResponseError::NoSingle));
    let data = Draft::good(&target).data(&lab.local);
    let with_certificates = |count: usize| {
        let mut certificates = Vec::new();
        nested(&mut certificates, tag::constructed(0), |out| {
            nested(out, tag::SEQUENCE, |out| {
                (0..count).for_each(|_| out.extend_from_slice(&[tag::SEQUENCE, 0]));
            });
        });
        successful(&data, SignatureAlgorithm::Ed25519, &[0; 64], &certificates)
    };
    let most = crate::MAX_RESPONSE_CERTIFICATES;
    assert!(Response::decode(&with_certificates(most)).is_ok());
    assert_eq!(
        Response::decode(&with_certificates(most + 1)).map(|_| ()),
        Err(ResponseError::TooManyCertificates)
    );
}

proptest::proptest! {
    #[test]
    fn whatever_octets_are_survived(octets: Vec<u8>) {
        let _ = Response::decode(&octets);
    }

    #[test]
    fn what_is_written_is_read(
        this in 0..UnixTime::MAX.0, next in 0..UnixTime::MAX.0, produced in 0..UnixTime::MAX.0,
        nonce in proptest::option::of(proptest::collection::vec(proptest::num::u8::ANY, 1..=128)),
    ) {
        let id = CertId::encode(HashAlgorithm::Sha256, b"name", b"key", &[1]);
        let single = Single {
            status: CertStatus::Good,
            this_update: UnixTime(this),
            next_update: UnixTime(next),
            cert_hash: None,
            archive_cutoff: None,
        };
        let frame = Frame {
            responder_key_hash: &[5; 20],
            produced_at: UnixTime(produced),
            nonce: nonce.as_deref(),
            extended_revoked: false,
        };
        let single = single.encode(&id);
        let data = response_data(frame, std::iter::once(&single[..]));
        let octets = successful(&data, SignatureAlgorithm::RsaSha256, b"signature", &[]);
        let read = Response::decode(&octets).unwrap();
        proptest::prop_assert_eq!(read.signed, &data[..]);
        proptest::prop_assert_eq!(read.responder, ResponderId::ByKey(&[5; 20]));
        proptest::prop_assert_eq!(read.produced_at, UnixTime(produced));
        proptest::prop_assert_eq!(read.nonce, nonce.as_deref());
        proptest::prop_assert_eq!(read.singles[0].cert_id.der(), &id[..]);
        proptest::prop_assert_eq!(read.singles[0].this_update, UnixTime(this));
        proptest::prop_assert_eq!(read.singles[0].next_update, Some(UnixTime(next)));
        proptest::prop_assert_eq!(read.signature, b"signature");
    }
}
