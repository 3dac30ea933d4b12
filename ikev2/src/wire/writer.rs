//! Writing messages: every length and Next Payload field is filled in here.

use core::fmt;

use super::chain::Payload;
use super::codes::PayloadType;
use super::error::EncodeError;
use super::header::Header;
use super::sealed::SealedSizes;
use super::{MAX_DATAGRAM, MAX_PAYLOADS};

/// Where Next Payload stands in the IKE header (RFC 7296 §3.1).
const NEXT_PAYLOAD_AT: usize = 16;
/// Where Length stands in the IKE header.
const LENGTH_AT: usize = 24;

/// Writes one message at the end of a caller's buffer.
///
/// A payload that cannot be written leaves the message as it was before it.
#[derive(Debug)]
#[must_use = "a message is complete only when finished"]
pub struct MessageWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    chain: Chain,
}

impl<'b> MessageWriter<'b> {
    /// Begins a message; Next Payload and Length of `header` are not looked at.
    pub fn new(out: &'b mut Vec<u8>, header: &Header) -> Self {
        let start = out.len();
        header.encode(out);
        patch(
            out,
            start.saturating_add(NEXT_PAYLOAD_AT),
            &[PayloadType::NONE.0],
        );
        let chain = Chain::new(start.saturating_add(NEXT_PAYLOAD_AT));
        Self { out, start, chain }
    }

    /// Appends a payload.
    ///
    /// # Errors
    ///
    /// Why it cannot be written.
    pub fn payload(&mut self, payload: &Payload<'_>) -> Result<(), EncodeError> {
        self.chain.payload(self.out, payload)
    }

    /// Ends a message that has no Encrypted payload, or one that came sealed.
    /// Gives its length in octets.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLong`] if no datagram can carry it.
    pub fn finish(self) -> Result<usize, EncodeError> {
        close_message(self.out, self.start)
    }

    /// Goes on inside an Encrypted payload, which ends the message.
    ///
    /// # Errors
    ///
    /// [`EncodeError::AfterEncrypted`], [`EncodeError::TooMany`].
    pub fn begin_encrypted(self, sizes: SealedSizes) -> Result<EncryptedWriter<'b>, EncodeError> {
        let Self { out, start, chain } = self;
        let next = chain.begin(out, PayloadType::SK, 0)?;
        let length = LengthField::open(out, next, PayloadType::SK);
        let aad_end = out.len();
        out.resize(aad_end.saturating_add(sizes.iv), 0);
        Ok(EncryptedWriter {
            chain: Chain::new(next),
            start,
            length,
            aad_end,
            sizes,
            out,
        })
    }
}

/// Writes the payloads of an Encrypted payload, then has them sealed in place
/// (RFC 7296 §3.14).
///
/// The buffer holds plaintext until [`seal`](Self::seal) has succeeded; when
/// sealing fails, the whole message is taken out of it and overwritten with zeros.
#[derive(Debug)]
#[must_use = "a message is complete only when sealed"]
pub struct EncryptedWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    length: LengthField,
    aad_end: usize,
    sizes: SealedSizes,
    chain: Chain,
}

impl EncryptedWriter<'_> {
    /// Appends a payload.
    ///
    /// # Errors
    ///
    /// Why it cannot be written; an Encrypted payload cannot.
    pub fn payload(&mut self, payload: &Payload<'_>) -> Result<(), EncodeError> {
        if payload.sealed_next().is_some() {
            return Err(EncodeError::AfterEncrypted);
        }
        self.chain.payload(self.out, payload)
    }

    /// Pads, fills in the lengths and calls `seal`, which fills in IV and
    /// checksum and encrypts in place. Gives the length of the message in octets.
    ///
    /// # Errors
    ///
    /// What `seal` says, or why the message cannot be written.
    pub fn seal<E>(
        self,
        seal: impl FnOnce(Sealing<'_>) -> Result<(), E>,
    ) -> Result<usize, SealError<E>> {
        let Self {
            out,
            start,
            length,
            aad_end,
            sizes,
            ..
        } = self;
        let sealed = pad_and_close(out, start, &length, aad_end, sizes)
            .map_err(SealError::Encode)
            .and_then(|octets| {
                let parts = Sealing::split(out, start, aad_end, sizes)
                    .ok_or(SealError::Encode(TOO_LONG))?;
                seal(parts).map_err(SealError::Seal)?;
                Ok(octets)
            });
        if sealed.is_err() {
            if let Some(written) = out.get_mut(start..) {
                written.fill(0);
            }
            out.truncate(start);
        }
        sealed
    }
}

