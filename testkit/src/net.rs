use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a network does to datagrams. Shares are in percent.
#[derive(Clone, Copy, Debug)]
pub struct Impairment {
    /// How long a datagram travels at least.
    pub latency: Duration,
    /// How much longer at most; datagrams overtake each other by this.
    pub jitter: Duration,
    /// Share that is lost.
    pub loss: u32,
    /// Share that arrives twice.
    pub duplication: u32,
}

impl Default for Impairment {
    /// 10 ms, nothing else.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
        }
    }
}

/// Datagrams under way. The same seed does the same to the same datagrams.
#[derive(Debug)]
pub struct Network {
    impairment: Impairment,
    rng: ChaCha8Rng,
    under_way: BinaryHeap<Reverse<Flight>>,
    sent: u64,
}

/// One datagram under way.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Flight {
    pub(crate) at: Instant,
    order: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) octets: Vec<u8>,
}

impl Network {
    /// An empty network.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            rng: ChaCha8Rng::seed_from_u64(seed),
            under_way: BinaryHeap::new(),
            sent: 0,
        }
    }

    /// From now on the network does this.
    pub fn impair(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Loses everything that is under way.
    pub fn clear(&mut self) {
        self.under_way.clear();
    }

    pub(crate) fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, octets: &[u8]) {
        let copies = 1 + u32::from(self.happens(self.impairment.duplication));
        for _ in 0..copies {
            if self.happens(self.impairment.loss) {
                continue;
            }
            let jitter = u64::try_from(self.impairment.jitter.as_micros()).unwrap_or(u64::MAX);
            let extra = Duration::from_micros(self.rng.next_u64() % jitter.max(1));
            self.sent += 1;
            self.under_way.push(Reverse(Flight {
                at: now + self.impairment.latency + extra,
                order: self.sent,
                from,
                to,
                octets: octets.to_vec(),
            }));
        }
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(flight)| flight.at)
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<Flight> {
        if self.next_at()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(flight)| flight)
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }
}
