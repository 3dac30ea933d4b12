//! The key schedule: SKEYSEED, `prf+`, the keys of an IKE SA and the key material of its Child SAs ([RFC 7296 §2.13] to §2.18).
//!
//! [RFC 7296 §2.13]: https://www.rfc-editor.org/rfc/rfc7296#section-2.13

use std::mem;

use zeroize::Zeroizing;

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
    let mut out = Zeroizing::new(Vec::with_capacity(len));
    let mut block = SecretBytes::copy_of(&[]);
    for counter in 1..=u8::MAX {
        if out.len() == len {
            break;
        }
        let counter = [counter];
        let mut parts = Vec::with_capacity(seed.len() + 2);
        parts.push(block.as_bytes());
        parts.extend_from_slice(seed);
        parts.push(&counter);
        block = key.compute(&parts);
        let wanted = len - out.len();
        out.extend(block.as_bytes().iter().take(wanted));
    }
    if out.len() < len {
        return Err(CryptoError::KeyMaterialTooLong {
            asked: len,
            limit: out.len(),
        });
    }
    Ok(SecretBytes::from(mem::take(&mut *out)))
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

#[cfg(test)]
mod tests {
    use std::fmt;

    use ring::hmac;

    use super::*;
    use crate::{
        auth::{Identification, auth_octets},
        crypto::{RING, vectors::Vectors},
        wire::codes::PrfId,
    };

    /// PRF_HMAC_SHA1, for the published vector only: the provider does not have it.
    #[derive(Debug)]
    struct HmacSha1;

    struct HmacSha1Key(hmac::Key);

