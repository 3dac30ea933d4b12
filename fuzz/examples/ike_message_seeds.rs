//! Writes the seeds of the target `ike_message` into `corpus/ike_message`.
//!
//! `cargo run --example ike_message_seeds`, in this folder, after the forms of
//! messages have changed.

use std::net::Ipv4Addr;
use std::path::Path;
use std::{fs, io};

use ikev2::wire::{
    Attribute, AuthMethod, AuthPayload, CertEncoding, CertPayload, CertReqPayload, CfgAttribute,
    CfgPayload, CfgType, DeletePayload, EncrId, EsnId, ExchangeType, Flags, GroupId, Header,
    IdPayload, IdType, IntegId, KePayload, MessageWriter, NotifyPayload, NotifyType, Payload,
    PayloadType, PrfId, Proposal, ProtocolId, SaPayload, SealedSizes, SkfPayload, TrafficSelector,
    Transform, TsPayload, TsType, UnknownSelector,
};

const REQUEST: Flags = Flags {
    initiator: true,
    response: false,
};
const RESPONSE: Flags = Flags {
    initiator: false,
    response: true,
};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/ike_message");
    fs::create_dir_all(&folder)?;
    for (name, octets) in valid().into_iter().chain(malformed()) {
        fs::write(folder.join(format!("{name}.seed")), octets)?;
    }
    Ok(())
}

fn valid() -> Vec<(&'static str, Vec<u8>)> {
    let init = ExchangeType::IKE_SA_INIT;
    let auth = ExchangeType::IKE_AUTH;
    let create = ExchangeType::CREATE_CHILD_SA;
    let informational = ExchangeType::INFORMATIONAL;
    vec![
        ("init-request", clear(init, REQUEST, 0, &init_request())),
        ("init-response", clear(init, RESPONSE, 0, &init_response())),
        (
            "init-cookie",
            clear(init, RESPONSE, 0, &[notify(NotifyType::COOKIE, &[7; 24])]),
        ),
        (
            "init-invalid-ke",
            clear(
                init,
                RESPONSE,
                0,
                &[notify(NotifyType::INVALID_KE_PAYLOAD, &[0, 19])],
            ),
        ),
        ("auth-request", clear(auth, REQUEST, 1, &auth_request())),
        ("auth-response", clear(auth, RESPONSE, 1, &auth_response())),
        ("auth-sealed", sealed(auth, REQUEST, 1, &auth_request())),
        ("auth-ocsp", clear(auth, RESPONSE, 1, &auth_ocsp())),
        (
            "init-ocsp-hashes",
            clear(
                init,
                RESPONSE,
                0,
                &[Payload::CertReq(CertReqPayload {
                    encoding: CertEncoding::OCSP_CONTENT,
                    authorities: &[0x88; 40],
                })],
            ),
        ),
        (
            "auth-failed-sealed",
            sealed(
                auth,
                RESPONSE,
                1,
                &[notify(NotifyType::AUTHENTICATION_FAILED, &[])],
            ),
        ),
        ("create-child", clear(create, REQUEST, 2, &create_child())),
        ("rekey-ike", clear(create, REQUEST, 3, &rekey_ike())),
        (
            "delete-esp",
            clear(
                informational,
                REQUEST,
                4,
                &[Payload::Delete(DeletePayload::esp(&[
                    0xc0, 0, 0, 1, 0xc0, 0, 0, 2,
                ]))],
            ),
        ),
        (
            "delete-ike-sealed",
            sealed(
                informational,
                REQUEST,
                5,
                &[Payload::Delete(DeletePayload::ike())],
            ),
        ),
        ("liveness-sealed", sealed(informational, RESPONSE, 6, &[])),
        (
            "fragment",
            clear(
                auth,
                REQUEST,
                1,
                &[Payload::EncryptedFragment(SkfPayload {
                    first: PayloadType::IDI,
                    number: 1,
                    total: 2,
                    body: &[0x5e; 64],
                    offset: 36,
                })],
            ),
        ),
        ("chain-auth-request", inner(&auth_request())),
        (
            "eap-and-unknown",
            clear(
                auth,
                RESPONSE,
                2,
                &[
                    Payload::Eap(&[1, 1, 0, 5, 1]),
                    Payload::Unknown {
                        kind: PayloadType(200),
                        critical: true,
                        body: b"what?",
                    },
                ],
            ),
        ),
    ]
}

/// Each a valid message with one thing wrong.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    // Without the cookie, so that the SA payload is the first.
    let payloads = &init_request()[1..];
    let request = clear(ExchangeType::IKE_SA_INIT, REQUEST, 0, payloads);
    let with = |at: usize, octet: u8| {
        let mut octets = request.clone();
        octets[at] = octet;
        octets
    };
    vec![
        ("bad-empty", Vec::new()),
        ("bad-header-cut", request[..27].to_vec()),
        ("bad-message-cut", request[..request.len() - 5].to_vec()),
        ("bad-trailing", [&request[..], &[0; 3]].concat()),
        ("bad-version", with(17, 0x10)),
        ("bad-first-payload", with(16, 46)),
        ("bad-payload-length", with(31, 3)),
        ("bad-last-substructure", with(32, 1)),
        ("bad-proposal-number", with(36, 0)),
        ("bad-transform-count", with(39, 9)),
    ]
}

