//! The live IKE_SAs, the certificates that can stand behind each, and when one has to go. No sockets, no clock.

use std::collections::{HashMap, HashSet};

use ledger::{CertificateHash, Height, Status};
use ocsp::UnixTime;

use super::identity::{NamedCertificate, canonical, is_wildcard};

/// An IKE_SA as the daemon describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IkeSa {
    /// The daemon's number for it.
    pub id: u64,
    /// The name of its connection in swanctl.conf.
    pub connection: String,
    /// The peer's identity, as the daemon prints it.
    pub identity: String,
    /// When it was established.
    pub established: UnixTime,
}

/// What is known of the live IKE_SAs.
///
/// The daemon does not tell by which certificate a peer was authenticated. So **every** certificate that the
/// daemon knows and that has the peer's identity among its names is a *candidate*, and an IKE_SA must go
///
/// - when a candidate was revoked or suspended after the IKE_SA was established (or not more than
///   [`MARGIN_S`] before: it may have come in by an answer from before), or
/// - when no candidate is valid, and one of them is revoked, suspended, superseded or expired, or
/// - when its identity is a wildcard that no certificate has for a name: it would hide which one was used.
///
/// What the ledger never recorded neither condemns nor saves.
#[derive(Debug, Default)]
pub struct Table {
    sas: HashMap<u64, Entry>,
    by_name: HashMap<String, HashSet<u64>>,
    certificates: HashMap<CertificateHash, Certificate>,
    /// Those of `certificates` of which the ledger has said nothing yet.
    unknown: HashSet<CertificateHash>,
    /// IKE_SAs for which certificates were not listed yet.
    waiting: HashSet<u64>,
    /// IKE_SAs that are new or have a new candidate, and were not judged since.
    touched: HashSet<u64>,
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    sa: IkeSa,
    name: String,
    candidates: Vec<CertificateHash>,
    /// The daemon was told to close it.
    closing: bool,
    generation: u64,
}

#[derive(Debug, Default)]
struct Certificate {
    standing: Option<Standing>,
    sas: HashSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    status: Status,
    height: Height,
    /// Since when it is bad, where that is known.
    since: Option<UnixTime>,
}

/// An IKE_SA that must go, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closing {
    /// The IKE_SA.
    pub sa: IkeSa,
    /// Why.
    pub reason: Reason,
}

/// Why an IKE_SA must go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The ledger's word on a certificate that can be the peer's.
    Certificate {
        /// H(CERT).
        hash: CertificateHash,
        /// The ledger's word.
        status: Status,
    },
    /// The identity stands for many, so that nobody can tell whose certificate it was.
    Wildcard,
}

