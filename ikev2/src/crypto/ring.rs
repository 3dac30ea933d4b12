//! The entries that the `ring` crate has. It does not zeroise its own copies of keys.

use std::{borrow::Cow, fmt};

use ring::{aead, agreement, hmac, rand, signature};

use super::{
    ActiveKeyExchange, CipherLayout, CryptoError, CryptoProvider, Opener, PrfKey, RandomFailed,
    Sealer, SecretBytes, SecureRandom, SharedSecret, SignatureScheme, SupportedCipher,
    SupportedGroup, SupportedPrf, SupportedSignature,
};
use crate::wire::codes::{EncrId, GroupId, PrfId};

/// The provider made of `ring` alone: AES-GCM-16 (256 and 128 bit), ChaCha20-Poly1305; HMAC-SHA2-256 and -384; groups 31 and 19; ECDSA, Ed25519 and RSA.
pub const RING: CryptoProvider = CryptoProvider {
    random: &RingRandom,
    ciphers: Cow::Borrowed(&[&AES_128_GCM_16, &AES_256_GCM_16, &CHACHA20_POLY1305]),
    prfs: Cow::Borrowed(&[&HMAC_SHA2_256, &HMAC_SHA2_384]),
    groups: Cow::Borrowed(&[&X25519, &P256]),
    signatures: Cow::Borrowed(&[
        &RingSignature(SignatureScheme::EcdsaP256Sha256),
        &RingSignature(SignatureScheme::EcdsaP256Sha384),
        &RingSignature(SignatureScheme::EcdsaP384Sha256),
        &RingSignature(SignatureScheme::EcdsaP384Sha384),
        &RingSignature(SignatureScheme::EcdsaP256Sha256Raw),
        &RingSignature(SignatureScheme::EcdsaP384Sha384Raw),
        &RingSignature(SignatureScheme::Ed25519),
        &RingSignature(SignatureScheme::RsaPkcs1Sha256),
        &RingSignature(SignatureScheme::RsaPkcs1Sha384),
        &RingSignature(SignatureScheme::RsaPkcs1Sha512),
        &RingSignature(SignatureScheme::RsaPssSha256),
        &RingSignature(SignatureScheme::RsaPssSha384),
        &RingSignature(SignatureScheme::RsaPssSha512),
    ]),
};

/// A copy of [`RING`].
#[must_use]
pub fn ring_provider() -> CryptoProvider {
    RING.clone()
}

/// Salt that an AEAD key ends in: 4 octets (RFC 5282 §7.1, RFC 7634 §2).
const SALT_LEN: usize = 4;
/// Explicit IV: 8 octets (RFC 5282 §3, RFC 7634 §2).
const IV_LEN: usize = 8;
/// Full-length ICV: 16 octets.
const ICV_LEN: usize = 16;

static AES_128_GCM_16: RingAead = RingAead {
    id: EncrId::AES_GCM_16,
    key_bits: Some(128),
    key_len: 16,
    algorithm: &aead::AES_128_GCM,
};
static AES_256_GCM_16: RingAead = RingAead {
    id: EncrId::AES_GCM_16,
    key_bits: Some(256),
    key_len: 32,
    algorithm: &aead::AES_256_GCM,
};
static CHACHA20_POLY1305: RingAead = RingAead {
    id: EncrId::CHACHA20_POLY1305,
    key_bits: None,
    key_len: 32,
    algorithm: &aead::CHACHA20_POLY1305,
};

static HMAC_SHA2_256: RingHmac = RingHmac {
    id: PrfId::HMAC_SHA2_256,
    algorithm: hmac::HMAC_SHA256,
};
static HMAC_SHA2_384: RingHmac = RingHmac {
    id: PrfId::HMAC_SHA2_384,
    algorithm: hmac::HMAC_SHA384,
};

static X25519: RingGroup = RingGroup {
    id: GroupId::X25519,
    form: PublicForm::Bare(32),
    algorithm: &agreement::X25519,
};
static P256: RingGroup = RingGroup {
    id: GroupId::P256,
    form: PublicForm::Uncompressed(64),
    algorithm: &agreement::ECDH_P256,
};

#[derive(Debug)]
struct RingRandom;

