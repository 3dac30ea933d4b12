//! Many devices at once: open-loop or closed-loop arrival, pings, and an honest report.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ikev2::InitiatorConfig;

use crate::arrival::Arrival;
use crate::driver::{Driver, DriverConfig};
use crate::enrolment::DeviceIdentity;
use crate::profile::{self, DeviceProfile, ProfileError};
use crate::report::FleetReport;
use crate::shard::{DeviceEvent, DeviceId, GatewayTrust};
use crate::stats::Stats;

/// When devices start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At their own times, whether the gateway keeps up or not.
    Open(Arrival),
    /// As fast as the gateway lets them, with at most this many handshakes under way: finds its capacity,
    /// but says nothing about latency under a given load.
    Saturate {
        /// Handshakes under way, over all threads.
        in_flight: usize,
    },
}

/// A fleet run.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// The gateway's address and IKE port.
    pub gateway: SocketAddr,
    /// Which gateways to take for the right one.
    pub trust: GatewayTrust,
    /// What all devices have in common.
    pub profile: DeviceProfile,
    /// When they start.
    pub pace: Pace,
    /// Echo requests that each device sends, one after the other.
    pub pings: u16,
    /// Whom they go to.
    pub target: Ipv4Addr,
    /// How long all devices stay connected after the last of them is done.
    pub hold: Duration,
    /// Threads that play devices.
    pub threads: usize,
    /// UDP sockets of each thread.
    pub sockets: usize,
}

/// How far a run has come; may be read by another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Devices that are connected, or have been refused.
    pub decided: AtomicU64,
    /// Devices that are through with their pings, or were refused.
    pub done: AtomicU64,
}

/// Runs a fleet to its end, or until `stop` is set: then devices that are connected still say goodbye.
///
/// # Errors
///
/// [`FleetError`] when a device cannot be played, or the system gives no sockets or threads.
pub fn run(
    plan: &FleetPlan,
    identities: &[DeviceIdentity],
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<FleetReport, FleetError> {
    let threads = plan.threads.clamp(1, identities.len().max(1));
    let configs: Vec<Arc<InitiatorConfig>> = identities
        .iter()
        .map(|identity| plan.profile.prepare(identity))
        .collect::<Result<_, _>>()?;
    let times = match plan.pace {
        Pace::Open(arrival) => arrival.times(configs.len()),
        Pace::Saturate { .. } => vec![Duration::ZERO; configs.len()],
    };
    // Round robin, so that every thread sees the same rate.
    let mut shares: Vec<VecDeque<Start>> = vec![VecDeque::new(); threads];
    for (index, (config, after)) in configs.into_iter().zip(times).enumerate() {
        if let Some(share) = shares.get_mut(index % threads) {
            share.push_back(Start { config, after });
        }
    }
    let devices = identities.len() as u64;
    let epoch = Instant::now() + Duration::from_millis(20);
    let failed = AtomicBool::new(false);
    let signals = Signals {
        progress,
        stop,
        failed: &failed,
    };
    let outcomes: Vec<Result<Outcome, FleetError>> = std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    let alarm = Alarm(signals.failed);
                    let outcome =
                        Player::new(plan, threads, share, epoch, devices, signals)?.play()?;
                    alarm.disarm();
                    Ok(outcome)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(FleetError::Thread)))
            .collect()
    });
    let mut stats = Stats::default();
    let mut last = epoch;
    let mut send_failures = 0;
    for outcome in outcomes {
        let outcome = outcome?;
        stats.merge(&outcome.stats);
        last = last.max(outcome.last_established);
        send_failures += outcome.send_failures;
    }
    let open_loop = matches!(plan.pace, Pace::Open(_));
    Ok(FleetReport::new(
        devices,
        threads,
        &stats,
        last - epoch,
        send_failures,
        open_loop,
    ))
}

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A device cannot be played.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The system's words.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A thread ended by a fault of its own.
    #[error("a thread of the fleet ended by a fault in henb-sim; please report it")]
    Thread,
}

#[derive(Clone)]
struct Start {
    config: Arc<InitiatorConfig>,
    after: Duration,
}

struct Outcome {
    stats: Stats,
    last_established: Instant,
    send_failures: u64,
}

/// What the threads of a run tell each other.
#[derive(Clone, Copy)]
struct Signals<'a> {
    progress: &'a Progress,
    stop: &'a AtomicBool,
    /// A thread has failed: its devices will never be through, so nobody waits for them.
    failed: &'a AtomicBool,
}

