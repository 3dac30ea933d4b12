//! One device, as a person would use it: connect, ping or carry a TUN, say goodbye.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use esp::userspace::{Tun, TunConfig, TunError};
use ipnet::IpNet;
use serde::Serialize;

use crate::driver::{Driver, DriverConfig};
use crate::enrolment::DeviceIdentity;
use crate::profile::{self, DeviceProfile, ProfileError};
use crate::shard::{Cause, DeviceEvent, DeviceId, GatewayTrust};
use crate::stats::{Latencies, Percentiles};

/// What one device does.
#[derive(Clone, Debug)]
pub struct ConnectPlan {
    /// The gateway's address and IKE port.
    pub gateway: SocketAddr,
    /// Which gateways to take for the right one.
    pub trust: GatewayTrust,
    /// Gateway identity, networks, patience.
    pub profile: DeviceProfile,
    /// Whom to ping, if anybody.
    pub target: Option<Ipv4Addr>,
    /// How many echo requests; none means until stopped.
    pub count: Option<u16>,
    /// From one echo request to the next.
    pub interval: Duration,
    /// The name of a TUN device to make for the tunnel's inner side, and its MTU.
    pub tun: Option<(String, u16)>,
}

/// What happened, as it happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The tunnel stands.
    Connected {
        /// Our inner address.
        inner: Ipv4Addr,
        /// How long it took.
        handshake: Duration,
    },
    /// An echo request was answered.
    Reply {
        /// Its sequence number.
        sequence: u16,
        /// How long it took.
        round_trip: Duration,
    },
    /// An echo request was not answered within a second.
    NoReply {
        /// Its sequence number.
        sequence: u16,
    },
    /// The TUN device is there.
    TunReady {
        /// Its name.
        name: String,
    },
}

/// What the device came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ConnectReport {
    /// Whether the tunnel stood.
    pub established: bool,
    /// The inner address that the gateway gave.
    pub inner_address: Option<Ipv4Addr>,
    /// How long the handshake took, in milliseconds.
    pub handshake_ms: Option<f64>,
    /// Echo requests sent.
    pub pings_sent: u64,
    /// Echo replies received.
    pub pings_ok: u64,
    /// Echo round trips, in milliseconds.
    pub ping_ms: Option<Percentiles>,
    /// Why the device was not let in, or why its tunnel ended before we ended it.
    pub cause: Option<String>,
    /// The same at length.
    pub cause_text: Option<String>,
}

impl ConnectReport {
    /// The tunnel stood until we ended it, and every echo request was answered.
    pub fn all_well(&self) -> bool {
        self.established && self.cause.is_none() && self.pings_ok == self.pings_sent
    }

    fn end(&mut self, cause: Cause) {
        self.cause = Some(cause.word);
        self.cause_text = Some(cause.sentence);
    }
}

/// Plays one device until its pings are done, its tunnel is closed, or `stop` is set.
///
/// # Errors
///
/// [`ConnectError`] when the device cannot be played; a refusal by the gateway is no error but in the report.
pub fn run(
    plan: &ConnectPlan,
    identity: &DeviceIdentity,
    stop: &AtomicBool,
    mut tell: impl FnMut(Step),
) -> Result<ConnectReport, ConnectError> {
    let config = plan.profile.prepare(identity)?;
    let mut driver = Driver::new(
        &DriverConfig {
            gateway: plan.gateway,
            sockets: 1,
            trust: plan.trust.clone(),
            staple: plan.profile.staple.clone(),
        },
        profile::endpoint_config(),
    )?;
    let device = driver
        .connect(config, Instant::now())
        .map_err(|e| ConnectError::Begin(e.to_string()))?;
    let mut report = ConnectReport::default();
    let mut round_trips = Latencies::default();
    let mut pinger = Pinger::new(plan);
    let mut over = false;
    while !over && !stop.load(Ordering::Relaxed) {
        driver.turn(pinger.next(Instant::now() + IDLE))?;
        while let Some(event) = driver.next_event() {
            match event {
                DeviceEvent::Connected {
                    inner, handshake, ..
                } => {
                    report.established = true;
                    report.inner_address = Some(inner);
                    report.handshake_ms = Some(handshake.as_secs_f64() * 1000.0);
                    tell(Step::Connected { inner, handshake });
                    if let Some((name, mtu)) = &plan.tun {
                        let mut config = TunConfig::default();
                        config.name = Some(name.clone());
                        config.mtu = *mtu;
                        config.addresses = vec![IpNet::from(IpAddr::V4(inner))];
                        let attached = Tun::create(&config)
                            .map_err(ConnectError::from)
                            .and_then(|tun| Ok(driver.attach(device, Box::new(tun))?));
                        if let Err(error) = attached {
                            // The gateway need not keep what is of no use here.
                            say_goodbye(&mut driver, device)?;
                            return Err(error);
                        }
                        tell(Step::TunReady { name: name.clone() });
                    }
                    pinger.begin(Instant::now());
                }
                DeviceEvent::EchoReply {
                    sequence,
                    round_trip,
                    ..
                } => {
                    if pinger.answered(sequence) {
                        report.pings_ok += 1;
                        round_trips.record(round_trip);
                        tell(Step::Reply {
                            sequence,
                            round_trip,
                        });
                    }
                }
                DeviceEvent::Refused { cause, .. } | DeviceEvent::Closed { cause, .. } => {
                    report.end(cause);
                    over = true;
                }
                DeviceEvent::Inner { .. } => {}
            }
        }
        match pinger.turn(Instant::now()) {
            Turn::Wait => {}
            Turn::Ping { missed, sequence } => {
                if let Some(sequence) = missed {
                    tell(Step::NoReply { sequence });
                }
                report.pings_sent += 1;
                if let Some(target) = plan.target {
                    driver.ping(device, target, sequence);
                }
            }
            Turn::Done { missed } => {
                if let Some(sequence) = missed {
                    tell(Step::NoReply { sequence });
                }
                over = true;
            }
        }
    }
    report.ping_ms = round_trips.percentiles();
    say_goodbye(&mut driver, device)?;
    Ok(report)
}

