//! The live IKE_SAs, the certificates that can stand behind each, and when one has to go. No sockets, no clock.

use std::collections::{HashMap, HashSet};

use ledger::{CertificateHash, Height, Status};
use ocsp::UnixTime;

use super::candidates::Candidates;
use super::identity::{NamedCertificate, canonical, is_wildcard};
use super::issuer::{Authorities, Withdrawal};

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
/// - when a candidate was revoked or suspended, or the authority that issued it was, after the IKE_SA was established
///   (or not more than [`MARGIN_S`] before: it may have come in by an answer from before), or
/// - when no candidate is valid and of an authority that is, and one of them is revoked, suspended, superseded or
///   expired, or its authority is, or
/// - when it has no candidate, its connection asks for a certificate, and an authority was withdrawn after it was
///   established: it may have come in by that one, or
/// - when its identity is a wildcard that no certificate has for a name: it would hide which one was used.
///
/// What the ledger never recorded neither condemns nor saves.
#[derive(Debug, Default)]
pub struct Table {
    sas: HashMap<u64, Entry>,
    by_name: HashMap<String, HashSet<u64>>,
    candidates: Candidates,
    authorities: Authorities,
    /// The connections whose peers authenticate by a certificate.
    certified: HashSet<String>,
    /// IKE_SAs for which certificates were not listed yet.
    waiting: HashSet<u64>,
    /// IKE_SAs for which certificates are being listed.
    compared: HashSet<u64>,
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
    /// The authority that issued a certificate that can be the peer's.
    Authority(Withdrawal),
    /// Nobody can tell whose certificate it was, and this authority's it may have been.
    Unidentified(Withdrawal),
    /// The identity stands for many, so that nobody can tell whose certificate it was.
    Wildcard,
}