/// Tells the other threads of this one's end, unless it ended well.
struct Alarm<'a>(&'a AtomicBool);

impl Alarm<'_> {
    fn disarm(self) {
        core::mem::forget(self);
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One thread's devices.
struct Player<'a> {
    plan: &'a FleetPlan,
    driver: Driver,
    starts: VecDeque<Start>,
    epoch: Instant,
    devices: u64,
    signals: Signals<'a>,
    in_flight: usize,
    most_in_flight: usize,
    pinging: BTreeMap<DeviceId, Pinging>,
    timeouts: VecDeque<(Instant, DeviceId, u16)>,
    connected: Vec<DeviceId>,
    stats: Stats,
    last_established: Instant,
}

struct Pinging {
    sequence: u16,
}

impl<'a> Player<'a> {
    fn new(
        plan: &'a FleetPlan,
        threads: usize,
        starts: VecDeque<Start>,
        epoch: Instant,
        devices: u64,
        signals: Signals<'a>,
    ) -> Result<Self, FleetError> {
        let config = DriverConfig {
            gateway: plan.gateway,
            sockets: plan.sockets,
            trust: plan.trust.clone(),
            staple: plan.profile.staple.clone(),
        };
        let most_in_flight = match plan.pace {
            Pace::Open(_) => usize::MAX,
            Pace::Saturate { in_flight } => in_flight.div_ceil(threads).max(1),
        };
        Ok(Self {
            plan,
            driver: Driver::new(&config, profile::endpoint_config())?,
            starts,
            epoch,
            devices,
            signals,
            in_flight: 0,
            most_in_flight,
            pinging: BTreeMap::new(),
            timeouts: VecDeque::new(),
            connected: Vec::new(),
            stats: Stats::default(),
            last_established: epoch,
        })
    }

    fn play(mut self) -> Result<Outcome, FleetError> {
        // Until this thread is through; then until all are, so that the load of one thread's goodbyes does not
        // fall on another's handshakes.
        while !self.is_through() && !self.must_stop() {
            self.start_due();
            self.turn(Instant::now() + IDLE)?;
        }
        while self.signals.progress.done.load(Ordering::Relaxed) < self.devices && !self.must_stop()
        {
            self.turn(Instant::now() + IDLE)?;
        }
        let hold_until = Instant::now() + self.plan.hold;
        while Instant::now() < hold_until && !self.must_stop() {
            self.turn(hold_until.min(Instant::now() + IDLE))?;
        }
        let stats = self.stats.clone();
        self.say_goodbye()?;
        Ok(Outcome {
            stats,
            last_established: self.last_established,
            send_failures: self.driver.send_failures(),
        })
    }

    /// Whether all that is known of the gateway is that it does not answer: then the rest of the fleet stays at home,
    /// instead of waiting out everybody's patience.
    fn is_hopeless(&self) -> bool {
        self.stats.established == 0
            && self.stats.refused.len() == 1
            && self
                .stats
                .refused
                .get("timeout")
                .is_some_and(|&count| count >= HOPELESS)
    }

    fn must_stop(&self) -> bool {
        self.signals.stop.load(Ordering::Relaxed) || self.signals.failed.load(Ordering::Relaxed)
    }

    fn is_through(&self) -> bool {
        self.starts.is_empty() && self.in_flight == 0 && self.pinging.is_empty()
    }

