//! The names against literals and against openssl, and the index's contents.

use std::fs;
use std::process::Command;

use rcgen::SerialNumber;

use super::*;
use crate::fixture::{
    self, ACME, AUTHORITY, Consortium, authority, device, issued, key, self_signed, signed_with,
};
use crate::hash::{KeyHash, NameHash};
use crate::record::{Class, Standing};

/// A certificate of `O=Trust, CN=Root One`, made by openssl.
const ISSUER: &str = "308201973082013ea003020102020101300a06082a8648ce3d0403023023310e300c060355040a0c055472757374\
    3111300f06035504030c08526f6f74204f6e65301e170d3236313132313035353132325a170d3436303132303035\
    353132325a3023310e300c060355040a0c0554727573743111300f06035504030c08526f6f74204f6e6530593013\
    06072a8648ce3d020106082a8648ce3d030107034200049a72cf7762503ea03bb697abc2d7ce069b0ca3bc2fe967\
    136e2976d97264f8f8bc1fe4bd8baea4bd2005cb0db8bcdbb83a52a77e3e6b858d0047503abaf149f3a363306130\
    1d0603551d0e041604146fd8ff9198f218b7135c1339f398d6d09cc7cd21301f0603551d230418301680146fd8ff\
    9198f218b7135c1339f398d6d09cc7cd21300e0603551d0f0101ff040403020106300f0603551d130101ff040530\
    030101ff300a06082a8648ce3d040302034700304402203d58773618935e2dbf8607b18179240b7e4ba6c263a8eb\
    ad87901fe4d7dbde19022051fef4f0f58a3876fd389ec13672d7359bb48e241a262bd4eb8e8f35c34080b9";

/// Issued by it, with the serial number f0010203…10111213: its highest bit is set.
const DEVICE: &str = "3082016d30820112a003020102021500f00102030405060708090a0b0c0d0e0f10111213300a06082a8648ce3d04\
    03023023310e300c060355040a0c0554727573743111300f06035504030c08526f6f74204f6e65301e170d323631\
    3132313035353132325a170d3436303132303035353132325a302631133011060355040a0c0a41434d452046656d\
    746f310f300d06035504030c0668656e622d31302a300506032b65700321009ea68113e98110bda015da0fe12878\
    52283b0f988d1bde24183cef264b95342ca34f304d300b0603551d0f040403020780301d0603551d0e04160414df\
    aa3254ef2e56ec0502e8eddbb9b253ba5e0acb301f0603551d230418301680146fd8ff9198f218b7135c1339f398\
    d6d09cc7cd21300a06082a8648ce3d0403020349003046022100c5ba3742a470c132e420e8cda662e80dc95e7ef1\
    b56296a66701a4abab06282e022100dec34205d8f904eeec08581737bb6b9c787192b13a29d7d81cc9794df28b54\
    ab";

/// What `openssl ocsp -issuer … -cert … -text` says of it, with each algorithm.
const OPENSSL: [&str; 4] = [
    "sha1/2a7d4ef6a9e100ca936c545e17248cf78644e746/6fd8ff9198f218b7135c1339f398d6d09cc7cd21/f0010\
     2030405060708090a0b0c0d0e0f10111213",
    "sha256/9e935947c95e2549e48539d9824b1b014c02bb33a165a8c51d145256f12e7523/2cf0fd2efe9d7ce9759f\
     f7f71e36c1d21ec8d05af81aaa62de0c704c4ea19871/f00102030405060708090a0b0c0d0e0f10111213",
    "sha384/1cec53c4593d80f9e47843b5304a4782f6f65610b1eb3c16347c154865193cc27120345e7dcd6776b4d61\
     a938cd72959/38f650e185950a0c0bd086c7ae5cf0163993b7dcb8f715e648a70ac70aa6dd87a18ef55e0373c1e1\
     560519e5ba749985/f00102030405060708090a0b0c0d0e0f10111213",
    "sha512/0489c804a75b794197c449704ea04d33ea07d3389e831522d939ab6265e051104052f2e5febad07a998fd\
     230d54533607d2f7af12266203db7b6568bb813094b/02b66852cd33efb56ff766d48aa0528243e05f812facf4e5\
     182ffc584b496ee07d773395d7524aa90e369088972d9219937fd1b357a09eae9d838e65161fafc5/f0010203040\
     5060708090a0b0c0d0e0f10111213",
];

fn record_of(certificate: &[u8], class: Class) -> Record {
    let parsed = ParsedCertificate::parse(certificate).unwrap();
    Record {
        hash: CertificateHash::of(certificate),
        certificate: certificate.to_vec(),
        class,
        standing: Standing::Valid,
        endorser: fixture::id(ACME),
        organisation: "ACME Femto".parse().unwrap(),
        key: parsed.key_hash(),
        subject: parsed.subject_hash(),
        not_before: 0,
        not_after: 1,
        path_length: None,
        recorded: Height(1),
        changed: Height(1),
    }
}

