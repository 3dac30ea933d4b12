//! Deadlines of many IKE SAs, the earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A queue of deadlines. A deadline that moves later stays where it is and is looked at again when it
/// fires, so that the common case, an SA that hears from its peer, costs nothing.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Copy + Ord> Deadlines<K> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }

    /// Adds one. `armed` is what the owner keeps: the earliest entry of this key in the queue.
    pub fn arm(&mut self, key: K, at: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|earlier| at < earlier) {
            *armed = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The next key whose entry is due, with that entry. The owner clears `armed` if it is this one, and
    /// ignores the key if it is not: an earlier entry took its place.
    pub fn due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

impl<K: Copy + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn earlier_deadlines_take_their_place_and_later_ones_wait() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut deadlines = Deadlines::new();
        let mut armed = None;
        deadlines.arm('a', at(10), &mut armed);
        deadlines.arm('a', at(20), &mut armed);
        assert_eq!(deadlines.next(), Some(at(10)));
        deadlines.arm('a', at(5), &mut armed);
        assert_eq!(armed, Some(at(5)));
        assert_eq!(deadlines.due(at(4)), None);
        assert_eq!(deadlines.due(at(10)), Some((at(5), 'a')));
        assert_eq!(deadlines.due(at(10)), Some((at(10), 'a')));
        assert_eq!(deadlines.due(at(99)), None);
    }
}
