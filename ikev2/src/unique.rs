//! One IKE SA per identity: which older ones a new one replaces (RFC 7296 §2.4).

use std::collections::HashMap;
use std::hash::Hash;

use crate::auth::Identification;

/// What to do with the older IKE SAs of an identity when a new one stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// Only INITIAL_CONTACT removes older ones.
    OnInitialContact,
    /// The new one replaces the older ones always: right for devices that connect once.
    #[default]
    Replace,
}

/// Live IKE SAs by the peer's authenticated identity. `K` names an IKE SA at the application.
#[derive(Debug)]
pub struct Uniqueness<K> {
    policy: Policy,
    live: HashMap<Identification, Vec<K>>,
}

impl<K> Default for Uniqueness<K> {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl<K> Uniqueness<K> {
    /// No IKE SAs yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            live: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Uniqueness<K> {
    /// Records an established IKE SA and returns the older ones of that identity that must go. They
    /// are forgotten here. With INITIAL_CONTACT the peer knows nothing of them:
    /// [`IkeSa::abandon`](crate::IkeSa::abandon) them; otherwise [`IkeSa::close`](crate::IkeSa::close).
    #[must_use]
    pub fn established(
        &mut self,
        identity: &Identification,
        key: K,
        initial_contact: bool,
    ) -> Vec<K> {
        let replace = initial_contact || self.policy == Policy::Replace;
        let Some(live) = self.live.get_mut(identity) else {
            self.live.insert(identity.clone(), vec![key]);
            return Vec::new();
        };
        if !replace {
            live.push(key);
            return Vec::new();
        }
        let mut older = core::mem::replace(live, vec![key]);
        older.retain(|k| *k != key);
        older
    }

    /// Forgets an IKE SA that is over. One that is not known is fine.
    pub fn closed(&mut self, identity: &Identification, key: K) {
        if let Some(live) = self.live.get_mut(identity) {
            live.retain(|k| *k != key);
            if live.is_empty() {
                self.live.remove(identity);
            }
        }
    }

    /// The live IKE SAs of an identity, oldest first.
    pub fn of(&self, identity: &Identification) -> &[K] {
        self.live.get(identity).map_or(&[], Vec::as_slice)
    }

    /// How many identities have a live IKE SA.
    pub fn identities(&self) -> usize {
        self.live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_sa_replaces_the_older_of_the_same_identity_only() {
        let (a, b) = (
            Identification::fqdn("a.example"),
            Identification::fqdn("b.example"),
        );
        let mut unique = Uniqueness::default();
        assert!(unique.established(&a, 1, false).is_empty());
        assert!(unique.established(&b, 2, false).is_empty());
        assert_eq!(unique.established(&a, 3, false), [1]);
        assert_eq!(unique.of(&a), [3]);
        // The older one's end comes late and must not touch the new one.
        unique.closed(&a, 1);
        assert_eq!(unique.of(&a), [3]);
        unique.closed(&a, 3);
        assert_eq!(unique.identities(), 1);
    }

    #[test]
    fn without_replacement_only_initial_contact_removes() {
        let a = Identification::fqdn("a.example");
        let mut unique = Uniqueness::new(Policy::OnInitialContact);
        assert!(unique.established(&a, 1, false).is_empty());
        assert!(unique.established(&a, 2, false).is_empty());
        assert_eq!(unique.established(&a, 3, true), [1, 2]);
        assert_eq!(unique.of(&a), [3]);
    }

    #[test]
    fn the_same_key_twice_is_not_its_own_elder() {
        let a = Identification::fqdn("a.example");
        let mut unique = Uniqueness::default();
        assert!(unique.established(&a, 1, false).is_empty());
        assert!(unique.established(&a, 1, true).is_empty());
    }
}
