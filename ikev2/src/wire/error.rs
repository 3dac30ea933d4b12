//! What can be wrong with octets that came, and with values to be sent.

use core::fmt;

use super::codes::{CfgAttribute, IdType, PayloadType, ProtocolId, TsType};

/// A datagram, or a decrypted chain of payloads, is not well-formed IKEv2.
///
/// One variant per check. `payload` is the payload that holds the fault
/// ([`PayloadType::NONE`]: the IKE header or the chain itself), `offset` the
/// octet where it was seen, counted from the start of what was decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// More octets than any UDP datagram carries.
    DatagramTooLong {
        /// Octets in the datagram.
        length: usize,
    },
    /// A fixed field runs past the end of what contains it.
    Truncated {
        /// Payload being read.
        payload: PayloadType,
        /// Where the field begins.
        offset: usize,
    },
    /// The major version is not 2 (RFC 7296 §2.5).
    MajorVersion {
        /// The version found.
        major: u8,
    },
    /// The header's Length field differs from the datagram's length (RFC 7296 §3.1).
    HeaderLength {
        /// What the header says.
        declared: u32,
        /// What came.
        actual: usize,
    },
    /// The initiator's SPI is zero (RFC 7296 §3.1).
    ZeroInitiatorSpi,
    /// More payloads than [`MAX_PAYLOADS`](super::MAX_PAYLOADS).
    TooManyPayloads,
    /// A payload's length is less than its generic header (RFC 7296 §3.2).
    PayloadTooShort {
        /// The payload.
        payload: PayloadType,
        /// Where its header begins.
        offset: usize,
        /// Its Payload Length field.
        length: u16,
    },
    /// A payload's length runs past the end of the message (RFC 7296 §3.2).
    PayloadTooLong {
        /// The payload.
        payload: PayloadType,
        /// Where its header begins.
        offset: usize,
        /// Its Payload Length field.
        length: u16,
        /// Octets that are left, from its header on.
        available: usize,
    },
    /// Octets are left over where nothing may follow.
    TrailingOctets {
        /// The payload that they trail, or none: the chain.
        payload: PayloadType,
        /// Where they begin.
        offset: usize,
        /// How many.
        count: usize,
    },
    /// Something follows an Encrypted payload, which must be last (RFC 7296 §3.14).
    EncryptedNotLast {
        /// Where the encrypted payload begins.
        offset: usize,
    },
    /// An Encrypted payload inside an encrypted one (RFC 7296 §3.14).
    EncryptedNested {
        /// Where the inner one begins.
        offset: usize,
    },
    /// An SA payload without proposals (RFC 7296 §3.3).
    NoProposals,
    /// More proposals than [`MAX_PROPOSALS`](super::MAX_PROPOSALS).
    TooManyProposals,
    /// More transforms in a proposal than [`MAX_TRANSFORMS`](super::MAX_TRANSFORMS).
    TooManyTransforms {
        /// Where the proposal begins.
        offset: usize,
    },
    /// More attributes in a transform than [`MAX_TRANSFORM_ATTRIBUTES`](super::MAX_TRANSFORM_ATTRIBUTES).
    TooManyAttributes {
        /// Where the transform begins.
        offset: usize,
    },
    /// The length of a proposal, transform, selector or attribute is less than
    /// its own header, or runs past what contains it.
    SubstructureLength {
        /// Payload that holds it.
        payload: PayloadType,
        /// Where the substructure begins.
        offset: usize,
        /// Its length field.
        length: u16,
    },
    /// A Last Substruc field disagrees with what follows (RFC 7296 §3.3.1, §3.3.2).
    LastSubstructure {
        /// Where the proposal or transform begins.
        offset: usize,
        /// Value expected there.
        expected: u8,
        /// Value found.
        found: u8,
    },
    /// Proposals are not numbered one after another, or from zero (RFC 7296 §3.3.1).
    ProposalNumber {
        /// Where the proposal begins.
        offset: usize,
        /// Its number.
        found: u8,
    },
    /// The number of transforms is not the one declared (RFC 7296 §3.3.1).
    TransformCount {
        /// Where the proposal begins.
        offset: usize,
        /// What its Num Transforms field says.
        declared: u8,
        /// Transforms found.
        found: usize,
    },
    /// A Key Length attribute not in its fixed-length form (RFC 7296 §3.3.5).
    KeyLengthFormat {
        /// Where the attribute begins.
        offset: usize,
    },
    /// Two attributes of one type in a transform (RFC 7296 §3.3.5).
    DuplicateAttribute {
        /// Where the second begins.
        offset: usize,
    },
    /// An SPI length that the protocol does not have (RFC 7296 §3.3.1, §3.10, §3.11).
    SpiSize {
        /// The payload.
        payload: PayloadType,
        /// Whose SPI it is.
        protocol: ProtocolId,
        /// Its length in octets.
        size: u8,
    },
    /// A Delete payload's count of SPIs does not fit its length (RFC 7296 §3.11).
    SpiCount {
        /// What the payload says.
        declared: u16,
        /// Octets that are there for them.
        octets: usize,
    },
    /// An address identity of the wrong length (RFC 7296 §3.5).
    IdentityLength {
        /// Kind of identity.
        kind: IdType,
        /// Its length in octets.
        length: usize,
    },
    /// A certificate request that is not a row of 20-octet hashes (RFC 7296 §3.7).
    AuthoritiesLength {
        /// Its length in octets.
        length: usize,
    },
    /// A nonce shorter than 16 or longer than 256 octets (RFC 7296 §3.9).
    NonceLength {
        /// Its length in octets.
        length: usize,
    },
    /// A TS payload without selectors (RFC 7296 §3.13).
    NoSelectors {
        /// TSi or TSr.
        payload: PayloadType,
    },
    /// More selectors than [`MAX_SELECTORS`](super::MAX_SELECTORS).
    TooManySelectors {
        /// TSi or TSr.
        payload: PayloadType,
    },
    /// A selector's length is not the one of its type (RFC 7296 §3.13.1).
    SelectorLength {
        /// Type of selector.
        kind: TsType,
        /// Its Selector Length field.
        length: u16,
    },
    /// A port range that ends before it begins, and is not OPAQUE (RFC 7296 §3.13.1).
    PortRange {
        /// First port.
        start: u16,
        /// Last port.
        end: u16,
    },
    /// An address range that ends before it begins (RFC 7296 §3.13.1).
    AddressRange {
        /// Where the selector begins.
        offset: usize,
    },
    /// More configuration attributes than [`MAX_CFG_ATTRIBUTES`](super::MAX_CFG_ATTRIBUTES).
    TooManyCfgAttributes,
    /// A configuration attribute's value has a length that its type does not have (RFC 7296 §3.15.1).
    CfgAttributeLength {
        /// The attribute.
        kind: CfgAttribute,
        /// Its length in octets.
        length: usize,
    },
    /// The length inside an EAP message is not the payload's (RFC 7296 §3.16, RFC 3748 §4).
    EapLength {
        /// What the EAP header says.
        declared: u16,
        /// Octets in the payload.
        actual: usize,
    },
    /// An encrypted fragment's number or total makes no sense (RFC 7383 §2.5).
    FragmentNumber {
        /// Fragment Number.
        number: u16,
        /// Total Fragments.
        total: u16,
    },
    /// An Encrypted payload too short for its IV, one block and its checksum (RFC 7296 §3.14).
    SealedTooShort {
        /// Octets in its body.
        length: usize,
        /// Least number of octets with this cipher.
        needed: usize,
    },
    /// A ciphertext that is not a whole number of blocks (RFC 7296 §3.14).
    SealedAlignment {
        /// Octets of ciphertext.
        length: usize,
        /// Octets in a block.
        block: usize,
    },
    /// The Pad Length says more than the plaintext holds (RFC 7296 §3.14).
    PadLength {
        /// What it says.
        pad: u8,
        /// Octets before it.
        available: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DatagramTooLong { length } => {
                write!(f, "datagram of {length} octets, at most 65535 are possible")
            }
            Self::Truncated {
                payload: PayloadType::NONE,
                offset,
            } => write!(
                f,
                "header cut short: a field at octet {offset} runs past the end"
            ),
            Self::Truncated { payload, offset } => {
                write!(
                    f,
                    "{payload} payload cut short: a field at octet {offset} runs past the end"
                )
            }
            Self::MajorVersion { major } => {
                write!(f, "IKE major version {major}, only 2 is spoken")
            }
            Self::HeaderLength { declared, actual } => {
                write!(
                    f,
                    "header says {declared} octets, the datagram has {actual}"
                )
            }
            Self::ZeroInitiatorSpi => f.write_str("the initiator's SPI is zero"),
            Self::TooManyPayloads => write!(f, "more than {} payloads", super::MAX_PAYLOADS),
            Self::PayloadTooShort {
                payload,
                offset,
                length,
            } => {
                write!(
                    f,
                    "{payload} payload at octet {offset} has length {length}, less than its own header"
                )
            }
            Self::PayloadTooLong {
                payload,
                offset,
                length,
                available,
            } => {
                write!(
                    f,
                    "{payload} payload at octet {offset} has length {length}, but {available} octets are left"
                )
            }
            Self::TrailingOctets {
                payload: PayloadType::NONE,
                offset,
                count,
            } => {
                write!(
                    f,
                    "{count} octets after the last payload, from octet {offset} on"
                )
            }
            Self::TrailingOctets {
                payload,
                offset,
                count,
            } => {
                write!(
                    f,
                    "{count} octets too many in the {payload} payload, from octet {offset} on"
                )
            }
            Self::EncryptedNotLast { offset } => {
                write!(
                    f,
                    "the encrypted payload at octet {offset} is not the last one"
                )
            }
            Self::EncryptedNested { offset } => {
                write!(
                    f,
                    "an encrypted payload at octet {offset} inside an encrypted one"
                )
            }
            Self::NoProposals => f.write_str("SA payload without a proposal"),
            Self::TooManyProposals => {
                write!(
                    f,
                    "SA payload with more than {} proposals",
                    super::MAX_PROPOSALS
                )
            }
            Self::TooManyTransforms { offset } => {
                write!(
                    f,
                    "proposal at octet {offset} has more than {} transforms",
                    super::MAX_TRANSFORMS
                )
            }
            Self::TooManyAttributes { offset } => write!(
                f,
                "transform at octet {offset} has more than {} attributes",
                super::MAX_TRANSFORM_ATTRIBUTES
            ),
            Self::SubstructureLength {
                payload,
                offset,
                length,
            } => {
                write!(
                    f,
                    "length {length} at octet {offset} does not fit into the {payload} payload"
                )
            }
            Self::LastSubstructure {
                offset,
                expected,
                found,
            } => {
                write!(
                    f,
                    "Last Substruc at octet {offset} is {found}, what follows says {expected}"
                )
            }
            Self::ProposalNumber { offset, found } => {
                write!(
                    f,
                    "proposal at octet {offset} has number {found}, out of sequence"
                )
            }
            Self::TransformCount {
                offset,
                declared,
                found,
            } => {
                write!(
                    f,
                    "proposal at octet {offset} declares {declared} transforms and holds {found}"
                )
            }
            Self::KeyLengthFormat { offset } => {
                write!(
                    f,
                    "Key Length attribute at octet {offset} is not in the fixed-length form"
                )
            }
            Self::DuplicateAttribute { offset } => {
                write!(
                    f,
                    "attribute at octet {offset} has the type of an earlier one"
                )
            }
            Self::SpiSize {
                payload,
                protocol,
                size,
            } => {
                write!(
                    f,
                    "{payload} payload with an SPI of {size} octets for protocol {protocol}"
                )
            }
            Self::SpiCount { declared, octets } => {
                write!(
                    f,
                    "Delete payload declares {declared} SPIs and has {octets} octets for them"
                )
            }
            Self::IdentityLength { kind, length } => write!(f, "{kind} of {length} octets"),
            Self::AuthoritiesLength { length } => {
                write!(
                    f,
                    "certificate request of {length} octets is not a row of 20-octet hashes"
                )
            }
            Self::NonceLength { length } => {
                write!(f, "nonce of {length} octets, 16 to 256 are allowed")
            }
            Self::NoSelectors { payload } => write!(f, "{payload} payload without a selector"),
            Self::TooManySelectors { payload } => {
                write!(
                    f,
                    "{payload} payload with more than {} selectors",
                    super::MAX_SELECTORS
                )
            }
            Self::SelectorLength { kind, length } => {
                write!(f, "selector {kind} of length {length}")
            }
            Self::PortRange { start, end } => write!(f, "port range {start}-{end}"),
            Self::AddressRange { offset } => {
                write!(f, "address range at octet {offset} ends before it begins")
            }
            Self::TooManyCfgAttributes => {
                write!(
                    f,
                    "more than {} configuration attributes",
                    super::MAX_CFG_ATTRIBUTES
                )
            }
            Self::CfgAttributeLength { kind, length } => {
                write!(f, "configuration attribute {kind} of {length} octets")
            }
            Self::EapLength { declared, actual } => {
                write!(
                    f,
                    "EAP message says {declared} octets, its payload has {actual}"
                )
            }
            Self::FragmentNumber { number, total } => {
                write!(f, "encrypted fragment {number} of {total}")
            }
            Self::SealedTooShort { length, needed } => {
                write!(
                    f,
                    "encrypted payload of {length} octets, this cipher needs {needed}"
                )
            }
            Self::SealedAlignment { length, block } => {
                write!(
                    f,
                    "ciphertext of {length} octets is not made of {block}-octet blocks"
                )
            }
            Self::PadLength { pad, available } => {
                write!(f, "pad length {pad} with {available} octets before it")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// A value that cannot be put into an IKEv2 message. Nothing of the payload in
/// question has been written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A payload, or something in it, is too long for its length field.
    TooLong {
        /// The payload.
        payload: PayloadType,
    },
    /// More parts in a payload, or payloads in a message, than the receiving
    /// side of this library takes.
    TooMany {
        /// The payload; none means the message.
        payload: PayloadType,
    },
    /// A payload without the one part it needs at least.
    Empty {
        /// The payload.
        payload: PayloadType,
    },
    /// A field holds what it must not: an SPI, nonce, identity, attribute or
    /// EAP message of a wrong length, a range that mixes address families or
    /// ends before it begins.
    Field {
        /// The payload.
        payload: PayloadType,
    },
    /// A payload after an Encrypted payload, which must be last.
    AfterEncrypted,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong {
                payload: PayloadType::NONE,
            } => f.write_str("the message is longer than a datagram can be"),
            Self::TooLong { payload } => write!(
                f,
                "{payload} payload: something is too long for its length field"
            ),
            Self::TooMany {
                payload: PayloadType::NONE,
            } => {
                write!(f, "more than {} payloads", super::MAX_PAYLOADS)
            }
            Self::TooMany { payload } => write!(f, "{payload} payload: too many parts"),
            Self::Empty { payload } => write!(f, "{payload} payload: needs at least one part"),
            Self::Field { payload } => {
                write!(f, "{payload} payload: a field holds what it must not")
            }
            Self::AfterEncrypted => f.write_str("nothing may follow an encrypted payload"),
        }
    }
}

impl core::error::Error for EncodeError {}
