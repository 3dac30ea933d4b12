//! Every rule with certificates that it accepts and that it refuses.

use rcgen::{
    CertificateParams, CustomExtension, DnType, DnValue, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SanType, date_time_ymd,
};

use super::ORDER;
use crate::algorithm::SignatureKind;
use crate::certificate::{CertificateError, MAX_CERTIFICATE, ParsedCertificate};
use crate::fixture::{
    ACME, AUTHORITY, BEGIN, Consortium, OPERATOR, WATCHER, authority, device, issued, key, key_for,
    self_signed, signed_with, subject,
};
use crate::hash::CertificateHash;
use crate::member::{MemberKind, Roles};
use crate::outcome::Refusal;
use crate::record::{BlockTime, Class, RevocationReason, Status};
use crate::state::MAX_RECORDS_PER_KEY;
use crate::transaction::Body;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/vectors/", $name, ".der")).as_slice()
    };
}

/// A fresh consortium's verdict on acme's device.
fn refusal(certificate: &[u8]) -> Option<Refusal> {
    Consortium::new().device(certificate)
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = device("henb-1");
    change(&mut params);
    self_signed(&params)
}

fn extension(oid: &[u64], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
    extension.set_criticality(critical);
    extension
}

#[test]
fn endorsement_needs_the_role() {
    let certificate = self_signed(&subject("box", "Watch"));
    let mut consortium = Consortium::new();
    assert_eq!(
        consortium.submit(WATCHER, Class::Device, &[certificate]),
        [Some(Refusal::NotEndorsed)]
    );
    assert_eq!(consortium.device(&self_signed(&device("henb-1"))), None);
}

#[test]
fn form_is_one_der_certificate_of_version_3() {
    let good = self_signed(&device("henb-1"));
    assert_eq!(refusal(&good), None);

    let mut trailing = good.clone();
    trailing.push(0x00);
    assert_eq!(refusal(&trailing), Some(Refusal::Malformed));
    assert_eq!(refusal(&[]), Some(Refusal::Malformed));
    assert_eq!(
        refusal(b"-----BEGIN CERTIFICATE-----"),
        Some(Refusal::Malformed)
    );
    for length in 0..good.len() {
        assert!(
            ParsedCertificate::parse(&good[..length]).is_err(),
            "cut to {length}"
        );
    }
    assert_eq!(refusal(vector!("p256-version-1")), Some(Refusal::Malformed));
    assert_eq!(
        ParsedCertificate::parse(vector!("p256-version-1")).unwrap_err(),
        CertificateError::Version("version 1")
    );
}

#[test]
fn form_has_a_longest_length() {
    // Grow a non-critical extension until the certificate is exactly as long as it may be.
    let key = key_for(&PKCS_ED25519);
    let sized = |content: usize| {
        let mut params = device("henb-1");
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 4, 1, 99_999],
                vec![0; content],
            ));
        signed_with(&params, &key)
    };
    let content = 7_000 + MAX_CERTIFICATE - sized(7_000).len();
    assert_eq!(sized(content).len(), MAX_CERTIFICATE);
    assert_eq!(refusal(&sized(content)), None);
    assert_eq!(refusal(&sized(content + 1)), Some(Refusal::Malformed));
}

#[test]
fn form_knows_every_critical_extension() {
    let unknown = [1, 3, 6, 1, 4, 1, 99_999];
    let name_constraints = [2, 5, 29, 30];
    assert_eq!(
        refusal(&with(|p| p
            .custom_extensions
            .push(extension(&unknown, false)))),
        None
    );
    for oid in [&unknown[..], &name_constraints] {
        assert_eq!(
            refusal(&with(|p| p.custom_extensions.push(extension(oid, true)))),
            Some(Refusal::Malformed)
        );
    }
    // The same extension twice, and known ones that do not decode.
    let twice = with(|p| p.custom_extensions = vec![extension(&unknown, false); 2]);
    assert_eq!(refusal(&twice), Some(Refusal::Malformed));
    for known in [15, 17, 19, 37] {
        let broken = with(|p| {
            p.key_usages.clear();
            p.custom_extensions
                .push(extension(&[2, 5, 29, known], true));
        });
        assert_eq!(refusal(&broken), Some(Refusal::Malformed), "2.5.29.{known}");
    }
}

