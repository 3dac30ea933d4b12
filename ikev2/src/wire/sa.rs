//! Security Association payload, RFC 7296 §3.3.
//!
//! ```text
//! Proposal
//! | Last Substruc |   RESERVED    |         Proposal Length       |
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! ~                        SPI (variable)                         ~
//! ~                        <Transforms>                           ~
//!
//! Transform
//! | Last Substruc |   RESERVED    |        Transform Length       |
//! |Transform Type |   RESERVED    |          Transform ID         |
//! ~                      Transform Attributes                     ~
//!
//! Attribute
//! |A|       Attribute Type        |    A=0: Length, A=1: Value    |
//! ~                     A=0: Attribute Value                      ~
//! ```

use super::codes::{
    AttributeType, EncrId, EsnId, GroupId, IntegId, PayloadType, PrfId, ProtocolId, TransformType,
};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::LengthField;
use super::{MAX_PROPOSALS, MAX_TRANSFORM_ATTRIBUTES, MAX_TRANSFORMS};

const PAYLOAD: PayloadType = PayloadType::SA;
const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
/// The A bit: the attribute's value stands in place of its length (§3.3.5).
const FIXED_FORM: u16 = 0x8000;

/// What is offered, or the one proposal that was chosen (§3.3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SaPayload<'a> {
    /// At least one proposal, in order of preference.
    pub proposals: Vec<Proposal<'a>>,
}

/// One suite, or several that differ in single transforms (§3.3.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal<'a> {
    /// Its number: from 1 on in an offer; in an answer, that of the chosen one.
    pub number: u8,
    /// Which kind of SA it is for.
    pub protocol: ProtocolId,
    /// SPI of the sender: empty for a first IKE SA, eight octets for an IKE SA
    /// that replaces one, four for AH and ESP.
    pub spi: &'a [u8],
    /// The algorithms, any order.
    pub transforms: Vec<Transform<'a>>,
}

/// One algorithm (§3.3.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transform<'a> {
    /// What it is for.
    pub kind: TransformType,
    /// Which one, in the number space of its type.
    pub id: u16,
    /// At most one attribute of each type.
    pub attributes: Vec<TransformAttribute<'a>>,
}

/// A property of an algorithm (§3.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransformAttribute<'a> {
    /// Which property.
    pub kind: AttributeType,
    /// What it is.
    pub value: AttributeValue<'a>,
}

/// The value of a transform attribute in either of its forms (§3.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AttributeValue<'a> {
    /// Two octets, form TV.
    Fixed(u16),
    /// Any number of octets, form TLV.
    Variable(&'a [u8]),
}

impl<'a> SaPayload<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut proposals: Vec<Proposal<'a>> = Vec::new();
        while !reader.is_empty() {
            if proposals.len() == MAX_PROPOSALS {
                return Err(DecodeError::TooManyProposals);
            }
            let offset = reader.offset();
            let proposal = Proposal::decode(reader)?;
            // An answer repeats the number of the proposal it takes, so that the
            // first must be 1 can be asked of an offer only: that is in `rules`.
            let in_sequence = match proposals.last() {
                Some(previous) => previous.number.checked_add(1) == Some(proposal.number),
                None => proposal.number != 0,
            };
            if !in_sequence {
                return Err(DecodeError::ProposalNumber {
                    offset,
                    found: proposal.number,
                });
            }
            proposals.push(proposal);
        }
        if proposals.is_empty() {
            return Err(DecodeError::NoProposals);
        }
        Ok(Self { proposals })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.proposals.len() > MAX_PROPOSALS {
            return Err(EncodeError::TooMany { payload: PAYLOAD });
        }
        let Some((last, others)) = self.proposals.split_last() else {
            return Err(EncodeError::Empty { payload: PAYLOAD });
        };
        for proposal in others {
            proposal.encode(MORE_PROPOSALS, out)?;
        }
        last.encode(LAST, out)
    }
}