impl Table {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many IKE_SAs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sas.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sas.is_empty()
    }

    /// An IKE_SA was established or is listed. Says whether it is new: then certificates must be listed. One
    /// too many ([`MAX_SAS`]) is not taken.
    pub fn insert(&mut self, sa: IkeSa) -> bool {
        let name = canonical(&sa.identity);
        if let Some(entry) = self.sas.get_mut(&sa.id) {
            entry.generation = self.generation;
            if entry.name == name {
                return false;
            }
            // The same number for another peer: the daemon was started again.
            self.remove(sa.id);
        }
        if self.sas.len() >= MAX_SAS {
            return false;
        }
        self.by_name.entry(name.clone()).or_default().insert(sa.id);
        let entry = Entry {
            name,
            candidates: Vec::new(),
            closing: false,
            generation: self.generation,
            sa,
        };
        self.waiting.insert(entry.sa.id);
        self.touched.insert(entry.sa.id);
        self.sas.insert(entry.sa.id, entry);
        true
    }

    /// An IKE_SA is gone.
    pub fn remove(&mut self, id: u64) {
        let Some(entry) = self.sas.remove(&id) else {
            return;
        };
        self.waiting.remove(&id);
        self.touched.remove(&id);
        if let Some(ids) = self.by_name.get_mut(&entry.name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_name.remove(&entry.name);
            }
        }
        for hash in &entry.candidates {
            if let Some(certificate) = self.certificates.get_mut(hash) {
                certificate.sas.remove(&id);
                if certificate.sas.is_empty() {
                    self.certificates.remove(hash);
                    self.unknown.remove(hash);
                }
            }
        }
    }

    /// An IKE_SA was rekeyed: the new one has the candidates and the age of the old one, since nobody was
    /// authenticated anew.
    pub fn rekeyed(&mut self, old: u64, new: IkeSa) {
        let Some(entry) = self.sas.get(&old) else {
            self.insert(new);
            return;
        };
        let (established, candidates) = (entry.sa.established, entry.candidates.clone());
        let (waits, id) = (self.waiting.contains(&old), new.id);
        self.insert(IkeSa { established, ..new });
        if !waits {
            self.waiting.remove(&id);
        }
        for hash in candidates {
            self.attach(id, hash);
        }
        self.remove(old);
    }

    /// A whole listing of IKE_SAs begins. What is inserted from now on survives [`sweep`](Self::sweep).
    pub const fn begin_sweep(&mut self) {
        self.generation += 1;
    }

    /// The listing has ended: what it did not hold is gone, and what was to be closed and is still there is
    /// judged again.
    pub fn sweep(&mut self) {
        let gone: Vec<u64> = self
            .sas
            .iter_mut()
            .filter_map(|(id, entry)| {
                if core::mem::take(&mut entry.closing) {
                    self.touched.insert(*id);
                }
                (entry.generation != self.generation).then_some(*id)
            })
            .collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// A certificate that the daemon knows. Says whether it became a candidate whose status is not known yet.
    pub fn offer(&mut self, certificate: &NamedCertificate) -> bool {
        let ids: Vec<u64> = certificate
            .names
            .iter()
            .filter_map(|name| self.by_name.get(name))
            .flatten()
            .copied()
            .collect();
        for id in ids {
            self.attach(id, certificate.hash);
        }
        self.certificates
            .get(&certificate.hash)
            .is_some_and(|certificate| certificate.standing.is_none())
    }

    /// All certificates that the daemon knows were offered. Tells for which IKE_SAs none of them was a candidate.
    pub fn offered(&mut self) -> Vec<IkeSa> {
        let waited = core::mem::take(&mut self.waiting);
        waited
            .iter()
            .filter_map(|id| self.sas.get(id))
            .filter(|entry| entry.candidates.is_empty())
            .map(|entry| entry.sa.clone())
            .collect()
    }

    /// Has certificates listed again for the IKE_SAs that have no candidate.
    pub fn compare_again(&mut self) {
        let without = self
            .sas
            .iter()
            .filter(|(_, entry)| entry.candidates.is_empty())
            .map(|(id, _)| *id);
        self.waiting.extend(without);
    }

    /// Forgets what the ledger said: every candidate must be asked about again.
    pub fn forget_standings(&mut self) {
        for (hash, certificate) in &mut self.certificates {
            certificate.standing = None;
            self.unknown.insert(*hash);
        }
    }

    /// Whether an IKE_SA waits for a listing of certificates.
    #[must_use]
    pub fn needs_certificates(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The ledger's word on a certificate, as of a block; an older word than what is known changes nothing.
    /// `event_at` is now when it is an event, so that all who are in are older.
    pub fn judge(
        &mut self,
        hash: &CertificateHash,
        status: Status,
        height: Height,
        event_at: Option<UnixTime>,
    ) {
        let Some(certificate) = self.certificates.get_mut(hash) else {
            return;
        };
        if certificate
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
        certificate.standing = Some(Standing {
            status,
            height,
            since,
        });
        self.unknown.remove(hash);
    }

    /// The candidates of which the ledger has said nothing yet.
    pub fn unknown(&self) -> impl Iterator<Item = CertificateHash> {
        self.unknown.iter().copied()
    }

    /// The IKE_SAs behind which this certificate can stand and that must go, each told once until the next
    /// [`sweep`](Self::sweep).
    pub fn closings_by(&mut self, hash: &CertificateHash) -> Vec<Closing> {
        let ids = self
            .certificates
            .get(hash)
            .map_or_else(Vec::new, |certificate| {
                certificate.sas.iter().copied().collect()
            });
        self.close(ids)
    }

    /// The IKE_SAs that must go among those that are new, have a new candidate, or outlived their closing.
    pub fn closings(&mut self) -> Vec<Closing> {
        let ids = core::mem::take(&mut self.touched);
        self.close(ids.into_iter().collect())
    }

    fn close(&mut self, ids: Vec<u64>) -> Vec<Closing> {
        let mut closings = Vec::new();
        for id in ids {
            let Some(reason) = self.reason(id) else {
                continue;
            };
            if let Some(entry) = self.sas.get_mut(&id).filter(|entry| !entry.closing) {
                entry.closing = true;
                closings.push(Closing {
                    sa: entry.sa.clone(),
                    reason,
                });
            }
        }
        closings
    }

    fn reason(&self, id: u64) -> Option<Reason> {
        let entry = self.sas.get(&id)?;
        if entry.candidates.is_empty() {
            let hides = !self.waiting.contains(&id) && is_wildcard(&entry.sa.identity);
            return hides.then_some(Reason::Wildcard);
        }
        let mut condemned = None;
        let mut spared = false;
        for hash in &entry.candidates {
            let Some(standing) = self.certificates.get(hash).and_then(|c| c.standing) else {
                // Not known yet: it may be the one that is valid.
                spared = true;
                continue;
            };
            let reason = Reason::Certificate {
                hash: *hash,
                status: standing.status,
            };
            match standing.status {
                Status::Valid => spared = true,
                Status::NotRecorded => {}
                _ => {
                    let late = |since: UnixTime| {
                        since.0.saturating_add(MARGIN_S) >= entry.sa.established.0
                    };
                    if standing.since.is_some_and(late) {
                        return Some(reason);
                    }
                    condemned = condemned.or(Some(reason));
                }
            }
        }
        condemned.filter(|_| !spared)
    }

    fn attach(&mut self, id: u64, hash: CertificateHash) {
        let Some(entry) = self.sas.get_mut(&id) else {
            return;
        };
        if entry.candidates.contains(&hash) {
            return;
        }
        if entry.candidates.len() >= MAX_CANDIDATES {
            tracing::warn!(identity = %entry.sa.identity, "too many certificates have this identity; {hash} is not followed");
            return;
        }
        entry.candidates.push(hash);
        let certificate = self.certificates.entry(hash).or_default();
        certificate.sas.insert(id);
        if certificate.standing.is_none() {
            self.unknown.insert(hash);
        }
        self.touched.insert(id);
    }
}

/// How many seconds before an IKE_SA a revocation counts as after it: clocks differ, and an answer from just
/// before may have let it in.
pub const MARGIN_S: u64 = 2;

/// The most IKE_SAs that are followed.
pub const MAX_SAS: usize = 1_000_000;

/// The most certificates that are followed for one identity.
pub const MAX_CANDIDATES: usize = 16;

#[cfg(test)]
mod tests {
    use ledger::{BlockTime, RevocationReason};

    use super::*;

    const NOW: u64 = 10_000;

    fn sa(id: u64, identity: &str) -> IkeSa {
        IkeSa {
            id,
            connection: "c".to_owned(),
            identity: identity.to_owned(),
            established: UnixTime(NOW),
        }
    }

    fn certificate(number: u8, name: &str) -> NamedCertificate {
        NamedCertificate {
            hash: CertificateHash::of(&[number]),
            names: [canonical(name)].into(),
        }
    }

    fn revoked(at: u64) -> Status {
        Status::Revoked {
            reason: RevocationReason::KeyCompromise,
            time: BlockTime(at * 1_000),
        }
    }

    fn suspended(at: u64) -> Status {
        Status::Suspended {
            since: BlockTime(at * 1_000),
        }
    }

    /// Two devices, each with its certificate, both valid.
    fn two() -> (Table, NamedCertificate, NamedCertificate) {
        let mut table = Table::new();
        assert!(table.insert(sa(1, "henb1.lab.test")));
        assert!(table.insert(sa(2, "henb2.lab.test")));
        assert!(!table.insert(sa(2, "henb2.lab.test")));
        let (a, b) = (
            certificate(1, "HENB1.lab.test"),
            certificate(2, "henb2.lab.test"),
        );
        assert!(table.needs_certificates());
        assert!(table.offer(&a) && table.offer(&b));
        assert!(!table.offer(&certificate(3, "nobody")));
        assert_eq!(table.offered(), []);
        assert!(!table.needs_certificates());
        assert_eq!(table.unknown().count(), 2);
        table.judge(&a.hash, Status::Valid, Height(1), None);
        table.judge(&b.hash, Status::Valid, Height(1), None);
        assert_eq!(table.unknown().count(), 0);
        assert!(!table.offer(&a));
        assert_eq!(table.closings(), []);
        (table, a, b)
    }

    fn ids(closings: &[Closing]) -> Vec<u64> {
        closings.iter().map(|closing| closing.sa.id).collect()
    }

    #[test]
    fn an_event_closes_whom_it_concerns_once() {
        for status in [
            revoked(1),
            suspended(1),
            Status::Expired,
            Status::Superseded {
                by: CertificateHash::of(b"new"),
            },
        ] {
            let (mut table, a, b) = two();
            table.judge(&a.hash, status, Height(1), Some(UnixTime(NOW + 5)));
            let closings = table.closings_by(&a.hash);
            assert_eq!(ids(&closings), [1]);
            let reason = Reason::Certificate {
                hash: a.hash,
                status,
            };
            assert_eq!(closings[0].reason, reason);
            assert_eq!(table.closings_by(&a.hash), []);
            assert_eq!(table.closings_by(&b.hash), []);
            // An older word changes nothing.
            table.judge(&a.hash, Status::Valid, Height(0), None);
            // It is still there at the next listing: once more.
            table.begin_sweep();
            table.insert(sa(1, "henb1.lab.test"));
            table.insert(sa(2, "henb2.lab.test"));
            table.sweep();
            assert_eq!(ids(&table.closings()), [1]);
        }
    }

    #[test]
    fn what_the_ledger_never_recorded_neither_condemns_nor_saves() {
        let (mut table, a, b) = two();
        table.judge(
            &b.hash,
            Status::NotRecorded,
            Height(1),
            Some(UnixTime(NOW + 5)),
        );
        assert_eq!(table.closings(), []);
        let other = certificate(3, "henb1.lab.test");
        assert!(table.offer(&other));
        table.judge(&other.hash, Status::NotRecorded, Height(1), None);
        // Long before the SA, so that only the second rule can close it.
        table.judge(&a.hash, revoked(NOW - 100), Height(1), None);
        assert_eq!(ids(&table.closings_by(&a.hash)), [1]);
    }

    #[test]
    fn a_renewed_certificate_saves_those_who_came_after_the_old_one_ended() {
        let (mut table, old, _) = two();
        let new = certificate(3, "henb1.lab.test");
        table.judge(&old.hash, revoked(NOW - MARGIN_S - 1), Height(1), None);
        assert!(table.offer(&new));
        // Not known yet, which is not a reason.
        assert_eq!(table.closings_by(&old.hash), []);
        table.judge(&new.hash, Status::Valid, Height(1), None);
        assert_eq!(table.closings_by(&old.hash), []);
        assert_eq!(table.closings(), []);
        // Another tunnel, as old as the revocation.
        table.insert(IkeSa {
            established: UnixTime(NOW - 1),
            ..sa(3, "henb1.lab.test")
        });
        assert!(!table.offer(&old), "its status is known");
        assert_eq!(ids(&table.closings()), [3]);
        table.judge(&old.hash, revoked(NOW - MARGIN_S), Height(1), None);
        assert_eq!(ids(&table.closings_by(&old.hash)), [1]);
    }

    #[test]
    fn a_rekeyed_sa_is_as_old_as_its_first() {
        let (mut table, a, _) = two();
        let new = IkeSa {
            established: UnixTime(NOW + 1_000),
            ..sa(3, "henb1.lab.test")
        };
        table.rekeyed(1, new);
        assert_eq!(table.len(), 2);
        assert!(!table.needs_certificates());
        table.offer(&certificate(9, "henb1.lab.test"));
        table.judge(&CertificateHash::of(&[9]), Status::Valid, Height(1), None);
        table.judge(&a.hash, revoked(NOW + 500), Height(1), None);
        let closings = table.closings_by(&a.hash);
        assert_eq!(ids(&closings), [3]);
        // One that was not known before.
        table.rekeyed(77, sa(78, "henb9.lab.test"));
        assert!(table.needs_certificates());
    }

    #[test]
    fn a_sweep_forgets_what_is_gone() {
        let (mut table, a, b) = two();
        table.begin_sweep();
        assert!(!table.insert(sa(2, "henb2.lab.test")));
        table.sweep();
        assert_eq!(table.len(), 1);
        table.judge(&a.hash, revoked(NOW), Height(1), Some(UnixTime(NOW)));
        assert_eq!(table.closings(), []);
        assert_eq!(table.certificates.keys().collect::<Vec<_>>(), [&b.hash]);
        // The same number for another peer.
        assert!(table.insert(sa(2, "other")));
        assert_eq!(table.certificates.len(), 0);
        table.remove(2);
        assert!(table.is_empty() && table.by_name.is_empty() && table.certificates.is_empty());
        assert!(table.unknown.is_empty() && table.waiting.is_empty() && table.touched.is_empty());
    }

    #[test]
    fn wildcards_hide_nobody() {
        let mut table = Table::new();
        table.insert(sa(1, "*.lab.test"));
        table.insert(sa(2, "a.lab.test"));
        assert_eq!(table.closings(), [], "certificates were not listed yet");
        assert_eq!(table.offered().len(), 2);
        table.compare_again();
        assert!(table.needs_certificates());
        assert_eq!(table.offered().len(), 2);
        table.touched.insert(1);
        let closings = table.closings();
        assert_eq!(ids(&closings), [1]);
        assert_eq!(closings[0].reason, Reason::Wildcard);
        // A certificate of that very name tells whose it is.
        let mut table = Table::new();
        table.insert(sa(1, "*.lab.test"));
        table.offer(&certificate(1, "*.lab.test"));
        assert_eq!(table.offered(), []);
        assert_eq!(table.closings(), []);
    }

    #[test]
    fn candidates_are_bounded() {
        let mut table = Table::new();
        table.insert(sa(1, "a"));
        for number in 0..=u8::try_from(MAX_CANDIDATES).unwrap() {
            table.offer(&certificate(number, "a"));
        }
        assert_eq!(table.certificates.len(), MAX_CANDIDATES);
    }
}