#[test]
fn form_names_one_signature_algorithm() {
    let mut certificate = with(|_| {});
    // The last ecdsa-with-SHA256 is the outer one; make it ecdsa-with-SHA384.
    let oid = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let place = certificate
        .windows(oid.len())
        .rposition(|window| window == oid)
        .unwrap();
    certificate[place + oid.len() - 1] = 0x03;
    assert_eq!(
        ParsedCertificate::parse(&certificate).unwrap_err(),
        CertificateError::AlgorithmsDiffer
    );
    assert_eq!(refusal(&certificate), Some(Refusal::Malformed));
}

#[test]
fn duplicate_in_the_ledger_and_in_one_batch() {
    let (first, second) = (
        self_signed(&device("henb-1")),
        self_signed(&device("henb-2")),
    );
    let mut consortium = Consortium::new();
    assert_eq!(
        consortium.submit(
            ACME,
            Class::Device,
            &[first.clone(), first.clone(), second.clone()]
        ),
        [None, Some(Refusal::Duplicate), None]
    );
    assert_eq!(consortium.device(&first), Some(Refusal::Duplicate));
    // Revoked is recorded too.
    let hash = CertificateHash::of(&second);
    let reason = RevocationReason::CessationOfOperation;
    assert_eq!(consortium.act(ACME, Body::Revoke { hash, reason }), None);
    assert_eq!(consortium.device(&second), Some(Refusal::Duplicate));
}

#[test]
fn algorithms_that_are_strong_enough() {
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
        let certificate = signed_with(&device("henb-1"), &key_for(algorithm));
        assert_eq!(refusal(&certificate), None, "{algorithm:?}");
    }
    for (certificate, kind) in [
        (vector!("p256-sha384"), SignatureKind::EcdsaSha384),
        (vector!("p384-sha256"), SignatureKind::EcdsaSha256),
        (vector!("rsa-2048-sha256"), SignatureKind::RsaPkcs1Sha256),
        (vector!("rsa-3072-sha512"), SignatureKind::RsaPkcs1Sha512),
        (vector!("rsa-2048-pss-sha256"), SignatureKind::RsaPssSha256),
        (vector!("rsa-2048-pss-sha384"), SignatureKind::RsaPssSha384),
        (vector!("rsa-2048-pss-sha512"), SignatureKind::RsaPssSha512),
    ] {
        assert_eq!(
            ParsedCertificate::parse(certificate)
                .unwrap()
                .signature_kind(),
            Ok(kind)
        );
        assert_eq!(refusal(certificate), None, "{kind:?}");
    }
}

#[test]
fn algorithms_that_are_too_weak_or_not_ours() {
    for (name, certificate) in [
        ("RSA of 1024 bits", vector!("rsa-1024-sha256")),
        ("RSA with exponent 3", vector!("rsa-2048-e3")),
        ("SHA-1", vector!("rsa-2048-sha1")),
        (
            "PSS with another salt length",
            vector!("rsa-2048-pss-salt-20"),
        ),
        ("P-521", vector!("p521-sha512")),
        ("ECDSA with SHA-512", vector!("p256-sha512")),
    ] {
        assert_eq!(refusal(certificate), Some(Refusal::WeakAlgorithm), "{name}");
    }
}