/// What a cipher is given to seal a message: the parts lie next to each other in
/// the order of the fields.
#[derive(Debug)]
pub struct Sealing<'b> {
    /// Associated data: from the IKE header to the end of the generic header of
    /// the Encrypted payload, lengths filled in (RFC 5282 §5.1).
    pub aad: &'b [u8],
    /// To be filled with the initialization vector.
    pub iv: &'b mut [u8],
    /// Plaintext, with padding and pad length, to be encrypted in place; the
    /// last octets, as many as the checksum has, are room for that checksum.
    pub text_and_icv: &'b mut [u8],
    /// How many of them are for the checksum.
    pub icv_len: usize,
}

impl<'b> Sealing<'b> {
    /// Plaintext and room for the checksum as two slices.
    pub fn text_and_icv_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let at = self.text_and_icv.len().saturating_sub(self.icv_len);
        self.text_and_icv
            .split_at_mut_checked(at)
            .unwrap_or_default()
    }

    fn split(out: &'b mut [u8], start: usize, aad_end: usize, sizes: SealedSizes) -> Option<Self> {
        let (before, body) = out.split_at_mut_checked(aad_end)?;
        let (iv, text_and_icv) = body.split_at_mut_checked(sizes.iv)?;
        Some(Self {
            aad: before.get(start..)?,
            iv,
            text_and_icv,
            icv_len: sizes.icv,
        })
    }
}

/// Why a message was not sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealError<E> {
    /// It cannot be written.
    Encode(EncodeError),
    /// The cipher failed.
    Seal(E),
}

impl<E: fmt::Display> fmt::Display for SealError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Seal(error) => write!(f, "cannot seal the message: {error}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for SealError<E> {}

/// A two-octet length that is written when its end is known.
#[derive(Clone, Copy, Debug)]
#[must_use = "a length that is not closed stays zero"]
pub(super) struct LengthField {
    at: usize,
    from: usize,
    payload: PayloadType,
}

impl LengthField {
    /// Reserves the field at the end of `out`; the length counts from `from`.
    pub(super) fn open(out: &mut Vec<u8>, from: usize, payload: PayloadType) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0; 2]);
        Self { at, from, payload }
    }

    /// Fills it in: everything up to the end of `out`.
    pub(super) fn close(&self, out: &mut [u8]) -> Result<(), EncodeError> {
        let length = u16::try_from(out.len().saturating_sub(self.from)).map_err(|_| {
            EncodeError::TooLong {
                payload: self.payload,
            }
        })?;
        patch(out, self.at, &length.to_be_bytes());
        Ok(())
    }
}

/// A chain of payloads under way.
#[derive(Debug)]
struct Chain {
    /// Where the Next Payload field stands that announces what comes next.
    next_at: usize,
    payloads: usize,
    closed: bool,
}

impl Chain {
    const fn new(next_at: usize) -> Self {
        Self {
            next_at,
            payloads: 0,
            closed: false,
        }
    }

    fn payload(&mut self, out: &mut Vec<u8>, payload: &Payload<'_>) -> Result<(), EncodeError> {
        let kind = payload.kind();
        let start = out.len();
        let written = self.begin(out, kind, payload.flags()).and_then(|next_at| {
            let length = LengthField::open(out, next_at, kind);
            payload.encode_body(out)?;
            length.close(out)
        });
        if let Err(error) = written {
            out.truncate(start);
            patch(out, self.next_at, &[PayloadType::NONE.0]);
            return Err(error);
        }
        if let Some(first) = payload.sealed_next() {
            patch(out, start, &[first.0]);
            self.closed = true;
        }
        self.next_at = start;
        self.payloads = self.payloads.saturating_add(1);
        Ok(())
    }

