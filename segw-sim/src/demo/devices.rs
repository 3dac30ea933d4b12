//! The devices of the demo, over real UDP on loopback.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use henb_sim::driver::{Driver, DriverConfig};
use henb_sim::enrolment::DeviceIdentity;
use henb_sim::profile::{self, DeviceProfile};
use henb_sim::shard::{DeviceEvent, DeviceId, GatewayTrust};

use super::{DemoError, GATEWAY_NAME, WITHIN};
use crate::gateway::Gateway;

/// What the devices want to reach.
pub(super) const CORE_NETWORK: ipnet::Ipv4Net =
    ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, 0), 24);

/// All devices, on the calling thread.
#[derive(Debug)]
pub(super) struct Devices {
    driver: Driver,
    profile: DeviceProfile,
}

/// A device that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connected {
    pub(super) device: DeviceId,
    pub(super) handshake: Duration,
}

impl Devices {
    pub(super) fn new(
        gateway: &Gateway,
        trust: GatewayTrust,
        devices: u32,
    ) -> Result<Self, DemoError> {
        let config = DriverConfig {
            gateway: gateway.ike_address(),
            // Several, so that the system spreads them over the gateway's workers.
            sockets: usize::try_from(devices)
                .unwrap_or(MAX_SOCKETS)
                .clamp(1, MAX_SOCKETS),
            trust,
            staple: None,
        };
        Ok(Self {
            driver: Driver::new(&config, profile::endpoint_config())?,
            profile: DeviceProfile {
                gateway_identity: Some(GATEWAY_NAME.to_owned()),
                nat_port: gateway.nat_address().port(),
                networks: vec![CORE_NETWORK],
                patience: WITHIN,
                initial_contact: false,
                staple: None,
            },
        })
    }

    /// Connects all, some at a time, and tells how many are decided. Returns those that were let in.
    pub(super) fn connect_all(
        &mut self,
        identities: &[DeviceIdentity],
        mut progress: impl FnMut(u32),
    ) -> Result<Vec<Connected>, DemoError> {
        let mut connected = Vec::with_capacity(identities.len());
        let mut waiting = identities.iter();
        let (mut under_way, mut decided) = (0, 0);
        let mut until = Instant::now() + WITHIN;
        loop {
            while under_way < IN_FLIGHT
                && let Some(identity) = waiting.next()
            {
                let config = self.profile.prepare(identity)?;
                self.driver.connect(config, Instant::now())?;
                under_way += 1;
            }
            if under_way == 0 || Instant::now() >= until {
                return Ok(connected);
            }
            self.driver.turn(until)?;
            while let Some(event) = self.driver.next_event() {
                match event {
                    DeviceEvent::Connected {
                        device, handshake, ..
                    } => connected.push(Connected { device, handshake }),
                    DeviceEvent::Refused { .. } => {}
                    _ => continue,
                }
                under_way -= 1;
                decided += 1;
                until = Instant::now() + WITHIN;
                progress(decided);
            }
        }
    }

    /// One ping from each; returns how many were answered.
    pub(super) fn ping_all(
        &mut self,
        connected: &[Connected],
        target: Ipv4Addr,
    ) -> Result<usize, DemoError> {
        let mut answered = 0;
        // Not more at a time than the core network's queue takes.
        for some in connected.chunks(IN_FLIGHT) {
            let mut sent = 0;
            for one in some {
                sent += usize::from(self.driver.ping(one.device, target, 1));
            }
            let goal = answered + sent;
            self.wait_for(WITHIN, |event| {
                answered += usize::from(matches!(event, DeviceEvent::EchoReply { .. }));
                answered == goal
            })?;
        }
        Ok(answered)
    }

    /// Whether a device is refused by AUTHENTICATION_FAILED.
    pub(super) fn is_refused(&mut self, identity: &DeviceIdentity) -> Result<bool, DemoError> {
        let config = self.profile.prepare(identity)?;
        let this = self.driver.connect(config, Instant::now())?;
        let mut refused = false;
        self.wait_for(WITHIN, |event| match event {
            DeviceEvent::Connected { device, .. } => *device == this,
            DeviceEvent::Refused { device, cause } if *device == this => {
                refused = cause.word == "AUTHENTICATION_FAILED";
                true
            }
            _ => false,
        })?;
        Ok(refused)
    }

    /// Plays on until an event is the one that is waited for; false if none was in that time.
    pub(super) fn wait_for(
        &mut self,
        within: Duration,
        mut done: impl FnMut(&DeviceEvent) -> bool,
    ) -> Result<bool, DemoError> {
        let until = Instant::now() + within;
        loop {
            while let Some(event) = self.driver.next_event() {
                if done(&event) {
                    return Ok(true);
                }
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            self.driver.turn(until)?;
        }
    }

    /// These say goodbye, and wait a moment for the gateway to say so too.
    pub(super) fn close_all(&mut self, connected: &[Connected]) -> Result<(), DemoError> {
        for one in connected {
            self.driver.close(one.device);
        }
        let mut left = connected.len();
        if left == 0 {
            return Ok(());
        }
        self.wait_for(FAREWELL, |event| {
            left = left.saturating_sub(usize::from(matches!(event, DeviceEvent::Closed { .. })));
            left == 0
        })?;
        Ok(())
    }
}

/// Sockets over which the devices are spread.
const MAX_SOCKETS: usize = 16;

/// Handshakes or pings under way at one time.
const IN_FLIGHT: usize = 64;

/// How long the devices wait for answers to their Deletes.
const FAREWELL: Duration = Duration::from_secs(1);