fn init_request() -> Vec<Payload<'static>> {
    let transforms = |encr| {
        vec![
            encr,
            Transform::prf(PrfId::HMAC_SHA2_256),
            Transform::group(GroupId::X25519),
            Transform::group(GroupId::P256),
        ]
    };
    let proposal = |number, transforms| Proposal {
        number,
        protocol: ProtocolId::IKE,
        spi: &[],
        transforms,
    };
    let mut cbc = transforms(Transform::encr(EncrId::AES_CBC, Some(256)));
    cbc.push(Transform::integ(IntegId::HMAC_SHA2_256_128));
    vec![
        notify(NotifyType::COOKIE, &[7; 24]),
        Payload::Sa(SaPayload {
            proposals: vec![
                proposal(
                    1,
                    transforms(Transform::encr(EncrId::AES_GCM_16, Some(128))),
                ),
                proposal(
                    2,
                    transforms(Transform::encr(EncrId::CHACHA20_POLY1305, None)),
                ),
                proposal(3, cbc),
            ],
        }),
        Payload::Ke(KePayload {
            group: GroupId::X25519,
            value: &[0x11; 32],
        }),
        Payload::Nonce(&[0x22; 32]),
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[0x33; 20]),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[0x44; 20]),
        notify(
            NotifyType::SIGNATURE_HASH_ALGORITHMS,
            &[0, 2, 0, 3, 0, 4, 0, 5],
        ),
        Payload::VendorId(b"Ledgate"),
    ]
}

fn init_response() -> Vec<Payload<'static>> {
    vec![
        Payload::Sa(SaPayload {
            proposals: vec![Proposal {
                number: 2,
                protocol: ProtocolId::IKE,
                spi: &[],
                transforms: vec![
                    Transform::encr(EncrId::CHACHA20_POLY1305, None),
                    Transform::prf(PrfId::HMAC_SHA2_256),
                    Transform::group(GroupId::X25519),
                ],
            }],
        }),
        Payload::Ke(KePayload {
            group: GroupId::X25519,
            value: &[0x55; 32],
        }),
        Payload::Nonce(&[0x66; 16]),
        Payload::CertReq(CertReqPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            authorities: &[0x77; 40],
        }),
    ]
}

fn auth_request() -> Vec<Payload<'static>> {
    vec![
        Payload::IdI(identity(b"0011223344aa.hnb.example")),
        certificate(),
        Payload::CertReq(CertReqPayload {
            encoding: CertEncoding::OCSP_CONTENT,
            authorities: &[],
        }),
        Payload::IdR(identity(b"segw.example")),
        authentication(),
        notify(NotifyType::INITIAL_CONTACT, &[]),
        Payload::Configuration(CfgPayload {
            kind: CfgType::REQUEST,
            attributes: vec![
                attribute(CfgAttribute::INTERNAL_IP4_ADDRESS, &[]),
                attribute(CfgAttribute::INTERNAL_IP4_DNS, &[]),
            ],
        }),
        esp(&[0xc0, 1, 2, 3]),
        Payload::TsI(TsPayload::new(vec![
            TrafficSelector::any_ipv4(),
            TrafficSelector::any_ipv6(),
        ])),
        Payload::TsR(TsPayload {
            selectors: vec![TrafficSelector::any_ipv4()],
            unknown: vec![UnknownSelector {
                kind: TsType(10),
                protocol: 0,
                body: b"label",
            }],
        }),
    ]
}

fn auth_response() -> Vec<Payload<'static>> {
    vec![
        Payload::IdR(identity(b"segw.example")),
        certificate(),
        authentication(),
        Payload::Configuration(CfgPayload {
            kind: CfgType::REPLY,
            attributes: vec![
                attribute(CfgAttribute::INTERNAL_IP4_ADDRESS, &[10, 1, 0, 7]),
                attribute(CfgAttribute::INTERNAL_IP4_NETMASK, &[255, 255, 0, 0]),
                attribute(CfgAttribute::INTERNAL_IP6_ADDRESS, &[0x20; 17]),
            ],
        }),
        esp(&[0xc4, 5, 6, 7]),
        Payload::TsI(TsPayload::new(vec![TrafficSelector::host(
            Ipv4Addr::new(10, 1, 0, 7).into(),
        )])),
        Payload::TsR(TsPayload::new(vec![TrafficSelector {
            protocol: 17,
            ports: (u16::MAX, 0),
            ..TrafficSelector::any_ipv4()
        }])),
    ]
}