#[test]
fn organisation_is_the_members_own_and_only_one() {
    for (certificate, expected) in [
        (self_signed(&subject("henb-1", "ACME Femto")), None),
        (
            self_signed(&subject("henb-1", "Operator One")),
            Some(Refusal::ForeignOrganisation),
        ),
        (
            self_signed(&subject("henb-1", "acme femto")),
            Some(Refusal::ForeignOrganisation),
        ),
        (
            self_signed(&subject("henb-1", "")),
            Some(Refusal::ForeignOrganisation),
        ),
    ] {
        assert_eq!(refusal(&certificate), expected);
    }
    let printable = with(|p| {
        p.distinguished_name.remove(DnType::OrganizationName);
        let name = DnValue::PrintableString("ACME Femto".try_into().unwrap());
        p.distinguished_name.push(DnType::OrganizationName, name);
    });
    assert_eq!(refusal(&printable), None);
    // rcgen holds one value of a kind, so the second O stands under its numbers.
    let two = with(|p| {
        p.distinguished_name
            .push(DnType::CustomDnType(vec![2, 5, 4, 10]), "Operator One");
    });
    assert_eq!(refusal(&two), Some(Refusal::ForeignOrganisation));
    let bmp = with(|p| {
        p.distinguished_name.remove(DnType::OrganizationName);
        let name = DnValue::BmpString("ACME Femto".try_into().unwrap());
        p.distinguished_name.push(DnType::OrganizationName, name);
    });
    assert_eq!(refusal(&bmp), Some(Refusal::Malformed));
}

#[test]
fn key_usage_signs_only_where_the_subject_names_an_identity() {
    use KeyUsagePurpose::{
        ContentCommitment, DataEncipherment, DigitalSignature, KeyAgreement, KeyEncipherment,
    };

    let nameless = |usages: Vec<KeyUsagePurpose>| {
        let mut params = subject("", "ACME Femto");
        params.key_usages = usages;
        params
    };
    for usages in [
        vec![],
        vec![DigitalSignature],
        vec![ContentCommitment],
        vec![KeyAgreement, DigitalSignature],
    ] {
        let certificate = self_signed(&nameless(usages.clone()));
        assert_eq!(refusal(&certificate), Some(Refusal::KeyUsage), "{usages:?}");
    }
    let certificate = self_signed(&nameless(vec![
        KeyAgreement,
        KeyEncipherment,
        DataEncipherment,
    ]));
    assert_eq!(refusal(&certificate), None);

    // An identity beside the distinguished name, or as a serial number in it.
    let mut params = nameless(vec![DigitalSignature]);
    params.subject_alt_names = vec![SanType::DnsName("henb-1.acme.example".try_into().unwrap())];
    assert_eq!(refusal(&self_signed(&params)), None);
    let mut params = nameless(vec![DigitalSignature]);
    params
        .distinguished_name
        .push(DnType::CustomDnType(vec![2, 5, 4, 5]), "0017-42");
    assert_eq!(refusal(&self_signed(&params)), None);
    // No limit at all, with an identity.
    assert_eq!(refusal(&with(|p| p.key_usages.clear())), None);
}

#[test]
fn key_usage_allows_something() {
    let nothing = with(|p| {
        p.key_usages.clear();
        // keyUsage ::= BIT STRING of no bits
        p.custom_extensions.push(CustomExtension::from_oid_content(
            &[2, 5, 29, 15],
            vec![0x03, 0x01, 0x00],
        ));
    });
    assert_eq!(refusal(&nothing), Some(Refusal::KeyUsage));
}

#[test]
fn key_usage_fits_the_class() {
    let root = self_signed(&authority("Root", None));
    for class in [Class::Device, Class::Gateway] {
        let mut consortium = Consortium::new();
        assert_eq!(
            consortium.submit(AUTHORITY, class, std::slice::from_ref(&root)),
            [Some(Refusal::KeyUsage)]
        );
    }
    assert_eq!(
        Consortium::new().submit(AUTHORITY, Class::Ca, &[root]),
        [None]
    );

    let mut no_sign = authority("Root", None);
    no_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut unlimited = authority("Root", None);
    unlimited.key_usages.clear();
    let mut no_flag = authority("Root", None);
    no_flag.is_ca = rcgen::IsCa::ExplicitNoCa;
    for params in [no_sign, unlimited, no_flag] {
        assert_eq!(
            Consortium::new().submit(AUTHORITY, Class::Ca, &[self_signed(&params)]),
            [Some(Refusal::KeyUsage)]
        );
    }
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        assert_eq!(
            refusal(&with(|p| p.key_usages.push(usage))),
            Some(Refusal::KeyUsage)
        );
    }
}

