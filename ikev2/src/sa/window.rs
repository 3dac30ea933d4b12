//! Message IDs, windows of size one, retransmission and the cached response (RFC 7296 §2.1 to
//! §2.3), so that the exchanges never see a duplicate.

use std::time::{Duration, Instant};

use super::{LONGEST, SHORTEST, later};
use crate::config::RetransmitPolicy;
use crate::crypto::{SecureRandom, identifier_sha1};
use crate::event::{Path, WakeReason, Wakeup};
use crate::wire::ExchangeType;

/// Both directions of one IKE SA.
#[derive(Debug)]
pub(super) struct Window {
    policy: RetransmitPolicy,
    /// Message ID of our next request.
    next: u32,
    open: Option<Open>,
    /// Message ID of the peer's next request.
    expected: u32,
    last: Option<Last>,
}

/// A request of ours that is not answered yet.
#[derive(Debug)]
struct Open {
    exchange: ExchangeType,
    octets: Vec<u8>,
    transmissions: u32,
    limit: u32,
    interval: Duration,
    retry_at: Instant,
    due: bool,
}

/// The peer's last request, and the response once there is one.
#[derive(Debug)]
struct Last {
    digest: [u8; 20],
    response: Option<Response>,
}

#[derive(Debug)]
struct Response {
    octets: Vec<u8>,
    to: Path,
    due: bool,
}

/// What a request's message ID and octets make of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrival {
    /// The next one.
    Fresh(Digest),
    /// The last one once more, octet by octet: the response, if there is one, goes out again.
    Again,
    /// Anything else.
    OutOfWindow,
}

/// Recognises a request when it comes again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    pub(super) fn of(octets: &[u8]) -> Self {
        Self(identifier_sha1(&[octets]))
    }
}

/// What time did to our open request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tick {
    /// Nothing.
    Idle,
    /// It goes out again.
    Retransmit,
    /// It was sent this many times in vain.
    GaveUp(u32),
}

impl Window {
    pub(super) fn new(policy: RetransmitPolicy) -> Self {
        Self {
            policy,
            next: 0,
            open: None,
            expected: 0,
            last: None,
        }
    }

    /// Whether a request of ours may be begun: none is open, and message IDs are left.
    pub(super) fn is_free(&self) -> bool {
        self.open.is_none() && self.next < u32::MAX
    }

    /// The message ID for our next request.
    pub(super) fn next_id(&self) -> u32 {
        self.next
    }

    /// Sends a request, whose message ID is [`next_id`](Self::next_id). A request that is open is
    /// replaced: the same message ID with a cookie or another key exchange (RFC 7296 §2.6, §1.2).
    pub(super) fn begin(
        &mut self,
        now: Instant,
        exchange: ExchangeType,
        octets: Vec<u8>,
        random: &dyn SecureRandom,
    ) {
        let interval = self.policy.initial.clamp(SHORTEST, LONGEST);
        self.open = Some(Open {
            exchange,
            octets,
            transmissions: 1,
            limit: self.policy.transmissions.max(1),
            interval,
            retry_at: later(now, jittered(interval, &self.policy, random)),
            due: true,
        });
    }

    /// Gives up the open request, and those that come, after fewer transmissions.
    pub(super) fn hurry(&mut self, transmissions: u32) {
        self.policy.transmissions = self.policy.transmissions.min(transmissions);
        if let Some(open) = &mut self.open {
            open.limit = open
                .limit
                .min(open.transmissions.saturating_add(transmissions));
        }
    }

    /// Whether a response with this header fields can belong to our open request.
    pub(super) fn awaits(&self, id: u32, exchange: ExchangeType) -> bool {
        id == self.next
            && self
                .open
                .as_ref()
                .is_some_and(|open| open.exchange == exchange)
    }

    /// The open request is answered. Gives its octets.
    pub(super) fn complete(&mut self) -> Option<Vec<u8>> {
        let open = self.open.take()?;
        self.next = self.next.saturating_add(1);
        Some(open.octets)
    }

    /// The open request does not matter any more.
    pub(super) fn drop_request(&mut self) {
        self.open = None;
    }

    /// Looks at a request before it is opened.
    pub(super) fn arrival(&mut self, id: u32, octets: &[u8], from: Path) -> Arrival {
        if id == self.expected && id < u32::MAX {
            return Arrival::Fresh(Digest::of(octets));
        }
        if id.checked_add(1) != Some(self.expected) {
            return Arrival::OutOfWindow;
        }
        match &mut self.last {
            Some(last) if last.digest == identifier_sha1(&[octets]) => {
                if let Some(response) = &mut last.response {
                    response.to = from;
                    response.due = true;
                }
                Arrival::Again
            }
            _ => Arrival::OutOfWindow,
        }
    }