/// OCSP responses around the certificate (RFC 4806 §3.2): two, one before it, and an empty one.
fn auth_ocsp() -> Vec<Payload<'static>> {
    let ocsp = |value| {
        Payload::Cert(CertPayload {
            encoding: CertEncoding::OCSP_CONTENT,
            value,
        })
    };
    let mut payloads = auth_response();
    payloads.insert(1, ocsp(b"\x30\x03\x0a\x01\x03"));
    payloads.insert(3, ocsp(b"\x30\x03\x0a\x01\x06"));
    payloads.insert(4, ocsp(b""));
    payloads
}

fn create_child() -> Vec<Payload<'static>> {
    vec![
        Payload::Notify(NotifyPayload::about_esp(
            NotifyType::REKEY_SA,
            &[0xc0, 1, 2, 3],
        )),
        esp(&[0xc0, 9, 9, 9]),
        Payload::Nonce(&[0x88; 32]),
        Payload::Ke(KePayload {
            group: GroupId::P256,
            value: &[0x99; 64],
        }),
        Payload::TsI(TsPayload::new(vec![TrafficSelector::any_ipv4()])),
        Payload::TsR(TsPayload::new(vec![TrafficSelector::any_ipv4()])),
    ]
}

fn rekey_ike() -> Vec<Payload<'static>> {
    vec![
        Payload::Sa(SaPayload {
            proposals: vec![Proposal {
                number: 1,
                protocol: ProtocolId::IKE,
                spi: &[1, 2, 3, 4, 5, 6, 7, 8],
                transforms: vec![
                    Transform::encr(EncrId::AES_GCM_16, Some(256)),
                    Transform::prf(PrfId::HMAC_SHA2_384),
                    Transform::group(GroupId::X25519),
                ],
            }],
        }),
        Payload::Nonce(&[0xaa; 32]),
        Payload::Ke(KePayload {
            group: GroupId::X25519,
            value: &[0xbb; 32],
        }),
    ]
}

fn esp(spi: &'static [u8; 4]) -> Payload<'static> {
    Payload::Sa(SaPayload {
        proposals: vec![Proposal {
            number: 1,
            protocol: ProtocolId::ESP,
            spi,
            transforms: vec![
                Transform::encr(EncrId::AES_GCM_16, Some(128)),
                Transform::esn(EsnId::ESN),
                Transform::esn(EsnId::NO_ESN),
            ],
        }],
    })
}

const fn identity(value: &'static [u8]) -> IdPayload<'static> {
    IdPayload {
        kind: IdType::FQDN,
        value,
    }
}

const fn certificate() -> Payload<'static> {
    Payload::Cert(CertPayload {
        encoding: CertEncoding::X509_SIGNATURE,
        value: &[0x30, 0x03, 0x02, 0x01, 0x00],
    })
}

const fn authentication() -> Payload<'static> {
    Payload::Auth(AuthPayload {
        method: AuthMethod::DIGITAL_SIGNATURE,
        value: &[0xcc; 76],
    })
}

const fn notify(kind: NotifyType, value: &'static [u8]) -> Payload<'static> {
    Payload::Notify(NotifyPayload::new(kind, value))
}

const fn attribute(kind: CfgAttribute, value: &'static [u8]) -> Attribute<'static> {
    Attribute { kind, value }
}

fn header(exchange: ExchangeType, flags: Flags, message_id: u32) -> Header {
    Header::new(
        0x1111_2222_3333_4444,
        0x5555_6666_7777_8888,
        exchange,
        flags,
        message_id,
    )
}

fn clear(
    exchange: ExchangeType,
    flags: Flags,
    message_id: u32,
    payloads: &[Payload<'_>],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &header(exchange, flags, message_id));
    for payload in payloads {
        writer.payload(payload).expect("a valid payload");
    }
    writer.finish().expect("a short message");
    out
}

/// In an Encrypted payload that nobody encrypted: the target opens it as it is.
fn sealed(
    exchange: ExchangeType,
    flags: Flags,
    message_id: u32,
    payloads: &[Payload<'_>],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &header(exchange, flags, message_id))
        .begin_encrypted(SealedSizes::AEAD_16)
        .expect("the first payload");
    for payload in payloads {
        writer.payload(payload).expect("a valid payload");
    }
    writer
        .seal(|_| Ok::<_, std::convert::Infallible>(()))
        .expect("a short message");
    out
}

/// The type of the first payload, then the chain.
fn inner(payloads: &[Payload<'_>]) -> Vec<u8> {
    let message = clear(ExchangeType::IKE_AUTH, REQUEST, 1, payloads);
    let first = payloads.first().map_or(PayloadType::NONE, Payload::kind);
    [&[first.0], &message[ikev2::wire::HEADER_LEN..]].concat()
}