impl SecureRandom for RingRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        rand::SecureRandom::fill(&rand::SystemRandom::new(), out).map_err(|_| RandomFailed)
    }
}

#[derive(Debug)]
struct RingAead {
    id: EncrId,
    key_bits: Option<u16>,
    key_len: usize,
    algorithm: &'static aead::Algorithm,
}

impl RingAead {
    fn direction(&self, keymat: &SecretBytes) -> Result<AeadDirection, CryptoError> {
        let wrong = || CryptoError::CipherKeyLength {
            cipher: self.id,
            expected: self.key_len + SALT_LEN,
            actual: keymat.len(),
        };
        let (key, salt) = keymat
            .as_bytes()
            .split_at_checked(self.key_len)
            .ok_or_else(wrong)?;
        let salt = salt.try_into().map_err(|_| wrong())?;
        let key = aead::UnboundKey::new(self.algorithm, key).map_err(|_| wrong())?;
        Ok(AeadDirection {
            id: self.id,
            layout: self.layout(),
            key: aead::LessSafeKey::new(key),
            salt,
        })
    }
}

impl SupportedCipher for RingAead {
    fn id(&self) -> EncrId {
        self.id
    }

    fn key_bits(&self) -> Option<u16> {
        self.key_bits
    }

    fn is_aead(&self) -> bool {
        true
    }

    fn layout(&self) -> CipherLayout {
        CipherLayout {
            key_len: self.key_len + SALT_LEN,
            iv_len: IV_LEN,
            block_len: 1,
            icv_len: ICV_LEN,
        }
    }

    fn sealer(&self, key: &SecretBytes) -> Result<Box<dyn Sealer>, CryptoError> {
        Ok(Box::new(AeadSealer {
            direction: self.direction(key)?,
            next_iv: Some(0),
        }))
    }

    fn opener(&self, key: &SecretBytes) -> Result<Box<dyn Opener>, CryptoError> {
        Ok(Box::new(self.direction(key)?))
    }
}

struct AeadDirection {
    id: EncrId,
    layout: CipherLayout,
    key: aead::LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl AeadDirection {
    /// Salt | explicit IV (RFC 5282 §4).
    fn nonce(&self, iv: [u8; IV_LEN]) -> aead::Nonce {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&iv);
        aead::Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for AeadDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AeadDirection")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Opener for AeadDirection {
    fn layout(&self) -> CipherLayout {
        self.layout
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        let iv: [u8; IV_LEN] = iv.try_into().map_err(|_| CryptoError::Layout(self.id))?;
        let tag = aead::Tag::try_from(icv).map_err(|_| CryptoError::Layout(self.id))?;
        self.key
            .open_in_place_separate_tag(self.nonce(iv), aead::Aad::from(aad), tag, text, 0..)
            .map(|_| ())
            .map_err(|_| CryptoError::Unauthentic)
    }
}

#[derive(Debug)]
struct AeadSealer {
    direction: AeadDirection,
    /// The IV is a counter: never random, so never repeated. `None` after the last one.
    next_iv: Option<u64>,
}

impl Sealer for AeadSealer {
    fn layout(&self) -> CipherLayout {
        self.direction.layout
    }

