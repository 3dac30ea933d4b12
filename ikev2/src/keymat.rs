//! The key schedule: SKEYSEED, `prf+`, the keys of an IKE SA and the key material of its Child SAs ([RFC 7296 §2.13] to §2.18).
//!
//! [RFC 7296 §2.13]: https://www.rfc-editor.org/rfc/rfc7296#section-2.13

use crate::crypto::{CryptoError, PrfKey, SecretBytes, SharedSecret, SupportedPrf};

/// How much key material one direction of an SA takes, in octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyLengths {
    /// Encryption key, with the salt where the cipher has one: [`CipherLayout::key_len`](crate::crypto::CipherLayout::key_len).
    pub encryption: usize,
    /// Integrity key; 0 for an AEAD cipher, which has none ([RFC 5282 §7]).
    ///
    /// [RFC 5282 §7]: https://www.rfc-editor.org/rfc/rfc5282#section-7
    pub integrity: usize,
}

impl KeyLengths {
    /// Lengths for an AEAD cipher.
    #[must_use]
    pub fn aead(encryption: usize) -> Self {
        Self {
            encryption,
            integrity: 0,
        }
    }
}

/// What the two peers put into the keys of an IKE SA ([RFC 7296 §2.14]).
///
/// [RFC 7296 §2.14]: https://www.rfc-editor.org/rfc/rfc7296#section-2.14
#[derive(Clone, Copy, Debug)]
pub struct SkeyseedInputs<'a> {
    /// Ni, without the payload header.
    pub nonce_i: &'a [u8],
    /// Nr, without the payload header.
    pub nonce_r: &'a [u8],
    /// `g^ir`, in the group's full length.
    pub shared_secret: &'a SharedSecret,
    /// The initiator's SPI (of the new SA, when rekeying).
    pub spi_i: u64,
    /// The responder's SPI (of the new SA, when rekeying).
    pub spi_r: u64,
}

/// The keys of an IKE SA.
#[derive(Clone, Debug)]
pub struct IkeKeys {
    /// Derives the Child SAs' keys and the next IKE SA's SKEYSEED.
    pub sk_d: SecretBytes,
    /// Integrity key, initiator to responder; `None` with an AEAD cipher.
    pub sk_ai: Option<SecretBytes>,
    /// Integrity key, responder to initiator; `None` with an AEAD cipher.
    pub sk_ar: Option<SecretBytes>,
    /// Encryption key (and salt), initiator to responder.
    pub sk_ei: SecretBytes,
    /// Encryption key (and salt), responder to initiator.
    pub sk_er: SecretBytes,
    /// For the initiator's AUTH payload.
    pub sk_pi: SecretBytes,
    /// For the responder's AUTH payload.
    pub sk_pr: SecretBytes,
}

impl IkeKeys {
    /// The keys of a new IKE SA: SKEYSEED = prf(Ni | Nr, g^ir) ([RFC 7296 §2.14]).
    ///
    /// # Errors
    /// [`CryptoError::KeyMaterialTooLong`], which no registered algorithm reaches.
    ///
    /// [RFC 7296 §2.14]: https://www.rfc-editor.org/rfc/rfc7296#section-2.14
    pub fn derive(
        prf: &dyn SupportedPrf,
        lengths: KeyLengths,
        inputs: &SkeyseedInputs<'_>,
    ) -> Result<Self, CryptoError> {
        Self::expand(prf, lengths, &skeyseed(prf, inputs), inputs)
    }

    /// The keys of the IKE SA that replaces one: SKEYSEED = prf(SK_d old, g^ir | Ni | Nr), by the *old* SA's PRF; everything after it by the new one
    /// ([RFC 7296 §2.18]).
    ///
    /// # Errors
    /// As [`IkeKeys::derive`].
    ///
    /// [RFC 7296 §2.18]: https://www.rfc-editor.org/rfc/rfc7296#section-2.18
    pub fn rekey(
        old_prf: &dyn SupportedPrf,
        old_sk_d: &SecretBytes,
        prf: &dyn SupportedPrf,
        lengths: KeyLengths,
        inputs: &SkeyseedInputs<'_>,
    ) -> Result<Self, CryptoError> {
        Self::expand(
            prf,
            lengths,
            &skeyseed_rekey(old_prf, old_sk_d, inputs),
            inputs,
        )
    }

    /// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr).
    fn expand(
        prf: &dyn SupportedPrf,
        lengths: KeyLengths,
        skeyseed: &SecretBytes,
        inputs: &SkeyseedInputs<'_>,
    ) -> Result<Self, CryptoError> {
        let own = prf.output_len();
        let total = 3 * own + 2 * (lengths.integrity + lengths.encryption);
        let seed: [&[u8]; 4] = [
            inputs.nonce_i,
            inputs.nonce_r,
            &inputs.spi_i.to_be_bytes(),
            &inputs.spi_r.to_be_bytes(),
        ];
        let stream = prf_plus(&*prf.key(skeyseed.as_bytes()), &seed, total)?;
        let mut cutter = Cutter(stream.as_bytes());
        Ok(Self {
            sk_d: cutter.take(own)?,
            sk_ai: cutter.take_optional(lengths.integrity)?,
            sk_ar: cutter.take_optional(lengths.integrity)?,
            sk_ei: cutter.take(lengths.encryption)?,
            sk_er: cutter.take(lengths.encryption)?,
            sk_pi: cutter.take(own)?,
            sk_pr: cutter.take(own)?,
        })
    }
}

