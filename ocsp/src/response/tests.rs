//! Each field of a response written by hand, and one thing wrong with it at a time.

use super::*;
use crate::HashAlgorithm;
use crate::wire::{nested, oid, tag, tlv};

const TIME: &[u8] = b"20260801000000Z";

/// The parts of a response as DER, so that any can be replaced.
struct Parts {
    status: Vec<u8>,
    kind: const_oid::ObjectIdentifier,
    version: Vec<u8>,
    responder: Vec<u8>,
    produced_at: Vec<u8>,
    cert_status: Vec<u8>,
    next_update: Vec<u8>,
    single_extensions: Vec<u8>,
    extensions: Vec<u8>,
    signature: Vec<u8>,
}

fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    tlv(&mut out, tag, value);
    out
}

fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    element(tag::constructed(number), inner)
}

/// `[1] EXPLICIT Extensions` with these: type, critical or not, content.
fn extensions(list: &[(const_oid::ObjectIdentifier, bool, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, tag::constructed(1), |out| {
        nested(out, tag::SEQUENCE, |out| {
            for (kind, critical, value) in list {
                nested(out, tag::SEQUENCE, |out| {
                    oid(out, *kind);
                    if *critical {
                        tlv(out, 1, &[0xff]);
                    }
                    tlv(out, tag::OCTET_STRING, value);
                });
            }
        });
    });
    out
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            status: element(tag::ENUMERATED, &[0]),
            kind: wire::ID_PKIX_OCSP_BASIC,
            version: Vec::new(),
            responder: explicit(2, &element(tag::OCTET_STRING, &[5; 20])),
            produced_at: element(tag::GENERALIZED_TIME, TIME),
            cert_status: element(tag::primitive(0), &[]),
            next_update: explicit(0, &element(tag::GENERALIZED_TIME, TIME)),
            single_extensions: Vec::new(),
            extensions: Vec::new(),
            signature: element(tag::BIT_STRING, b"\0signature"),
        }
    }
}

impl Parts {
    fn octets(&self) -> Vec<u8> {
        let mut out = Vec::new();
        nested(&mut out, tag::SEQUENCE, |out| {
            out.extend_from_slice(&self.status);
            nested(out, tag::constructed(0), |out| {
                nested(out, tag::SEQUENCE, |out| {
                    oid(out, self.kind);
                    nested(out, tag::OCTET_STRING, |out| {
                        nested(out, tag::SEQUENCE, |out| self.basic(out));
                    });
                });
            });
        });
        out
    }

    fn basic(&self, out: &mut Vec<u8>) {
        nested(out, tag::SEQUENCE, |out| {
            out.extend_from_slice(&self.version);
            out.extend_from_slice(&self.responder);
            out.extend_from_slice(&self.produced_at);
            nested(out, tag::SEQUENCE, |out| {
                nested(out, tag::SEQUENCE, |out| {
                    let id = CertId::encode(HashAlgorithm::Sha1, b"name", b"key", &[7]);
                    out.extend_from_slice(&id);
                    out.extend_from_slice(&self.cert_status);
                    tlv(out, tag::GENERALIZED_TIME, TIME);
                    out.extend_from_slice(&self.next_update);
                    out.extend_from_slice(&self.single_extensions);
                });
            });
            out.extend_from_slice(&self.extensions);
        });
        nested(out, tag::SEQUENCE, |out| {
            oid(out, wire::ECDSA_WITH_SHA256);
        });
        out.extend_from_slice(&self.signature);
    }
}

/// What becomes of a response with one part changed: its error, by name.
fn judged(change: impl FnOnce(&mut Parts)) -> Result<(), ResponseError> {
    let mut parts = Parts::default();
    change(&mut parts);
    Response::decode(&parts.octets()).map(|_| ())
}

#[test]
fn what_is_right_is_read() {
    assert_eq!(judged(|_| ()), Ok(()));
    // DER leaves the default out, but some responders send it.
    let version = |number| explicit(0, &element(tag::INTEGER, &[number]));
    assert_eq!(judged(|parts| parts.version = version(0)), Ok(()));
    assert_eq!(
        judged(|parts| parts.version = version(1)),
        Err(ResponseError::Version)
    );
    assert_eq!(judged(|parts| parts.next_update = Vec::new()), Ok(()));
    let name = element(tag::SEQUENCE, &[]);
    assert_eq!(judged(|parts| parts.responder = explicit(1, &name)), Ok(()));
    assert_eq!(
        judged(|parts| parts.cert_status = element(tag::primitive(2), &[])),
        Ok(())
    );
}