impl<'a> Proposal<'a> {
    /// The transforms of one type.
    pub fn transforms_of(&self, kind: TransformType) -> impl Iterator<Item = &Transform<'a>> {
        self.transforms
            .iter()
            .filter(move |transform| transform.kind == kind)
    }

    fn decode(outer: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = outer.offset();
        let (last, mut reader) = substructure(outer)?;
        expect_last(last, outer, MORE_PROPOSALS, offset)?;
        let number = reader.u8()?;
        let protocol = ProtocolId(reader.u8()?);
        let spi_size = reader.u8()?;
        let declared = reader.u8()?;
        if !spi_fits(protocol, usize::from(spi_size)) {
            return Err(DecodeError::SpiSize {
                payload: PAYLOAD,
                protocol,
                size: spi_size,
            });
        }
        let spi = reader.take(usize::from(spi_size))?;
        let mut transforms = Vec::new();
        while !reader.is_empty() {
            if transforms.len() == MAX_TRANSFORMS {
                return Err(DecodeError::TooManyTransforms { offset });
            }
            transforms.push(Transform::decode(&mut reader)?);
        }
        if transforms.len() != usize::from(declared) {
            return Err(DecodeError::TransformCount {
                offset,
                declared,
                found: transforms.len(),
            });
        }
        Ok(Self {
            number,
            protocol,
            spi,
            transforms,
        })
    }

    fn encode(&self, last: u8, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !spi_fits(self.protocol, self.spi.len()) || self.number == 0 {
            return Err(EncodeError::Field { payload: PAYLOAD });
        }
        if self.transforms.len() > MAX_TRANSFORMS {
            return Err(EncodeError::TooMany { payload: PAYLOAD });
        }
        let too_long = |_| EncodeError::TooLong { payload: PAYLOAD };
        let spi_size = u8::try_from(self.spi.len()).map_err(too_long)?;
        let count = u8::try_from(self.transforms.len()).map_err(too_long)?;
        let start = out.len();
        out.extend_from_slice(&[last, 0]);
        let length = LengthField::open(out, start, PAYLOAD);
        out.extend_from_slice(&[self.number, self.protocol.0, spi_size, count]);
        out.extend_from_slice(self.spi);
        if let Some((final_one, others)) = self.transforms.split_last() {
            for transform in others {
                transform.encode(MORE_TRANSFORMS, out)?;
            }
            final_one.encode(LAST, out)?;
        }
        length.close(out)
    }
}

impl<'a> Transform<'a> {
    /// An algorithm without attributes.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self {
            kind,
            id,
            attributes: Vec::new(),
        }
    }

    /// An encryption algorithm; `key_bits` where its key length is variable.
    pub fn encr(id: EncrId, key_bits: Option<u16>) -> Self {
        let mut transform = Self::new(TransformType::ENCR, id.0);
        transform
            .attributes
            .extend(key_bits.map(|bits| TransformAttribute {
                kind: AttributeType::KEY_LENGTH,
                value: AttributeValue::Fixed(bits),
            }));
        transform
    }

    /// A pseudorandom function.
    pub const fn prf(id: PrfId) -> Self {
        Self::new(TransformType::PRF, id.0)
    }

    /// An integrity algorithm.
    pub const fn integ(id: IntegId) -> Self {
        Self::new(TransformType::INTEG, id.0)
    }

    /// A key exchange method.
    pub const fn group(id: GroupId) -> Self {
        Self::new(TransformType::KE, id.0)
    }

    /// Whether sequence numbers are extended.
    pub const fn esn(id: EsnId) -> Self {
        Self::new(TransformType::ESN, id.0)
    }

    /// The Key Length attribute, in bits.
    pub fn key_length(&self) -> Option<u16> {
        self.attributes
            .iter()
            .find_map(|attribute| match attribute.value {
                AttributeValue::Fixed(bits) if attribute.kind == AttributeType::KEY_LENGTH => {
                    Some(bits)
                }
                _ => None,
            })
    }

    /// Whether there is an attribute that we do not understand: then the
    /// transform must not be chosen (RFC 7296 §3.3.6).
    pub fn has_unknown_attribute(&self) -> bool {
        self.attributes
            .iter()
            .any(|attribute| attribute.kind != AttributeType::KEY_LENGTH)
    }

    fn decode(outer: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = outer.offset();
        let (last, mut reader) = substructure(outer)?;
        expect_last(last, outer, MORE_TRANSFORMS, offset)?;
        let kind = TransformType(reader.u8()?);
        reader.reserved(1)?;
        let id = reader.u16()?;
        let mut attributes: Vec<TransformAttribute<'a>> = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_TRANSFORM_ATTRIBUTES {
                return Err(DecodeError::TooManyAttributes { offset });
            }
            let attribute_offset = reader.offset();
            let attribute = TransformAttribute::decode(&mut reader)?;
            if attributes.iter().any(|other| other.kind == attribute.kind) {
                return Err(DecodeError::DuplicateAttribute {
                    offset: attribute_offset,
                });
            }
            attributes.push(attribute);
        }
        Ok(Self {
            kind,
            id,
            attributes,
        })
    }

    fn encode(&self, last: u8, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.attributes.len() > MAX_TRANSFORM_ATTRIBUTES {
            return Err(EncodeError::TooMany { payload: PAYLOAD });
        }
        let start = out.len();
        out.extend_from_slice(&[last, 0]);
        let length = LengthField::open(out, start, PAYLOAD);
        out.extend_from_slice(&[self.kind.0, 0]);
        out.extend_from_slice(&self.id.to_be_bytes());
        for attribute in &self.attributes {
            attribute.encode(out)?;
        }
        length.close(out)
    }
}