fn texts(ids: &[CertId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The names of what a consortium has recorded.
fn recorded(consortium: &Consortium, certificate: &[u8]) -> Vec<CertId> {
    let hash = CertificateHash::of(certificate);
    let record = consortium.state.record(&hash).unwrap().unwrap();
    cert_ids(&record, &consortium.state).unwrap()
}

#[test]
fn an_issued_certificate_has_the_names_that_openssl_gives_it() {
    let (issuer, certificate) = (hex::decode(ISSUER).unwrap(), hex::decode(DEVICE).unwrap());
    let mut state = crate::MemoryState::new();
    let issuer = record_of(&issuer, Class::Ca);
    state.put_record(&issuer).unwrap();
    let ids = cert_ids(&record_of(&certificate, Class::Device), &state).unwrap();
    assert_eq!(texts(&ids), OPENSSL);
    let issuers = issuer_ids(&issuer).unwrap();
    assert!(ids.iter().map(CertId::issuer).eq(issuers.iter()));
    for (text, id) in OPENSSL.into_iter().zip(ids) {
        assert_eq!(text.parse(), Ok(id));
    }
}

#[test]
fn names_agree_with_openssl_for_new_certificates() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, der: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, der).unwrap();
        path
    };
    let mut consortium = Consortium::new();
    let (ca, ca_key) = (authority("Root", None), key());
    let root = signed_with(&ca, &ca_key);
    let mut below = fixture::subject("henb-1", "Trust");
    below.serial_number = Some(SerialNumber::from_slice(&[0x7f, 0, 1]));
    let below = issued(&below, &key(), &ca, &ca_key);
    let alone = self_signed(&device("henb-2"));
    assert_eq!(
        consortium.submit(AUTHORITY, Class::Ca, std::slice::from_ref(&root)),
        [None]
    );
    assert_eq!(
        consortium.submit(AUTHORITY, Class::Device, std::slice::from_ref(&below)),
        [None]
    );
    assert_eq!(consortium.device(&alone), None);
    for (certificate, issuer) in [(&below, &root), (&root, &root), (&alone, &alone)] {
        let ids = recorded(&consortium, certificate);
        assert_eq!(ids.len(), 4);
        for id in ids {
            let output = Command::new("openssl")
                .args(["ocsp", "-no_nonce", "-text", "-reqout", "/dev/null"])
                .arg(format!("-{}", id.issuer().algorithm()))
                .arg("-issuer")
                .arg(file("issuer.der", issuer))
                .arg("-cert")
                .arg(file("certificate.der", certificate))
                .output()
                .unwrap();
            // Long values go on in the next line.
            let text = String::from_utf8(output.stdout)
                .unwrap()
                .replace("\\\n", "");
            let value = |label: &str| {
                let line = text.lines().find(|line| line.contains(label));
                line.and_then(|line| line.split_once(": "))
                    .unwrap_or_else(|| panic!("{label} in {text}"))
                    .1
                    .to_lowercase()
            };
            assert_eq!(hex::encode(id.issuer().name()), value("Issuer Name Hash"));
            assert_eq!(hex::encode(id.issuer().key()), value("Issuer Key Hash"));
            assert_eq!(hex::encode(id.serial()), value("Serial Number"));
        }
    }
}

#[test]
fn two_certificates_of_one_issuer_may_share_a_name() {
    let mut consortium = Consortium::new();
    let (ca, ca_key) = (authority("Root", None), key());
    let with_serial = |name: &str, serial: &[u8]| {
        let mut params = fixture::subject(name, "Trust");
        params.serial_number = Some(SerialNumber::from_slice(serial));
        issued(&params, &key(), &ca, &ca_key)
    };
    let root = signed_with(&ca, &ca_key);
    consortium.submit(AUTHORITY, Class::Ca, &[root]);
    let (first, second) = (with_serial("one", &[9]), with_serial("two", &[9]));
    let other = with_serial("three", &[10]);
    let batch = [first.clone(), second.clone(), other.clone()];
    assert_eq!(
        consortium.submit(AUTHORITY, Class::Device, &batch),
        [None; 3]
    );
    assert_eq!(
        recorded(&consortium, &first),
        recorded(&consortium, &second)
    );
    assert_ne!(recorded(&consortium, &first), recorded(&consortium, &other));
}

