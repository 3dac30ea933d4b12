//! Properties of whole messages, over arbitrary ones.

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A payload that owns its octets.
#[derive(Clone, Debug)]
enum Owned {
    Sa(Vec<OwnedProposal>),
    Ke(u16, Vec<u8>),
    Id(bool, u8, Vec<u8>),
    Cert(u8, Vec<u8>),
    CertReq(Vec<[u8; 20]>),
    Auth(u8, Vec<u8>),
    Nonce(Vec<u8>),
    Notify(Option<[u8; 4]>, u16, Vec<u8>),
    Delete(Option<Vec<[u8; 4]>>),
    VendorId(Vec<u8>),
    Ts(bool, Vec<TrafficSelector>, Vec<(u8, u8, Vec<u8>)>),
    Configuration(u8, Vec<(u16, Vec<u8>)>),
    Eap(u8, u8, Vec<u8>),
    Unknown(u8, bool, Vec<u8>),
}

/// SPI (empty: an IKE SA, else ESP) and transforms: type, identifier, key length
/// and another attribute.
type OwnedProposal = (Option<[u8; 4]>, Vec<OwnedTransform>);
type OwnedTransform = (u8, u16, Option<u16>, Option<Vec<u8>>);

impl Owned {
    fn with<R>(&self, use_it: impl FnOnce(Payload<'_>) -> R) -> R {
        match self {
            Self::Sa(proposals) => use_it(Payload::Sa(SaPayload {
                proposals: (1..)
                    .zip(proposals)
                    .map(|(number, (spi, transforms))| Proposal {
                        number,
                        protocol: match spi {
                            Some(_) => ProtocolId::ESP,
                            None => ProtocolId::IKE,
                        },
                        spi: spi.as_ref().map_or(&[], |spi| spi),
                        transforms: transforms.iter().map(transform).collect(),
                    })
                    .collect(),
            })),
            Self::Ke(group, value) => use_it(Payload::Ke(KePayload {
                group: GroupId(*group),
                value,
            })),
            Self::Id(initiator, kind, value) => {
                let id = IdPayload {
                    kind: IdType(*kind),
                    value,
                };
                use_it(if *initiator {
                    Payload::IdI(id)
                } else {
                    Payload::IdR(id)
                })
            }
            Self::Cert(encoding, value) => use_it(Payload::Cert(CertPayload {
                encoding: CertEncoding(*encoding),
                value,
            })),
            Self::CertReq(hashes) => use_it(Payload::CertReq(CertReqPayload {
                encoding: CertEncoding::X509_SIGNATURE,
                authorities: hashes.as_flattened(),
            })),
            Self::Auth(method, value) => use_it(Payload::Auth(AuthPayload {
                method: AuthMethod(*method),
                value,
            })),
            Self::Nonce(nonce) => use_it(Payload::Nonce(nonce)),
            Self::Notify(spi, kind, value) => use_it(Payload::Notify(NotifyPayload {
                value,
                ..match spi {
                    Some(spi) => NotifyPayload::about_esp(NotifyType(*kind), spi),
                    None => NotifyPayload::new(NotifyType(*kind), &[]),
                }
            })),
            Self::Delete(spis) => use_it(Payload::Delete(match spis {
                Some(spis) => DeletePayload::esp(spis.as_flattened()),
                None => DeletePayload::ike(),
            })),
            Self::VendorId(octets) => use_it(Payload::VendorId(octets)),
            Self::Ts(initiator, selectors, unknown) => {
                let ts = TsPayload {
                    selectors: selectors.clone(),
                    unknown: unknown
                        .iter()
                        .map(|(kind, protocol, body)| UnknownSelector {
                            kind: TsType(*kind),
                            protocol: *protocol,
                            body,
                        })
                        .collect(),
                };
                use_it(if *initiator {
                    Payload::TsI(ts)
                } else {
                    Payload::TsR(ts)
                })
            }
            Self::Configuration(kind, attributes) => use_it(Payload::Configuration(CfgPayload {
                kind: CfgType(*kind),
                attributes: attributes
                    .iter()
                    .map(|(kind, value)| Attribute {
                        kind: CfgAttribute(*kind),
                        value,
                    })
                    .collect(),
            })),
            Self::Eap(code, identifier, rest) => {
                let length = u16::try_from(rest.len() + 4).unwrap().to_be_bytes();
                let mut message = vec![*code, *identifier, length[0], length[1]];
                message.extend_from_slice(rest);
                use_it(Payload::Eap(&message))
            }
            Self::Unknown(kind, critical, body) => use_it(Payload::Unknown {
                kind: PayloadType(*kind),
                critical: *critical,
                body,
            }),
        }
    }
}

fn transform((kind, id, key_bits, other): &OwnedTransform) -> Transform<'_> {
    let key_length = key_bits.map(|bits| TransformAttribute {
        kind: AttributeType::KEY_LENGTH,
        value: AttributeValue::Fixed(bits),
    });
    let other = other.as_deref().map(|value| TransformAttribute {
        kind: AttributeType(99),
        value: AttributeValue::Variable(value),
    });
    Transform {
        attributes: key_length.into_iter().chain(other).collect(),
        ..Transform::new(TransformType(*kind), *id)
    }
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let addresses = prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| {
            let address = |bits| Ipv4Addr::from_bits(bits).into();
            (address(a.min(b)), address(a.max(b)))
        }),
        any::<(u128, u128)>().prop_map(|(a, b)| {
            let address = |bits| Ipv6Addr::from_bits(bits).into();
            (address(a.min(b)), address(a.max(b)))
        }),
    ];
    let ports = prop_oneof![
        any::<(u16, u16)>().prop_map(|(a, b)| (a.min(b), a.max(b))),
        Just((u16::MAX, 0)),
    ];
    (any::<u8>(), ports, addresses).prop_map(|(protocol, ports, addresses)| TrafficSelector {
        protocol,
        ports,
        addresses,
    })
}

