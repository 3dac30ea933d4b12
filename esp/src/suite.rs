//! Algorithms and keys.

use std::fmt;
use std::hint::black_box;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag,
    UnboundKey,
};
use thiserror::Error;
use zeroize::Zeroize;

/// Octets of the integrity check value: all suites have the full tag (RFC 4106 §6, RFC 7634 §2).
pub(crate) const ICV_LEN: usize = 16;

/// Octets of salt at the end of the keying material (RFC 4106 §8.1, RFC 7634 §2).
const SALT_LEN: usize = 4;

/// The longest key of all suites, in octets.
const MAX_KEY_LEN: usize = 32;

/// A combined-mode algorithm for ESP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Suite {
    /// AES-GCM with a 16-octet ICV and a 128-bit key (RFC 4106; ENCR 20).
    Aes128Gcm16,
    /// AES-GCM with a 16-octet ICV and a 256-bit key (RFC 4106; ENCR 20).
    Aes256Gcm16,
    /// ChaCha20-Poly1305 (RFC 7634; ENCR 28).
    ChaCha20Poly1305,
}

impl Suite {
    /// Octets of the key alone.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm16 => 16,
            Self::Aes256Gcm16 | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Octets of keying material for one direction: the key and four octets of salt.
    pub const fn keymat_len(self) -> usize {
        self.key_len() + SALT_LEN
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm16 => &AES_128_GCM,
            Self::Aes256Gcm16 => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128Gcm16 => "AES_GCM_16_128",
            Self::Aes256Gcm16 => "AES_GCM_16_256",
            Self::ChaCha20Poly1305 => "CHACHA20_POLY1305",
        })
    }
}

/// The key and salt of one direction, ready for use; overwritten when dropped.
pub struct SaKeys {
    // Boxed so that moving an SA leaves no copy of the key behind.
    cipher: Box<Cipher>,
}

impl SaKeys {
    /// Takes the key followed by four octets of salt, as the key exchange derives them.
    ///
    /// The caller keeps, and must wipe, its own copy of `keymat`.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] if `keymat` is not [`Suite::keymat_len`] octets.
    pub fn new(suite: Suite, keymat: &[u8]) -> Result<Self, KeyLengthError> {
        let wrong_length = KeyLengthError {
            suite,
            expected: suite.keymat_len(),
            got: keymat.len(),
        };
        if keymat.len() != suite.keymat_len() {
            return Err(wrong_length);
        }
        let (key, salt) = keymat.split_last_chunk().ok_or(wrong_length)?;
        let key = ring_key(suite, key).ok_or(wrong_length)?;
        Ok(Self {
            cipher: Box::new(Cipher {
                suite,
                key,
                salt: *salt,
            }),
        })
    }

    /// The algorithm that these keys are for.
    pub fn suite(&self) -> Suite {
        self.cipher.suite
    }

    /// Encrypts in place and returns the ICV.
    ///
    /// The caller answers for never using one `iv` twice. `None` only if the text is longer than
    /// the algorithm takes.
    pub(crate) fn seal(
        &self,
        iv: [u8; 8],
        aad: &AssociatedData,
        text: &mut [u8],
    ) -> Option<[u8; ICV_LEN]> {
        let cipher = &*self.cipher;
        let tag = cipher
            .key
            .seal_in_place_separate_tag(cipher.nonce(iv), Aad::from(aad.octets()), text)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Verifies and decrypts in place. `None` if the ICV is not right.
    pub(crate) fn open<'a>(
        &self,
        iv: [u8; 8],
        aad: &AssociatedData,
        text: &'a mut [u8],
        icv: [u8; ICV_LEN],
    ) -> Option<&'a mut [u8]> {
        let cipher = &*self.cipher;
        cipher
            .key
            .open_in_place_separate_tag(
                cipher.nonce(iv),
                Aad::from(aad.octets()),
                Tag::from(icv),
                text,
                0..,
            )
            .ok()
    }
}

impl fmt::Debug for SaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaKeys")
            .field("suite", &self.cipher.suite)
            .finish_non_exhaustive()
    }
}

