//! Lifetimes by traffic.

/// How much traffic one SA may carry (RFC 4301 §4.4.2.1). `None` means no limit.
///
/// Octets are those that the cipher worked on: the inner packet with its ESP trailer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lifetime {
    /// After so many packets ask for a successor.
    pub soft_packets: Option<u64>,
    /// After so many packets refuse.
    pub hard_packets: Option<u64>,
    /// After so many octets ask for a successor.
    pub soft_bytes: Option<u64>,
    /// After so many octets refuse.
    pub hard_bytes: Option<u64>,
}

/// What a lifetime asks for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Expiry {
    /// Time to negotiate a successor: rekey. The SA goes on meanwhile.
    Soft,
    /// The SA is used up: it refuses every packet from now on.
    Hard,
}

/// Counts traffic against a [`Lifetime`].
#[derive(Debug)]
pub(crate) struct Meter {
    lifetime: Lifetime,
    pub(crate) packets: u64,
    bytes: u64,
    signalled: Option<Expiry>,
}

impl Meter {
    pub(crate) fn new(lifetime: Lifetime) -> Self {
        Self {
            lifetime,
            packets: 0,
            bytes: 0,
            signalled: None,
        }
    }

    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// What has been reached.
    pub(crate) fn reached(&self) -> Option<Expiry> {
        let over = |used: u64, limit: Option<u64>| limit.is_some_and(|limit| used >= limit);
        let Lifetime {
            soft_packets,
            hard_packets,
            soft_bytes,
            hard_bytes,
        } = self.lifetime;
        if over(self.packets, hard_packets) || over(self.bytes, hard_bytes) {
            Some(Expiry::Hard)
        } else if over(self.packets, soft_packets) || over(self.bytes, soft_bytes) {
            Some(Expiry::Soft)
        } else {
            None
        }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.reached() == Some(Expiry::Hard)
    }

    /// What has been reached, each time told once.
    pub(crate) fn signal(&mut self) -> Option<Expiry> {
        let reached = self.reached();
        if reached > self.signalled {
            self.signalled = reached;
            reached
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_comes_once() {
        let mut meter = Meter::new(Lifetime {
            soft_packets: Some(2),
            hard_packets: Some(4),
            ..Lifetime::default()
        });
        let signals: Vec<_> = (0..5)
            .map(|_| {
                meter.count(10);
                meter.signal()
            })
            .collect();
        assert_eq!(
            signals,
            [None, Some(Expiry::Soft), None, Some(Expiry::Hard), None]
        );
        assert!(meter.is_used_up());
    }

    #[test]
    fn bytes_count_as_well() {
        let mut meter = Meter::new(Lifetime {
            soft_bytes: Some(100),
            hard_bytes: Some(200),
            ..Lifetime::default()
        });
        meter.count(99);
        assert_eq!(meter.signal(), None);
        meter.count(1);
        assert_eq!(meter.signal(), Some(Expiry::Soft));
        meter.count(100);
        assert_eq!(meter.signal(), Some(Expiry::Hard));
        assert_eq!(
            Meter::new(Lifetime::default()).reached(),
            None,
            "no limit by default"
        );
    }
}