    /// Writes a generic header up to its length, and announces it. Gives where
    /// it begins, which is where its own Next Payload field is.
    fn begin(&self, out: &mut Vec<u8>, kind: PayloadType, flags: u8) -> Result<usize, EncodeError> {
        if self.closed {
            return Err(EncodeError::AfterEncrypted);
        }
        if self.payloads == MAX_PAYLOADS {
            return Err(EncodeError::TooMany {
                payload: PayloadType::NONE,
            });
        }
        // A payload of type 0 would end the chain.
        if kind == PayloadType::NONE {
            return Err(EncodeError::Field { payload: kind });
        }
        let start = out.len();
        out.extend_from_slice(&[PayloadType::NONE.0, flags]);
        patch(out, self.next_at, &[kind.0]);
        Ok(start)
    }
}

const TOO_LONG: EncodeError = EncodeError::TooLong {
    payload: PayloadType::NONE,
};

/// Appends padding, pad length and room for the checksum, then closes payload
/// and message. The padding is all zeros, as short as the block allows.
fn pad_and_close(
    out: &mut Vec<u8>,
    start: usize,
    length: &LengthField,
    aad_end: usize,
    sizes: SealedSizes,
) -> Result<usize, EncodeError> {
    let block = sizes.block.max(1);
    let text_start = aad_end.saturating_add(sizes.iv);
    let with_pad_length = out.len().saturating_sub(text_start).saturating_add(1);
    let pad = with_pad_length
        .next_multiple_of(block)
        .saturating_sub(with_pad_length);
    let pad_length = u8::try_from(pad).map_err(|_| TOO_LONG)?;
    out.resize(out.len().saturating_add(pad), 0);
    out.push(pad_length);
    out.resize(out.len().saturating_add(sizes.icv), 0);
    length.close(out)?;
    close_message(out, start)
}

fn close_message(out: &mut [u8], start: usize) -> Result<usize, EncodeError> {
    let octets = out.len().saturating_sub(start);
    if octets > MAX_DATAGRAM {
        return Err(TOO_LONG);
    }
    let length = u32::try_from(octets).map_err(|_| TOO_LONG)?;
    patch(out, start.saturating_add(LENGTH_AT), &length.to_be_bytes());
    Ok(octets)
}

