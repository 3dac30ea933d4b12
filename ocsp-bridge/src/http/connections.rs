//! The open connections: how many there may be, and which go first when there is no room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Instant;

use futures_util::task::AtomicWaker;

/// When there is no room, this share of all connections is closed at once (one in sixteen), so that the
/// search for them is paid for by many.
const EVICTED_SHARE: usize = 16;

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    room: usize,
    origin: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    listeners: u64,
    connections: HashMap<u64, Arc<Shared>>,
}

/// What a new connection found.
#[derive(Debug)]
pub(super) enum Admission {
    /// Room, after so many others were told to close.
    Admitted {
        /// Its entry; its place is free again when this is dropped.
        connection: Connection,
        /// How many were told to close.
        evicted: usize,
    },
    /// No room: every connection is being served at this moment.
    Refused,
}

impl Connections {
    pub(super) fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            room: room.max(1),
            origin: Instant::now(),
            open: Mutex::default(),
        })
    }

    /// A name for one more listener.
    pub(super) fn listener(&self) -> Listener {
        let mut open = self.open();
        open.listeners += 1;
        Listener(open.listeners)
    }

    /// Takes a new connection in. Without room, those that have waited for their client the longest go: a
    /// client that is slow, or idle, never keeps out one that is quick.
    pub(super) fn admit(self: &Arc<Self>, listener: Listener, now: Instant) -> Admission {
        let mut open = self.open();
        let mut evicted = 0;
        if open.connections.len() >= self.room {
            evicted = evict(&mut open.connections, self.room);
            if evicted == 0 {
                return Admission::Refused;
            }
        }
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        let shared = Arc::new(Shared {
            listener,
            waiting_since: AtomicU64::new(self.tick(now)),
            told: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        open.connections.insert(id, Arc::clone(&shared));
        Admission::Admitted {
            connection: Connection {
                table: Arc::clone(self),
                id,
                shared,
            },
            evicted,
        }
    }

    /// Tells all connections of a listener that stops to finish what is under way.
    pub(super) fn finish(&self, listener: Listener) {
        for shared in self.open().connections.values() {
            if shared.listener == listener {
                shared.tell(FINISH);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open().connections.len()
    }

    /// Milliseconds since the server began, from 1: 0 says that nobody is waited for.
    fn tick(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        let whole = since.as_secs().saturating_mul(1_000);
        whole.saturating_add(u64::from(since.subsec_millis()) + 1)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict(connections: &mut HashMap<u64, Arc<Shared>>, room: usize) -> usize {
    let mut waiting: Vec<(u64, u64)> = connections
        .iter()
        .map(|(&id, shared)| (shared.waiting_since.load(Ordering::Relaxed), id))
        .filter(|&(since, _)| since != SERVED)
        .collect();
    let count = (room / EVICTED_SHARE).max(1).min(waiting.len());
    if count < waiting.len() {
        waiting.select_nth_unstable(count);
    }
    for (_, id) in waiting.iter().take(count) {
        if let Some(shared) = connections.remove(id) {
            shared.tell(LEAVE);
        }
    }
    count
}

/// In `waiting_since`: the server works, the client waits.
const SERVED: u64 = 0;

/// The listener that a connection came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Listener(u64);

/// What a connection's task is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Finish what is under way: the server stops.
    Finish,
    /// Make room, now.
    Leave,
}

/// In `told`.
const FINISH: u8 = 1;
const LEAVE: u8 = 2;

#[derive(Debug)]
struct Shared {
    listener: Listener,
    waiting_since: AtomicU64,
    told: AtomicU8,
    waker: AtomicWaker,
}

impl Shared {
    fn tell(&self, what: u8) {
        self.told.fetch_or(what, Ordering::Release);
        self.waker.wake();
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    table: Arc<Connections>,
    id: u64,
    shared: Arc<Shared>,
}

impl Connection {
    /// What its task is told, if anything; otherwise the task is woken when it is.
    pub(super) fn told(&self, cx: &Context<'_>) -> Option<Told> {
        self.shared.waker.register(cx.waker());
        match self.shared.told.load(Ordering::Acquire) {
            0 => None,
            FINISH => Some(Told::Finish),
            _ => Some(Told::Leave),
        }
    }

    /// The whole request is here: from now on it is not the client that takes its time.
    pub(super) fn serving(&self) {
        self.shared.waiting_since.store(SERVED, Ordering::Relaxed);
    }

    /// The response is ready: the client may take it, and send its next request.
    pub(super) fn waiting(&self, now: Instant) {
        let tick = self.table.tick(now);
        self.shared.waiting_since.store(tick, Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.table.open().connections.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    const LISTENER: Listener = Listener(0);

    fn admitted(table: &Arc<Connections>, now: Instant) -> (Connection, usize) {
        match table.admit(LISTENER, now) {
            Admission::Admitted {
                connection,
                evicted,
            } => (connection, evicted),
            Admission::Refused => panic!("refused"),
        }
    }

    fn is_evicted(connection: &Connection) -> bool {
        let cx = Context::from_waker(Waker::noop());
        connection.told(&cx) == Some(Told::Leave)
    }

    #[test]
    fn those_who_kept_us_waiting_the_longest_go_first() {
        let start = Instant::now();
        let table = Connections::new(32);
        let mut open: Vec<Connection> = (0..32)
            .map(|i| admitted(&table, start + Duration::from_secs(i)).0)
            .collect();
        let at = start + Duration::from_secs(100);
        // The oldest has just been answered, the next is being served.
        open[0].waiting(at);
        open[1].serving();
        let (new, evicted) = admitted(&table, at);
        assert_eq!(evicted, 2);
        let gone: Vec<usize> = (0..32).filter(|&i| is_evicted(&open[i])).collect();
        assert_eq!(gone, [2, 3]);
        assert_eq!(table.len(), 31);
        assert!(!is_evicted(&new));
        // Dropping one that has lost its place takes nobody else's.
        open.remove(2);
        assert_eq!(table.len(), 31);
        drop((open, new));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn who_is_being_served_is_never_sent_away() {
        let now = Instant::now();
        let table = Connections::new(2);
        let (first, _) = admitted(&table, now);
        let (second, _) = admitted(&table, now);
        first.serving();
        second.serving();
        assert!(matches!(table.admit(LISTENER, now), Admission::Refused));
        second.waiting(now);
        assert_eq!(admitted(&table, now).1, 1);
        assert!(is_evicted(&second) && !is_evicted(&first));
    }

    #[test]
    fn a_listener_that_stops_tells_its_own() {
        let now = Instant::now();
        let table = Connections::new(8);
        let (ours, other) = (table.listener(), table.listener());
        let open: Vec<Connection> = [ours, other, ours]
            .into_iter()
            .filter_map(|listener| match table.admit(listener, now) {
                Admission::Admitted { connection, .. } => Some(connection),
                Admission::Refused => None,
            })
            .collect();
        table.finish(ours);
        let cx = Context::from_waker(Waker::noop());
        let told: Vec<_> = open.iter().map(|connection| connection.told(&cx)).collect();
        assert_eq!(told, [Some(Told::Finish), None, Some(Told::Finish)]);
        // Who must make room need not finish first.
        open[0].shared.tell(LEAVE);
        assert_eq!(open[0].told(&cx), Some(Told::Leave));
    }
}
