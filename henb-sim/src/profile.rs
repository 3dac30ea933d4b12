//! How a device behaves as an IKE initiator: what turns an identity into a configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ikev2::auth::{Identification, Pkcs8Credential, ProfileVerifier, TimeProvider, UnixTime};
use ikev2::wire::TrafficSelector;
use ikev2::{Admission, ChildConfig, EndpointConfig, InitiatorConfig, RetransmitPolicy};
use ipnet::Ipv4Net;

use crate::enrolment::DeviceIdentity;
use crate::staple::StaplePolicy;

/// What all devices of a run have in common.
#[derive(Clone, Debug)]
pub struct DeviceProfile {
    /// The identity that the gateway must prove, an FQDN. None takes any that is in its certificate.
    pub gateway_identity: Option<String>,
    /// The gateway's port for IKE and ESP in UDP, usually 4500.
    pub nat_port: u16,
    /// The networks behind the gateway that the device wants to reach.
    pub networks: Vec<Ipv4Net>,
    /// How long a device tries before it gives up.
    pub patience: Duration,
    /// Whether to say that this is the device's only IKE SA (INITIAL_CONTACT).
    pub initial_contact: bool,
    /// How an OCSP response about the gateway's certificate is asked for and judged (RFC 4806), if it is.
    pub staple: Option<Arc<StaplePolicy>>,
}

impl DeviceProfile {
    /// The configuration of one device. It parses the key, so make it before the clock runs.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] names the device, and what its key, certificate or networks lack.
    pub fn prepare(&self, identity: &DeviceIdentity) -> Result<Arc<InitiatorConfig>, ProfileError> {
        let fault = |reason: String| ProfileError {
            name: identity.name.clone(),
            reason,
        };
        let credential = Pkcs8Credential::from_der(
            identity.chain.clone(),
            identity.key.as_ref(),
            Identification::fqdn(&identity.name),
        )
        .map_err(|e| fault(e.to_string()))?;
        let any = Ipv4Net::default();
        let child = ChildConfig::new(
            vec![selector(any)],
            self.networks
                .iter()
                .map(|&network| selector(network))
                .collect(),
        )
        .map_err(|e| fault(e.to_string()))?;
        let config = InitiatorConfig::new(
            Arc::new(credential),
            Arc::new(ProfileVerifier::new(ikev2::crypto::ring_provider())),
            child,
        )
        .map_err(|e| fault(e.to_string()))?
        .request_address(true)
        .initial_contact(self.initial_contact)
        .encapsulation_ports(None, self.nat_port)
        .admission(Admission::ByApplication {
            within: Duration::from_secs(10),
        })
        .retransmit(RetransmitPolicy {
            initial: Duration::from_secs(1),
            transmissions: transmissions_within(self.patience),
            ..RetransmitPolicy::default()
        });
        let config = match &self.staple {
            Some(staple) => config.request_ocsp(staple.request()),
            None => config,
        };
        Ok(Arc::new(match &self.gateway_identity {
            Some(name) => config.remote_identity(Identification::fqdn(name)),
            None => config,
        }))
    }
}

/// The endpoint of a device that shares one socket for IKE and ESP in UDP.
pub fn endpoint_config() -> EndpointConfig {
    EndpointConfig::new(
        Arc::new(ikev2::crypto::ring_provider()),
        Arc::new(SystemClock),
    )
    .force_udp_encapsulation(true)
}

/// A device that cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("device \"{name}\": {reason}")]
pub struct ProfileError {
    name: String,
    reason: String,
}

/// The machine's wall clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl TimeProvider for SystemClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_epoch(since))
    }
}

fn selector(network: Ipv4Net) -> TrafficSelector {
    TrafficSelector {
        protocol: 0,
        ports: (0, u16::MAX),
        addresses: (network.network().into(), network.broadcast().into()),
    }
}

/// How many transmissions with waits of 1, 2, 4, ... seconds (at most 30) fit into this time.
fn transmissions_within(patience: Duration) -> u32 {
    let mut wait = Duration::from_secs(1);
    let mut total = wait;
    let mut transmissions = 1;
    while total < patience && transmissions < 64 {
        wait = (wait * 2).min(Duration::from_secs(30));
        total += wait;
        transmissions += 1;
    }
    transmissions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_counted_in_doubling_waits() {
        for (seconds, transmissions) in [(0, 1), (1, 1), (2, 2), (3, 2), (7, 3), (15, 4), (61, 6)] {
            assert_eq!(
                transmissions_within(Duration::from_secs(seconds)),
                transmissions,
                "{seconds} s"
            );
        }
    }
}