    impl fmt::Debug for HmacSha1Key {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("HmacSha1Key")
        }
    }

    impl SupportedPrf for HmacSha1 {
        fn id(&self) -> PrfId {
            PrfId::HMAC_SHA1
        }

        fn output_len(&self) -> usize {
            20
        }

        fn key(&self, key: &[u8]) -> Box<dyn PrfKey> {
            Box::new(HmacSha1Key(hmac::Key::new(
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                key,
            )))
        }
    }

    impl PrfKey for HmacSha1Key {
        fn compute(&self, parts: &[&[u8]]) -> SecretBytes {
            SecretBytes::copy_of(hmac::sign(&self.0, &parts.concat()).as_ref())
        }
    }

    fn key_schedule() -> Vectors {
        Vectors::parse(include_str!("../tests/vectors/key_schedule.txt"))
    }

    fn spi(octets: &[u8]) -> u64 {
        u64::from_be_bytes(octets.try_into().unwrap())
    }

    fn hex_of(secret: &SecretBytes) -> String {
        hex::encode(secret.as_bytes())
    }

    #[test]
    fn key_schedule_agrees_with_the_vectors() {
        let vectors = key_schedule();
        assert_eq!(vectors.len(), 3);
        for vector in &vectors {
            // What the length of the key stream tells of the cipher: AES-128 with HMAC-SHA1; ChaCha20-Poly1305; AES-128-GCM.
            let (prf, lengths): (&dyn SupportedPrf, _) = match vector.text("prf") {
                "sha1" => (
                    &HmacSha1,
                    KeyLengths {
                        encryption: 16,
                        integrity: 20,
                    },
                ),
                "sha256" => (
                    RING.prf(PrfId::HMAC_SHA2_256).unwrap(),
                    KeyLengths::aead(36),
                ),
                "sha384" => (
                    RING.prf(PrfId::HMAC_SHA2_384).unwrap(),
                    KeyLengths::aead(20),
                ),
                other => panic!("{other}"),
            };
            let (nonce_i, nonce_r) = (vector.octets("nonce_i"), vector.octets("nonce_r"));
            let shared = SecretBytes::from(vector.octets("shared"));
            let shared_new = SecretBytes::from(vector.octets("shared_new"));
            let inputs = SkeyseedInputs {
                nonce_i: &nonce_i,
                nonce_r: &nonce_r,
                shared_secret: &shared,
                spi_i: spi(&vector.octets("spi_i")),
                spi_r: spi(&vector.octets("spi_r")),
            };
            assert_eq!(hex_of(&skeyseed(prf, &inputs)), vector.text("skeyseed"));

            let keys = IkeKeys::derive(prf, lengths, &inputs).unwrap();
            let in_order = [
                Some(&keys.sk_d),
                keys.sk_ai.as_ref(),
                keys.sk_ar.as_ref(),
                Some(&keys.sk_ei),
                Some(&keys.sk_er),
                Some(&keys.sk_pi),
                Some(&keys.sk_pr),
            ];
            let dkm: String = in_order.into_iter().flatten().map(hex_of).collect();
            assert_eq!(dkm, vector.text("dkm"));
            assert_eq!(keys.sk_ai.is_some(), lengths.integrity != 0);

            let inputs_new = SkeyseedInputs {
                shared_secret: &shared_new,
                ..inputs
            };
            assert_eq!(
                hex_of(&skeyseed_rekey(prf, &keys.sk_d, &inputs_new)),
                vector.text("skeyseed_rekey")
            );
            // Rekeying is that SKEYSEED, then the same expansion.
            let rekeyed = IkeKeys::rekey(prf, &keys.sk_d, prf, lengths, &inputs_new).unwrap();
            let expanded = IkeKeys::expand(
                prf,
                lengths,
                &SecretBytes::from(vector.octets("skeyseed_rekey")),
                &inputs_new,
            )
            .unwrap();
            assert_eq!(hex_of(&rekeyed.sk_pr), hex_of(&expanded.sk_pr));
            assert_ne!(hex_of(&rekeyed.sk_pr), hex_of(&keys.sk_pr));

            if vector.text("prf") == "sha1" {
                continue;
            }
            for (name, shared_secret) in [("child", None), ("child_pfs", Some(&shared_new))] {
                let child = ChildKeys::derive(
                    prf,
                    &keys.sk_d,
                    lengths,
                    &ChildInputs {
                        nonce_i: &nonce_i,
                        nonce_r: &nonce_r,
                        shared_secret,
                    },
                )
                .unwrap();
                assert_eq!(
                    hex_of(&child.initiator_to_responder) + &hex_of(&child.responder_to_initiator),
                    vector.text(name)
                );
                assert_eq!(child.initiator_to_responder.len(), lengths.encryption);
            }

            let octets = auth_octets(
                prf,
                &keys.sk_pi,
                &vector.octets("message"),
                &nonce_r,
                &Identification::fqdn("henb.example"),
            );
            assert_eq!(hex::encode(octets), vector.text("auth_octets_i"));
        }
    }

    #[test]
    fn prf_plus_ends_after_255_blocks() {
        let key = RING.prf(PrfId::HMAC_SHA2_256).unwrap().key(b"key");
        let all = prf_plus(&*key, &[b"seed"], 255 * 32).unwrap();
        assert_eq!(all.len(), 255 * 32);
        assert_eq!(
            prf_plus(&*key, &[b"seed"], 255 * 32 + 1).unwrap_err(),
            CryptoError::KeyMaterialTooLong {
                asked: 255 * 32 + 1,
                limit: 255 * 32
            }
        );
        assert!(prf_plus(&*key, &[b"seed"], 0).unwrap().is_empty());
        // RFC 7296 §2.13: T1 = prf(K, S | 0x01), T2 = prf(K, T1 | S | 0x02).
        let t1 = key.compute(&[b"seed\x01"]);
        let t2 = key.compute(&[t1.as_bytes(), b"seed\x02"]);
        assert!(
            prf_plus(&*key, &[b"se", b"ed"], 50)
                .unwrap()
                .ct_eq(&[t1.as_bytes(), &t2.as_bytes()[..18]].concat())
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let secret = SecretBytes::copy_of(&[0x5A; 32]);
        let inputs = SkeyseedInputs {
            nonce_i: &[1; 16],
            nonce_r: &[2; 16],
            shared_secret: &secret,
            spi_i: 3,
            spi_r: 4,
        };
        let keys = IkeKeys::derive(
            RING.prf(PrfId::HMAC_SHA2_256).unwrap(),
            KeyLengths::aead(20),
            &inputs,
        )
        .unwrap();
        let text = format!("{keys:?}");
        assert!(text.contains("sk_d: SecretBytes(32 octets)"), "{text}");
        assert!(!text.contains(&format!("{:?}", &keys.sk_d.as_bytes()[..4])[1..]));
    }
}