/// What the ICV covers besides the text: SPI and sequence number, the latter with its high half
/// where extended sequence numbers are in use (RFC 4106 §5, RFC 7634 §2.1).
pub(crate) struct AssociatedData {
    octets: [u8; 12],
    length: usize,
}

impl AssociatedData {
    pub(crate) fn new(spi: [u8; 4], sequence: u64, extended: bool) -> Self {
        let mut octets = [0; 12];
        let [a, b, c, d, e, f, g, h] = sequence.to_be_bytes();
        let [s0, s1, s2, s3] = spi;
        let length = if extended {
            octets = [s0, s1, s2, s3, a, b, c, d, e, f, g, h];
            12
        } else {
            octets[..8].copy_from_slice(&[s0, s1, s2, s3, e, f, g, h]);
            8
        };
        Self { octets, length }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// Keying material of the wrong size.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "keying material for {suite} is {got} octets, expected {expected} (key and four octets of salt)"
)]
pub struct KeyLengthError {
    /// The algorithm.
    pub suite: Suite,
    /// Octets that it needs.
    pub expected: usize,
    /// Octets that were given.
    pub got: usize,
}

struct Cipher {
    suite: Suite,
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Cipher {
    fn nonce(&self, iv: [u8; 8]) -> Nonce {
        let [s0, s1, s2, s3] = self.salt;
        let [a, b, c, d, e, f, g, h] = iv;
        Nonce::assume_unique_for_key([s0, s1, s2, s3, a, b, c, d, e, f, g, h])
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.salt.zeroize();
        // ring does not zeroise: store the schedule of an all-zero key over the secret one, and keep
        // the optimiser from seeing that nobody reads it.
        if let Some(zero) = ring_key(self.suite, &[0; MAX_KEY_LEN][..self.suite.key_len()]) {
            self.key = zero;
            black_box(&self.key);
        }
    }
}

fn ring_key(suite: Suite, key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(suite.algorithm(), key)
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(char::is_whitespace, "")).unwrap()
    }

    struct Vector {
        suite: Suite,
        keymat: &'static str,
        sequence: u64,
        extended: bool,
        text: &'static str,
        /// The whole ESP packet: SPI, low sequence number, IV, ciphertext, ICV.
        packet: &'static str,
    }

    /// draft-mcgrew-gcm-test-01 section 4 (its Next Header is 1 throughout, so these are checked
    /// below the trailer) and RFC 7634 appendix A.
    const VECTORS: &[Vector] = &[
        Vector {
            suite: Suite::Aes128Gcm16,
            keymat: "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
            sequence: 0x8765_4321_0000_0000,
            extended: true,
            text: "45000048699a000080114db7c0a80102 c0a801010a9bf15638d3010000010000
                   00000000045f736970045f7564700373 69700963796265726369747902646b00
                   0021000101020201",
            packet: "00004321 00000000 4956ed7e3b244cfe
                     fecf537e729d5b07dc30df528dd22b76 8d1b98736696a6fd348509fa13ceac34
                     cfa2436f14a3f3cf65925bf1f4a13c5d 15b21e1884f5ff6247aeabb786b93bce
                     61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4",
        },
        Vector {
            suite: Suite::Aes128Gcm16,
            keymat: "feffe9928665731c6d6a8f9467308308 cafebabe",
            sequence: 10,
            extended: false,
            text: "4500003e698f000080114dccc0a80102 c0a801010a980035002a2343b2d00100
                   00010000000000000373697009637962 65726369747902646b00000100010001",
            packet: "0000a5f8 0000000a facedbaddecaf888
                     deb22cd9b07c72c16e3a65beeb8df304 a5a5897d33ae530f1ba76d5d114d2a5c
                     3de81827c10e9a4f51330d0eec416642 cfbb85a5b47e48a4ec3b9ba95d918bd1
                     83b70d3aa8bc6ee4c309e9d85a41ad4a",
        },
        Vector {
            suite: Suite::Aes256Gcm16,
            keymat: "abbccddef00112233445566778899aab abbccddef00112233445566778899aab 11223344",
            sequence: 2,
            extended: false,
            text: "4500003069a6400080062690c0a80102 9389155e0a9e008b2dc57ee000000000
                   7002400020bf0000020405b401010402 01020201",
            packet: "4a2cbfe3 00000002 0102030405060708
                     ff425c9b724599df7a3bcd510194e00d 6a78107f1b0b1cbf06efae9d65a5d763
                     748a637985771d347f0545659f14e99d ef842d8eb335f4eecfdbf831824b4c49
                     15956c96",
        },
        Vector {
            suite: Suite::Aes256Gcm16,
            keymat: "6c6567616c697a656d6172696a75616e 61616e64646f69746265666f72656961 7475726e",
            sequence: 0xffff_ffff_ffff_ffff,
            extended: true,
            text: "45000030da3a00008001df3bc0a80005 c0a800010800c6cd0200070061626364
                   65666768696a6b6c6d6e6f7071727374 01020201",
            packet: "796b6963 ffffffff 333021696765746d
                     f97ab2aa356d8edce17644ac8c78e25d d24dedbb29ebf1b64a274b39b49c3a86
                     4cd3d78ca4ae68a32b42458fb57dbe82 1dcc63b9d0937ba2945f669368661a32
                     9fb4c053",
        },
        Vector {
            suite: Suite::Aes128Gcm16,
            keymat: "7d773d00c144c525ac619d18c84a3f47 d9664267",
            sequence: 0xffff_ffff,
            extended: false,
            text: "01020201",
            packet: "335467ae ffffffff 43457e9182443bc6
                     437f866bcb3f699fe9b0822bac961c4504bef270",
        },
        Vector {
            suite: Suite::ChaCha20Poly1305,
            keymat: "808182838485868788898a8b8c8d8e8f 909192939495969798999a9b9c9d9e9f a0a1a2a3",
            sequence: 5,
            extended: false,
            text: "45000054a6f200004001e778c6336405 c000020508005b7a3a080000553bec10
                   0007362708090a0b0c0d0e0f10111213 1415161718191a1b1c1d1e1f20212223
                   2425262728292a2b2c2d2e2f30313233 3435363701020204",
            packet: "01020304 00000005 1011121314151617
                     24039428b97f417e3c13753a4f05087b 67c352e6a7fab1b982d466ef407ae5c6
                     14ee8099d52844eb61aa95dfab4c02f7 2aa71e7c4c4f64c9befe2facc638e8f3
                     cbec163fac469b502773f6fb94e664da 9165b82829f641e0
                     76aaa8266b7fb0f7b11b369907e1ad43",
        },
    ];

    #[test]
    fn published_vectors_seal_and_open() {
        for vector in VECTORS {
            let keys = SaKeys::new(vector.suite, &hex(vector.keymat)).unwrap();
            let packet = hex(vector.packet);
            let spi: [u8; 4] = packet[..4].try_into().unwrap();
            let iv: [u8; 8] = packet[8..16].try_into().unwrap();
            let aad = AssociatedData::new(spi, vector.sequence, vector.extended);

            let mut text = hex(vector.text);
            let icv = keys.seal(iv, &aad, &mut text).unwrap();
            assert_eq!(text, packet[16..packet.len() - 16], "{}", vector.packet);
            assert_eq!(icv, packet[packet.len() - 16..], "{}", vector.packet);

            assert_eq!(
                keys.open(iv, &aad, &mut text, icv).unwrap(),
                hex(vector.text)
            );
        }
    }

    #[test]
    fn keying_material_of_another_length_is_refused() {
        for suite in [
            Suite::Aes128Gcm16,
            Suite::Aes256Gcm16,
            Suite::ChaCha20Poly1305,
        ] {
            for got in (0..80).filter(|length| *length != suite.keymat_len()) {
                let error = SaKeys::new(suite, &vec![1; got]).unwrap_err();
                assert_eq!(error.expected, suite.keymat_len());
                assert_eq!(error.got, got);
            }
            assert!(SaKeys::new(suite, &vec![1; suite.keymat_len()]).is_ok());
        }
    }

    #[test]
    fn keys_do_not_show_in_debug() {
        let keys = SaKeys::new(Suite::Aes128Gcm16, &[0xab; 20]).unwrap();
        assert_eq!(format!("{keys:?}"), "SaKeys { suite: Aes128Gcm16, .. }");
    }
}