fn some_octets() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..80)
}

fn payload() -> impl Strategy<Value = Owned> {
    let a_transform = (
        any::<u8>(),
        any::<u16>(),
        any::<Option<u16>>(),
        proptest::option::of(vec(any::<u8>(), 0..6)),
    );
    let proposal = (any::<Option<[u8; 4]>>(), vec(a_transform, 0..6));
    let unknown_selector = (11..=u8::MAX, any::<u8>(), some_octets());
    prop_oneof![
        vec(proposal, 1..5).prop_map(Owned::Sa),
        (any::<u16>(), some_octets()).prop_map(|(group, value)| Owned::Ke(group, value)),
        // The kinds that are addresses have lengths of their own.
        (any::<bool>(), 9..=u8::MAX, some_octets())
            .prop_map(|(initiator, kind, value)| Owned::Id(initiator, kind, value)),
        (any::<u8>(), some_octets()).prop_map(|(encoding, value)| Owned::Cert(encoding, value)),
        vec(any::<[u8; 20]>(), 0..4).prop_map(Owned::CertReq),
        (any::<u8>(), some_octets()).prop_map(|(method, value)| Owned::Auth(method, value)),
        vec(any::<u8>(), MIN_NONCE..=MAX_NONCE).prop_map(Owned::Nonce),
        (any::<Option<[u8; 4]>>(), any::<u16>(), some_octets())
            .prop_map(|(spi, kind, value)| Owned::Notify(spi, kind, value)),
        proptest::option::of(vec(any::<[u8; 4]>(), 0..6)).prop_map(Owned::Delete),
        some_octets().prop_map(Owned::VendorId),
        (
            any::<bool>(),
            vec(selector(), 1..6),
            vec(unknown_selector, 0..3)
        )
            .prop_map(|(initiator, known, unknown)| Owned::Ts(initiator, known, unknown)),
        // Attributes of private use, which have any length.
        (any::<u8>(), vec((16_384..32_768_u16, some_octets()), 0..6))
            .prop_map(|(kind, attributes)| Owned::Configuration(kind, attributes)),
        (any::<u8>(), any::<u8>(), some_octets())
            .prop_map(|(code, identifier, rest)| Owned::Eap(code, identifier, rest)),
        (128..=u8::MAX, any::<bool>(), some_octets())
            .prop_map(|(kind, critical, body)| Owned::Unknown(kind, critical, body)),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (
        1..=u64::MAX,
        any::<u64>(),
        any::<u8>(),
        any::<bool>(),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(
            |(initiator_spi, responder_spi, exchange, i, r, message_id)| {
                let flags = Flags {
                    initiator: i,
                    response: r,
                };
                let exchange = ExchangeType(exchange);
                Header::new(initiator_spi, responder_spi, exchange, flags, message_id)
            },
        )
}

fn write(header: &Header, payloads: &[Owned]) -> Vec<u8> {
    let mut datagram = Vec::new();
    let mut writer = MessageWriter::new(&mut datagram, header);
    for payload in payloads {
        payload.with(|payload| writer.payload(&payload)).unwrap();
    }
    writer.finish().unwrap();
    datagram
}

/// What decodes is written back and decodes to the same; what it means to an
/// exchange can always be asked.
fn decodes_stably(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram) else {
        return;
    };
    let mut again = Vec::new();
    message.encode(&mut again).unwrap();
    assert_eq!(again.len(), datagram.len());
    assert_eq!(Message::decode(&again).unwrap(), message);
    let header = message.header;
    let _form = rules::check(
        header.exchange,
        header.flags.response,
        &[],
        &message.payloads,
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in header(), payloads in vec(payload(), 0..12)) {
        let datagram = write(&header, &payloads);
        let message = Message::decode(&datagram).unwrap();
        prop_assert_eq!(message.header.initiator_spi, header.initiator_spi);
        prop_assert_eq!(message.header.message_id, header.message_id);
        prop_assert_eq!(message.header.flags, header.flags);
        prop_assert_eq!(message.payloads.len(), payloads.len());
        for (read, written) in message.payloads.iter().zip(&payloads) {
            written.with(|written| assert_eq!(read, &written));
        }
        let mut again = Vec::new();
        message.encode(&mut again).unwrap();
        prop_assert_eq!(again, datagram);
    }

    #[test]
    fn what_is_sealed_is_opened(
        header in header(),
        payloads in vec(payload(), 0..12),
        block in 1..33_usize,
        iv in 0..17_usize,
        icv in 0..17_usize,
    ) {
        let sizes = SealedSizes { iv, block, icv };
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header)
            .begin_encrypted(sizes)
            .unwrap();
        for payload in &payloads {
            payload.with(|payload| writer.payload(&payload)).unwrap();
        }
        writer.seal(|_| Ok::<(), core::fmt::Error>(())).unwrap();
        let message = Message::decode(&datagram).unwrap();
        let sk = message.payloads.encrypted().unwrap();
        let layout = sk.layout(sizes).unwrap();
        prop_assert_eq!(layout.icv.end, datagram.len());
        let opened = open_chain(sk.first, &datagram[layout.ciphertext]).unwrap();
        prop_assert_eq!(opened.len(), payloads.len());
        for (read, written) in opened.iter().zip(&payloads) {
            written.with(|written| assert_eq!(read, &written));
        }
    }

    #[test]
    fn a_datagram_cut_short_is_refused(
        header in header(),
        payloads in vec(payload(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut datagram = write(&header, &payloads);
        datagram.truncate(cut.index(datagram.len()));
        prop_assert!(Message::decode(&datagram).is_err());
        // With a length to match, the last payload still misses octets.
        if datagram.len() >= HEADER_LEN {
            let length = u32::try_from(datagram.len()).unwrap();
            datagram[24..28].copy_from_slice(&length.to_be_bytes());
            prop_assert!(Message::decode(&datagram).is_err());
        }
    }

    #[test]
    fn changed_octets_do_no_harm(
        header in header(),
        payloads in vec(payload(), 1..5),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut datagram = write(&header, &payloads);
        for (at, octet) in changes {
            let at = at.index(datagram.len());
            datagram[at] = octet;
        }
        decodes_stably(&datagram);
    }

    #[test]
    fn any_octets_do_no_harm(first in any::<u8>(), octets in vec(any::<u8>(), 0..300)) {
        decodes_stably(&octets);
        let _ = decode_chain(PayloadType(first), &octets);
        let _ = open_chain(PayloadType(first), &octets);
    }
}