#[test]
fn among_authorities_of_one_name_the_key_decides() {
    let mut consortium = Consortium::new();
    let (ca, first_key, second_key) = (authority("Root", None), key(), key());
    let (first, second) = (signed_with(&ca, &first_key), signed_with(&ca, &second_key));
    // The same name and key once more: one issuer.
    let mut again = authority("Root", None);
    again.serial_number = Some(SerialNumber::from_slice(&[77]));
    let again = signed_with(&again, &second_key);
    let batch = [first, second.clone(), again];
    assert_eq!(consortium.submit(AUTHORITY, Class::Ca, &batch), [None; 3]);
    let below = issued(&fixture::subject("henb", "Trust"), &key(), &ca, &second_key);
    assert_eq!(
        consortium.submit(AUTHORITY, Class::Device, std::slice::from_ref(&below)),
        [None]
    );
    let second = ParsedCertificate::parse(&second).unwrap();
    let ids = recorded(&consortium, &below);
    assert!(
        ids.iter()
            .map(CertId::issuer)
            .eq(&HashAlgorithm::ALL.map(|algorithm| IssuerId::of(algorithm, &second)))
    );
}

#[test]
fn serial_numbers_are_unsigned() {
    let issuer = || IssuerId::new(HashAlgorithm::Sha1, &[1; 20], &[2; 20]).unwrap();
    let serial = |octets: &[u8]| CertId::new(issuer(), octets).map(|id| id.serial().to_vec());
    assert_eq!(serial(&[0, 0x80, 1]), Ok(vec![0x80, 1]));
    assert_eq!(serial(&[0x80, 1]), Ok(vec![0x80, 1]));
    assert_eq!(serial(&[0, 0, 5]), Ok(vec![5]));
    assert_eq!(serial(&[0]), Ok(vec![0]));
    assert_eq!(serial(&[0, 0]), Ok(vec![0]));
    assert_eq!(serial(&[]), Err(CertIdError::Serial { found: 0 }));
    assert_eq!(serial(&[1; 21]), Ok(vec![1; 21]));
    assert_eq!(serial(&[1; 22]), Err(CertIdError::Serial { found: 22 }));
}

#[test]
fn a_name_has_one_text() {
    let (name, key) = ("11".repeat(20), "22".repeat(20));
    let good = format!("sha1/{name}/{key}/00ff");
    let id: CertId = good.parse().unwrap();
    assert_eq!(id.to_string(), format!("sha1/{name}/{key}/ff"));
    for bad in [
        String::new(),
        format!("sha1/{name}/{key}"),
        format!("sha1/{name}/{key}/01/"),
        format!("sha1/{name}/{key}/"),
        format!("sha1/{name}/{key}/0"),
        format!("sha1/{name}/{key}/0G"),
        format!("sha1/{name}/{key}/FF"),
        format!("sha1/{name}/{key}/{}", "01".repeat(22)),
        format!("sha1/{name}/{}/01", "22".repeat(19)),
        format!("sha256/{name}/{key}/01"),
        format!("SHA1/{name}/{key}/01"),
        format!("md5/{name}/{key}/01"),
    ] {
        assert!(bad.parse::<CertId>().is_err(), "{bad}");
    }
}

#[test]
fn an_index_tells_issuers_and_certificates_apart() {
    let ids: Vec<_> = HashAlgorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let octets = vec![3; algorithm.output_len()];
            IssuerId::new(algorithm, &octets, &octets).unwrap()
        })
        .collect();
    let mut digests: Vec<[u8; 32]> = ids.iter().map(IssuerId::digest).collect();
    for id in ids {
        for serial in [&[0][..], &[3], &[3, 3]] {
            digests.push(CertId::new(id.clone(), serial).unwrap().digest());
        }
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn a_record_that_no_rule_let_in_has_no_names() {
    let record = Record {
        certificate: vec![0x30, 0x00],
        key: KeyHash::from_octets([0; 32]),
        subject: NameHash::from_octets([0; 32]),
        ..record_of(&hex::decode(DEVICE).unwrap(), Class::Device)
    };
    assert!(cert_ids(&record, &crate::MemoryState::new()).is_err());
    assert!(issuer_ids(&record).is_err());
}

#[test]
fn an_answer_has_this_json_form() {
    let answer = CertIdAnswer {
        hashes: vec![CertificateHash::from_octets([1; 32])],
        issuer_served: true,
        height: Height(7),
        block_time: BlockTime(1_000),
    };
    let json = format!(
        r#"{{"hashes":["{}"],"issuer_served":true,"height":7,"block_time":1000}}"#,
        "01".repeat(32)
    );
    assert_eq!(serde_json::to_string(&answer).unwrap(), json);
    assert_eq!(serde_json::from_str::<CertIdAnswer>(&json).unwrap(), answer);
}
