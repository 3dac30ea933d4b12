//! Arbitrary octets as an IKE message, and as the inside of an Encrypted payload:
//! no panic; whatever decodes is written back and decodes to the same value.
#![no_main]

use ikev2::wire::{
    ExchangeType, Flags, Header, Message, Payload, PayloadType, SealedSizes, decode_chain,
    open_chain, rules,
};
use libfuzzer_sys::fuzz_target;

/// Where the IKE header holds its length.
const LENGTH_AT: usize = 24;

fuzz_target!(|octets: &[u8]| {
    datagram(octets);
    // Mutations that add or take octets should not all fail at the first check.
    let mut fitted = octets.to_vec();
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    if let Some(field) = fitted.get_mut(LENGTH_AT..LENGTH_AT + 4) {
        field.copy_from_slice(&length.to_be_bytes());
        datagram(&fitted);
    }
    if let Some((first, rest)) = octets.split_first() {
        let _ = open_chain(PayloadType(*first), rest);
        chain(PayloadType(*first), rest);
    }
});

fn datagram(octets: &[u8]) {
    let Ok(message) = Message::decode(octets) else {
        return;
    };
    let mut again = Vec::new();
    message
        .encode(&mut again)
        .expect("what decodes can be written");
    assert_eq!(again.len(), octets.len());
    assert_eq!(Message::decode(&again).as_ref(), Ok(&message));
    let header = message.header;
    for protected in [&[][..], &message.payloads] {
        let _ = rules::check(
            header.exchange,
            header.flags.response,
            protected,
            &message.payloads,
        );
    }
    use_parts(&message.payloads, octets);
}

fn chain(first: PayloadType, octets: &[u8]) {
    let Ok(payloads) = decode_chain(first, octets) else {
        return;
    };
    let flags = Flags::default();
    let message = Message {
        header: Header::new(1, 2, ExchangeType::INFORMATIONAL, flags, 0),
        payloads,
    };
    let mut again = Vec::new();
    if message.encode(&mut again).is_err() {
        // Only the header can make it too long.
        assert!(octets.len() > ikev2::wire::MAX_DATAGRAM - ikev2::wire::HEADER_LEN);
        return;
    }
    let decoded = Message::decode(&again).expect("what was written decodes");
    assert_eq!(decoded.payloads, message.payloads);
    use_parts(&message.payloads, octets);
}

/// Walks through what is read lazily.
fn use_parts(payloads: &[Payload<'_>], octets: &[u8]) {
    for payload in payloads {
        match payload {
            Payload::Delete(delete) => drop(delete.child_spis().count()),
            Payload::CertReq(request) => drop(request.hashes().count()),
            Payload::Encrypted(sk) => {
                if let Ok(layout) = sk.layout(SealedSizes::AEAD_16) {
                    assert_eq!(layout.icv.end, octets.len());
                    let _ = open_chain(sk.first, &octets[layout.ciphertext]);
                }
            }
            _ => {}
        }
    }
}
