//! Look-ups under way, one for each CertID: whoever asks for the same meanwhile waits for the same one.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use ocsp::UnixTime;

use crate::cache::{Entry, Since};
use crate::source::{BoxFuture, Unavailable};

/// What a look-up comes to.
pub(super) type Outcome = Result<Arc<Entry>, Unavailable>;

/// The look-ups under way.
///
/// A look-up belongs to all who wait for it: it goes on while one of them is left, and is dropped with the last.
#[derive(Default)]
pub(super) struct Flights {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    under_way: HashMap<Box<[u8]>, Flight>,
}

struct Flight {
    number: u64,
    /// A look-up that a change has overtaken is not joined: what it finds may be from before.
    since: Since,
    began_at: UnixTime,
    outcome: WeakShared<BoxFuture<'static, Outcome>>,
}

impl Flights {
    /// Joins the look-up for these CertID octets, or begins one; whether it was joined. `None` when
    /// [`MAX_FLIGHTS`] others are under way.
    pub(super) fn board(
        self: &Arc<Self>,
        now: UnixTime,
        since: Since,
        cert_id: &[u8],
        begin: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Option<(Passenger, bool)> {
        let mut table = self.table();
        let passenger = |number, outcome| Passenger {
            flights: Arc::clone(self),
            cert_id: cert_id.into(),
            number,
            outcome: Some(outcome),
        };
        if let Some(flight) = table.under_way.get(cert_id)
            && flight.since == since
            // A clock that was set back must not make answers from the future.
            && flight.began_at <= now
            && let Some(outcome) = flight.outcome.upgrade()
        {
            return Some((passenger(flight.number, outcome), true));
        }
        if table.under_way.len() >= MAX_FLIGHTS {
            return None;
        }
        let outcome = begin().shared();
        // Only a future that has ended cannot be downgraded; this one was never polled.
        let weak = outcome.downgrade()?;
        let number = table.next;
        table.next = number.wrapping_add(1);
        let flight = Flight {
            number,
            since,
            began_at: now,
            outcome: weak,
        };
        table.under_way.insert(cert_id.into(), flight);
        Some((passenger(number, outcome), false))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("under_way", &self.table().under_way.len())
            .finish()
    }
}

/// One who waits for a look-up.
pub(super) struct Passenger {
    flights: Arc<Flights>,
    cert_id: Box<[u8]>,
    number: u64,
    /// There until the look-up has ended, or this is dropped.
    outcome: Option<Shared<BoxFuture<'static, Outcome>>>,
}

impl Future for Passenger {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(outcome) = &mut self.outcome else {
            return Poll::Pending;
        };
        let polled = Pin::new(outcome).poll(context);
        if polled.is_ready() {
            self.outcome = None;
        }
        polled
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        let has_ended = outcome.is_none();
        let mut table = self.flights.table();
        if let Some(flight) = table.under_way.get(&self.cert_id)
            && flight.number == self.number
        {
            // Within the lock, so that of two who leave at once the second sees that it is the last.
            drop(outcome);
            // Nobody needs to find a look-up that has ended: what came of it is in the cache.
            if has_ended || flight.outcome.upgrade().is_none() {
                table.under_way.remove(&self.cert_id);
            }
        }
    }
}

/// The most look-ups under way, whatever the source bounds: about 1 KiB each.
const MAX_FLIGHTS: usize = 16_384;
