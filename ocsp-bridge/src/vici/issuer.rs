//! Authorities: who issued a certificate, and what has become of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use der::{Decode as _, Encode as _};
use ledger::{CertificateHash, Height, Status};
use ocsp::UnixTime;
use ring::digest;
use x509_cert::TbsCertificate;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::{Certificate, Version};

/// What a certificate tells of its issuer (RFC 5280 §4.1.2.4, §4.2.1.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedBy {
    name: NameDigest,
    key: Option<Vec<u8>>,
}

/// SHA-256 of a distinguished name in DER.
type NameDigest = [u8; 32];

impl IssuedBy {
    /// None when the issuer's name cannot be written again, which is no certificate that anybody verified.
    pub(super) fn of(tbs: &TbsCertificate) -> Option<Self> {
        let key = match tbs.get_extension::<AuthorityKeyIdentifier>() {
            Ok(Some((_, identifier))) => identifier.key_identifier,
            _ => None,
        };
        Some(Self {
            name: name_digest(tbs.issuer())?,
            key: key
                .map(|key| key.as_bytes().to_vec())
                .filter(|key| key.len() <= MAX_KEY_IDENTIFIER),
        })
    }
}

#[cfg(test)]
impl IssuedBy {
    /// Of an authority that is nowhere recorded.
    pub(super) fn nobody() -> Self {
        Self {
            name: [0; 32],
            key: None,
        }
    }
}

/// A recorded authority's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// H(CERT).
    pub hash: CertificateHash,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The last second of its validity.
    pub not_after: UnixTime,
    name: NameDigest,
    key: Vec<u8>,
    issued_by: IssuedBy,
}

impl Authority {
    /// Reads one. None when it is no certificate of a CA (RFC 5280 §4.2.1.9).
    #[must_use]
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let parsed = Certificate::from_der(certificate).ok()?;
        let tbs = parsed.tbs_certificate();
        let (_, constraints) = tbs.get_extension::<BasicConstraints>().ok()??;
        if !constraints.ca || tbs.version() != Version::V3 {
            return None;
        }
        let key = if let Ok(Some((_, key))) = tbs.get_extension::<SubjectKeyIdentifier>() {
            key.0.as_bytes().to_vec()
        } else {
            // RFC 5280 §4.2.1.2, method 1.
            let key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key)
                .as_ref()
                .to_vec()
        };
        Some(Self {
            hash: CertificateHash::of(certificate),
            certificate: certificate.to_vec(),
            not_after: UnixTime(tbs.validity().not_after.to_unix_duration().as_secs()),
            name: name_digest(tbs.subject())?,
            key,
            issued_by: IssuedBy::of(tbs)?,
        })
    }

    fn is_self_issued(&self) -> bool {
        self.issued_by.name == self.name
            && self
                .issued_by
                .key
                .as_ref()
                .is_none_or(|key| *key == self.key)
    }
}

/// Why what an authority issued does not count any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Withdrawal {
    /// The authority.
    pub authority: CertificateHash,
    /// The ledger's word on it.
    pub status: Status,
    /// Who is in since before then may have come in by it.
    pub since: UnixTime,
}

/// The recorded authorities and the ledger's word on each. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    known: BTreeMap<CertificateHash, Known>,
    by_name: HashMap<NameDigest, Vec<CertificateHash>>,
    version: u64,
}

#[derive(Clone, Debug)]
struct Known {
    authority: Arc<Authority>,
    standing: Option<(Status, Height)>,
    /// Since when it is not valid.
    since: UnixTime,
}

impl Authorities {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether that one is known.
    #[must_use]
    pub fn contains(&self, hash: &CertificateHash) -> bool {
        self.known.contains_key(hash)
    }

    /// Grows with each change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// One more, about which the ledger is to be asked.
    pub fn insert(&mut self, authority: Authority) {
        if self.contains(&authority.hash) {
            return;
        }
        let hash = authority.hash;
        self.by_name.entry(authority.name).or_default().push(hash);
        let known = Known {
            authority: Arc::new(authority),
            standing: None,
            since: UnixTime::EPOCH,
        };
        self.known.insert(hash, known);
        self.version += 1;
    }