    fn seal(
        &mut self,
        aad: &[u8],
        iv: &mut [u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        let layout = CryptoError::Layout(self.direction.id);
        let iv: &mut [u8; IV_LEN] = iv.try_into().map_err(|_| layout)?;
        let icv: &mut [u8; ICV_LEN] = icv.try_into().map_err(|_| layout)?;
        let counter = self.next_iv.ok_or(CryptoError::IvExhausted)?;
        // Spent even if sealing fails below.
        self.next_iv = counter.checked_add(1);
        *iv = counter.to_be_bytes();
        let tag = self
            .direction
            .key
            .seal_in_place_separate_tag(self.direction.nonce(*iv), aead::Aad::from(aad), text)
            .map_err(|_| layout)?;
        icv.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

#[derive(Debug)]
struct RingHmac {
    id: PrfId,
    algorithm: hmac::Algorithm,
}

impl SupportedPrf for RingHmac {
    fn id(&self) -> PrfId {
        self.id
    }

    fn output_len(&self) -> usize {
        self.algorithm.digest_algorithm().output_len()
    }

    fn key(&self, key: &[u8]) -> Box<dyn PrfKey> {
        Box::new(RingHmacKey(hmac::Key::new(self.algorithm, key)))
    }
}

struct RingHmacKey(hmac::Key);

impl fmt::Debug for RingHmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingHmacKey")
    }
}

impl PrfKey for RingHmacKey {
    fn compute(&self, parts: &[&[u8]]) -> SecretBytes {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        SecretBytes::copy_of(context.sign().as_ref())
    }
}

/// How a public value stands in the KE payload, as against ring's encoding.
#[derive(Clone, Copy, Debug)]
enum PublicForm {
    /// The same octets (RFC 8031 §2).
    Bare(usize),
    /// `x | y` (RFC 5903 §7), where ring has `04 | x | y`.
    Uncompressed(usize),
}

/// SEC 1 §2.3.3: the octet in front of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

impl PublicForm {
    fn len(self) -> usize {
        match self {
            Self::Bare(len) | Self::Uncompressed(len) => len,
        }
    }
}

#[derive(Debug)]
struct RingGroup {
    id: GroupId,
    form: PublicForm,
    algorithm: &'static agreement::Algorithm,
}

impl SupportedGroup for RingGroup {
    fn id(&self) -> GroupId {
        self.id
    }

    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let failed = CryptoError::KeyExchangeFailed(self.id);
        let private =
            agreement::EphemeralPrivateKey::generate(self.algorithm, &rand::SystemRandom::new())
                .map_err(|_| failed)?;
        let public = private.compute_public_key().map_err(|_| failed)?;
        let public = match self.form {
            PublicForm::Bare(_) => public.as_ref(),
            PublicForm::Uncompressed(_) => public
                .as_ref()
                .strip_prefix(&[UNCOMPRESSED])
                .ok_or(failed)?,
        };
        Ok(Box::new(RingKeyExchange {
            id: self.id,
            form: self.form,
            public_value: public.to_vec(),
            algorithm: self.algorithm,
            private,
        }))
    }
}

struct RingKeyExchange {
    id: GroupId,
    form: PublicForm,
    public_value: Vec<u8>,
    algorithm: &'static agreement::Algorithm,
    private: agreement::EphemeralPrivateKey,
}

impl ActiveKeyExchange for RingKeyExchange {
    fn group(&self) -> GroupId {
        self.id
    }

    fn public_value(&self) -> &[u8] {
        &self.public_value
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        if peer.len() != self.form.len() {
            return Err(CryptoError::PublicValueLength {
                group: self.id,
                expected: self.form.len(),
                actual: peer.len(),
            });
        }
        let encoded = match self.form {
            PublicForm::Bare(_) => Cow::Borrowed(peer),
            PublicForm::Uncompressed(_) => Cow::Owned([&[UNCOMPRESSED], peer].concat()),
        };
        // ring refuses points off the curve and an all-zero X25519 secret (RFC 8031 §2.3 leaves the latter to us).
        agreement::agree_ephemeral(
            self.private,
            &agreement::UnparsedPublicKey::new(self.algorithm, encoded),
            SecretBytes::copy_of,
        )
        .map_err(|_| CryptoError::PublicValueInvalid(self.id))
    }
}

#[derive(Debug)]
struct RingSignature(SignatureScheme);

impl SupportedSignature for RingSignature {
    fn scheme(&self) -> SignatureScheme {
        self.0
    }

    fn verify(&self, key: &[u8], octets: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let algorithm: &'static dyn signature::VerificationAlgorithm = match self.0 {
            SignatureScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            SignatureScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
            SignatureScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
            SignatureScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            SignatureScheme::EcdsaP256Sha256Raw => &signature::ECDSA_P256_SHA256_FIXED,
            SignatureScheme::EcdsaP384Sha384Raw => &signature::ECDSA_P384_SHA384_FIXED,
            SignatureScheme::Ed25519 => &signature::ED25519,
            SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            SignatureScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        };
        signature::UnparsedPublicKey::new(algorithm, key)
            .verify(octets, signature)
            .map_err(|_| CryptoError::BadSignature)
    }
}
