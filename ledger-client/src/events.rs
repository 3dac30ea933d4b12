//! Where in the event stream we are, and when to try again. Pure.

use std::time::Duration;

use ledger::{Height, StatusEvent};

/// The place reached in the event stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cursor {
    /// Everything below this height was delivered.
    reached: Height,
    /// The last event that was delivered, by height and index.
    last: Option<(Height, u32)>,
}

impl Cursor {
    /// Begins with the events of block `from`.
    pub(crate) const fn start(from: Height) -> Self {
        Self {
            reached: from,
            last: None,
        }
    }

    /// The height to resume at: the last one that was begun, as its events may not all have come.
    pub(crate) const fn resume_at(&self) -> Height {
        self.reached
    }

    /// Whether an event is new; if so, it counts as delivered.
    pub(crate) fn admits(&mut self, event: &StatusEvent) -> bool {
        let at = (event.height, event.index);
        if self.last.is_some_and(|last| at <= last) {
            return false;
        }
        self.last = Some(at);
        self.reached = self.reached.max(event.height);
        true
    }

    /// The source says that everything below `head` was delivered.
    pub(crate) fn head(&mut self, head: Height) {
        self.reached = self.reached.max(head);
    }

    /// The source to be followed is at `head` only. What lies between may come again, which is better than
    /// skipping what a lying source had numbered too high.
    pub(crate) fn meet(&mut self, head: Height) {
        if head < self.reached {
            *self = Self::start(head);
        }
    }
}

/// The pauses between attempts to open the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The pause now; the one after it is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        pause
    }

    /// The stream works: begin again with the shortest pause.
    pub(crate) const fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use ledger::{CertificateHash, Status};

    use super::*;

    fn event(height: u64, index: u32) -> StatusEvent {
        let hash = CertificateHash::from_octets([0; 32]);
        StatusEvent {
            height: Height(height),
            index,
            hash,
            status: Status::Valid,
        }
    }

    #[test]
    fn a_block_that_was_cut_in_the_middle_is_resumed_without_repeats() {
        let mut cursor = Cursor::start(Height(5));
        assert_eq!(cursor.resume_at(), Height(5));
        assert!(cursor.admits(&event(5, 0)));
        assert!(cursor.admits(&event(6, 0)));
        assert!(cursor.admits(&event(6, 1)));
        assert_eq!(cursor.resume_at(), Height(6));
        assert!(!cursor.admits(&event(6, 0)));
        assert!(!cursor.admits(&event(6, 1)));
        assert!(cursor.admits(&event(6, 2)));
        assert!(cursor.admits(&event(7, 0)));
    }

    #[test]
    fn heads_move_the_cursor_but_hide_no_event() {
        let mut cursor = Cursor::start(Height(5));
        cursor.head(Height(9));
        assert_eq!(cursor.resume_at(), Height(9));
        assert!(cursor.admits(&event(9, 0)));
        cursor.head(Height(8));
        assert_eq!(cursor.resume_at(), Height(9));
    }

    #[test]
    fn a_source_that_is_behind_is_followed_from_where_it_is() {
        let mut cursor = Cursor::start(Height(5));
        assert!(cursor.admits(&event(u64::MAX, 0)));
        cursor.meet(Height(7));
        assert_eq!(cursor.resume_at(), Height(7));
        assert!(cursor.admits(&event(7, 0)));
        cursor.meet(Height(8));
        assert_eq!(cursor.resume_at(), Height(7));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(500));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(500), ms(500)]);
        backoff.reset();
        assert_eq!(backoff.pause(), ms(100));
    }
}
