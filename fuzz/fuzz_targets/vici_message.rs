//! Arbitrary octets as a packet of an IKE daemon's vici socket, and as a certificate that it lists: no panic; what
//! decodes is written back and decodes to the same, within the bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocsp_bridge::vici::{Authority, NamedCertificate, Packet, Section, canonical};

fuzz_target!(|octets: &[u8]| {
    match Packet::decode(octets) {
        Ok(Packet::Response(message)) => section(&message),
        Ok(Packet::Event(name, message)) => {
            assert!(
                name.len() <= 3 * 255,
                "a name has 255 octets, replaced ones three each"
            );
            section(&message);
        }
        Ok(_) => {}
        Err(error) => one_line(&error.to_string()),
    }
    match Section::decode(octets) {
        Ok(message) => section(&message),
        Err(error) => one_line(&error.to_string()),
    }
    certificate(octets);
    if let Ok(text) = core::str::from_utf8(octets) {
        let once = canonical(text);
        assert!(once.len() <= 3 * text.len() + 3);
    }
});

/// The reason is for the log: short, and one line.
fn one_line(reason: &str) {
    assert!(reason.len() < 200 && !reason.contains('\n'));
}

fn section(message: &Section) {
    let mut written = Vec::new();
    message.encode(&mut written);
    let again = Section::decode(&written);
    // Names that are no UTF-8 grow as they are replaced, and are cut off at 255 octets: then it is another one.
    if let Ok(again) = again {
        let mut twice = Vec::new();
        again.encode(&mut twice);
        assert_eq!(Section::decode(&twice).as_ref(), Ok(&again));
    } else {
        panic!("what decodes can be written: {again:?}");
    }
    for (_, inner) in message.sections() {
        let _ = (inner.text("state"), inner.number("uniqueid"));
        if let Some(data) = inner.value("data") {
            certificate(data);
        }
        let _ = inner.list("ocsp_uris").count();
    }
}

fn certificate(octets: &[u8]) {
    if let Some(named) = NamedCertificate::read(octets) {
        assert!(!named.names.is_empty() && !named.names.contains(""));
    }
    if let Some(authority) = Authority::read(octets) {
        assert_eq!(authority.certificate, octets);
    }
}