/// Why a device cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The IKE SA could not be begun.
    #[error("cannot begin: {0}")]
    Begin(String),
    /// Its key or certificate is no good.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The system's words.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The TUN device could not be made.
    #[error(transparent)]
    Tun(#[from] TunError),
}

fn say_goodbye(driver: &mut Driver, device: DeviceId) -> io::Result<()> {
    driver.close(device);
    let until = Instant::now() + GOODBYE;
    while driver.open() > 0 && Instant::now() < until {
        driver.turn(until)?;
        while let Some(event) = driver.next_event() {
            if matches!(event, DeviceEvent::Closed { .. }) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// When to send which echo request.
#[derive(Debug)]
struct Pinger {
    wanted: bool,
    count: Option<u16>,
    interval: Duration,
    sequence: u16,
    waiting: bool,
    due: Option<Instant>,
}

#[derive(Debug, Eq, PartialEq)]
enum Turn {
    Wait,
    Ping { missed: Option<u16>, sequence: u16 },
    Done { missed: Option<u16> },
}

impl Pinger {
    fn new(plan: &ConnectPlan) -> Self {
        Self {
            wanted: plan.target.is_some(),
            count: plan.count,
            interval: plan.interval,
            sequence: 0,
            waiting: false,
            due: None,
        }
    }

    fn begin(&mut self, now: Instant) {
        // Without a target there is nothing to do but to keep the tunnel, if it has a TUN, or to leave.
        self.due = Some(now);
    }

    fn answered(&mut self, sequence: u16) -> bool {
        let expected = self.waiting && sequence == self.sequence;
        if expected {
            self.waiting = false;
        }
        if expected && self.count == Some(self.sequence) {
            // The last one is answered: no need to wait out the interval.
            self.due = self
                .due
                .map(|due| due - self.interval.min(Duration::from_secs(3600)));
        }
        expected
    }

    fn next(&self, latest: Instant) -> Instant {
        self.due.map_or(latest, |due| due.min(latest))
    }

    fn turn(&mut self, now: Instant) -> Turn {
        if !self.wanted || self.due.is_none_or(|due| due > now) {
            return Turn::Wait;
        }
        let missed = self.waiting.then_some(self.sequence);
        if self.count.is_some_and(|count| self.sequence >= count) || self.sequence == u16::MAX {
            return Turn::Done { missed };
        }
        self.sequence += 1;
        self.waiting = true;
        // The last one gets the time that an answer may take.
        let wait = if self.count == Some(self.sequence) {
            self.interval.max(LAST_REPLY)
        } else {
            self.interval
        };
        self.due = Some(now + wait);
        Turn::Ping {
            missed,
            sequence: self.sequence,
        }
    }
}

const IDLE: Duration = Duration::from_millis(100);
const LAST_REPLY: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn pinger(count: Option<u16>) -> Pinger {
        Pinger {
            wanted: true,
            count,
            interval: Duration::from_millis(200),
            sequence: 0,
            waiting: false,
            due: None,
        }
    }

    #[test]
    fn pings_follow_each_other_and_end_with_the_count() {
        let start = Instant::now();
        let mut pinger = pinger(Some(2));
        assert_eq!(
            pinger.turn(start),
            Turn::Wait,
            "not before the tunnel stands"
        );
        pinger.begin(start);
        assert_eq!(
            pinger.turn(start),
            Turn::Ping {
                missed: None,
                sequence: 1
            }
        );
        assert_eq!(pinger.turn(start), Turn::Wait);
        let later = start + Duration::from_millis(200);
        assert_eq!(
            pinger.turn(later),
            Turn::Ping {
                missed: Some(1),
                sequence: 2
            }
        );
        assert!(!pinger.answered(1), "too late");
        assert!(pinger.answered(2));
        assert!(!pinger.answered(2), "a duplicate");
        assert_eq!(pinger.turn(later + LAST_REPLY), Turn::Done { missed: None });
    }

    #[test]
    fn a_last_ping_without_an_answer_is_told() {
        let start = Instant::now();
        let mut pinger = pinger(Some(1));
        pinger.begin(start);
        assert!(matches!(pinger.turn(start), Turn::Ping { .. }));
        assert_eq!(
            pinger.turn(start + LAST_REPLY),
            Turn::Done { missed: Some(1) }
        );
    }
}