/// What the two peers put into the keys of a Child SA ([RFC 7296 §2.17]).
///
/// [RFC 7296 §2.17]: https://www.rfc-editor.org/rfc/rfc7296#section-2.17
#[derive(Clone, Copy, Debug)]
pub struct ChildInputs<'a> {
    /// Ni of the exchange that makes the Child SA: IKE_SA_INIT's for the first one, else CREATE_CHILD_SA's.
    pub nonce_i: &'a [u8],
    /// Nr of the same exchange.
    pub nonce_r: &'a [u8],
    /// `g^ir (new)`, when CREATE_CHILD_SA carried KE payloads.
    pub shared_secret: Option<&'a SharedSecret>,
}

/// The key material of a Child SA. "Initiator" is the one of the exchange that made it, not of the IKE SA.
#[derive(Clone, Debug)]
pub struct ChildKeys {
    /// Initiator to responder: encryption key (and salt), then integrity key.
    pub initiator_to_responder: SecretBytes,
    /// Responder to initiator: the same.
    pub responder_to_initiator: SecretBytes,
}

impl ChildKeys {
    /// KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr), initiator to responder first ([RFC 7296 §2.17]).
    ///
    /// # Errors
    /// [`CryptoError::KeyMaterialTooLong`], which no registered algorithm reaches.
    ///
    /// [RFC 7296 §2.17]: https://www.rfc-editor.org/rfc/rfc7296#section-2.17
    pub fn derive(
        prf: &dyn SupportedPrf,
        sk_d: &SecretBytes,
        lengths: KeyLengths,
        inputs: &ChildInputs<'_>,
    ) -> Result<Self, CryptoError> {
        let direction = lengths.encryption + lengths.integrity;
        let shared = inputs.shared_secret.map_or(&[][..], SecretBytes::as_bytes);
        let stream = prf_plus(
            &*prf.key(sk_d.as_bytes()),
            &[shared, inputs.nonce_i, inputs.nonce_r],
            2 * direction,
        )?;
        let mut cutter = Cutter(stream.as_bytes());
        Ok(Self {
            initiator_to_responder: cutter.take(direction)?,
            responder_to_initiator: cutter.take(direction)?,
        })
    }
}

/// `prf+(K, S)` = T1 | T2 | .. with T1 = prf(K, S | 0x01), Tn = prf(K, Tn-1 | S | n), cut to `len` octets ([RFC 7296 §2.13]).
/// `seed` is S in parts.
///
/// # Errors
/// [`CryptoError::KeyMaterialTooLong`] beyond 255 blocks, where the counter octet ends.
///
/// [RFC 7296 §2.13]: https://www.rfc-editor.org/rfc/rfc7296#section-2.13
pub fn prf_plus(key: &dyn PrfKey, seed: &[&[u8]], len: usize) -> Result<SecretBytes, CryptoError> {
    // Reserved in full: a growing vector would leave unzeroised remains on the heap.
    let mut out = SecretBuffer::with_capacity(len);
    let mut block = SecretBytes::copy_of(&[]);
    for counter in 1..=u8::MAX {
        if out.0.len() == len {
            break;
        }
        let counter = [counter];
        let mut parts = Vec::with_capacity(seed.len() + 2);
        parts.push(block.as_bytes());
        parts.extend_from_slice(seed);
        parts.push(&counter);
        block = key.compute(&parts);
        out.push_up_to(block.as_bytes(), len);
    }
    if out.0.len() < len {
        return Err(CryptoError::KeyMaterialTooLong {
            asked: len,
            limit: out.0.len(),
        });
    }
    Ok(SecretBytes::copy_of(&out.0))
}

/// prf(Ni | Nr, g^ir).
fn skeyseed(prf: &dyn SupportedPrf, inputs: &SkeyseedInputs<'_>) -> SecretBytes {
    let key = [inputs.nonce_i, inputs.nonce_r].concat();
    prf.key(&key).compute(&[inputs.shared_secret.as_bytes()])
}

/// prf(SK_d old, g^ir | Ni | Nr).
fn skeyseed_rekey(
    old_prf: &dyn SupportedPrf,
    old_sk_d: &SecretBytes,
    inputs: &SkeyseedInputs<'_>,
) -> SecretBytes {
    old_prf.key(old_sk_d.as_bytes()).compute(&[
        inputs.shared_secret.as_bytes(),
        inputs.nonce_i,
        inputs.nonce_r,
    ])
}

struct SecretBuffer(zeroize::Zeroizing<Vec<u8>>);

impl SecretBuffer {
    fn with_capacity(len: usize) -> Self {
        Self(zeroize::Zeroizing::new(Vec::with_capacity(len)))
    }

    fn push_up_to(&mut self, octets: &[u8], len: usize) {
        let room = len - self.0.len();
        self.0.extend_from_slice(&octets[..room.min(octets.len())]);
    }
}

/// Hands out consecutive pieces of a key stream.
struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn take(&mut self, len: usize) -> Result<SecretBytes, CryptoError> {
        let (piece, rest) =
            self.0
                .split_at_checked(len)
                .ok_or(CryptoError::KeyMaterialTooLong {
                    asked: len,
                    limit: self.0.len(),
                })?;
        self.0 = rest;
        Ok(SecretBytes::copy_of(piece))
    }

    fn take_optional(&mut self, len: usize) -> Result<Option<SecretBytes>, CryptoError> {
        if len == 0 {
            Ok(None)
        } else {
            self.take(len).map(Some)
        }
    }
}
