//! The certificates that can stand behind an IKE_SA, and the ledger's word on each.

use std::collections::{HashMap, HashSet};

use ledger::{CertificateHash, Height, Status};
use ocsp::UnixTime;

use super::identity::NamedCertificate;
use super::issuer::{Authorities, IssuedBy, Withdrawal};

/// The candidates of all IKE_SAs.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    certificates: HashMap<CertificateHash, Candidate>,
    /// Those of which the ledger has said nothing yet.
    unknown: HashSet<CertificateHash>,
}

#[derive(Debug)]
struct Candidate {
    issued_by: IssuedBy,
    standing: Option<Standing>,
    sas: HashSet<u64>,
}

/// The ledger's word on a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) status: Status,
    height: Height,
    /// Since when it is bad, where that is known.
    pub(super) since: Option<UnixTime>,
}

impl Candidates {
    /// One more IKE_SA behind which the certificate can stand.
    pub(super) fn attach(&mut self, certificate: &NamedCertificate, sa: u64) {
        let hash = certificate.hash;
        let candidate = self.certificates.entry(hash).or_insert_with(|| Candidate {
            issued_by: certificate.issued_by.clone(),
            standing: None,
            sas: HashSet::new(),
        });
        candidate.sas.insert(sa);
        if candidate.standing.is_none() {
            self.unknown.insert(hash);
        }
    }

    /// The same certificates stand behind another IKE_SA, too.
    pub(super) fn share(&mut self, hashes: &[CertificateHash], sa: u64) {
        for hash in hashes {
            if let Some(candidate) = self.certificates.get_mut(hash) {
                candidate.sas.insert(sa);
            }
        }
    }

    /// The IKE_SA is gone. A certificate without any is forgotten.
    pub(super) fn detach(&mut self, hash: &CertificateHash, sa: u64) {
        if let Some(candidate) = self.certificates.get_mut(hash) {
            candidate.sas.remove(&sa);
            if candidate.sas.is_empty() {
                self.certificates.remove(hash);
                self.unknown.remove(hash);
            }
        }
    }

    /// The ledger's word on a certificate, as of a block; an older word than what is known changes nothing.
    pub(super) fn judge(
        &mut self,
        hash: &CertificateHash,
        status: Status,
        height: Height,
        event_at: Option<UnixTime>,
    ) {
        let Some(candidate) = self.certificates.get_mut(hash) else {
            return;
        };
        if candidate
            .standing
            .is_some_and(|known| known.height > height)
        {
            return;
        }
        let since = match status {
            Status::Suspended { since: time } | Status::Revoked { time, .. } => {
                event_at.or_else(|| Some(UnixTime::from(time)))
            }
            _ => event_at,
        };
        candidate.standing = Some(Standing {
            status,
            height,
            since,
        });
        self.unknown.remove(hash);
    }

    /// Forgets what the ledger said: every candidate must be asked about again.
    pub(super) fn forget_standings(&mut self) {
        for (hash, candidate) in &mut self.certificates {
            candidate.standing = None;
            self.unknown.insert(*hash);
        }
    }

    /// Those of which the ledger has said nothing yet.
    pub(super) fn unknown(&self) -> impl Iterator<Item = CertificateHash> {
        self.unknown.iter().copied()
    }

    /// Whether the ledger has said nothing about it yet.
    pub(super) fn is_unknown(&self, hash: &CertificateHash) -> bool {
        self.unknown.contains(hash)
    }

    /// What is known of a certificate: the ledger's word on it, and whether its issuer is withdrawn.
    pub(super) fn judgement(
        &self,
        hash: &CertificateHash,
        authorities: &Authorities,
    ) -> (Option<Standing>, Option<Withdrawal>) {
        self.certificates
            .get(hash)
            .map_or((None, None), |candidate| {
                (
                    candidate.standing,
                    authorities.withdrawal(&candidate.issued_by),
                )
            })
    }

    /// The IKE_SAs behind which it can stand.
    pub(super) fn sas(&self, hash: &CertificateHash) -> Vec<u64> {
        self.certificates
            .get(hash)
            .map_or_else(Vec::new, |candidate| {
                candidate.sas.iter().copied().collect()
            })
    }

    /// The IKE_SAs behind which a certificate of a withdrawn authority can stand.
    pub(super) fn sas_of_withdrawn(&self, authorities: &Authorities) -> HashSet<u64> {
        self.certificates
            .values()
            .filter(|candidate| authorities.withdrawal(&candidate.issued_by).is_some())
            .flat_map(|candidate| candidate.sas.iter().copied())
            .collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.certificates.len()
    }
}
