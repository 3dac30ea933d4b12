//! What the tests of all payloads share: literal octets, and the checks that
//! each payload must stand.

use super::*;

/// Octets from hex; anything that is no hex digit separates fields.
pub(super) fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    hex::decode(digits).unwrap()
}

/// A chain of the one payload with this body.
pub(super) fn chain_of(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + PAYLOAD_HEADER_LEN).unwrap();
    let mut chain = vec![0, 0];
    chain.extend_from_slice(&length.to_be_bytes());
    chain.extend_from_slice(body);
    chain
}

/// Decodes the body of a payload of type `kind`.
pub(super) fn decode_body(kind: PayloadType, body: &str) -> Result<(), DecodeError> {
    decode_chain(kind, &chain_of(&octets(body))).map(|_| ())
}

/// Header and payload as a datagram.
pub(super) fn message_with(payload: &Payload<'_>) -> Result<Vec<u8>, EncodeError> {
    let flags = Flags {
        initiator: true,
        response: false,
    };
    let header = Header::new(1, 2, ExchangeType::INFORMATIONAL, flags, 3);
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &header);
    writer.payload(payload)?;
    writer.finish()?;
    Ok(out)
}

/// `body` is read as `payload` and `payload` is written as `body`; the chain cut
/// short anywhere is an error; the body cut short with lengths to match, or with
/// octets added, is anything but a panic and anything but the same value.
pub(super) fn check_body(payload: &Payload<'_>, body: &str) {
    let body = octets(body);
    let chain = chain_of(&body);
    let kind = payload.kind();
    let decoded = decode_chain(kind, &chain).unwrap();
    assert_eq!(decoded.as_ref(), core::slice::from_ref(payload));

    let datagram = message_with(payload).unwrap();
    assert_eq!(&datagram[HEADER_LEN..], chain, "emitted octets");
    assert_eq!(datagram[16], kind.0, "next payload");

    for end in 0..chain.len() {
        assert!(decode_chain(kind, &chain[..end]).is_err(), "cut at {end}");
    }
    for end in 0..body.len() {
        if let Ok(shorter) = decode_chain(kind, &chain_of(&body[..end])) {
            assert_ne!(shorter.as_ref(), core::slice::from_ref(payload));
        }
    }
    let longer = [&body[..], &[0xa5]].concat();
    if let Ok(longer) = decode_chain(kind, &chain_of(&longer)) {
        assert_ne!(longer.as_ref(), core::slice::from_ref(payload));
    }
    let declared = chain.len();
    for wrong in [declared - 1, declared + 1] {
        let mut chain = chain.clone();
        chain[2..4].copy_from_slice(&u16::try_from(wrong).unwrap().to_be_bytes());
        assert!(decode_chain(kind, &chain).is_err(), "length {wrong}");
    }
}