    /// A fresh request was authentic: from now on it is the last one.
    pub(super) fn accept(&mut self, digest: Digest) {
        self.expected = self.expected.saturating_add(1);
        self.last = Some(Last {
            digest: digest.0,
            response: None,
        });
    }

    /// Message ID of the last request.
    pub(super) fn last_id(&self) -> u32 {
        self.expected.saturating_sub(1)
    }

    /// Answers the last request; the response is kept until the next one.
    pub(super) fn respond(&mut self, octets: Vec<u8>, to: Path) {
        if let Some(last) = &mut self.last {
            last.response = Some(Response {
                octets,
                to,
                due: true,
            });
        }
    }

    /// Sends the response again: the IKE_SA_INIT request, which the endpoint recognised, has come
    /// again.
    pub(super) fn respond_again(&mut self, to: Path) {
        // Once IKE_AUTH has come, nobody needs the answer to IKE_SA_INIT.
        if self.expected == 1
            && let Some(Response {
                to: address, due, ..
            }) = self.last.as_mut().and_then(|last| last.response.as_mut())
        {
            *address = to;
            *due = true;
        }
    }

    /// The response to the last request, if there is one.
    pub(super) fn response(&self) -> Option<&[u8]> {
        Some(&self.last.as_ref()?.response.as_ref()?.octets)
    }

    /// Lets go of the last response, which the peer cannot be waiting for any more; its request is
    /// still recognised when it comes again, and gets nothing (RFC 7296 §2.1).
    pub(super) fn forget_response(&mut self) {
        if let Some(last) = &mut self.last {
            last.response = None;
        }
    }

    /// Whether a response waits to be sent: it may get lost, and be asked for again.
    pub(super) fn is_answering(&self) -> bool {
        let response = self.last.as_ref().and_then(|last| last.response.as_ref());
        response.is_some_and(|response| response.due)
    }

    /// The next datagram to send, and where to if not to the peer's usual address.
    pub(super) fn poll(&mut self) -> Option<(&[u8], Option<Path>)> {
        if let Some(response) = self.last.as_mut().and_then(|last| last.response.as_mut())
            && response.due
        {
            response.due = false;
            return Some((&response.octets, Some(response.to)));
        }
        let open = self.open.as_mut()?;
        if !open.due {
            return None;
        }
        open.due = false;
        Some((&open.octets, None))
    }

    /// Whether [`poll`](Self::poll) has nothing.
    pub(super) fn is_silent(&self) -> bool {
        !self.is_answering() && !self.open.as_ref().is_some_and(|open| open.due)
    }

    pub(super) fn tick(&mut self, now: Instant, random: &dyn SecureRandom) -> Tick {
        let Some(open) = &mut self.open else {
            return Tick::Idle;
        };
        if now < open.retry_at {
            return Tick::Idle;
        }
        if open.transmissions >= open.limit {
            let transmissions = open.transmissions;
            self.open = None;
            return Tick::GaveUp(transmissions);
        }
        let percent = self.policy.backoff_percent.max(100);
        let longest = self.policy.longest.clamp(SHORTEST, LONGEST);
        open.interval = open
            .interval
            .saturating_mul(percent)
            .min(longest.saturating_mul(100))
            / 100;
        open.retry_at = later(now, jittered(open.interval, &self.policy, random));
        open.transmissions += 1;
        open.due = true;
        Tick::Retransmit
    }

    pub(super) fn deadline(&self) -> Option<Wakeup> {
        self.open.as_ref().map(|open| Wakeup {
            at: open.retry_at,
            reason: WakeReason::Retransmit,
        })
    }
}