impl Reason {
    /// A short, stable name, fit for a metric label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate",
            Self::Authority(_) => "authority",
            Self::Unidentified(_) => "unidentified",
            Self::Wildcard => "wildcard",
        }
    }
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
        self.compared.remove(&id);
        for hash in &entry.candidates {
            self.candidates.detach(hash, id);
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
        let (waits, id) = (self.is_waiting(old), new.id);
        self.insert(IkeSa { established, ..new });
        if !waits {
            self.waiting.remove(&id);
        }
        self.candidates.share(&candidates, id);
        if let Some(entry) = self.sas.get_mut(&id) {
            // A listing may have had it before the event.
            entry.sa.established = established.min(entry.sa.established);
            let more = candidates
                .into_iter()
                .filter(|hash| !entry.candidates.contains(hash))
                .collect::<Vec<_>>();
            entry.candidates.extend(more);
            // The old one may have been touched and not judged, and it is gone.
            self.touched.insert(id);
        }
        self.remove(old);
    }

    /// A whole listing of IKE_SAs begins. What is inserted from now on survives [`sweep`](Self::sweep).
    pub const fn begin_sweep(&mut self) {
        self.generation += 1;
    }

    /// The listing has failed: it saw nobody and missed nobody. What came in since it began keeps its lead.
    pub const fn abandon_sweep(&mut self) {
        self.generation = self.generation.saturating_sub(1);
    }

    /// The listing has ended: what neither it held nor the one before is gone (one may have missed it since it was
    /// busy), and what was to be closed and is still there is judged again.
    pub fn sweep(&mut self) {
        let oldest = self.generation.saturating_sub(1);
        let gone: Vec<u64> = self
            .sas
            .iter_mut()
            .filter_map(|(id, entry)| {
                if core::mem::take(&mut entry.closing) {
                    self.touched.insert(*id);
                }
                (entry.generation < oldest).then_some(*id)
            })
            .collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// Certificates are about to be listed: for those that wait now.
    pub fn begin_comparison(&mut self) {
        self.compared.extend(self.waiting.drain());
    }

    /// A certificate that the daemon knows. Says whether it is a candidate whose status is not known yet.
    pub fn offer(&mut self, certificate: &NamedCertificate) -> bool {
        self.offer_to_older(certificate, UnixTime::MAX)
    }

    /// As [`offer`](Self::offer), as a candidate only of IKE_SAs that were established until then.
    pub fn offer_to_older(&mut self, certificate: &NamedCertificate, until: UnixTime) -> bool {
        let is_older = |id: &u64| {
            let entry = self.sas.get(id);
            entry.is_some_and(|entry| entry.sa.established <= until)
        };
        let ids: Vec<u64> = certificate
            .names
            .iter()
            .filter_map(|name| self.by_name.get(name))
            .flatten()
            .copied()
            .filter(is_older)
            .collect();
        for id in ids {
            self.attach(id, certificate);
        }
        self.candidates.is_unknown(&certificate.hash)
    }

    /// All certificates that the daemon knew since [`begin_comparison`](Self::begin_comparison) were offered. Tells
    /// for which IKE_SAs none of them was a candidate.
    pub fn end_comparison(&mut self) -> Vec<IkeSa> {
        let compared = core::mem::take(&mut self.compared);
        // What depends on having no candidate can be judged now.
        self.touched.extend(compared.iter().copied());
        compared
            .iter()
            .filter_map(|id| self.sas.get(id))
            .filter(|entry| entry.candidates.is_empty())
            .map(|entry| entry.sa.clone())
            .collect()
    }

    /// The certificates could not be listed: the same IKE_SAs wait again.
    pub fn abandon_comparison(&mut self) {
        self.waiting.extend(self.compared.drain());
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

    /// How many IKE_SAs have no candidate.
    #[must_use]
    pub fn unidentified(&self) -> usize {
        let without = |entry: &&Entry| entry.candidates.is_empty();
        self.sas.values().filter(without).count()
    }

    /// The connections whose peers authenticate by a certificate.
    pub fn set_certified(&mut self, connections: HashSet<String>) {
        if self.certified != connections {
            self.certified = connections;
            self.touched.extend(self.sas.keys().copied());
        }
    }

    /// What is known of the authorities has changed.
    pub fn set_authorities(&mut self, authorities: Authorities) {
        self.authorities = authorities;
        let touched = self.candidates.sas_of_withdrawn(&self.authorities);
        self.touched.extend(touched);
        if self.authorities.last_withdrawal().is_some() {
            let without = self
                .sas
                .iter()
                .filter(|(_, entry)| entry.candidates.is_empty());
            self.touched.extend(without.map(|(id, _)| *id));
        }
    }

    /// Forgets what the ledger said: every candidate must be asked about again.
    pub fn forget_standings(&mut self) {
        self.candidates.forget_standings();
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
        self.candidates.judge(hash, status, height, event_at);
    }

    /// The candidates of which the ledger has said nothing yet.
    pub fn unknown(&self) -> impl Iterator<Item = CertificateHash> {
        self.candidates.unknown()
    }

    /// The IKE_SAs behind which this certificate can stand and that must go, each told once until the next
    /// [`sweep`](Self::sweep).
    pub fn closings_by(&mut self, hash: &CertificateHash) -> Vec<Closing> {
        let ids = self.candidates.sas(hash);
        self.close(ids)
    }

    /// The IKE_SAs that must go among those that are new, have a new candidate, or outlived their closing.
    pub fn closings(&mut self) -> Vec<Closing> {
        let ids = core::mem::take(&mut self.touched);
        self.close(ids.into_iter().collect())
    }

    /// The daemon is told to close this one. False when it was told already, or it is not there.
    pub fn begin_closing(&mut self, id: u64) -> bool {
        self.sas
            .get_mut(&id)
            .is_some_and(|entry| !core::mem::replace(&mut entry.closing, true))
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

    fn is_waiting(&self, id: u64) -> bool {
        self.waiting.contains(&id) || self.compared.contains(&id)
    }

    fn reason(&self, id: u64) -> Option<Reason> {
        let entry = self.sas.get(&id)?;
        let established = entry.sa.established;
        let is_late = |since: UnixTime| since.0.saturating_add(MARGIN_S) >= established.0;
        if entry.candidates.is_empty() {
            if self.is_waiting(id) {
                return None;
            }
            if is_wildcard(&entry.sa.identity) {
                return Some(Reason::Wildcard);
            }
            return self
                .authorities
                .last_withdrawal()
                .filter(|withdrawal| is_late(withdrawal.since))
                .filter(|_| self.certified.contains(&entry.sa.connection))
                .map(Reason::Unidentified);
        }
        let mut condemned = None;
        let mut spared = false;
        for hash in &entry.candidates {
            let (standing, withdrawal) = self.candidates.judgement(hash, &self.authorities);
            if let Some(withdrawal) = withdrawal {
                let reason = Reason::Authority(withdrawal);
                if is_late(withdrawal.since) {
                    return Some(reason);
                }
                condemned = condemned.or(Some(reason));
            }
            let Some(standing) = standing else {
                // Not known yet: it may be the one that is valid.
                spared = true;
                continue;
            };
            let reason = Reason::Certificate {
                hash: *hash,
                status: standing.status,
            };
            match standing.status {
                Status::Valid => spared |= withdrawal.is_none(),
                Status::NotRecorded => {}
                _ => {
                    if standing.since.is_some_and(is_late) {
                        return Some(reason);
                    }
                    condemned = condemned.or(Some(reason));
                }
            }
        }
        condemned.filter(|_| !spared)
    }

    fn attach(&mut self, id: u64, certificate: &NamedCertificate) {
        let Some(entry) = self.sas.get_mut(&id) else {
            return;
        };
        let hash = certificate.hash;
        if entry.candidates.contains(&hash) {
            return;
        }
        if entry.candidates.len() >= MAX_CANDIDATES {
            tracing::warn!(identity = %entry.sa.identity, "too many certificates have this identity; {hash} is not followed");
            return;
        }
        entry.candidates.push(hash);
        self.candidates.attach(certificate, id);
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
mod tests;
