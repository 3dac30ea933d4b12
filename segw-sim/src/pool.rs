//! The pool of inner IPv4 addresses: one identity, one address.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

/// Hands out inner addresses.
///
/// An identity keeps its address as long as it holds it, and gets the same one again if it comes back
/// while nobody else needed it. No address is ever held by two identities. Old and new IKE SA of one
/// identity share the address, so that holds are counted.
#[derive(Debug)]
pub struct Pool {
    network: Ipv4Net,
    hold: Duration,
    /// Host number of the next address that was never handed out.
    next: u32,
    last: u32,
    by_identity: HashMap<String, Entry>,
    /// Identities that hold nothing, by the moment they let go and a number that keeps them apart.
    released: BTreeMap<(Instant, u64), String>,
    /// Addresses that nobody holds or has reserved.
    free: VecDeque<Ipv4Addr>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    address: Ipv4Addr,
    holders: u32,
    /// The key in `released`, while there are no holders.
    released: Option<(Instant, u64)>,
}

impl Pool {
    /// A pool over a network, without its first and its last address. `hold` is how long an address
    /// stays reserved for the identity that let it go.
    pub fn new(network: Ipv4Net, hold: Duration) -> Self {
        let size = u32::from(network.broadcast()) - u32::from(network.network());
        Self {
            network,
            hold,
            next: 1,
            last: size.saturating_sub(1),
            by_identity: HashMap::new(),
            released: BTreeMap::new(),
            free: VecDeque::new(),
            sequence: 0,
        }
    }

    /// Takes an address for an identity, or holds the one it has once more. Each success is undone by
    /// one [`Pool::release`].
    ///
    /// # Errors
    ///
    /// [`PoolExhausted`] when every address is held.
    pub fn acquire(&mut self, now: Instant, identity: &str) -> Result<Ipv4Addr, PoolExhausted> {
        if let Some(entry) = self.by_identity.get_mut(identity) {
            if let Some(key) = entry.released.take() {
                self.released.remove(&key);
            }
            entry.holders += 1;
            return Ok(entry.address);
        }
        let address = self.unreserved(now).ok_or(PoolExhausted {
            network: self.network,
        })?;
        self.by_identity.insert(
            identity.to_owned(),
            Entry {
                address,
                holders: 1,
                released: None,
            },
        );
        Ok(address)
    }

    /// Lets go one hold of an identity. Unknown identities are ignored.
    pub fn release(&mut self, now: Instant, identity: &str) {
        let Some(entry) = self.by_identity.get_mut(identity) else {
            return;
        };
        entry.holders = entry.holders.saturating_sub(1);
        if entry.holders == 0 && entry.released.is_none() {
            self.sequence += 1;
            let key = (now, self.sequence);
            entry.released = Some(key);
            self.released.insert(key, identity.to_owned());
        }
    }

    /// How many addresses are held now.
    pub fn held(&self) -> usize {
        self.by_identity.len() - self.released.len()
    }

    /// How many addresses there are.
    pub fn size(&self) -> usize {
        usize::try_from(self.last).unwrap_or(usize::MAX)
    }

    fn unreserved(&mut self, now: Instant) -> Option<Ipv4Addr> {
        self.forget(now);
        if let Some(address) = self.free.pop_front() {
            return Some(address);
        }
        if self.next <= self.last {
            let address = Ipv4Addr::from(u32::from(self.network.network()) + self.next);
            self.next += 1;
            return Some(address);
        }
        // A full pool takes the address that was let go first.
        let (_, identity) = self.released.pop_first()?;
        self.by_identity
            .remove(&identity)
            .map(|entry| entry.address)
    }

    /// Reservations that are over become free addresses.
    fn forget(&mut self, now: Instant) {
        while let Some(first) = self.released.first_entry() {
            if now.saturating_duration_since(first.key().0) < self.hold {
                break;
            }
            if let Some(entry) = self.by_identity.remove(&first.remove()) {
                self.free.push_back(entry.address);
            }
        }
    }
}

/// Every address of the pool is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the address pool {network} is exhausted: enlarge pool.network")]
pub struct PoolExhausted {
    /// The pool's network.
    pub network: Ipv4Net,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn pool(network: &str) -> Pool {
        Pool::new(network.parse().unwrap(), Duration::from_secs(60))
    }

    #[test]
    fn the_same_identity_gets_the_same_address_again() {
        let now = Instant::now();
        let mut pool = pool("10.88.0.0/24");
        let a = pool.acquire(now, "a").unwrap();
        let b = pool.acquire(now, "b").unwrap();
        assert_eq!(a, Ipv4Addr::new(10, 88, 0, 1));
        assert_ne!(a, b);
        pool.release(now, "a");
        assert_eq!(pool.held(), 1);
        assert_eq!(pool.acquire(now + Duration::from_secs(59), "a").unwrap(), a);
    }

    #[test]
    fn an_address_is_held_until_the_last_sa_lets_go() {
        let now = Instant::now();
        let mut pool = pool("10.88.0.0/30");
        let a = pool.acquire(now, "a").unwrap();
        assert_eq!(pool.acquire(now, "a").unwrap(), a);
        pool.release(now, "a");
        pool.acquire(now, "b").unwrap();
        let full = pool.acquire(now, "c").unwrap_err();
        assert!(full.to_string().contains("10.88.0.0/30"), "{full}");
        pool.release(now, "a");
        assert_eq!(
            pool.acquire(now, "c").unwrap(),
            a,
            "a full pool takes what was let go first"
        );
        assert!(pool.acquire(now, "a").is_err());
    }

    #[test]
    fn first_and_last_address_of_the_network_stay_out() {
        let now = Instant::now();
        let mut pool = pool("10.88.0.0/29");
        let all: HashSet<_> = (0..pool.size())
            .map(|i| pool.acquire(now, &i.to_string()).unwrap())
            .collect();
        assert_eq!(all.len(), 6);
        assert!(!all.contains(&Ipv4Addr::new(10, 88, 0, 0)));
        assert!(!all.contains(&Ipv4Addr::new(10, 88, 0, 7)));
    }

    proptest! {
        /// Whatever the order of events, no address is held by two identities, and a holder's address
        /// never changes.
        #[test]
        fn never_two_identities_with_one_address(steps in prop::collection::vec((0u8..12, any::<bool>(), 0u64..90), 1..200)) {
            let mut now = Instant::now();
            let mut pool = pool("10.88.0.0/29");
            let mut held: HashMap<u8, (Ipv4Addr, u32)> = HashMap::new();
            for (who, take, wait) in steps {
                now += Duration::from_secs(wait);
                let name = who.to_string();
                if take {
                    if let Ok(address) = pool.acquire(now, &name) {
                        for (other, (theirs, _)) in &held {
                            prop_assert!(*other == who || *theirs != address);
                        }
                        let entry = held.entry(who).or_insert((address, 0));
                        prop_assert_eq!(entry.0, address);
                        entry.1 += 1;
                    } else {
                        prop_assert!(held.len() >= pool.size() && !held.contains_key(&who));
                    }
                } else if let Some(entry) = held.get_mut(&who) {
                    pool.release(now, &name);
                    entry.1 -= 1;
                    if entry.1 == 0 {
                        held.remove(&who);
                    }
                }
                prop_assert_eq!(pool.held(), held.len());
            }
        }
    }
}
