use testkit::ocsp_requests::{self, Expect};

use super::*;
use crate::cert_id::HashAlgorithm;

fn decode(octets: &[u8]) -> Result<Request<'_>, RequestError> {
    Request::decode(octets, Limits::default())
}

/// The variant, and for DER errors the place.
fn check(error: RequestError) -> String {
    match error {
        RequestError::Der { place, .. } => format!("Der {place}"),
        other => format!("{other:?}")
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect(),
    }
}

#[test]
fn every_case_is_judged_by_the_check_that_is_meant_for_it() {
    let cases = ocsp_requests::all();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    let mut names = std::collections::HashSet::new();
    for case in cases {
        assert!(names.insert(case.name), "two cases are named {}", case.name);
        let found = match decode(&case.octets) {
            Ok(request) => Ok(request.cert_ids().count()),
            Err(error) => Err((error.response_status(), check(error))),
        };
        let expected = match case.expect {
            Expect::Answer(count) => Ok(count),
            Expect::Malformed(check) => Err((ResponseStatus::MalformedRequest, check.to_owned())),
            Expect::Unauthorized(check) => Err((ResponseStatus::Unauthorized, check.to_owned())),
        };
        if found != expected {
            wrong.push((case.name, found, expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_truncation_and_every_flipped_bit_is_survived() {
    for case in ocsp_requests::all() {
        let accepted = matches!(case.expect, Expect::Answer(_));
        let octets = case.octets;
        if octets.len() > 512 {
            continue;
        }
        for end in 0..octets.len() {
            assert!(
                decode(&octets[..end]).is_err() || !accepted,
                "{} cut at {end}",
                case.name
            );
        }
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&flipped);
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let positive = CertId::encode(HashAlgorithm::Sha1, b"name", b"key", &[0, 0xfe, 0xdc]);
    let negative = CertId::encode(HashAlgorithm::Sha512, b"name", b"key", &[0xfe, 0xdc]);
    let octets = Request::encode(&[&positive, &negative], Some(&[7; 32]));
    let request = decode(&octets).unwrap();
    assert_eq!(request.nonce, Some(&[7; 32][..]));
    assert!(request.preferred.is_empty());
    let ids: Vec<_> = request.cert_ids().copied().collect();
    assert_eq!(ids.len(), 2);
    // The octets are echoed; the number is the same for both.
    assert_eq!([ids[0].der(), ids[1].der()], [&*positive, &*negative]);
    assert_eq!([ids[0].serial(), ids[1].serial()], [&[0xfe, 0xdc]; 2]);
    assert_eq!(ids[0].serial_octets(), [0, 0xfe, 0xdc]);
    assert_eq!(CertId::decode(&negative).unwrap(), ids[1]);
    assert!(CertId::decode(&[&negative[..], &[0]].concat()).is_err());
    // printf name | openssl sha1; printf key | openssl sha1
    assert_eq!(
        ids[0].to_string(),
        "sha1/6ae999552a0d2dca14d62e2bc8b764d377b1dd6c/a62f2225bf70bfaccbc7f1ef2a397836717377de/fedc"
    );
    assert_eq!(ids[1].issuer_key_hash().len(), 64);
}

#[test]
fn limits_are_the_configured_ones() {
    let id = CertId::encode(HashAlgorithm::Sha256, b"name", b"key", &[0]);
    let octets = Request::encode(&[&id, &id], None);
    let limits = Limits {
        octets: octets.len(),
        cert_ids: 2,
    };
    assert!(Request::decode(&octets, limits).is_ok());
    let shorter = Limits {
        octets: octets.len() - 1,
        ..limits
    };
    let limit = shorter.octets;
    assert_eq!(
        Request::decode(&octets, shorter),
        Err(RequestError::TooLong { limit })
    );
    let fewer = Limits {
        cert_ids: 1,
        ..limits
    };
    assert_eq!(
        Request::decode(&octets, fewer),
        Err(RequestError::TooManyCertIds { limit: 1 })
    );
}

#[test]
fn preferred_algorithms_keep_their_order() {
    let preferring = |name: &str| {
        let case = ocsp_requests::all()
            .into_iter()
            .find(|case| case.name == name);
        decode(&case.unwrap().octets).unwrap().preferred
    };
    assert_eq!(
        preferring("preferred-algorithms"),
        [SignatureAlgorithm::EcdsaSha256]
    );
    assert_eq!(preferring("preferred-algorithms-empty"), []);
}
