//! The time that a request's head may take, without a timer of the runtime for each request.
//!
//! hyper starts a timer whenever it waits for a head, and drops it when the head is there. Here that costs two
//! stores: the deadline is written down until [`HeadTimer::head_is_here`], and the connection's one alarm looks at it when
//! it rings.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use super::clock;

/// hyper's timer for one connection.
#[derive(Clone, Debug)]
pub(super) struct HeadTimer(Arc<Head>);

#[derive(Debug)]
struct Head {
    origin: Instant,
    /// The coarse clock at that time.
    coarse: Duration,
    /// When the head must be there, in microseconds after `origin`; [`NONE`] while none is waited for.
    due: AtomicU64,
}

const NONE: u64 = u64::MAX;

impl HeadTimer {
    pub(super) fn new() -> Self {
        Self(Arc::new(Head {
            origin: Instant::now(),
            coarse: clock::monotonic(),
            due: AtomicU64::new(NONE),
        }))
    }

    /// When the head that is waited for must be there.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.0.due.load(Ordering::Relaxed) {
            NONE => None,
            due => Some(self.0.origin + Duration::from_micros(due)),
        }
    }

    /// None is waited for, until hyper starts the next timer.
    pub(super) fn head_is_here(&self) {
        self.0.due.store(NONE, Ordering::Relaxed);
    }

    fn set(&self, deadline: Instant) {
        let due = deadline.saturating_duration_since(self.0.origin);
        let due = u64::try_from(due.as_micros()).unwrap_or(NONE);
        self.0.due.store(due.min(NONE - 1), Ordering::Relaxed);
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn now(&self) -> Instant {
        self.0.origin + clock::monotonic().saturating_sub(self.0.coarse)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.set(deadline);
        // Of no size: nothing is allocated.
        Box::pin(HeadSleep)
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        // There is one deadline, and one sleep that stands for it.
        self.set(new_deadline);
    }
}

/// Never ends: the connection's alarm does.
#[derive(Debug)]
struct HeadSleep;

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_stands_until_the_head_is_here() {
        let timer = HeadTimer::new();
        assert_eq!(timer.due(), None);
        let deadline = timer.0.origin + Duration::from_secs(15);
        let mut sleep = timer.sleep_until(deadline);
        assert_eq!(timer.due(), Some(deadline));
        timer.reset(&mut sleep, deadline + Duration::from_secs(1));
        assert_eq!(timer.due(), Some(deadline + Duration::from_secs(1)));
        timer.head_is_here();
        assert_eq!(timer.due(), None);
        let passed = timer.now().saturating_duration_since(timer.0.origin);
        assert!(passed < Duration::from_secs(60), "{passed:?}");
    }
}