impl<'a> TransformAttribute<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let head = reader.u16()?;
        let second = reader.u16()?;
        let kind = AttributeType(head & !FIXED_FORM);
        if head & FIXED_FORM != 0 {
            return Ok(Self {
                kind,
                value: AttributeValue::Fixed(second),
            });
        }
        // "A Key Length attribute MUST use the fixed-length form" (§3.3.5).
        if kind == AttributeType::KEY_LENGTH {
            return Err(DecodeError::KeyLengthFormat { offset });
        }
        let Ok(value) = reader.take(usize::from(second)) else {
            return Err(DecodeError::SubstructureLength {
                payload: PAYLOAD,
                offset,
                length: second,
            });
        };
        Ok(Self {
            kind,
            value: AttributeValue::Variable(value),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.kind.0 & FIXED_FORM != 0 {
            return Err(EncodeError::Field { payload: PAYLOAD });
        }
        match self.value {
            AttributeValue::Fixed(value) => {
                out.extend_from_slice(&(self.kind.0 | FIXED_FORM).to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
            AttributeValue::Variable(_) if self.kind == AttributeType::KEY_LENGTH => {
                return Err(EncodeError::Field { payload: PAYLOAD });
            }
            AttributeValue::Variable(value) => {
                let length = u16::try_from(value.len())
                    .map_err(|_| EncodeError::TooLong { payload: PAYLOAD })?;
                out.extend_from_slice(&self.kind.0.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value);
            }
        }
        Ok(())
    }
}

/// Opens a proposal or transform: its Last Substruc field, and a reader over
/// what follows its length.
fn substructure<'a>(outer: &mut Reader<'a>) -> Result<(u8, Reader<'a>), DecodeError> {
    let offset = outer.offset();
    let mut head = *outer;
    let last = head.u8()?;
    head.reserved(1)?;
    let length = head.u16()?;
    let misfit = DecodeError::SubstructureLength {
        payload: PAYLOAD,
        offset,
        length,
    };
    let mut reader = outer.sub(usize::from(length)).ok_or(misfit)?;
    reader.take(4).map_err(|_| misfit)?;
    Ok((last, reader))
}

/// A Last Substruc field says whether more follows. It is redundant; a message
/// where it disagrees with the lengths is malformed (§3.3.1, §3.3.2).
fn expect_last(found: u8, rest: &Reader<'_>, more: u8, offset: usize) -> Result<(), DecodeError> {
    let expected = if rest.is_empty() { LAST } else { more };
    if found == expected {
        return Ok(());
    }
    Err(DecodeError::LastSubstructure {
        offset,
        expected,
        found,
    })
}

/// Whether a proposal for `protocol` may have an SPI of `size` octets (§3.3.1).
const fn spi_fits(protocol: ProtocolId, size: usize) -> bool {
    match protocol {
        ProtocolId::IKE => size == 0 || size == 8,
        ProtocolId::AH | ProtocolId::ESP => size == 4,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::decode_chain;
    use super::super::testing::{chain_of, check_body, decode_body, message_with, octets};
    use super::*;

    fn ike_offer() -> SaPayload<'static> {
        SaPayload {
            proposals: vec![
                Proposal {
                    number: 1,
                    protocol: ProtocolId::IKE,
                    spi: &[],
                    transforms: vec![
                        Transform::encr(EncrId::AES_GCM_16, Some(128)),
                        Transform::prf(PrfId::HMAC_SHA2_256),
                        Transform::group(GroupId::X25519),
                    ],
                },
                Proposal {
                    number: 2,
                    protocol: ProtocolId::IKE,
                    spi: &[],
                    transforms: vec![Transform::encr(EncrId::CHACHA20_POLY1305, None)],
                },
            ],
        }
    }

    #[test]
    fn literal_octets() {
        check_body(
            &Payload::Sa(ike_offer()),
            "02 00 0024  01 01 00 03
               03 00 000c 01 00 0014 800e0080
               03 00 0008 02 00 0005
               00 00 0008 04 00 001f
             00 00 0010  02 01 00 01
               00 00 0008 01 00 001c",
        );
        check_body(
            &Payload::Sa(SaPayload {
                proposals: vec![Proposal {
                    number: 3,
                    protocol: ProtocolId::ESP,
                    spi: &[0xc0, 1, 2, 3],
                    transforms: vec![Transform::esn(EsnId::ESN)],
                }],
            }),
            "00 00 0014  03 03 04 01 c0010203  00 00 0008 05 00 0001",
        );
        check_body(
            &Payload::Sa(SaPayload {
                proposals: vec![Proposal {
                    number: 1,
                    protocol: ProtocolId::IKE,
                    spi: &[1, 2, 3, 4, 5, 6, 7, 8],
                    transforms: vec![Transform {
                        attributes: vec![TransformAttribute {
                            kind: AttributeType(20),
                            value: AttributeValue::Variable(&[7, 8, 9]),
                        }],
                        ..Transform::integ(IntegId::HMAC_SHA2_256_128)
                    }],
                }],
            }),
            "00 00 001f  01 01 08 01 0102030405060708  00 00 000f 03 00 000c 0014 0003 070809",
        );
    }

    #[test]
    fn transforms_tell_what_they_are() {
        let offer = ike_offer();
        let encr = offer.proposals[0]
            .transforms_of(TransformType::ENCR)
            .next()
            .unwrap();
        assert_eq!(encr.key_length(), Some(128));
        assert!(!encr.has_unknown_attribute());
        assert_eq!(offer.proposals[1].transforms[0].key_length(), None);
    }

    #[test]
    fn no_proposal_is_an_error() {
        assert_eq!(decode_body(PAYLOAD, ""), Err(DecodeError::NoProposals));
        let empty = Payload::Sa(SaPayload::default());
        assert_eq!(
            message_with(&empty),
            Err(EncodeError::Empty { payload: PAYLOAD })
        );
    }

    #[test]
    fn reserved_octets_are_ignored() {
        let chain = chain_of(&octets("00 ff 0010 01 01 00 01 00 ff 0008 02 ff 0005"));
        let payloads = decode_chain(PAYLOAD, &chain).unwrap();
        let proposal = &payloads.sa().unwrap().proposals[0];
        assert_eq!(proposal.transforms, [Transform::prf(PrfId::HMAC_SHA2_256)]);
    }

    #[test]
    fn proposal_numbers_follow_each_other() {
        let two = |first: u8, second: u8| {
            decode_body(
                PAYLOAD,
                &format!("02 00 0008 {first:02x} 01 00 00  00 00 0008 {second:02x} 01 00 00"),
            )
        };
        assert_eq!(two(1, 2), Ok(()));
        for (first, second, found, offset) in [
            (1, 1, 1, 12),
            (1, 3, 3, 12),
            (2, 1, 1, 12),
            (255, 0, 0, 12),
            (0, 1, 0, 4),
        ] {
            assert_eq!(
                two(first, second),
                Err(DecodeError::ProposalNumber { offset, found })
            );
        }
    }

    #[test]
    fn last_substructure_fields_agree_with_what_follows() {
        for (body, expected, found) in [
            ("02 00 0008 01 01 00 00", 0, 2),
            ("00 00 0008 01 01 00 00  00 00 0008 02 01 00 00", 2, 0),
            ("03 00 0008 01 01 00 00  00 00 0008 02 01 00 00", 2, 3),
            ("00 00 0010 01 01 00 01  03 00 0008 02 00 0005", 0, 3),
            (
                "00 00 0018 01 01 00 02  00 00 0008 02 00 0005  00 00 0008 02 00 0006",
                3,
                0,
            ),
        ] {
            assert!(
                matches!(
                    decode_body(PAYLOAD, body),
                    Err(DecodeError::LastSubstructure { expected: e, found: f, .. })
                        if (e, f) == (expected, found)
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn substructure_lengths() {
        for body in [
            // proposal: below its header, past the end
            "00 00 0000 01 01 00 00",
            "00 00 0003 01 01 00 00",
            "00 00 0009 01 01 00 00",
            // transform: below its header, past the proposal
            "00 00 0010 01 01 00 01  00 00 0003 02 00 0005",
            "00 00 0010 01 01 00 01  00 00 0009 02 00 0005",
            // attribute: past the transform
            "00 00 0014 01 01 00 01  00 00 000c 01 00 0014 0014 0001",
        ] {
            assert!(
                matches!(
                    decode_body(PAYLOAD, body),
                    Err(DecodeError::SubstructureLength { .. })
                ),
                "{body}"
            );
        }
        // long enough for a header, too short for the fixed fields
        for body in [
            "00 00 0007 01 01 00",
            "00 00 000f 01 01 00 01  00 00 0007 02 00 00",
        ] {
            assert!(
                matches!(
                    decode_body(PAYLOAD, body),
                    Err(DecodeError::Truncated { .. })
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn transform_count_is_the_declared_one() {
        for (declared, ok) in [(0, false), (1, true), (2, false)] {
            let body = format!("00 00 0010 01 01 00 {declared:02x}  00 00 0008 02 00 0005");
            let expected = if ok {
                Ok(())
            } else {
                Err(DecodeError::TransformCount {
                    offset: 4,
                    declared,
                    found: 1,
                })
            };
            assert_eq!(decode_body(PAYLOAD, &body), expected);
        }
    }

    #[test]
    fn spi_sizes() {
        let sized = |protocol: u8, size: u8| {
            decode_body(
                PAYLOAD,
                &format!(
                    "00 00 {:04x} 01 {protocol:02x} {size:02x} 00 {}",
                    8 + u16::from(size),
                    "07".repeat(size.into())
                ),
            )
        };
        for (protocol, size) in [(1, 0), (1, 8), (2, 4), (3, 4), (9, 5)] {
            assert_eq!(sized(protocol, size), Ok(()));
        }
        for (protocol, size) in [(1, 4), (1, 7), (1, 9), (3, 0), (3, 8)] {
            let refused = DecodeError::SpiSize {
                payload: PAYLOAD,
                protocol: ProtocolId(protocol),
                size,
            };
            assert_eq!(sized(protocol, size), Err(refused));
        }
    }

    #[test]
    fn key_length_is_fixed_and_single() {
        let with = |length: u16, attributes: &str| {
            decode_body(
                PAYLOAD,
                &format!(
                    "00 00 {:04x} 01 01 00 01  00 00 {:04x} 01 00 0014 {attributes}",
                    16 + length,
                    8 + length
                ),
            )
        };
        assert_eq!(with(4, "800e 0080"), Ok(()));
        assert_eq!(
            with(6, "000e 0002 0080"),
            Err(DecodeError::KeyLengthFormat { offset: 20 })
        );
        assert_eq!(
            with(8, "800e 0080 800e 0100"),
            Err(DecodeError::DuplicateAttribute { offset: 24 })
        );
        assert_eq!(
            with(20, "8001 0000 8002 0000 8003 0000 8004 0000 8005 0000"),
            Err(DecodeError::TooManyAttributes { offset: 12 })
        );
    }

    #[test]
    fn lists_are_bounded() {
        let proposals = |count: usize| {
            let proposals = (1..=count)
                .map(|number| Proposal {
                    number: number.try_into().unwrap(),
                    protocol: ProtocolId::IKE,
                    spi: &[],
                    transforms: vec![],
                })
                .collect();
            message_with(&Payload::Sa(SaPayload { proposals }))
        };
        assert!(proposals(MAX_PROPOSALS).is_ok());
        assert!(proposals(MAX_PROPOSALS + 1).is_err());
        let mut body = String::new();
        for number in 1..=MAX_PROPOSALS {
            body += &format!("02 00 0008 {number:02x} 01 00 00 ");
        }
        body += &format!("00 00 0008 {:02x} 01 00 00", MAX_PROPOSALS + 1);
        assert_eq!(
            decode_body(PAYLOAD, &body),
            Err(DecodeError::TooManyProposals)
        );

        let count = MAX_TRANSFORMS + 1;
        let body = format!(
            "00 00 {:04x} 01 01 00 {count:02x} {} 00 00 0008 02 00 0005",
            8 + 8 * count,
            "03 00 0008 02 00 0005".repeat(MAX_TRANSFORMS)
        );
        assert_eq!(
            decode_body(PAYLOAD, &body),
            Err(DecodeError::TooManyTransforms { offset: 4 })
        );
    }
}