#[test]
fn validity_contains_the_block_time_and_has_a_longest() {
    let valid = |from: (i32, u8, u8), to: (i32, u8, u8)| {
        with(|p| {
            p.not_before = date_time_ymd(from.0, from.1, from.2);
            p.not_after = date_time_ymd(to.0, to.1, to.2);
        })
    };
    // The first block's time is 2026-01-01T00:00:01Z; the longest validity 7 305 days.
    for (certificate, expected) in [
        (valid((2026, 1, 1), (2026, 1, 2)), None),
        (valid((2026, 1, 2), (2026, 1, 3)), Some(Refusal::Validity)),
        (valid((2025, 1, 1), (2026, 1, 1)), Some(Refusal::Validity)),
        (valid((2025, 1, 1), (2045, 1, 1)), None),
        (valid((2025, 1, 1), (2045, 1, 2)), Some(Refusal::Validity)),
        (valid((2027, 1, 1), (2025, 1, 1)), Some(Refusal::Validity)),
        (valid((2025, 1, 1), (9999, 12, 31)), Some(Refusal::Validity)),
    ] {
        assert_eq!(refusal(&certificate), expected);
    }
    // notAfter is the last valid second: 2026-01-01T00:00:00Z here.
    let last = valid((2025, 1, 1), (2026, 1, 1));
    for (milliseconds, expected) in [(999, None), (1_000, Some(Refusal::Validity))] {
        let mut consortium = Consortium::new();
        let body = Body::Submit {
            certificates: vec![last.clone()],
            class: Class::Device,
        };
        let signed = consortium.signed(ACME, body);
        let applied = consortium.commit_at(BlockTime(BEGIN.0 + milliseconds), vec![signed]);
        assert_eq!(applied.receipts[0].outcomes[0].refusal(), expected);
    }
}

#[test]
fn key_reuse_across_organisations_and_after_a_compromise() {
    let shared = key();
    let ours = signed_with(&device("henb-1"), &shared);
    let renewed = signed_with(&device("henb-1-renewed"), &shared);
    let theirs = signed_with(&subject("henb-1", "Operator One"), &shared);
    let hash = CertificateHash::of(&ours);
    let theirs_in = |consortium: &mut Consortium| {
        consortium.submit(OPERATOR, Class::Device, std::slice::from_ref(&theirs))[0]
    };

    let mut consortium = Consortium::new();
    assert_eq!(consortium.device(&ours), None);
    assert_eq!(
        consortium.device(&renewed),
        None,
        "the same organisation may"
    );
    assert_eq!(theirs_in(&mut consortium), Some(Refusal::KeyReuse));
    assert_eq!(consortium.act(OPERATOR, Body::Suspend { hash }), None);
    assert_eq!(
        theirs_in(&mut consortium),
        Some(Refusal::KeyReuse),
        "suspended is live"
    );

    // Once it is dead, another organisation may have the key, unless it was compromised.
    for (reason, expected) in [
        (RevocationReason::CessationOfOperation, None),
        (RevocationReason::KeyCompromise, Some(Refusal::KeyReuse)),
    ] {
        let mut consortium = Consortium::new();
        assert_eq!(consortium.device(&ours), None);
        assert_eq!(consortium.act(ACME, Body::Revoke { hash, reason }), None);
        assert_eq!(theirs_in(&mut consortium), expected, "{reason}");
        if expected.is_some() {
            assert_eq!(consortium.device(&renewed), expected, "not even its own");
        }
    }
}

#[test]
fn key_reuse_has_a_bound() {
    let shared = key_for(&PKCS_ED25519);
    let mut consortium = Consortium::new();
    let batch: Vec<_> = (0..=MAX_RECORDS_PER_KEY)
        .map(|number| signed_with(&device(&format!("henb-{number}")), &shared))
        .collect();
    let refusals = consortium.submit(ACME, Class::Device, &batch);
    assert!(refusals[..MAX_RECORDS_PER_KEY].iter().all(Option::is_none));
    assert_eq!(refusals[MAX_RECORDS_PER_KEY], Some(Refusal::KeyReuse));
}