    /// Forgets those that the ledger says are not recorded.
    pub fn forget_unrecorded(&mut self) {
        let is_unrecorded =
            |known: &Known| matches!(known.standing, Some((Status::NotRecorded, _)));
        if !self.known.values().any(is_unrecorded) {
            return;
        }
        self.known.retain(|_, known| !is_unrecorded(known));
        self.by_name.retain(|_, hashes| {
            hashes.retain(|hash| self.known.contains_key(hash));
            !hashes.is_empty()
        });
        self.version += 1;
    }

    /// The ledger's word on one, as of a block; an older word than what is known changes nothing. `event_at` is
    /// now when it is an event. Says whether anything changed.
    pub fn judge(
        &mut self,
        hash: &CertificateHash,
        status: Status,
        height: Height,
        event_at: Option<UnixTime>,
    ) -> bool {
        let Some(known) = self.known.get_mut(hash) else {
            return false;
        };
        if known
            .standing
            .is_some_and(|(before, at)| at > height || before == status)
        {
            return false;
        }
        known.standing = Some((status, height));
        let told = match status {
            Status::Suspended { since: time } | Status::Revoked { time, .. } => time.into(),
            Status::Expired => known.authority.not_after,
            _ => UnixTime::EPOCH,
        };
        known.since = event_at.unwrap_or(told);
        self.version += 1;
        true
    }

    /// The daemon trusted it until now, so that peers may have come in by it until now.
    pub fn trusted_until(&mut self, hash: &CertificateHash, now: UnixTime) {
        if let Some(known) = self.known.get_mut(hash) {
            known.since = known.since.max(now);
            self.version += 1;
        }
    }

    /// Whether the ledger has said nothing about that one yet.
    #[must_use]
    pub fn is_unknown(&self, hash: &CertificateHash) -> bool {
        self.known
            .get(hash)
            .is_some_and(|known| known.standing.is_none())
    }

    /// All that are known.
    pub fn all(&self) -> impl Iterator<Item = CertificateHash> {
        self.known.keys().copied()
    }

    /// Those that can be trusted: valid, within their validity, and so is each that is recorded above them.
    pub fn trusted(&self, now: UnixTime) -> impl Iterator<Item = &Arc<Authority>> {
        self.known
            .values()
            .filter(move |known| {
                matches!(known.standing, Some((Status::Valid, _)))
                    && now <= known.authority.not_after
                    && self.above(&known.authority, MAX_CHAIN).is_none()
            })
            .map(|known| &known.authority)
    }

    /// Whether what says of its issuer that must not count any more: every authority that can have issued it is
    /// withdrawn.
    #[must_use]
    pub fn withdrawal(&self, issued_by: &IssuedBy) -> Option<Withdrawal> {
        self.withdrawal_within(issued_by, MAX_CHAIN)
    }

    /// When the last authority was withdrawn.
    #[must_use]
    pub fn last_withdrawal(&self) -> Option<Withdrawal> {
        self.known
            .values()
            .filter_map(Known::withdrawal)
            .max_by_key(|withdrawal| withdrawal.since)
    }

    fn withdrawal_within(&self, issued_by: &IssuedBy, depth: usize) -> Option<Withdrawal> {
        let named = || {
            let hashes = self.by_name.get(&issued_by.name).into_iter().flatten();
            // What a node lists and the ledger has no word of can neither have issued anything nor spare it.
            hashes
                .filter_map(|hash| self.known.get(hash))
                .filter(|known| known.is_recorded())
        };
        // Where a key identifier names one of them, only that one is meant.
        let key = issued_by.key.as_ref();
        let is_named = named().any(|known| key == Some(&known.authority.key));
        let mut last: Option<Withdrawal> = None;
        for known in named().filter(|known| !is_named || key == Some(&known.authority.key)) {
            let withdrawal = known
                .withdrawal()
                .or_else(|| self.above(&known.authority, depth))?;
            if last.is_none_or(|last| last.since < withdrawal.since) {
                last = Some(withdrawal);
            }
        }
        last
    }

    /// What is withdrawn above an authority.
    fn above(&self, authority: &Authority, depth: usize) -> Option<Withdrawal> {
        if depth == 0 || authority.is_self_issued() {
            return None;
        }
        self.withdrawal_within(&authority.issued_by, depth - 1)
    }
}

impl Known {
    fn is_recorded(&self) -> bool {
        self.standing
            .is_some_and(|(status, _)| status != Status::NotRecorded)
    }

