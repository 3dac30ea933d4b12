//! Arbitrary octets as an OCSP request and as a CertID: no panic; whatever decodes keeps within its bounds, and what
//! is written from its parts decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocsp::{CertId, Limits, Request};

/// RFC 9654 §2.1.
const MAX_NONCE: usize = 128;

fuzz_target!(|octets: &[u8]| {
    request(octets, Limits::default());
    request(
        octets,
        Limits {
            octets: 65_535,
            cert_ids: 1,
        },
    );
    if let Ok(id) = CertId::decode(octets) {
        assert_eq!(id.der(), octets);
        cert_id(&id, octets);
    }
});

fn request(octets: &[u8], limits: Limits) {
    let request = match Request::decode(octets, limits) {
        Ok(request) => request,
        Err(error) => {
            // The reason is for the log: short, and one line.
            let reason = error.to_string();
            assert!(reason.len() < 200 && !reason.contains('\n'));
            return;
        }
    };
    assert!(octets.len() <= limits.octets);
    let ids: Vec<&[u8]> = request.cert_ids().map(CertId::der).collect();
    assert!((1..=limits.cert_ids).contains(&ids.len()));
    if let Some(nonce) = request.nonce {
        assert!((1..=MAX_NONCE).contains(&nonce.len()));
    }
    for id in request.cert_ids() {
        cert_id(id, octets);
    }
    let again = Request::encode(&ids, request.nonce);
    let expected = Request {
        preferred: Vec::new(),
        ..request.clone()
    };
    let room = Limits {
        octets: again.len(),
        ..limits
    };
    assert_eq!(Request::decode(&again, room).as_ref(), Ok(&expected));
}

fn cert_id(id: &CertId<'_>, within: &[u8]) {
    assert_eq!(CertId::decode(id.der()).as_ref(), Ok(id));
    let place = within.as_ptr_range();
    let octets = id.der().as_ptr_range();
    assert!(place.start <= octets.start && octets.end <= place.end);
    let length = id.algorithm().output_len();
    assert_eq!(id.issuer_name_hash().len(), length);
    assert_eq!(id.issuer_key_hash().len(), length);
    assert!((1..=21).contains(&id.serial_octets().len()));
    assert!((1..=20).contains(&id.serial().len()));
    assert!(id.serial() == [0] || id.serial()[0] != 0);
    assert!(id.serial_octets().ends_with(id.serial()));
}