    fn start_due(&mut self) {
        if self.is_hopeless() {
            self.signals
                .progress
                .done
                .fetch_add(self.starts.len() as u64, Ordering::Relaxed);
            self.starts.clear();
        }
        while self.in_flight < self.most_in_flight {
            let now = Instant::now();
            let Some(start) = self.starts.front() else {
                return;
            };
            let open_loop = matches!(self.plan.pace, Pace::Open(_));
            let intended = if open_loop {
                self.epoch + start.after
            } else {
                now
            };
            if intended > now || now < self.epoch {
                return;
            }
            let Some(start) = self.starts.pop_front() else {
                return;
            };
            self.stats.attempted += 1;
            if open_loop {
                self.stats.lag.record(now - intended);
            }
            match self.driver.connect(start.config, intended) {
                Ok(_) => self.in_flight += 1,
                Err(error) => {
                    *self
                        .stats
                        .refused
                        .entry(format!("not-begun: {error}"))
                        .or_default() += 1;
                    self.signals
                        .progress
                        .decided
                        .fetch_add(1, Ordering::Relaxed);
                    self.signals.progress.done.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn turn(&mut self, until: Instant) -> io::Result<()> {
        let mut until = until;
        if self.in_flight < self.most_in_flight
            && let Some(start) = self.starts.front()
        {
            until = until.min(self.epoch + start.after);
        }
        if let Some((at, ..)) = self.timeouts.front() {
            until = until.min(*at);
        }
        self.driver.turn(until)?;
        while let Some(event) = self.driver.next_event() {
            self.handle(event);
        }
        self.give_up_pings();
        Ok(())
    }

    fn handle(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Connected {
                device, handshake, ..
            } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.stats.established += 1;
                self.stats.handshake.record(handshake);
                self.last_established = Instant::now();
                self.connected.push(device);
                self.signals
                    .progress
                    .decided
                    .fetch_add(1, Ordering::Relaxed);
                self.ping(device, 1);
            }
            DeviceEvent::Refused { cause, .. } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                *self.stats.refused.entry(cause.word).or_default() += 1;
                self.signals
                    .progress
                    .decided
                    .fetch_add(1, Ordering::Relaxed);
                self.signals.progress.done.fetch_add(1, Ordering::Relaxed);
            }
            DeviceEvent::EchoReply {
                device,
                sequence,
                round_trip,
            } => {
                if self
                    .pinging
                    .get(&device)
                    .is_some_and(|pinging| pinging.sequence == sequence)
                {
                    self.stats.pings_ok += 1;
                    self.stats.ping.record(round_trip);
                    self.ping_after(device, sequence);
                }
            }
            DeviceEvent::Closed { device, cause } => {
                *self.stats.lost.entry(cause.word).or_default() += 1;
                self.finish(device);
            }
            // Nobody but the target of our pings has a reason to send anything.
            DeviceEvent::Inner { .. } => {}
        }
    }

    /// Sends the device's next echo request, or finishes with it.
    fn ping(&mut self, device: DeviceId, sequence: u16) {
        self.pinging.insert(device, Pinging { sequence });
        if sequence > self.plan.pings {
            return self.finish(device);
        }
        self.stats.pings_sent += 1;
        if self.driver.ping(device, self.plan.target, sequence) {
            self.timeouts
                .push_back((Instant::now() + PING_TIMEOUT, device, sequence));
        } else {
            self.finish(device);
        }
    }

    fn ping_after(&mut self, device: DeviceId, sequence: u16) {
        match sequence.checked_add(1) {
            Some(next) => self.ping(device, next),
            None => self.finish(device),
        }
    }

    fn finish(&mut self, device: DeviceId) {
        if self.pinging.remove(&device).is_some() {
            self.signals.progress.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn give_up_pings(&mut self) {
        let now = Instant::now();
        while let Some(&(at, device, sequence)) = self.timeouts.front() {
            if at > now {
                break;
            }
            self.timeouts.pop_front();
            if self
                .pinging
                .get(&device)
                .is_some_and(|pinging| pinging.sequence == sequence)
            {
                self.ping_after(device, sequence);
            }
        }
    }

    /// Deletes every IKE SA and waits a while for the answers.
    fn say_goodbye(&mut self) -> io::Result<()> {
        let until = Instant::now() + GOODBYE;
        let mut waiting = 0usize;
        for device in std::mem::take(&mut self.connected) {
            self.driver.close(device);
            waiting += 1;
            // A few at a time: the answers need room in the sockets' buffers.
            if waiting.is_multiple_of(GOODBYE_BATCH) {
                self.driver.turn(Instant::now())?;
                while self.driver.next_event().is_some() {}
            }
        }
        let mut closed = 0usize;
        while closed < waiting && self.driver.open() > 0 && Instant::now() < until {
            self.driver.turn(until.min(Instant::now() + IDLE))?;
            while let Some(event) = self.driver.next_event() {
                closed += usize::from(matches!(event, DeviceEvent::Closed { .. }));
            }
        }
        Ok(())
    }
}

/// Devices without any answer before the others are not even tried.
const HOPELESS: u64 = 16;
const IDLE: Duration = Duration::from_millis(50);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_secs(3);
const GOODBYE_BATCH: usize = 64;