/// Overwrites octets that are there already.
fn patch(out: &mut [u8], at: usize, octets: &[u8]) {
    let end = at.saturating_add(octets.len());
    if let Some(field) = out.get_mut(at..end) {
        field.copy_from_slice(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{ExchangeType, NotifyType};
    use super::super::{Flags, Message, NotifyPayload, SkPayload, open_chain};
    use super::*;

    fn header() -> Header {
        let flags = Flags {
            initiator: true,
            response: false,
        };
        Header::new(7, 8, ExchangeType::INFORMATIONAL, flags, 9)
    }

    fn contact() -> Payload<'static> {
        Payload::Notify(NotifyPayload::new(NotifyType::INITIAL_CONTACT, &[]))
    }

    /// Not a cipher: flips the text and marks IV and checksum.
    fn flip(mut parts: Sealing<'_>) -> Result<(), &'static str> {
        parts.iv.fill(0xee);
        let (text, icv) = parts.text_and_icv_mut();
        text.iter_mut().for_each(|octet| *octet ^= 0xff);
        icv.fill(0xdd);
        Ok(())
    }

    #[test]
    fn an_encrypted_message_is_sealed_in_place() {
        for block in [1, 4, 16] {
            let sizes = SealedSizes {
                iv: 8,
                block,
                icv: 16,
            };
            // The message need not begin where the buffer does.
            let mut buffer = vec![0; 4];
            let mut writer = MessageWriter::new(&mut buffer, &header())
                .begin_encrypted(sizes)
                .unwrap();
            writer.payload(&contact()).unwrap();
            writer.payload(&Payload::VendorId(b"v")).unwrap();
            let mut seen = Vec::new();
            let octets = writer
                .seal(|parts| {
                    seen = parts.aad.to_vec();
                    assert_eq!(parts.text_and_icv.len() % block, parts.icv_len % block);
                    flip(parts)
                })
                .unwrap();
            assert_eq!(buffer[..4], [0; 4]);
            let mut datagram = buffer.split_off(4);
            assert_eq!(datagram.len(), octets);

            let message = Message::decode(&datagram).unwrap();
            let sk = *message.payloads.encrypted().unwrap();
            assert_eq!(sk.first, PayloadType::NOTIFY);
            let parts = sk.layout(sizes).unwrap();
            assert_eq!(datagram[parts.aad.clone()], seen, "the lengths are final");
            assert_eq!(seen.len(), 32);
            assert_eq!(datagram[parts.iv.clone()], [0xee; 8]);
            assert_eq!(datagram[parts.icv.clone()], [0xdd; 16]);
            let first = sk.first;
            let text = &mut datagram[parts.ciphertext];
            text.iter_mut().for_each(|octet| *octet ^= 0xff);
            let payloads = open_chain(first, text).unwrap();
            assert_eq!(*payloads, [contact(), Payload::VendorId(b"v")]);
        }
    }

    #[test]
    fn an_empty_encrypted_message() {
        let mut datagram = Vec::new();
        MessageWriter::new(&mut datagram, &header())
            .begin_encrypted(SealedSizes::AEAD_16)
            .unwrap()
            .seal(flip)
            .unwrap();
        let message = Message::decode(&datagram).unwrap();
        let sk = message.payloads.encrypted().unwrap();
        assert_eq!(sk.first, PayloadType::NONE);
        assert_eq!(sk.body.len(), 8 + 1 + 16);
    }

    #[test]
    fn when_the_cipher_fails_nothing_is_left() {
        let mut buffer = vec![1, 2];
        let mut writer = MessageWriter::new(&mut buffer, &header())
            .begin_encrypted(SealedSizes::AEAD_16)
            .unwrap();
        writer.payload(&contact()).unwrap();
        assert_eq!(
            writer.seal(|_| Err("no key")),
            Err(SealError::Seal("no key"))
        );
        assert_eq!(buffer, [1, 2]);
    }

    #[test]
    fn a_refused_payload_leaves_no_trace() {
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header());
        assert!(writer.payload(&Payload::Nonce(&[1; 3])).is_err());
        writer.payload(&contact()).unwrap();
        assert!(writer.payload(&Payload::Nonce(&[1; 3])).is_err());
        let oversized = vec![0; 65_532];
        assert_eq!(
            writer.payload(&Payload::VendorId(&oversized)),
            Err(EncodeError::TooLong {
                payload: PayloadType::VENDOR_ID
            })
        );
        writer.finish().unwrap();
        let message = Message::decode(&datagram).unwrap();
        assert_eq!(*message.payloads, [contact()]);
    }

    #[test]
    fn a_message_fits_a_datagram() {
        let half = vec![0; 40_000];
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header());
        writer.payload(&Payload::VendorId(&half)).unwrap();
        writer.payload(&Payload::VendorId(&half)).unwrap();
        assert_eq!(writer.finish(), Err(TOO_LONG));

        let message = Message {
            header: header(),
            payloads: vec![Payload::VendorId(&half), Payload::VendorId(&half)].into(),
        };
        let mut out = vec![9];
        assert_eq!(message.encode(&mut out), Err(TOO_LONG));
        assert_eq!(out, [9]);
    }

    #[test]
    fn nothing_follows_an_encrypted_payload() {
        let sk = Payload::Encrypted(SkPayload {
            first: PayloadType::NONE,
            body: &[0; 25],
            offset: 32,
        });
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header());
        writer.payload(&sk).unwrap();
        assert_eq!(writer.payload(&contact()), Err(EncodeError::AfterEncrypted));
        assert_eq!(
            writer.begin_encrypted(SealedSizes::AEAD_16).unwrap_err(),
            EncodeError::AfterEncrypted
        );

        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header())
            .begin_encrypted(SealedSizes::AEAD_16)
            .unwrap();
        assert_eq!(writer.payload(&sk), Err(EncodeError::AfterEncrypted));
        writer.seal(flip).unwrap();
    }

    #[test]
    fn payloads_are_bounded() {
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header());
        for _ in 0..MAX_PAYLOADS {
            writer.payload(&contact()).unwrap();
        }
        assert_eq!(
            writer.payload(&contact()),
            Err(EncodeError::TooMany {
                payload: PayloadType::NONE
            })
        );
    }
}
