//! The open connections: how many there may be, and which go first when there is no room.

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

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
            running: AtomicU8::new(IDLE),
            task: OnceLock::new(),
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

/// The most steps of a connection before others have their turn.
const STEPS: usize = 8;

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
    /// Whether the task runs; one of the three below.
    running: AtomicU8,
    /// A task's wakers are all the same, for as long as it lives.
    task: OnceLock<Waker>,
}

/// In `running`.
const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const WOKEN: u8 = 2;

impl Shared {
    fn tell(self: &Arc<Self>, what: u8) {
        self.told.fetch_or(what, Ordering::Release);
        self.wake_by_ref();
    }
}

/// Wakes the connection's task, but not by way of the scheduler while that task runs: a request's body and its reader
/// wake each other in one task.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if QUIET.get() == Arc::as_ptr(self) {
            return;
        }
        if self.running.swap(WOKEN, Ordering::AcqRel) == IDLE
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

thread_local! {
    /// The connection, if any, that this thread must not wake now.
    static QUIET: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Ends [`Connection::quietly`], also when that panics.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        QUIET.set(ptr::null());
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
    /// What its task is told, if anything.
    pub(super) fn told(&self) -> Option<Told> {
        match self.shared.told.load(Ordering::Acquire) {
            0 => None,
            FINISH => Some(Told::Finish),
            _ => Some(Told::Leave),
        }
    }

    /// What wakes the connection's task in [`poll`](Self::poll).
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    /// Takes steps with [`waker`](Self::waker) until one ends, or there is nothing to do. The task is woken when there is,
    /// or when it is told something. It must always be the same task.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        waker: &Waker,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let running = &self.shared.running;
        let task = self.shared.task.get_or_init(|| cx.waker().clone());
        debug_assert!(task.will_wake(cx.waker()), "one task for each connection");
        let mut inner = Context::from_waker(waker);
        for _ in 0..STEPS {
            // A swap, as everywhere: each reads what was there before, so that the step sees all that was done before
            // any of the wake-ups that it takes away. A store would not, and the step might find nothing to do.
            running.swap(RUNNING, Ordering::AcqRel);
            if let Poll::Ready(end) = step(&mut inner) {
                return Poll::Ready(end);
            }
            let idle = running.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if idle.is_ok() {
                return Poll::Pending;
            }
        }
        // Others have their turn, too.
        running.swap(IDLE, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does something that would wake the task, but does not: hyper's body wakes its other end, in the same task, for each
    /// piece that is taken out. Whoever calls this wakes the task if there is more to do. Wake-ups from other threads count.
    pub(super) fn quietly<T>(&self, done: impl FnOnce() -> T) -> T {
        QUIET.set(Arc::as_ptr(&self.shared));
        let _loud = Loud;
        done()
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
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
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
        connection.told() == Some(Told::Leave)
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
        let told: Vec<_> = open.iter().map(Connection::told).collect();
        assert_eq!(told, [Some(Told::Finish), None, Some(Told::Finish)]);
        // Who must make room need not finish first.
        open[0].shared.tell(LEAVE);
        assert_eq!(open[0].told(), Some(Told::Leave));
    }

    #[test]
    fn what_is_done_quietly_wakes_nobody_but_by_other_threads() {
        let (connection, _) = admitted(&Connections::new(1), Instant::now());
        let waker = connection.waker();
        let running = || connection.shared.running.load(Ordering::Relaxed);
        connection.quietly(|| waker.wake_by_ref());
        assert_eq!(running(), IDLE);
        let (other, _) = admitted(&Connections::new(1), Instant::now());
        connection.quietly(|| other.waker().wake_by_ref());
        assert_eq!(other.shared.running.load(Ordering::Relaxed), WOKEN);
        connection.quietly(|| {
            std::thread::scope(|scope| scope.spawn(|| waker.wake_by_ref()).join().unwrap());
        });
        assert_eq!(running(), WOKEN);
        connection.shared.running.store(IDLE, Ordering::Relaxed);
        let broken = catch_unwind(AssertUnwindSafe(|| {
            connection.quietly(|| panic!("broken"));
        }));
        assert!(broken.is_err());
        waker.wake_by_ref();
        assert_eq!(running(), WOKEN);
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        /// The scheduler: whether the task is to be polled.
        #[derive(Default)]
        struct Scheduled(AtomicBool);
        impl Wake for Scheduled {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Release);
            }
        }
        const ROUNDS: u64 = 200_000;
        /// Of a cache line each, and always in the other thread's cache: a store waits behind those to these, so that loads
        /// after it have time to be done before it, which is what processors do.
        #[derive(Default)]
        #[repr(align(128))]
        struct Far(AtomicU64);
        let far: [Far; 16] = Default::default();
        let touch = |round| {
            far.iter()
                .for_each(|far| far.0.store(round, Ordering::Relaxed))
        };
        let scheduled = Arc::new(Scheduled(AtomicBool::new(true)));
        let (connection, _) = admitted(&Connections::new(1), Instant::now());
        let (news, heard) = (Far::default(), AtomicU64::new(0));
        let news = &news.0;
        let lost = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waker = connection.waker();
            let (heard, lost, touch) = (&heard, &lost, &touch);
            // It wakes the task for nothing, so that it begins a turn, then changes what that turn looks at and wakes it again.
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    touch(round);
                    waker.wake_by_ref();
                    for _ in 0..round % 512 {
                        std::hint::black_box(round);
                    }
                    news.store(round, Ordering::Relaxed);
                    waker.wake_by_ref();
                    let began = Instant::now();
                    let mut spins = 0_u64;
                    while heard.load(Ordering::Relaxed) < round {
                        spins += 1;
                        if spins.is_multiple_of(1_024) {
                            std::thread::yield_now();
                            if began.elapsed() > Duration::from_secs(10) {
                                lost.store(true, Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                }
            });
            let outer = Waker::from(Arc::clone(&scheduled));
            let (cx, inner) = (Context::from_waker(&outer), connection.waker());
            let mut spins = 0_u64;
            while heard.load(Ordering::Relaxed) < ROUNDS && !lost.load(Ordering::Relaxed) {
                if scheduled.0.swap(false, Ordering::Acquire) {
                    touch(0);
                    let _turn = connection.poll(&cx, &inner, |_| {
                        heard.store(news.load(Ordering::Relaxed), Ordering::Relaxed);
                        Poll::<()>::Pending
                    });
                }
                spins += 1;
                if spins.is_multiple_of(1_024) {
                    std::thread::yield_now();
                }
            }
        });
        let heard = heard.into_inner();
        assert!(
            !lost.into_inner(),
            "a wake-up was lost after {heard} rounds"
        );
    }

    #[test]
    fn a_task_that_wakes_itself_goes_on_and_is_woken_from_outside() {
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken::default());
        let outer = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&outer);
        let count = || woken.0.load(Ordering::Relaxed);
        let (connection, _) = admitted(&Connections::new(1), Instant::now());
        let waker = connection.waker();
        // It wakes itself twice: three steps, and no turn of the scheduler.
        let mut steps = 0;
        let end = connection.poll(&cx, &waker, |cx| {
            steps += 1;
            if steps < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((end, steps, count()), (Poll::Pending, 3, 0));
        // From outside, once for all that comes before the next turn.
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(count(), 1);
        let end = connection.poll(&cx, &waker, |_| Poll::<()>::Pending);
        assert_eq!((end, count()), (Poll::Pending, 1));
        connection.shared.tell(LEAVE);
        assert_eq!(count(), 2);
        // Who never stops waking itself gives way.
        let mut steps = 0;
        let end = connection.poll(&cx, &waker, |cx| {
            steps += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((end, steps, count()), (Poll::Pending, STEPS, 3));
        assert_eq!(
            connection.poll(&cx, &waker, |_| Poll::Ready(7)),
            Poll::Ready(7)
        );
    }
}
