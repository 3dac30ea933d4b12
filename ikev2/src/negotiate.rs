//! Choosing algorithms: proposals as configured, offered, chosen and checked (RFC 7296 §2.7, §3.3).

use crate::child::EspSuite;
use crate::crypto::CryptoProvider;
use crate::wire::{
    EncrId, EsnId, GroupId, IntegId, PrfId, Proposal, ProtocolId, SaPayload, Transform,
    TransformType,
};

/// An encryption algorithm with its key length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cipher {
    /// The algorithm.
    pub id: EncrId,
    /// The Key Length attribute in bits; None for an algorithm that has none.
    pub key_bits: Option<u16>,
}

impl Cipher {
    /// AES-128-GCM with a 16-octet ICV.
    pub const AES_128_GCM: Self = Self {
        id: EncrId::AES_GCM_16,
        key_bits: Some(128),
    };
    /// AES-256-GCM with a 16-octet ICV.
    pub const AES_256_GCM: Self = Self {
        id: EncrId::AES_GCM_16,
        key_bits: Some(256),
    };
    /// ChaCha20-Poly1305 (RFC 7634).
    pub const CHACHA20_POLY1305: Self = Self {
        id: EncrId::CHACHA20_POLY1305,
        key_bits: None,
    };

    fn transform<'a>(self) -> Transform<'a> {
        Transform::encr(self.id, self.key_bits)
    }

    fn is(self, transform: &Transform<'_>) -> bool {
        transform.id == self.id.0
            && transform.key_length() == self.key_bits
            && !transform.has_unknown_attribute()
    }

    /// The length of the key in bits, named or implied.
    fn bits(self) -> u16 {
        self.key_bits.unwrap_or(256)
    }
}

/// Algorithms for an IKE SA: any of each list goes with any of the others. Lists are in order of
/// preference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IkeProposal {
    /// AEAD ciphers.
    pub ciphers: Vec<Cipher>,
    /// Pseudorandom functions.
    pub prfs: Vec<PrfId>,
    /// Key exchange methods. An initiator sends a key of the first.
    pub groups: Vec<GroupId>,
}

impl IkeProposal {
    /// Whether a list is empty, so that nothing could be negotiated.
    pub fn is_incomplete(&self) -> bool {
        self.ciphers.is_empty() || self.prfs.is_empty() || self.groups.is_empty()
    }
}

impl Default for IkeProposal {
    /// AES-GCM-16 with 128 and 256 bits, then ChaCha20-Poly1305; PRF HMAC-SHA2-256, then 384;
    /// X25519, then P-256: what RFC 8247 recommends, the fastest first.
    fn default() -> Self {
        Self {
            ciphers: vec![
                Cipher::AES_128_GCM,
                Cipher::AES_256_GCM,
                Cipher::CHACHA20_POLY1305,
            ],
            prfs: vec![PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384],
            groups: vec![GroupId::X25519, GroupId::P256],
        }
    }
}

/// Algorithms for a child SA (ESP). Lists are in order of preference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EspProposal {
    /// AEAD ciphers.
    pub ciphers: Vec<Cipher>,
    /// Sequence numbers of 64 bits, of 32 bits, or both.
    pub esn: Vec<EsnId>,
}

impl EspProposal {
    /// Whether a list is empty, so that nothing could be negotiated.
    pub fn is_empty(&self) -> bool {
        self.ciphers.is_empty() || self.esn.is_empty()
    }
}

impl Default for EspProposal {
    /// AES-GCM-16 with 128 and 256 bits, then ChaCha20-Poly1305; 64-bit sequence numbers where the
    /// peer has them, since 32 bits run out in minutes on a fast link.
    fn default() -> Self {
        Self {
            ciphers: vec![
                Cipher::AES_128_GCM,
                Cipher::AES_256_GCM,
                Cipher::CHACHA20_POLY1305,
            ],
            esn: vec![EsnId::ESN, EsnId::NO_ESN],
        }
    }
}