#[test]
fn signature_of_the_self_signed() {
    let good = self_signed(&device("henb-1"));
    assert_eq!(refusal(&good), None);
    // Change the common name only: the signature covers the octets as they came.
    let mut changed = good.clone();
    for window in 0..changed.len() - 6 {
        if &changed[window..window + 6] == b"henb-1" {
            changed[window + 5] = b'2';
        }
    }
    assert_ne!(changed, good);
    assert_eq!(refusal(&changed), Some(Refusal::BadSignature));
    // Self-issued by name, signed with another key.
    let (ours, other) = (key(), key());
    let params = device("henb-1");
    let foreign = issued(&params, &ours, &params, &other);
    assert_eq!(refusal(&foreign), Some(Refusal::BadSignature));
}

#[test]
fn issuer_is_recorded_valid_and_signed_it() {
    let (root_key, leaf_key) = (key(), key());
    let root = authority("Root", None);
    let root_der = signed_with(&root, &root_key);
    let hash = CertificateHash::of(&root_der);
    let leaf = |name: &str| issued(&device(name), &leaf_key, &root, &root_key);

    let first = leaf("henb-1");
    let mut consortium = Consortium::new();
    assert_eq!(
        consortium.device(&first),
        Some(Refusal::UnknownIssuer),
        "not recorded"
    );
    assert_eq!(consortium.submit(AUTHORITY, Class::Ca, &[root_der]), [None]);
    assert_eq!(consortium.device(&first), None);

    // The same issuer name with another key.
    let forged = issued(&device("henb-2"), &leaf_key, &root, &key());
    assert_eq!(consortium.device(&forged), Some(Refusal::BadSignature));

    assert_eq!(consortium.act(OPERATOR, Body::Suspend { hash }), None);
    assert_eq!(
        consortium.device(&leaf("henb-3")),
        Some(Refusal::UnknownIssuer),
        "suspended"
    );
    assert_eq!(consortium.act(OPERATOR, Body::Resume { hash }), None);
    assert_eq!(consortium.device(&leaf("henb-3")), None);
    let reason = RevocationReason::CaCompromise;
    assert_eq!(
        consortium.act(AUTHORITY, Body::Revoke { hash, reason }),
        None
    );
    assert_eq!(
        consortium.device(&leaf("henb-4")),
        Some(Refusal::UnknownIssuer),
        "revoked"
    );
    assert_eq!(
        consortium.status(&CertificateHash::of(&first)),
        Status::Valid,
        "stands by itself"
    );
}

#[test]
fn issuer_must_be_of_class_ca() {
    let (holder_key, leaf_key) = (key(), key());
    let holder = device("henb-1");
    let mut consortium = Consortium::new();
    assert_eq!(consortium.device(&signed_with(&holder, &holder_key)), None);
    let leaf = issued(&device("henb-2"), &leaf_key, &holder, &holder_key);
    assert_eq!(consortium.device(&leaf), Some(Refusal::UnknownIssuer));
}

#[test]
fn issuer_may_be_one_of_several_with_its_name() {
    let keys = [key(), key(), key()];
    let root = authority("Root", None);
    let mut consortium = Consortium::new();
    for key in &keys {
        let der = signed_with(&root, key);
        assert_eq!(consortium.submit(AUTHORITY, Class::Ca, &[der]), [None]);
    }
    let leaf = issued(&device("henb-1"), &key(), &root, &keys[2]);
    assert_eq!(consortium.device(&leaf), None);
}

#[test]
fn issuers_path_length_is_kept() {
    let (root_key, middle_key, low_key) = (key(), key(), key());
    for (root_limit, middle, low) in [
        (None, None, None),
        (
            Some(0),
            Some(Refusal::UnknownIssuer),
            Some(Refusal::UnknownIssuer),
        ),
        (Some(1), None, Some(Refusal::UnknownIssuer)),
        (Some(2), None, None),
    ] {
        let root = authority("Root", root_limit);
        let mut consortium = Consortium::new();
        assert_eq!(
            consortium.submit(AUTHORITY, Class::Ca, &[signed_with(&root, &root_key)]),
            [None]
        );
        // The middle one claims more than its issuer can give.
        let params = authority("Middle", Some(9));
        let der = issued(&params, &middle_key, &root, &root_key);
        assert_eq!(
            consortium.submit(AUTHORITY, Class::Ca, &[der]),
            [middle],
            "{root_limit:?}"
        );
        let der = issued(&authority("Low", None), &low_key, &params, &middle_key);
        assert_eq!(
            consortium.submit(AUTHORITY, Class::Ca, &[der]),
            [low],
            "{root_limit:?}"
        );
        // Devices do not count.
        let der = issued(&device("henb-1"), &key(), &root, &root_key);
        assert_eq!(consortium.device(&der), None);
    }
}