    fn withdrawal(&self) -> Option<Withdrawal> {
        match self.standing {
            // Listed, but not recorded: a node is behind.
            None | Some((Status::Valid | Status::NotRecorded, _)) => None,
            Some((status, _)) => Some(Withdrawal {
                authority: self.authority.hash,
                status,
                since: self.since,
            }),
        }
    }
}

fn name_digest(name: &Name) -> Option<NameDigest> {
    let der = name.to_der().ok()?;
    digest::digest(&digest::SHA256, &der)
        .as_ref()
        .try_into()
        .ok()
}

/// The longest key identifier that is compared.
const MAX_KEY_IDENTIFIER: usize = 64;

/// The most authorities above each other; longer chains are judged by their lower part.
const MAX_CHAIN: usize = 8;

#[cfg(test)]
mod tests {
    use ledger::{BlockTime, RevocationReason};
    use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};

    use super::*;
    use crate::fixture;
    use crate::vici::identity::NamedCertificate;

    const REVOKED: Status = Status::Revoked {
        reason: RevocationReason::CaCompromise,
        time: BlockTime(5_000),
    };

    fn ca(name: &str) -> rcgen::CertificateParams {
        let mut params = fixture::params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// A CA's key with its certificate, self-signed or by another.
    fn authority(
        name: &str,
        by: Option<&Issuer<'_, KeyPair>>,
    ) -> (Issuer<'static, KeyPair>, Authority) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = match by {
            Some(issuer) => ca(name).signed_by(&key, issuer),
            None => ca(name).self_signed(&key),
        };
        let authority = Authority::read(certificate.unwrap().der()).unwrap();
        (Issuer::new(ca(name), key), authority)
    }

    fn device(by: &Issuer<'_, KeyPair>, names_key: bool) -> IssuedBy {
        let mut params = fixture::params("HeNB");
        params.use_authority_key_identifier_extension = names_key;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        NamedCertificate::read(certificate.der()).unwrap().issued_by
    }

    fn trusted(authorities: &Authorities, now: UnixTime) -> Vec<CertificateHash> {
        authorities.trusted(now).map(|a| a.hash).collect()
    }

    #[test]
    fn only_a_ca_is_an_authority() {
        let (_, certificate) =
            fixture::self_signed(&PKCS_ECDSA_P256_SHA256, fixture::params("HeNB"));
        assert!(NamedCertificate::read(&certificate).is_some());
        assert!(Authority::read(&certificate).is_none());
        let ca = fixture::Authority::new("Vendor").certificate;
        let read = Authority::read(&ca).unwrap();
        assert_eq!(read.hash, CertificateHash::of(&ca));
        assert_eq!(read.certificate, ca);
        assert!(Authority::read(&ca[..ca.len() - 1]).is_none());
        assert!(Authority::read(b"").is_none());
    }

    #[test]
    fn trusted_is_what_the_ledger_says_is_valid() {
        let (issuer, vendor) = authority("Vendor", None);
        let (hash, not_after) = (vendor.hash, vendor.not_after);
        let mut authorities = Authorities::new();
        authorities.insert(vendor.clone());
        assert!(authorities.is_unknown(&hash));
        assert_eq!(trusted(&authorities, fixture::NOW), []);
        assert!(authorities.judge(&hash, Status::NotRecorded, Height(1), None));
        assert_eq!(trusted(&authorities, fixture::NOW), []);
        assert_eq!(authorities.last_withdrawal(), None, "a node is behind");
        assert!(authorities.judge(&hash, Status::Valid, Height(2), None));
        assert!(!authorities.judge(&hash, Status::Valid, Height(3), None));
        assert_eq!(trusted(&authorities, fixture::NOW), [hash]);
        assert_eq!(trusted(&authorities, not_after), [hash]);
        assert_eq!(trusted(&authorities, UnixTime(not_after.0 + 1)), []);
        let device = device(&issuer, false);
        assert_eq!(authorities.withdrawal(&device), None);

        let version = authorities.version();
        assert!(authorities.judge(&hash, REVOKED, Height(4), None));
        assert!(!authorities.judge(&hash, Status::Valid, Height(2), None));
        assert!(authorities.version() > version);
        assert_eq!(trusted(&authorities, fixture::NOW), []);
        let withdrawal = authorities.withdrawal(&device).unwrap();
        assert_eq!(
            (withdrawal.authority, withdrawal.since),
            (hash, UnixTime(5))
        );
        assert_eq!(authorities.last_withdrawal(), Some(withdrawal));
        authorities.trusted_until(&hash, UnixTime(9));
        assert_eq!(authorities.withdrawal(&device).unwrap().since, UnixTime(9));
        // Known already: what the ledger said stays.
        authorities.insert(vendor);
        assert!(!authorities.is_unknown(&hash));
        assert_eq!(authorities.withdrawal(&IssuedBy::nobody()), None);
    }

    #[test]
    fn an_authority_that_has_a_new_key_is_not_confused_with_the_old_one() {
        let (old_issuer, old) = authority("Vendor", None);
        let (new_issuer, new) = authority("Vendor", None);
        let mut authorities = Authorities::new();
        authorities.judge(&old.hash, REVOKED, Height(1), None);
        for authority in [&old, &new] {
            authorities.insert(authority.clone());
        }
        authorities.judge(&old.hash, REVOKED, Height(1), None);
        authorities.judge(&new.hash, Status::Valid, Height(1), None);
        assert!(authorities.withdrawal(&device(&old_issuer, true)).is_some());
        assert_eq!(authorities.withdrawal(&device(&new_issuer, true)), None);
        // A certificate that does not say which may be the new one's.
        assert_eq!(authorities.withdrawal(&device(&old_issuer, false)), None);
        authorities.judge(&new.hash, Status::Expired, Height(2), Some(UnixTime(77)));
        let last = authorities.withdrawal(&device(&old_issuer, false)).unwrap();
        assert_eq!((last.authority, last.since), (new.hash, UnixTime(77)));
    }

    #[test]
    fn what_is_not_recorded_does_not_shield_a_withdrawn_authority_of_its_name() {
        let (issuer, old) = authority("Vendor", None);
        let (_, other) = authority("Vendor", None);
        let mut authorities = Authorities::new();
        for authority in [&old, &other] {
            authorities.insert(authority.clone());
        }
        authorities.judge(&old.hash, REVOKED, Height(1), None);
        let device = device(&issuer, false);
        let withdrawn = |authorities: &Authorities| {
            let withdrawal = authorities.withdrawal(&device);
            withdrawal.map(|withdrawal| withdrawal.authority)
        };
        assert_eq!(withdrawn(&authorities), Some(old.hash), "not judged");
        authorities.judge(&other.hash, Status::NotRecorded, Height(1), None);
        assert_eq!(withdrawn(&authorities), Some(old.hash));
        let version = authorities.version();
        authorities.forget_unrecorded();
        assert!(authorities.version() > version);
        assert_eq!(authorities.all().collect::<Vec<_>>(), [old.hash]);
        assert_eq!(withdrawn(&authorities), Some(old.hash));
    }

    #[test]
    fn what_is_under_a_withdrawn_authority_is_withdrawn_too() {
        let (root_issuer, root) = authority("Root", None);
        let (sub_issuer, sub) = authority("Vendor", Some(&root_issuer));
        let mut authorities = Authorities::new();
        for authority in [&root, &sub] {
            authorities.insert(authority.clone());
            authorities.judge(&authority.hash, Status::Valid, Height(1), None);
        }
        assert_eq!(trusted(&authorities, fixture::NOW).len(), 2);
        let device = device(&sub_issuer, true);
        authorities.judge(&root.hash, REVOKED, Height(2), Some(UnixTime(8)));
        assert_eq!(trusted(&authorities, fixture::NOW), []);
        let withdrawal = authorities.withdrawal(&device).unwrap();
        assert_eq!(
            (withdrawal.authority, withdrawal.since),
            (root.hash, UnixTime(8))
        );
    }

    #[test]
    fn authorities_that_certify_each_other_come_to_an_end() {
        let (a_issuer, a) = authority("A", None);
        let (b_issuer, b) = authority("B", None);
        let mut authorities = Authorities::new();
        for (name, key, by) in [("A", &a_issuer, &b_issuer), ("B", &b_issuer, &a_issuer)] {
            let certificate = ca(name).signed_by(key.key(), by).unwrap();
            let crossed = Authority::read(certificate.der()).unwrap();
            authorities.insert(crossed.clone());
            authorities.judge(&crossed.hash, Status::Valid, Height(1), None);
        }
        assert_eq!(trusted(&authorities, fixture::NOW).len(), 2);
        assert_eq!(authorities.withdrawal(&device(&a_issuer, true)), None);
        assert_eq!((a.is_self_issued(), b.is_self_issued()), (true, true));
    }
}