/// `interval` plus or minus up to the policy's share of it. Without randomness there is no jitter,
/// which harms nobody.
fn jittered(interval: Duration, policy: &RetransmitPolicy, random: &dyn SecureRandom) -> Duration {
    let share = policy.jitter_percent.min(90);
    let mut octets = [0; 2];
    if share == 0 || random.fill(&mut octets).is_err() {
        return interval;
    }
    let spread = interval.saturating_mul(share) / 100;
    let offset = spread
        .saturating_mul(2)
        .saturating_mul(u32::from(u16::from_be_bytes(octets)))
        / u32::from(u16::MAX);
    interval.saturating_sub(spread) + offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_provider::SeededRandom;

    const POLICY: RetransmitPolicy = RetransmitPolicy {
        initial: Duration::from_secs(1),
        backoff_percent: 200,
        longest: Duration::from_secs(5),
        transmissions: 5,
        jitter_percent: 0,
    };

    fn origin() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to count from"
        )]
        Instant::now()
    }

    fn path() -> Path {
        Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
        }
    }

    #[test]
    fn requests_go_out_again_with_back_off_and_are_given_up() {
        let (mut now, random) = (origin(), SeededRandom::new(1));
        let mut window = Window::new(POLICY);
        window.begin(now, ExchangeType::INFORMATIONAL, vec![1, 2, 3], &random);
        assert_eq!(window.poll(), Some((&[1, 2, 3][..], None)));
        assert_eq!(window.poll(), None);
        let mut waits = Vec::new();
        loop {
            let at = window.deadline().unwrap().at;
            assert!(at > now);
            waits.push((at - now).as_secs());
            now = at;
            match window.tick(now, &random) {
                Tick::Retransmit => assert_eq!(window.poll(), Some((&[1, 2, 3][..], None))),
                Tick::GaveUp(transmissions) => {
                    assert_eq!(transmissions, 5);
                    break;
                }
                Tick::Idle => panic!("woken for nothing"),
            }
        }
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(window.deadline(), None);
    }

    #[test]
    fn jitter_stays_within_its_share_and_repeats_with_the_seed() {
        let policy = RetransmitPolicy {
            jitter_percent: 10,
            ..POLICY
        };
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            (0..100)
                .map(|_| jittered(Duration::from_secs(10), &policy, &random))
                .collect::<Vec<_>>()
        };
        let waits = draw(7);
        assert!(
            waits
                .iter()
                .all(|w| (9_000..=11_000).contains(&w.as_millis()))
        );
        assert!(
            waits.iter().any(|w| w.as_millis() < 9_900)
                && waits.iter().any(|w| w.as_millis() > 10_100)
        );
        assert_eq!(waits, draw(7));
    }

    #[test]
    fn a_response_must_match_id_and_exchange() {
        let (now, random) = (origin(), SeededRandom::new(1));
        let mut window = Window::new(POLICY);
        assert!(!window.awaits(0, ExchangeType::INFORMATIONAL));
        window.begin(now, ExchangeType::INFORMATIONAL, vec![1], &random);
        assert!(window.awaits(0, ExchangeType::INFORMATIONAL));
        assert!(!window.awaits(1, ExchangeType::INFORMATIONAL));
        assert!(!window.awaits(0, ExchangeType::CREATE_CHILD_SA));
        assert!(!window.is_free());
        window.complete();
        assert!(window.is_free());
        assert_eq!(window.next_id(), 1);
        assert!(!window.awaits(0, ExchangeType::INFORMATIONAL));
    }

    #[test]
    fn a_request_that_comes_again_gets_the_same_response_and_others_nothing() {
        let mut window = Window::new(POLICY);
        let Arrival::Fresh(digest) = window.arrival(0, b"request", path()) else {
            panic!("not fresh");
        };
        // Not accepted yet, since it was not authentic: the real one is still fresh.
        assert!(matches!(
            window.arrival(0, b"another", path()),
            Arrival::Fresh(_)
        ));
        window.accept(digest);
        // Before there is a response it is swallowed.
        assert_eq!(window.arrival(0, b"request", path()), Arrival::Again);
        assert_eq!(window.poll(), None);
        window.respond(b"response".to_vec(), path());
        assert_eq!(window.poll(), Some((&b"response"[..], Some(path()))));
        assert_eq!(window.poll(), None);
        assert_eq!(window.arrival(0, b"request", path()), Arrival::Again);
        assert_eq!(window.poll(), Some((&b"response"[..], Some(path()))));
        assert_eq!(window.arrival(0, b"forged", path()), Arrival::OutOfWindow);
        assert_eq!(window.arrival(2, b"request", path()), Arrival::OutOfWindow);
        assert_eq!(window.poll(), None);
        assert!(matches!(
            window.arrival(1, b"next", path()),
            Arrival::Fresh(_)
        ));
    }

    #[test]
    fn message_ids_end_before_they_wrap() {
        let mut window = Window::new(POLICY);
        window.next = u32::MAX;
        assert!(!window.is_free());
        window.expected = u32::MAX;
        assert_eq!(window.arrival(u32::MAX, b"", path()), Arrival::OutOfWindow);
    }
}