#[test]
fn a_refused_certificate_does_not_refuse_the_others() {
    let good = self_signed(&device("henb-1"));
    let weak = vector!("rsa-1024-sha256").to_vec();
    let foreign = self_signed(&subject("henb-2", "Nobody"));
    let other = self_signed(&device("henb-3"));
    let mut consortium = Consortium::new();
    assert_eq!(
        consortium.submit(
            ACME,
            Class::Device,
            &[good.clone(), weak, vec![], foreign, other.clone()]
        ),
        [
            None,
            Some(Refusal::WeakAlgorithm),
            Some(Refusal::Malformed),
            Some(Refusal::ForeignOrganisation),
            None
        ]
    );
    assert_eq!(
        consortium.status(&CertificateHash::of(&good)),
        Status::Valid
    );
    assert_eq!(
        consortium.status(&CertificateHash::of(&other)),
        Status::Valid
    );
}

#[test]
fn judging_changes_nothing_and_agrees_with_applying() {
    let consortium = Consortium::new();
    let before = consortium.state.digest();
    let member = crate::fixture::member(ACME, MemberKind::Manufacturer, Roles::ALL, "ACME Femto");
    let certificate = self_signed(&device("henb-1"));
    let record = super::judge(
        &certificate,
        Class::Device,
        &member,
        &consortium.state,
        &consortium.context(),
    )
    .unwrap();
    assert_eq!(record.hash, CertificateHash::of(&certificate));
    assert_eq!(record.certificate, certificate);
    assert_eq!(consortium.state.digest(), before);
}

/// A certificate that breaks almost every rule, mended one rule at a time.
#[test]
fn rules_are_tried_in_the_documented_order() {
    let (stolen, issuer) = (key(), authority("Root", None));
    let mut consortium = Consortium::new();
    let theirs = signed_with(&subject("henb-1", "Operator One"), &stolen);
    assert_eq!(
        consortium.submit(OPERATOR, Class::Device, &[theirs]),
        [None]
    );

    let mut params = subject("", "Operator One");
    params.not_after = date_time_ymd(2100, 1, 1);
    params
        .custom_extensions
        .push(extension(&[1, 3, 6, 1, 4, 1, 99_999], true));
    let mut holder = &stolen;
    let (fresh, wrong) = (key(), key());
    let mut seen = Vec::new();
    for step in 0..7 {
        match step {
            1 => params.custom_extensions.clear(),
            2 => params
                .distinguished_name
                .push(DnType::OrganizationName, "ACME Femto"),
            3 => params.distinguished_name.push(DnType::CommonName, "henb-2"),
            4 => params.not_after = date_time_ymd(2030, 1, 1),
            5 => holder = &fresh,
            6 => {
                let root = self_signed(&issuer);
                assert_eq!(consortium.submit(AUTHORITY, Class::Ca, &[root]), [None]);
            }
            _ => {}
        }
        let certificate = issued(&params, holder, &issuer, &wrong);
        seen.push(consortium.device(&certificate).unwrap());
    }
    assert_eq!(
        seen,
        [
            Refusal::Malformed,
            Refusal::ForeignOrganisation,
            Refusal::KeyUsage,
            Refusal::Validity,
            Refusal::KeyReuse,
            Refusal::UnknownIssuer,
            Refusal::BadSignature,
        ]
    );
    let mut places = seen
        .iter()
        .map(|refusal| ORDER.iter().position(|rule| rule == refusal));
    assert!(places.by_ref().is_sorted() && seen.iter().all(|refusal| ORDER.contains(refusal)));
}