#[test]
fn each_wrong_part_has_its_error() {
    let time = |text: &[u8]| element(tag::GENERALIZED_TIME, text);
    let revoked = |inner: &[u8]| explicit(1, &[&time(TIME)[..], inner].concat());
    let reason = |code| explicit(0, &element(tag::ENUMERATED, &[code]));
    assert_eq!(
        judged(|parts| parts.kind = wire::ID_PKIX_OCSP_NONCE),
        Err(ResponseError::ResponseType)
    );
    for responder in [
        explicit(2, &element(tag::OCTET_STRING, &[5; 19])),
        explicit(2, &element(tag::OCTET_STRING, &[5; 21])),
        explicit(1, &element(tag::OCTET_STRING, &[5; 20])),
        explicit(3, &element(tag::SEQUENCE, &[])),
        element(tag::OCTET_STRING, &[5; 20]),
    ] {
        assert_eq!(
            judged(|parts| parts.responder = responder),
            Err(ResponseError::ResponderId)
        );
    }
    for text in [
        &b"20260801000000"[..],
        b"20260801000000.0Z",
        b"20260801000000+0000",
        b"2608010000Z",
        b"20261301000000Z",
        b"19691231235959Z",
        b"",
    ] {
        let field = "producedAt";
        assert_eq!(
            judged(|parts| parts.produced_at = time(text)),
            Err(ResponseError::Time { field }),
            "{text:?}"
        );
        let field = "nextUpdate";
        assert_eq!(
            judged(|parts| parts.next_update = explicit(0, &time(text))),
            Err(ResponseError::Time { field })
        );
    }
    for status in [
        element(tag::primitive(0), &[0]),
        element(tag::constructed(0), &[]),
        element(tag::primitive(3), &[]),
        element(tag::NULL, &[]),
    ] {
        assert_eq!(
            judged(|parts| parts.cert_status = status),
            Err(ResponseError::CertStatus)
        );
    }
    assert_eq!(judged(|parts| parts.cert_status = revoked(&[])), Ok(()));
    assert_eq!(
        judged(|parts| parts.cert_status = revoked(&reason(10))),
        Ok(())
    );
    // RFC 5280 §5.3.1: 7 is not used.
    for code in [7, 11, 0xff] {
        assert_eq!(
            judged(|parts| parts.cert_status = revoked(&reason(code))),
            Err(ResponseError::RevocationReason)
        );
    }
    for signature in [&b""[..], b"\x01signature", b"\x08signature"] {
        assert_eq!(
            judged(|parts| parts.signature = element(tag::BIT_STRING, signature)),
            Err(ResponseError::SignatureBits)
        );
    }
}

#[test]
fn extensions_are_known_or_may_be_ignored() {
    const ODD: const_oid::ObjectIdentifier = const_oid::ObjectIdentifier::new_unwrap("1.2.3.4");
    let null = [tag::NULL, 0];
    let both = |list: &[(const_oid::ObjectIdentifier, bool, &[u8])]| {
        let of_the_response = judged(|parts| parts.extensions = extensions(list));
        let of_a_single = judged(|parts| parts.single_extensions = extensions(list));
        assert_eq!(of_the_response, of_a_single);
        of_a_single
    };
    assert_eq!(both(&[(ODD, false, &null)]), Ok(()));
    assert_eq!(
        both(&[(ODD, true, &null)]),
        Err(ResponseError::CriticalExtension)
    );
    assert_eq!(
        both(&[(ODD, false, &null), (ODD, false, &null)]),
        Err(ResponseError::DuplicateExtension)
    );
    assert_eq!(both(&[]), Err(ResponseError::EmptyExtensions));
    let many: Vec<_> = (0..17)
        .map(|arc| (ODD.push_arc(arc).unwrap(), false, &null[..]))
        .collect();
    assert_eq!(
        both(&many),
        Err(ResponseError::TooManyExtensions { limit: 16 })
    );
    let revoke = wire::ID_PKIX_OCSP_EXTENDED_REVOKE;
    let critical = extensions(&[(revoke, true, &null)]);
    assert_eq!(judged(|parts| parts.extensions = critical), Ok(()));
}

#[test]
fn a_nonce_and_a_cert_hash_are_well_formed_or_refused() {
    let nonce = |value: &[u8]| {
        let list = extensions(&[(wire::ID_PKIX_OCSP_NONCE, false, value)]);
        judged(|parts| parts.extensions = list)
    };
    let octets = |len| element(tag::OCTET_STRING, &vec![1; len]);
    assert_eq!(nonce(&octets(1)), Ok(()));
    assert_eq!(nonce(&octets(128)), Ok(()));
    for wrong in [octets(0), octets(129), vec![1; 16], Vec::new()] {
        assert_eq!(nonce(&wrong), Err(ResponseError::Nonce));
    }
    let hash = |kind, len, critical| {
        let mut value = Vec::new();
        nested(&mut value, tag::SEQUENCE, |out| {
            nested(out, tag::SEQUENCE, |out| oid(out, kind));
            out.extend_from_slice(&octets(len));
        });
        let list = extensions(&[(wire::ID_COMMONPKI_AT_CERT_HASH, critical, &value)]);
        judged(|parts| parts.single_extensions = list)
    };
    for critical in [false, true] {
        assert_eq!(hash(wire::ID_SHA256, 32, critical), Ok(()));
        let short = hash(wire::ID_SHA256, 31, critical);
        assert_eq!(short, Err(ResponseError::CertHash));
    }
    // Of another function it says nothing that could be compared, which may be ignored only if nobody insists.
    assert_eq!(hash(wire::ID_SHA1, 20, false), Ok(()));
    assert_eq!(
        hash(wire::ID_SHA1, 20, true),
        Err(ResponseError::CriticalExtension)
    );
    let list = extensions(&[(wire::ID_COMMONPKI_AT_CERT_HASH, false, &[tag::NULL, 0])]);
    assert_eq!(
        judged(|parts| parts.single_extensions = list),
        Err(ResponseError::CertHash)
    );
}