/// The negotiated algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IkeSuite {
    /// The cipher.
    pub cipher: Cipher,
    /// The pseudorandom function.
    pub prf: PrfId,
    /// The key exchange method.
    pub group: GroupId,
}

/// What is left of `proposals` with the algorithms of `provider`.
pub(crate) fn supported_ike(
    proposals: &[IkeProposal],
    provider: &CryptoProvider,
) -> Vec<IkeProposal> {
    proposals
        .iter()
        .map(|proposal| IkeProposal {
            ciphers: supported_ciphers(&proposal.ciphers, provider),
            prfs: keep(&proposal.prfs, |id| provider.prf(id).is_some()),
            groups: keep(&proposal.groups, |id| provider.group(id).is_some()),
        })
        .filter(|proposal| !proposal.is_incomplete())
        .collect()
}

/// What is left of `proposals` with the algorithms of `provider`.
pub(crate) fn supported_esp(
    proposals: &[EspProposal],
    provider: &CryptoProvider,
) -> Vec<EspProposal> {
    proposals
        .iter()
        .map(|proposal| EspProposal {
            ciphers: supported_ciphers(&proposal.ciphers, provider),
            esn: proposal.esn.clone(),
        })
        .filter(|proposal| !proposal.is_empty())
        .collect()
}

fn supported_ciphers(ciphers: &[Cipher], provider: &CryptoProvider) -> Vec<Cipher> {
    keep(ciphers, |cipher| {
        provider
            .cipher(cipher.id, cipher.key_bits)
            .is_some_and(|found| found.is_aead())
    })
}

fn keep<T: Copy>(list: &[T], wanted: impl Fn(T) -> bool) -> Vec<T> {
    list.iter().copied().filter(|item| wanted(*item)).collect()
}

/// The SA payload that offers these.
pub(crate) fn offer_ike<'a>(proposals: &[IkeProposal]) -> SaPayload<'a> {
    let proposals = (1..=u8::MAX)
        .zip(proposals)
        .map(|(number, proposal)| {
            let ciphers = proposal.ciphers.iter().map(|cipher| cipher.transform());
            let prfs = proposal.prfs.iter().map(|id| Transform::prf(*id));
            let groups = proposal.groups.iter().map(|id| Transform::group(*id));
            Proposal {
                number,
                protocol: ProtocolId::IKE,
                spi: &[],
                transforms: ciphers.chain(prfs).chain(groups).collect(),
            }
        })
        .collect();
    SaPayload { proposals }
}

/// The SA payload that offers these, with the SPI that we want on packets to us.
pub(crate) fn offer_esp<'a>(proposals: &[EspProposal], spi: &'a [u8; 4]) -> SaPayload<'a> {
    let proposals = (1..=u8::MAX)
        .zip(proposals)
        .map(|(number, proposal)| {
            let ciphers = proposal.ciphers.iter().map(|cipher| cipher.transform());
            let esn = proposal.esn.iter().map(|id| Transform::esn(*id));
            Proposal {
                number,
                protocol: ProtocolId::ESP,
                spi,
                transforms: ciphers.chain(esn).collect(),
            }
        })
        .collect();
    SaPayload { proposals }
}

/// A chosen IKE suite and the number of the proposal that it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChosenIke {
    pub(crate) number: u8,
    pub(crate) suite: IkeSuite,
}

impl ChosenIke {
    /// The SA payload that answers.
    pub(crate) fn answer<'a>(&self) -> SaPayload<'a> {
        SaPayload {
            proposals: vec![Proposal {
                number: self.number,
                protocol: ProtocolId::IKE,
                spi: &[],
                transforms: vec![
                    self.suite.cipher.transform(),
                    Transform::prf(self.suite.prf),
                    Transform::group(self.suite.group),
                ],
            }],
        }
    }
}

