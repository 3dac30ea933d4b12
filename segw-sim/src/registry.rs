//! What all shards know together: which IKE SAs live, by identity and by certificate, and who has
//! which inner address.

use core::fmt;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use ikev2::auth::Identification;
use ikev2::unique::Uniqueness;
use ledger::CertificateHash;
use serde::{Deserialize, Serialize};

use crate::pool::{Pool, PoolExhausted};

/// Names an IKE SA in the gateway, in logs and on the control socket. Never used twice in a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SaId(pub u64);

impl fmt::Display for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An IKE SA and the shard that owns it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SaPlace {
    /// The shard.
    pub shard: u8,
    /// The IKE SA.
    pub id: SaId,
}

/// Shared by all shards. Each lock is held for a few look-ups, a few times for each handshake, and
/// never for a packet of an SA's own shard.
#[derive(Debug)]
pub struct Registry {
    next: AtomicU64,
    live: Mutex<Live>,
    pool: Mutex<Pool>,
    routes: RwLock<HashMap<IpAddr, SaPlace>>,
}

#[derive(Debug, Default)]
struct Live {
    by_identity: Uniqueness<SaPlace>,
    by_certificate: HashMap<CertificateHash, HashSet<SaPlace>>,
}

impl Registry {
    /// An empty registry over a pool.
    pub fn new(pool: Pool) -> Self {
        Self {
            next: AtomicU64::new(1),
            live: Mutex::default(),
            pool: Mutex::new(pool),
            routes: RwLock::default(),
        }
    }

    /// A fresh name.
    pub fn name(&self) -> SaId {
        SaId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that the admission of an IKE SA hangs on a certificate. Called before the ledger is asked,
    /// so that no change of status falls between the answer and the note.
    pub fn presented(&self, hash: CertificateHash, sa: SaPlace) {
        self.live()
            .by_certificate
            .entry(hash)
            .or_default()
            .insert(sa);
    }

    /// Notes an established IKE SA; returns the older ones of its identity, which must go.
    pub fn established(
        &self,
        identity: &Identification,
        sa: SaPlace,
        initial_contact: bool,
    ) -> Vec<SaPlace> {
        self.live()
            .by_identity
            .established(identity, sa, initial_contact)
    }

    /// Forgets an IKE SA that is over. One that is not known is fine.
    pub fn gone(&self, hash: &CertificateHash, identity: &Identification, sa: SaPlace) {
        let mut live = self.live();
        live.by_identity.closed(identity, sa);
        if let Some(places) = live.by_certificate.get_mut(hash) {
            places.remove(&sa);
            if places.is_empty() {
                live.by_certificate.remove(hash);
            }
        }
    }

    /// The IKE SAs whose admission hangs on a certificate.
    pub fn admitted_by(&self, hash: &CertificateHash) -> Vec<SaPlace> {
        self.live()
            .by_certificate
            .get(hash)
            .map_or_else(Vec::new, |places| places.iter().copied().collect())
    }

    /// All certificates on which an admission hangs.
    pub fn certificates(&self) -> Vec<CertificateHash> {
        self.live().by_certificate.keys().copied().collect()
    }

    /// Takes an inner address; [`Registry::release_address`] gives it back.
    ///
    /// # Errors
    ///
    /// [`PoolExhausted`].
    pub fn acquire_address(&self, now: Instant, identity: &str) -> Result<Ipv4Addr, PoolExhausted> {
        lock(&self.pool).acquire(now, identity)
    }

    /// Gives back one hold on an inner address.
    pub fn release_address(&self, now: Instant, identity: &str) {
        lock(&self.pool).release(now, identity);
    }

    /// Addresses held, and addresses in all.
    pub fn pool_use(&self) -> (usize, usize) {
        let pool = lock(&self.pool);
        (pool.held(), pool.size())
    }

    /// Sends packets for an inner address to this IKE SA, whoever had it before.
    pub fn route(&self, address: IpAddr, sa: SaPlace) {
        self.routes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(address, sa);
    }

    /// Takes a route back, unless it is a newer IKE SA's.
    pub fn unroute(&self, address: IpAddr, sa: SaPlace) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.get(&address) == Some(&sa) {
            routes.remove(&address);
        }
    }

    /// Which IKE SA has an inner address.
    pub fn route_of(&self, address: IpAddr) -> Option<SaPlace> {
        self.routes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address)
            .copied()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }
}

/// No code panics between the steps of a change under these locks, so a poisoned one is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn registry() -> Registry {
        Registry::new(Pool::new(
            "10.88.0.0/24".parse().unwrap(),
            Duration::from_secs(60),
        ))
    }

    #[test]
    fn an_sa_is_found_by_its_certificate_from_presentation_to_its_end() {
        let registry = registry();
        let hash = CertificateHash::of(b"certificate");
        let identity = Identification::fqdn("henb.lab.test");
        let [old, new] = [0, 1].map(|shard| SaPlace {
            shard,
            id: registry.name(),
        });
        registry.presented(hash, old);
        assert_eq!(registry.admitted_by(&hash), [old]);
        assert!(registry.established(&identity, old, false).is_empty());
        registry.presented(hash, new);
        assert_eq!(registry.established(&identity, new, false), [old]);
        registry.gone(&hash, &identity, old);
        assert_eq!(registry.admitted_by(&hash), [new]);
        registry.gone(&hash, &identity, new);
        assert!(registry.certificates().is_empty());
    }

    #[test]
    fn the_end_of_an_older_sa_leaves_the_newer_route() {
        let registry = registry();
        let address = IpAddr::from([10, 88, 0, 1]);
        let [old, new] = [0, 1].map(|shard| SaPlace {
            shard,
            id: registry.name(),
        });
        registry.route(address, old);
        registry.route(address, new);
        registry.unroute(address, old);
        assert_eq!(registry.route_of(address), Some(new));
        registry.unroute(address, new);
        assert_eq!(registry.route_of(address), None);
    }
}
