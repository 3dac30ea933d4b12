//! What reaches a shard from other threads: commands, and datagrams that came in on another worker's
//! sockets.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Instant;

use ikev2::Path;
use ledger::Status;
use ledger_client::{Answer, Unavailable};
use tokio::sync::oneshot;

use crate::control::{SaSummary, Which};
use crate::registry::SaId;

/// Asks something of a shard. There is at most one for each presented peer, each live IKE SA and each
/// control request, so the queue of them is bounded by those.
#[derive(Debug)]
pub enum Command {
    /// The ledger's answer on a presented peer.
    Answer {
        /// The IKE SA that waits for it.
        sa: SaId,
        /// The answer.
        answer: Result<Answer, Unavailable>,
    },
    /// Close an IKE SA.
    Close {
        /// Which.
        sa: SaId,
        /// Why.
        cause: CloseCause,
    },
    /// Close those that match; tell how many.
    CloseAll {
        /// Which.
        which: Which,
        /// Where the number goes.
        reply: oneshot::Sender<usize>,
    },
    /// Tell the established IKE SAs.
    List {
        /// Where they go.
        reply: oneshot::Sender<Vec<SaSummary>>,
    },
    /// Close everything, and say when all is closed by ending the worker.
    Stop,
}

/// Why the gateway closes an IKE SA.
#[derive(Clone, Debug)]
pub enum CloseCause {
    /// The ledger does not hold its certificate valid any more.
    Ledger {
        /// The new status.
        status: Status,
        /// When the gateway heard of it.
        heard: Instant,
    },
    /// A newer IKE SA of the same identity stands; the peer knows the old one, and is told.
    Replaced {
        /// The newer one.
        by: SaId,
    },
    /// A newer IKE SA of the same identity said INITIAL_CONTACT: the peer has forgotten this one.
    InitialContact {
        /// The newer one.
        by: SaId,
    },
    /// Its child SA could not be installed.
    NoTunnel,
    /// `segw-sim close`.
    Operator,
    /// The gateway stops.
    Stopping,
}

impl CloseCause {
    /// One word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Ledger { status, .. } => status.as_str(),
            Self::Replaced { .. } => "replaced",
            Self::InitialContact { .. } => "initial-contact",
            Self::NoTunnel => "no-tunnel",
            Self::Operator => "operator",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger { status, .. } => {
                write!(f, "the ledger says: {}", crate::admission::describe(status))
            }
            Self::Replaced { by } => {
                write!(f, "replaced by the newer IKE SA {by} of the same identity")
            }
            Self::InitialContact { by } => {
                write!(f, "forgotten by the peer: INITIAL_CONTACT on IKE SA {by}")
            }
            Self::NoTunnel => f.write_str("its child SA could not be installed"),
            Self::Operator => f.write_str("closed by the operator"),
            Self::Stopping => f.write_str("the gateway is stopping"),
        }
    }
}

/// Traffic for a shard that came in at another one.
#[derive(Debug)]
pub enum Forwarded {
    /// An IKE message, without marker.
    Ike(Path, Vec<u8>),
    /// An ESP packet.
    Esp(Path, Vec<u8>),
    /// A packet from the inner network.
    Inner(Vec<u8>),
}

impl Forwarded {
    fn octets(&self) -> usize {
        match self {
            Self::Ike(_, octets) | Self::Esp(_, octets) | Self::Inner(octets) => octets.len(),
        }
    }
}

/// Wakes the worker that sleeps in its event loop.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// The sending end of a shard's mailbox.
#[derive(Clone)]
pub struct Mailbox {
    commands: Sender<Command>,
    traffic: SyncSender<Forwarded>,
    /// Of the traffic that waits.
    octets: Arc<AtomicUsize>,
    wake: Arc<Wake>,
    woken: Arc<AtomicBool>,
}

impl Mailbox {
    /// A mailbox, and the end that the shard's worker reads.
    pub fn new(wake: Wake) -> (Self, Letters) {
        let (commands, command_letters) = channel();
        let (traffic, traffic_letters) = sync_channel(MAX_FORWARDED);
        let woken = Arc::new(AtomicBool::new(false));
        let octets = Arc::new(AtomicUsize::new(0));
        let letters = Letters {
            commands: command_letters,
            traffic: traffic_letters,
            octets: Arc::clone(&octets),
            woken: Arc::clone(&woken),
        };
        let mailbox = Self {
            commands,
            traffic,
            octets,
            wake: Arc::new(wake),
            woken,
        };
        (mailbox, letters)
    }

    /// Sends a command. A worker that has ended takes none; what it held is gone with it.
    pub fn command(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake();
        }
    }

    /// Hands over traffic; false if the queue is full and it is dropped, as a congested link does.
    #[must_use]
    pub fn forward(&self, traffic: Forwarded) -> bool {
        let octets = traffic.octets();
        // Counted before it is sent, so that the reader never takes off what is not counted yet.
        let waiting = self.octets.fetch_add(octets, Ordering::AcqRel);
        let sent =
            waiting + octets <= MAX_FORWARDED_OCTETS && self.traffic.try_send(traffic).is_ok();
        if !sent {
            self.octets.fetch_sub(octets, Ordering::AcqRel);
        }
        self.wake();
        sent
    }

    fn wake(&self) {
        // One wake-up is enough for all that is sent until the worker looks.
        if !self.woken.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// The receiving end of a shard's mailbox.
#[derive(Debug)]
pub struct Letters {
    commands: Receiver<Command>,
    traffic: Receiver<Forwarded>,
    octets: Arc<AtomicUsize>,
    woken: Arc<AtomicBool>,
}

impl Letters {
    /// Call before emptying the queues: what is sent from now on wakes the worker again.
    pub fn opened(&self) {
        // A swap, not a store: it sees all that was sent before a wake-up that this one swallows.
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// The next command.
    pub fn command(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// The next piece of traffic.
    pub fn traffic(&self) -> Option<Forwarded> {
        let traffic = self.traffic.try_recv().ok()?;
        self.octets.fetch_sub(traffic.octets(), Ordering::AcqRel);
        Some(traffic)
    }
}

/// Datagrams and packets that wait for a shard at most; more are dropped.
const MAX_FORWARDED: usize = 4096;

/// And their octets: who sends the longest datagrams there are shall not fill the memory with them.
const MAX_FORWARDED_OCTETS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_traffic_is_bounded_in_number_and_in_octets() {
        for (length, fit) in [(65_000, MAX_FORWARDED_OCTETS / 65_000), (1, MAX_FORWARDED)] {
            let (mailbox, letters) = Mailbox::new(Box::new(|| {}));
            let packet = || Forwarded::Inner(vec![0; length]);
            for _ in 0..2 {
                let taken = (0..10_000).filter(|_| mailbox.forward(packet())).count();
                assert_eq!(taken, fit, "of {length} octets");
                while letters.traffic().is_some() {}
            }
        }
    }
}
