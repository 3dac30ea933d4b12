use crate::crypto::{CryptoError, Opener, Sealer, SupportedCipher};
use crate::error::Error;
use crate::event::Role;
use crate::keymat::IkeKeys;
use crate::wire::{
    EncodeError, Form, Header, Message, MessageWriter, Payload, PayloadType, Payloads, SealError,
    SealedLayout, SealedSizes, open_chain, rules,
};

/// Both directions of an IKE SA's Encrypted payloads (RFC 7296 §3.14).
#[derive(Debug)]
pub(crate) struct Protection {
    sealer: Box<dyn Sealer>,
    opener: Box<dyn Opener>,
}

/// A message that was authentic and obeys the rules.
pub(super) struct Opened<'a> {
    pub(super) form: Form,
    pub(super) payloads: Payloads<'a>,
}

/// Why a message could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Anybody could have sent it: count it and forget it.
    Unauthentic,
    /// The peer sent it, and it is wrong.
    Wrong(Error),
}

impl Protection {
    /// SK_ei protects what the original initiator sends, SK_er what the responder sends.
    pub(super) fn new(
        role: Role,
        cipher: &dyn SupportedCipher,
        keys: &IkeKeys,
    ) -> Result<Self, CryptoError> {
        let (own, peer) = match role {
            Role::Initiator => (&keys.sk_ei, &keys.sk_er),
            Role::Responder => (&keys.sk_er, &keys.sk_ei),
        };
        Ok(Self {
            sealer: cipher.sealer(own)?,
            opener: cipher.opener(peer)?,
        })
    }

    /// Writes a message with these payloads inside its Encrypted payload.
    pub(super) fn seal(
        &mut self,
        header: &Header,
        payloads: &[Payload<'_>],
    ) -> Result<Vec<u8>, Error> {
        let layout = self.sealer.layout();
        let sizes = SealedSizes {
            iv: layout.iv_len,
            block: layout.block_len,
            icv: layout.icv_len,
        };
        let mut out = Vec::with_capacity(128);
        let unwritable = |_: EncodeError| Error::Unwritable;
        let mut writer = MessageWriter::new(&mut out, header)
            .begin_encrypted(sizes)
            .map_err(unwritable)?;
        for payload in payloads {
            writer.payload(payload).map_err(unwritable)?;
        }
        let sealer = &mut self.sealer;
        writer
            .seal(|parts| {
                let at = parts.text_and_icv.len().saturating_sub(parts.icv_len);
                let (text, icv) = parts.text_and_icv.split_at_mut(at);
                sealer.seal(parts.aad, parts.iv, text, icv)
            })
            .map_err(|error| match error {
                SealError::Encode(_) => Error::Unwritable,
                SealError::Seal(error) => Error::Crypto(error),
            })?;
        Ok(out)
    }

    /// Decrypts a message in place and reads it.
    pub(super) fn open<'a>(
        &self,
        header: &Header,
        octets: &'a mut [u8],
    ) -> Result<Opened<'a>, OpenError> {
        let (first, layout) = self.layout(octets).ok_or(OpenError::Unauthentic)?;
        self.decrypt(octets, &layout)
            .ok_or(OpenError::Unauthentic)?;
        // From here on the peer is to blame.
        let octets: &'a [u8] = octets;
        let wrong = |error: Error| OpenError::Wrong(error);
        let outer = Message::decode(octets).map_err(|e| wrong(e.into()))?;
        let plaintext = octets.get(layout.ciphertext).unwrap_or_default();
        let payloads = open_chain(first, plaintext).map_err(|e| wrong(e.into()))?;
        let form = rules::check(
            header.exchange,
            header.flags.response,
            &payloads,
            &outer.payloads,
        )
        .map_err(|e| wrong(e.into()))?;
        Ok(Opened { form, payloads })
    }

    fn layout(&self, octets: &[u8]) -> Option<(PayloadType, SealedLayout)> {
        let message = Message::decode(octets).ok()?;
        let sealed = message.payloads.encrypted()?;
        let layout = self.opener.layout();
        let sizes = SealedSizes {
            iv: layout.iv_len,
            block: layout.block_len,
            icv: layout.icv_len,
        };
        Some((sealed.first, sealed.layout(sizes).ok()?))
    }

    fn decrypt(&self, octets: &mut [u8], layout: &SealedLayout) -> Option<()> {
        let (aad, rest) = octets.split_at_mut_checked(layout.aad.len())?;
        let (iv, rest) = rest.split_at_mut_checked(layout.iv.len())?;
        let (text, icv) = rest.split_at_mut_checked(layout.ciphertext.len())?;
        self.opener.open(aad, iv, text, icv).ok()
    }
}
