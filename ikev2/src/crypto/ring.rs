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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::Vectors;

    #[test]
    fn aead_known_answers() {
        let vectors = Vectors::parse(include_str!("../../tests/vectors/aead.txt"));
        assert_eq!(vectors.len(), 4);
        for vector in &vectors {
            let (id, bits) = match vector.text("cipher") {
                "aes-gcm-16" => (EncrId::AES_GCM_16, vector.text("bits").parse().ok()),
                "chacha20-poly1305" => (EncrId::CHACHA20_POLY1305, None),
                other => panic!("{other}"),
            };
            let cipher = RING.cipher(id, bits).unwrap();
            let keymat = SecretBytes::concat(&[&vector.octets("key"), &vector.octets("salt")]);
            let (aad, iv, icv) = (
                vector.octets("aad"),
                vector.octets("iv"),
                vector.octets("icv"),
            );
            let opener = cipher.opener(&keymat).unwrap();
            let mut text = vector.octets("ciphertext");
            opener.open(&aad, &iv, &mut text, &icv).unwrap();
            assert_eq!(hex::encode(text), vector.text("plaintext"));
            // The seal side chooses its IV; put the counter there.
            let cipher = RING
                .ciphers
                .iter()
                .position(|entry| entry.id() == id && entry.key_bits() == bits)
                .unwrap();
            let entry = [&AES_128_GCM_16, &AES_256_GCM_16, &CHACHA20_POLY1305][cipher];
            let mut sealer = AeadSealer {
                direction: entry.direction(&keymat).unwrap(),
                next_iv: Some(u64::from_be_bytes(iv.try_into().unwrap())),
            };
            let mut text = vector.octets("plaintext");
            let (mut iv, mut icv) = ([0; 8], [0; 16]);
            sealer.seal(&aad, &mut iv, &mut text, &mut icv).unwrap();
            assert_eq!(hex::encode(iv), vector.text("iv"));
            assert_eq!(hex::encode(text), vector.text("ciphertext"));
            assert_eq!(hex::encode(icv), vector.text("icv"));
        }
    }

    #[test]
    fn any_altered_octet_is_unauthentic() {
        for cipher in RING.ciphers.iter() {
            let layout = cipher.layout();
            let key = SecretBytes::copy_of(&vec![7; layout.key_len]);
            let (aad, mut text) = (*b"header", *b"payload");
            let (mut iv, mut icv) = (vec![0; layout.iv_len], vec![0; layout.icv_len]);
            cipher
                .sealer(&key)
                .unwrap()
                .seal(&aad, &mut iv, &mut text, &mut icv)
                .unwrap();
            assert_ne!(&text, b"payload");
            let opener = cipher.opener(&key).unwrap();
            let open = |aad: &[u8], iv: &[u8], text: &[u8], icv: &[u8]| {
                opener.open(aad, iv, &mut text.to_vec(), icv)
            };
            assert_eq!(open(&aad, &iv, &text, &icv), Ok(()));
            let flipped = |octets: &[u8], at: usize| {
                let mut octets = octets.to_vec();
                octets[at] ^= 1;
                octets
            };
            for at in 0..aad.len() {
                assert_eq!(
                    open(&flipped(&aad, at), &iv, &text, &icv),
                    Err(CryptoError::Unauthentic)
                );
            }
            for at in 0..iv.len() {
                assert_eq!(
                    open(&aad, &flipped(&iv, at), &text, &icv),
                    Err(CryptoError::Unauthentic)
                );
            }
            for at in 0..text.len() {
                assert_eq!(
                    open(&aad, &iv, &flipped(&text, at), &icv),
                    Err(CryptoError::Unauthentic)
                );
            }
            for at in 0..icv.len() {
                assert_eq!(
                    open(&aad, &iv, &text, &flipped(&icv, at)),
                    Err(CryptoError::Unauthentic)
                );
            }
            // The salt is part of the key.
            let mut other = key.as_bytes().to_vec();
            *other.last_mut().unwrap() ^= 1;
            let other = cipher.opener(&SecretBytes::from(other)).unwrap();
            assert_eq!(
                other.open(&aad, &iv, &mut text.clone(), &icv),
                Err(CryptoError::Unauthentic)
            );
        }
    }

    #[test]
    fn ivs_count_up_and_end() {
        let key = SecretBytes::copy_of(&[7; 20]);
        let mut sealer = AES_128_GCM_16.sealer(&key).unwrap();
        for expected in 0..3_u64 {
            let (mut iv, mut icv) = ([0xFF; 8], [0; 16]);
            sealer.seal(&[], &mut iv, &mut [0], &mut icv).unwrap();
            assert_eq!(u64::from_be_bytes(iv), expected);
        }
        let mut sealer = AeadSealer {
            direction: AES_128_GCM_16.direction(&key).unwrap(),
            next_iv: Some(u64::MAX),
        };
        let (mut iv, mut icv) = ([0; 8], [0; 16]);
        assert_eq!(sealer.seal(&[], &mut iv, &mut [0], &mut icv), Ok(()));
        assert_eq!(
            sealer.seal(&[], &mut iv, &mut [0], &mut icv),
            Err(CryptoError::IvExhausted)
        );
    }

    #[test]
    fn lengths_are_checked() {
        // Octets of key material: RFC 5282 §7.1 (key and 4 of salt), RFC 7634 §2 (36 in all).
        let expected = [20, 36, 36];
        for (cipher, expected) in RING.ciphers.iter().zip(expected) {
            assert_eq!(
                cipher.layout(),
                CipherLayout {
                    key_len: expected,
                    iv_len: 8,
                    block_len: 1,
                    icv_len: 16
                }
            );
            for actual in [0, expected - 4, expected - 1, expected + 1] {
                let error = cipher
                    .opener(&SecretBytes::from(vec![0; actual]))
                    .unwrap_err();
                assert_eq!(
                    error,
                    CryptoError::CipherKeyLength {
                        cipher: cipher.id(),
                        expected,
                        actual
                    }
                );
                assert!(cipher.sealer(&SecretBytes::from(vec![0; actual])).is_err());
            }
            let key = SecretBytes::from(vec![0; expected]);
            let layout = CryptoError::Layout(cipher.id());
            let mut sealer = cipher.sealer(&key).unwrap();
            assert_eq!(
                sealer.seal(&[], &mut [0; 7], &mut [], &mut [0; 16]),
                Err(layout)
            );
            assert_eq!(
                sealer.seal(&[], &mut [0; 8], &mut [], &mut [0; 15]),
                Err(layout)
            );
            let opener = cipher.opener(&key).unwrap();
            assert_eq!(opener.open(&[], &[0; 9], &mut [], &[0; 16]), Err(layout));
            assert_eq!(opener.open(&[], &[0; 8], &mut [], &[0; 12]), Err(layout));
        }
    }

    #[test]
    fn hmac_known_answers() {
        let vectors = Vectors::parse(include_str!("../../tests/vectors/hmac_sha2.txt"));
        assert_eq!(vectors.len(), 6);
        for vector in &vectors {
            for (prf, name) in RING.prfs.iter().zip(["sha256", "sha384"]) {
                let data = vector.octets("data");
                let (left, right) = data.split_at(data.len() / 2);
                let output = prf.key(&vector.octets("key")).compute(&[left, &[], right]);
                assert_eq!(hex::encode(output.as_bytes()), vector.text(name));
                assert_eq!(output.len(), prf.output_len());
            }
        }
    }

    // RFC 7748 and RFC 5903 have known answers for the groups, but ring imports no private key, so only agreement can be tested.
    #[test]
    fn both_sides_of_a_key_exchange_agree() {
        let lengths = [(GroupId::X25519, 32, 32), (GroupId::P256, 64, 32)];
        for (group, (id, public_len, secret_len)) in RING.groups.iter().zip(lengths) {
            assert_eq!(group.id(), id);
            let initiator = group.start().unwrap();
            assert_eq!(
                (initiator.group(), initiator.public_value().len()),
                (id, public_len)
            );
            let response = group.respond(initiator.public_value()).unwrap();
            assert_eq!(response.public_value.len(), public_len);
            let secret = initiator.complete(&response.public_value).unwrap();
            assert_eq!(secret.len(), secret_len);
            assert!(secret.ct_eq(response.secret.as_bytes()));
            // Fresh keys each time.
            assert!(
                !group
                    .respond(&response.public_value)
                    .unwrap()
                    .secret
                    .ct_eq(secret.as_bytes())
            );
        }
    }

    #[test]
    fn hostile_public_values_are_refused() {
        for group in RING.groups.iter() {
            let expected = group.start().unwrap().public_value().len();
            for actual in [0, expected - 1, expected + 1, 4_096] {
                let error = group.respond(&vec![4; actual]).unwrap_err();
                assert_eq!(
                    error,
                    CryptoError::PublicValueLength {
                        group: group.id(),
                        expected,
                        actual
                    }
                );
            }
            // All zero: a point of low order on curve25519, off the curve P-256.
            assert_eq!(
                group.respond(&vec![0; expected]).unwrap_err(),
                CryptoError::PublicValueInvalid(group.id())
            );
        }
        // Another point of low order: RFC 7748 §6.1 wants the all-zero secret refused.
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(
            X25519.respond(&one).unwrap_err(),
            CryptoError::PublicValueInvalid(GroupId::X25519)
        );
        // On no curve: one bit of a good point flipped.
        let mut off = P256.start().unwrap().public_value().to_vec();
        off[63] ^= 1;
        assert_eq!(
            P256.respond(&off).unwrap_err(),
            CryptoError::PublicValueInvalid(GroupId::P256)
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let key = SecretBytes::copy_of(&[0xA5; 20]);
        let shown = [
            format!("{:?}", AES_128_GCM_16.sealer(&key).unwrap()),
            format!("{:?}", AES_128_GCM_16.opener(&key).unwrap()),
            format!("{:?}", HMAC_SHA2_256.key(&[0xA5; 20])),
        ];
        for text in shown {
            assert!(!text.contains("a5") && !text.contains("165"), "{text}");
        }
    }
}
