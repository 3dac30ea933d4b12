//! Closing IKE_SAs, beside everything else.
//!
//! Before charon terminates one IKE_SA it looks at all of them, and waits for each that is busy: one whose peer's
//! status it is just asking about is busy as long as the OCSP responder takes. Closings at the same time wait
//! together, each in a thread of charon's. So there is one at a time as long as each is quick, and when not, as many
//! as half of its threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, ViciError};
use super::message::Section;
use super::table::IkeSa;

/// An IKE_SA to be closed.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) sa: IkeSa,
    /// When the event came that closes it; none when it is closed for what was the case before.
    pub(super) noticed: Option<Instant>,
    /// The name of the reason, for metrics.
    pub(super) reason: &'static str,
    /// The time of the block that revoked or suspended, in milliseconds, where an event told of it.
    pub(super) block_ms: Option<u64>,
}

/// The closings that wait and those that are under way.
#[derive(Debug)]
pub(super) struct Closer {
    socket: PathBuf,
    waiting: VecDeque<Order>,
    /// The IKE_SAs that wait or are under way: a listing may name them again.
    ordered: HashSet<u64>,
    idle: Vec<Connection>,
    /// The most at one time.
    most: usize,
    /// Whether the daemon takes its time: then they do not wait for each other.
    is_slow: bool,
    /// When the last one was begun.
    begun: Instant,
    under_way: JoinSet<Closed>,
    /// What each task is for: one that panicked does not tell.
    tasks: HashMap<task::Id, (Order, Instant)>,
}

/// What a closing's task leaves: its connection, when that is of use any more, and what came of it.
type Closed = (Option<Connection>, Result<(), ViciError>);

impl Closer {
    /// For a daemon with so many threads, where it tells.
    pub(super) fn new(socket: &Path, threads: Option<u64>) -> Self {
        let threads = threads.map_or(USUAL_THREADS, |threads| {
            usize::try_from(threads).unwrap_or(usize::MAX)
        });
        Self {
            socket: socket.to_path_buf(),
            waiting: VecDeque::new(),
            ordered: HashSet::new(),
            idle: Vec::new(),
            // Some must be left for handshakes, for which these wait.
            most: (threads / 2).clamp(1, MAX_UNDER_WAY),
            is_slow: false,
            begun: Instant::now(),
            under_way: JoinSet::new(),
            tasks: HashMap::new(),
        }
    }

    /// How many are not done.
    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(super) fn push(&mut self, order: Order) {
        if self.ordered.insert(order.sa.id) {
            self.waiting.push_back(order);
            self.start();
        }
    }

    /// The next that is done; waits for ever when there is none. Can be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> (Order, Result<(), ViciError>) {
        loop {
            self.start();
            let may_be_late = !self.is_slow && !self.waiting.is_empty();
            let joined = tokio::select! {
                Some(joined) = self.under_way.join_next_with_id() => joined,
                () = sleep_until(self.begun + QUICK), if may_be_late => {
                    self.is_slow = true;
                    continue;
                }
                else => core::future::pending().await,
            };
            let (task, (connection, outcome)) = match joined {
                Ok(closed) => closed,
                Err(error) => (error.id(), (None, Err(ViciError::Died("terminate")))),
            };
            if let Some((order, begun)) = self.tasks.remove(&task) {
                if begun.elapsed() >= QUICK {
                    self.is_slow = true;
                } else if self.under_way.is_empty() {
                    self.is_slow = false;
                }
                // Whatever came of it: a listing that names the IKE_SA again has it ordered again.
                self.ordered.remove(&order.sa.id);
                self.idle.extend(connection);
                self.start();
                return (order, outcome);
            }
        }
    }

    fn start(&mut self) {
        let room = if self.is_slow { self.most } else { 1 };
        while self.under_way.len() < room
            && let Some(order) = self.waiting.pop_front()
        {
            self.begun = Instant::now();
            let (socket, mut connection, id) = (self.socket.clone(), self.idle.pop(), order.sa.id);
            self.spawn(order, async move {
                let outcome = terminate(&socket, &mut connection, id).await;
                if !matches!(outcome, Ok(()) | Err(ViciError::Refused { .. })) {
                    connection = None;
                }
                (connection, outcome)
            });
        }
    }

    fn spawn(&mut self, order: Order, closing: impl Future<Output = Closed> + Send + 'static) {
        let task = self.under_way.spawn(closing);
        self.tasks.insert(task.id(), (order, self.begun));
    }
}

async fn terminate(socket: &Path, idle: &mut Option<Connection>, id: u64) -> Result<(), ViciError> {
    let connection = match idle {
        Some(connection) => connection,
        None => idle.insert(Connection::open(socket).await?),
    };
    // Forced: a Delete is sent and no answer awaited, so that a peer that is silent stays in no longer. Without a
    // time-out charon would leave the work to another of its threads, behind all handshakes that wait for one.
    let arguments = Section::new()
        .with("ike-id", id.to_string())
        .with("force", "yes")
        .with("timeout", "-1");
    connection
        .command_within(PATIENCE, "terminate", &arguments, |_, _| {})
        .await?;
    Ok(())
}

/// The threads of a daemon that does not tell: charon's own default.
const USUAL_THREADS: usize = 16;

/// The most at one time, however many threads the daemon has: each is a connection.
const MAX_UNDER_WAY: usize = 128;

/// After how long one is late.
const QUICK: Duration = Duration::from_millis(50);

/// How long the daemon may take for one. OCSP responders of several URLs may be as slow as ten seconds each.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use ocsp::UnixTime;

    use super::*;

    fn order(id: u64) -> Order {
        Order {
            sa: IkeSa {
                id,
                connection: "c".to_owned(),
                identity: "a.test".to_owned(),
                established: UnixTime(1),
            },
            noticed: None,
            reason: "certificate",
            block_ms: None,
        }
    }

    #[tokio::test]
    async fn one_whose_task_panicked_is_told_and_can_be_ordered_again() {
        let mut closer = Closer::new(Path::new("nowhere"), None);
        closer.ordered.insert(7);
        closer.spawn(order(7), async { panic!("for the test") });
        let (told, outcome) = closer.next().await;
        assert_eq!(told.sa.id, 7);
        assert!(matches!(outcome, Err(ViciError::Died(_))), "{outcome:?}");
        assert_eq!(closer.len(), 0);
        closer.push(order(7));
        assert_eq!(closer.len(), 1);
        // There is no daemon; but it was asked for.
        let (told, outcome) = closer.next().await;
        assert_eq!(told.sa.id, 7);
        assert!(
            matches!(outcome, Err(ViciError::Connect { .. })),
            "{outcome:?}"
        );
    }
}
