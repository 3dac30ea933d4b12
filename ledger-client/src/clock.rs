//! The clock, handed in.

use std::time::Instant;

use crate::source::BoxFuture;

/// Tells the time and waits for it. Everything timed in this crate goes through one of these.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic time now.
    fn now(&self) -> Instant;

    /// Completes when [`now`](Self::now) has reached `at`, at once if it has already.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;
}

/// Tokio's clock: the machine's monotonic clock, or the test's where it is paused.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}