/// Chooses from a peer's offer: the first of its proposals that has something in common with ours,
/// and in it what we prefer. The group for which the peer sent a key is taken whenever we take it,
/// since any other costs a round trip.
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    offered: &SaPayload<'_>,
    key_of: GroupId,
) -> Option<ChosenIke> {
    offered
        .proposals
        .iter()
        .filter(|proposal| {
            proposal.protocol == ProtocolId::IKE
                && proposal.spi.is_empty()
                && is_plain_aead(
                    proposal,
                    &[TransformType::ENCR, TransformType::PRF, TransformType::KE],
                )
        })
        .find_map(|proposal| {
            ours.iter().find_map(|own| {
                let cipher = choose_cipher(&own.ciphers, proposal)?;
                let prf = *own
                    .prfs
                    .iter()
                    .find(|id| offers(proposal, TransformType::PRF, id.0))?;
                let mut groups = own
                    .groups
                    .iter()
                    .copied()
                    .filter(|id| offers(proposal, TransformType::KE, id.0));
                let group = groups
                    .clone()
                    .find(|id| *id == key_of)
                    .or_else(|| groups.next())?;
                Some(ChosenIke {
                    number: proposal.number,
                    suite: IkeSuite { cipher, prf, group },
                })
            })
        })
}

/// The suite that a peer chose from our offer; None if it did not choose from it.
pub(crate) fn check_ike(ours: &[IkeProposal], answer: &SaPayload<'_>) -> Option<IkeSuite> {
    let [proposal] = answer.proposals.as_slice() else {
        return None;
    };
    let own = ours.get(usize::from(proposal.number).checked_sub(1)?)?;
    let plain = proposal.protocol == ProtocolId::IKE
        && proposal.spi.is_empty()
        && is_plain_aead(
            proposal,
            &[TransformType::ENCR, TransformType::PRF, TransformType::KE],
        );
    if !plain {
        return None;
    }
    let encr = single(proposal, TransformType::ENCR)?;
    let prf = single(proposal, TransformType::PRF)?;
    let group = single(proposal, TransformType::KE)?;
    Some(IkeSuite {
        cipher: own.ciphers.iter().copied().find(|cipher| cipher.is(encr))?,
        prf: own.prfs.iter().copied().find(|id| is(prf, id.0))?,
        group: own.groups.iter().copied().find(|id| is(group, id.0))?,
    })
}

/// A chosen ESP suite, the number of its proposal, and the peer's SPI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChosenEsp {
    pub(crate) number: u8,
    pub(crate) cipher: Cipher,
    pub(crate) suite: EspSuite,
    pub(crate) peer_spi: u32,
}

impl ChosenEsp {
    /// The SA payload that answers, with the SPI that we want on packets to us.
    pub(crate) fn answer<'a>(&self, spi: &'a [u8; 4]) -> SaPayload<'a> {
        let esn = if self.suite.esn {
            EsnId::ESN
        } else {
            EsnId::NO_ESN
        };
        SaPayload {
            proposals: vec![Proposal {
                number: self.number,
                protocol: ProtocolId::ESP,
                spi,
                transforms: vec![self.cipher.transform(), Transform::esn(esn)],
            }],
        }
    }

    fn new(proposal: &Proposal<'_>, cipher: Cipher, esn: EsnId) -> Option<Self> {
        Some(Self {
            number: proposal.number,
            cipher,
            suite: EspSuite {
                encr: cipher.id,
                key_bits: cipher.bits(),
                esn: esn == EsnId::ESN,
            },
            peer_spi: esp_spi(proposal.spi)?,
        })
    }
}

/// Chooses from a peer's offer, as [`choose_ike`] does.
pub(crate) fn choose_esp(ours: &[EspProposal], offered: &SaPayload<'_>) -> Option<ChosenEsp> {
    offered
        .proposals
        .iter()
        .filter(|proposal| {
            proposal.protocol == ProtocolId::ESP
                && is_plain_aead(proposal, &[TransformType::ENCR, TransformType::ESN])
        })
        .find_map(|proposal| {
            ours.iter().find_map(|own| {
                let cipher = choose_cipher(&own.ciphers, proposal)?;
                let esn = *own
                    .esn
                    .iter()
                    .find(|id| offers(proposal, TransformType::ESN, id.0))?;
                ChosenEsp::new(proposal, cipher, esn)
            })
        })
}

/// What a peer chose from our offer; None if it did not choose from it.
pub(crate) fn check_esp(ours: &[EspProposal], answer: &SaPayload<'_>) -> Option<ChosenEsp> {
    let [proposal] = answer.proposals.as_slice() else {
        return None;
    };
    let own = ours.get(usize::from(proposal.number).checked_sub(1)?)?;
    let plain = proposal.protocol == ProtocolId::ESP
        && is_plain_aead(proposal, &[TransformType::ENCR, TransformType::ESN]);
    if !plain {
        return None;
    }
    let encr = single(proposal, TransformType::ENCR)?;
    let esn = single(proposal, TransformType::ESN)?;
    let cipher = own.ciphers.iter().copied().find(|cipher| cipher.is(encr))?;
    let esn = own.esn.iter().copied().find(|id| is(esn, id.0))?;
    ChosenEsp::new(proposal, cipher, esn)
}

/// Four octets; 0 to 255 are reserved (RFC 4303 §2.1).
fn esp_spi(octets: &[u8]) -> Option<u32> {
    let spi = u32::from_be_bytes(octets.try_into().ok()?);
    (spi > 255).then_some(spi)
}

fn choose_cipher(ours: &[Cipher], proposal: &Proposal<'_>) -> Option<Cipher> {
    ours.iter().copied().find(|cipher| {
        proposal
            .transforms_of(TransformType::ENCR)
            .any(|t| cipher.is(t))
    })
}

/// Whether the proposal has the wanted types of transform, and no other that must be chosen: an
/// integrity algorithm, a key exchange (RFC 9370) or anything that we do not know rules it out
/// unless "none" is among its choices (RFC 7296 §3.3.6, RFC 5282 §8).
fn is_plain_aead(proposal: &Proposal<'_>, wanted: &[TransformType]) -> bool {
    proposal.transforms.iter().all(|transform| {
        wanted.contains(&transform.kind)
            || (may_be_none(transform.kind)
                && proposal
                    .transforms_of(transform.kind)
                    .any(|choice| is(choice, IntegId::NONE.0)))
    })
}

/// Types whose number 0 means "none".
fn may_be_none(kind: TransformType) -> bool {
    kind == TransformType::INTEG
        || kind == TransformType::KE
        || (TransformType::ADDKE1..=TransformType::ADDKE7).contains(&kind)
}

fn offers(proposal: &Proposal<'_>, kind: TransformType, id: u16) -> bool {
    proposal
        .transforms_of(kind)
        .any(|transform| is(transform, id))
}

/// A transform without a key length, as all but the ciphers are.
fn is(transform: &Transform<'_>, id: u16) -> bool {
    transform.id == id && transform.attributes.is_empty()
}

fn single<'p, 'a>(proposal: &'p Proposal<'a>, kind: TransformType) -> Option<&'p Transform<'a>> {
    let mut found = proposal.transforms_of(kind);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike() -> Vec<IkeProposal> {
        vec![IkeProposal::default()]
    }

    fn with(extra: Transform<'static>) -> SaPayload<'static> {
        let mut offer = offer_ike(&ike());
        offer.proposals[0].transforms.push(extra);
        offer
    }

    #[test]
    fn the_default_offer_is_chosen_from_and_the_choice_is_accepted() {
        let offer = offer_ike(&ike());
        let chosen = choose_ike(&ike(), &offer, GroupId::X25519).unwrap();
        assert_eq!(chosen.suite.cipher, Cipher::AES_128_GCM);
        assert_eq!(chosen.suite.prf, PrfId::HMAC_SHA2_256);
        assert_eq!(chosen.suite.group, GroupId::X25519);
        assert_eq!(check_ike(&ike(), &chosen.answer()), Some(chosen.suite));
    }

    #[test]
    fn the_group_of_the_key_is_preferred_and_another_is_asked_for_only_if_needed() {
        let offer = offer_ike(&ike());
        assert_eq!(
            choose_ike(&ike(), &offer, GroupId::P256)
                .unwrap()
                .suite
                .group,
            GroupId::P256
        );
        assert_eq!(
            choose_ike(&ike(), &offer, GroupId::MODP_2048)
                .unwrap()
                .suite
                .group,
            GroupId::X25519
        );
    }

    #[test]
    fn an_integrity_algorithm_with_an_aead_cipher_is_refused_unless_none_is_a_choice() {
        let with_hmac = with(Transform::integ(IntegId::HMAC_SHA2_256_128));
        assert!(choose_ike(&ike(), &with_hmac, GroupId::X25519).is_none());
        let with_none = with(Transform::integ(IntegId::NONE));
        assert!(choose_ike(&ike(), &with_none, GroupId::X25519).is_some());
    }

    #[test]
    fn additional_key_exchanges_and_unknown_types_rule_a_proposal_out() {
        let hybrid = with(Transform::new(TransformType::ADDKE1, GroupId::ML_KEM_768.0));
        assert!(choose_ike(&ike(), &hybrid, GroupId::X25519).is_none());
        let mut optional = hybrid;
        optional.proposals[0]
            .transforms
            .push(Transform::new(TransformType::ADDKE1, 0));
        assert!(choose_ike(&ike(), &optional, GroupId::X25519).is_some());
        let unknown = with(Transform::new(TransformType(200), 0));
        assert!(choose_ike(&ike(), &unknown, GroupId::X25519).is_none());
    }

    #[test]
    fn the_second_proposal_is_taken_when_the_first_does_not_fit() {
        let mut offer = offer_ike(&[IkeProposal::default(), IkeProposal::default()]);
        offer.proposals[0]
            .transforms
            .retain(|t| t.kind != TransformType::PRF);
        assert_eq!(
            choose_ike(&ike(), &offer, GroupId::X25519).unwrap().number,
            2
        );
    }

    #[test]
    fn an_answer_that_was_not_offered_is_refused() {
        let ours = vec![IkeProposal {
            ciphers: vec![Cipher::AES_256_GCM],
            ..IkeProposal::default()
        }];
        let answer = choose_ike(&ike(), &offer_ike(&ike()), GroupId::X25519)
            .unwrap()
            .answer();
        assert_eq!(check_ike(&ours, &answer), None);
        let mut double = answer.clone();
        double.proposals[0]
            .transforms
            .push(Transform::prf(PrfId::HMAC_SHA2_384));
        assert_eq!(check_ike(&ike(), &double), None);
        let mut other_number = answer;
        other_number.proposals[0].number = 2;
        assert_eq!(check_ike(&ike(), &other_number), None);
    }

    #[test]
    fn esp_prefers_extended_sequence_numbers_and_takes_32_bits_from_a_peer_without() {
        let ours = vec![EspProposal::default()];
        let spi = [1, 2, 3, 4];
        let chosen = choose_esp(&ours, &offer_esp(&ours, &spi)).unwrap();
        assert!(chosen.suite.esn);
        assert_eq!(chosen.peer_spi, 0x0102_0304);
        assert_eq!(
            check_esp(&ours, &chosen.answer(&spi)).unwrap().suite,
            chosen.suite
        );
        let theirs = vec![EspProposal {
            ciphers: vec![Cipher::AES_128_GCM],
            esn: vec![EsnId::NO_ESN],
        }];
        assert!(
            !choose_esp(&ours, &offer_esp(&theirs, &spi))
                .unwrap()
                .suite
                .esn
        );
    }

    #[test]
    fn a_reserved_esp_spi_is_refused() {
        let ours = vec![EspProposal::default()];
        assert!(choose_esp(&ours, &offer_esp(&ours, &[0, 0, 0, 255])).is_none());
        assert!(choose_esp(&ours, &offer_esp(&ours, &[0, 0, 1, 0])).is_some());
    }

    #[test]
    fn algorithms_that_the_provider_lacks_are_not_offered() {
        let provider = CryptoProvider {
            groups: Vec::new().into(),
            ..crate::crypto::ring_provider()
        };
        assert!(supported_ike(&ike(), &provider).is_empty());
        assert_eq!(
            supported_ike(&ike(), &crate::crypto::ring_provider()),
            ike()
        );
    }
}
