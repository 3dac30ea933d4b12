//! The quick start: a consortium's ledger, a gateway and some devices on one machine, with no
//! privilege and no configuration. Everything is what the programs use; only the ledger is embedded,
//! and the core network is inside the process.

mod consortium;
mod devices;
mod report;

use core::fmt;
use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use henb_sim::enrolment::{DeviceIdentity, EnrolmentError, KeyKind};
use henb_sim::profile::ProfileError;
use henb_sim::shard::{DeviceEvent, GatewayTrust};
use ikev2::InitiateError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger_client::{EmbeddedSource, Source};

use self::consortium::Consortium;
pub use self::consortium::ConsortiumError;
use self::devices::Devices;
pub use self::report::{HandshakeMs, Report};
use crate::config::{
    Backend, ChildPolicy, Config, EspConfig, IdentityFiles, IkePolicy, LedgerPolicy, Limits,
    Listen, PoolConfig, default_workers,
};
use crate::credential::identification;
use crate::gateway::{Gateway, StartError};

/// The most devices that the demo plays.
pub const MAX_DEVICES: u32 = 10_000;

/// What the demo is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many devices are enrolled and connect.
    pub devices: u32,
    /// Whether to tell what happens, on standard error.
    pub narrate: bool,
}

/// Plays the demo to its end.
///
/// # Errors
///
/// [`DemoError`] when it could not be played. That something came out otherwise than it should is no
/// error: [`Report::failures`] tells.
pub fn run(plan: Plan) -> Result<Report, DemoError> {
    let teller = Teller { on: plan.narrate };
    let mut report = Report::new(plan.devices);

    teller.tell(
        "a ledger with two members: the manufacturer Example Femto and the operator Example Mobile",
    );
    let consortium = Consortium::found()?;

    let bar = teller.bar("enrolling", plan.devices);
    let identities = henb_sim::enrolment::make(
        plan.devices,
        REALM,
        consortium::MANUFACTURER,
        KeyKind::P256,
        |done| {
            bar.set_position(done.into());
        },
    )?;
    bar.finish_and_clear();
    let special = |name: &str| {
        DeviceIdentity::self_signed(
            &format!("{name}.{REALM}"),
            consortium::MANUFACTURER,
            KeyKind::P256,
        )
    };
    let (stranger, suspended, genuine) = (
        special("never-recorded")?,
        special("suspended")?,
        special("altered")?,
    );
    let gateway_card =
        DeviceIdentity::self_signed(GATEWAY_NAME, consortium::OPERATOR, KeyKind::P256)?;
    consortium.enrol_devices(identities.iter().chain([&suspended, &genuine]))?;
    consortium.enrol_gateway(&gateway_card)?;
    consortium.suspend(suspended.hash())?;
    teller.tell(&format!(
        "the manufacturer has endorsed {} certificates and submitted them; one more is suspended, one is never submitted",
        plan.devices + 1
    ));

    let credential = ikev2::auth::Pkcs8Credential::from_der(
        gateway_card.chain.clone(),
        gateway_card.key.as_ref(),
        identification(GATEWAY_NAME),
    )
    .map_err(DemoError::Credential)?;
    let source: Arc<dyn Source> = Arc::new(EmbeddedSource::new(consortium.inquiry()));
    let gateway = Gateway::start(&config(plan.devices), Arc::new(credential), vec![source])?;
    teller.tell(&format!(
        "the gateway listens on {} and {}, with {} worker threads",
        gateway.ike_address(),
        gateway.nat_address(),
        default_workers()
    ));

    let trust = GatewayTrust::Pinned(HashSet::from([gateway_card.hash()]));
    let mut devices = Devices::new(&gateway, trust, plan.devices)?;
    let bar = teller.bar("connecting", plan.devices);
    let connected = devices.connect_all(&identities, |done| bar.set_position(done.into()))?;
    bar.finish_and_clear();
    report.take_handshakes(connected.iter().map(|one| one.handshake));
    teller.tell(&format!(
        "{} of {} devices are connected",
        connected.len(),
        plan.devices
    ));

    report.pings_ok = devices.ping_all(&connected, CORE)?;
    teller.tell(&format!(
        "{} of {} pings to {CORE} through the tunnels were answered",
        report.pings_ok,
        connected.len()
    ));

    // The name of a wrong organisation, in a certificate that the manufacturer has signed otherwise.
    let altered = alter(&genuine);
    for (identity, what, label) in [
        (
            &stranger,
            "a device whose certificate was never recorded",
            "not-recorded",
        ),
        (
            &suspended,
            "a device whose certificate is suspended",
            "suspended",
        ),
        (
            &altered,
            "a device whose certificate was altered",
            "certificate",
        ),
    ] {
        let refused = devices.is_refused(identity)?;
        let counted = gateway.snapshot().refused.get(label).copied().unwrap_or(0);
        if refused && counted == 1 {
            report.refused.insert(label.to_owned(), counted);
            teller.tell(&format!("{what} is refused: the gateway says \"{label}\", the device hears AUTHENTICATION_FAILED"));
        } else {
            report.fail(format!("{what} was not refused as \"{label}\""));
        }
    }

    if let Some(one) = connected.first()
        // Devices are numbered in the order in which they began, which is that of the identities.
        && let Some(identity) = identities.get(one.device.index())
    {
        let since = Instant::now();
        let revocation = consortium.revoke_in_background(identity.hash());
        let closed = devices.wait_for(
            WITHIN,
            |event| matches!(event, DeviceEvent::Closed { device, .. } if *device == one.device),
        )?;
        let took = since.elapsed();
        consortium.finish(revocation)?;
        if closed {
            let ms = report::milliseconds(took);
            report.closed_by_revocation = 1;
            report.revocation_to_close_ms = Some(ms);
            teller.tell(&format!(
                "one certificate is revoked; its tunnel was closed {ms:.1} ms later"
            ));
        } else {
            report.fail("the tunnel of a revoked certificate was not closed".to_owned());
        }
        let others = connected.len() - 1;
        let left = gateway.sas().len();
        if left != others {
            report.fail(format!(
                "{left} tunnels are left after the revocation of one, expected {others}"
            ));
        }
    }
    report.judge();
    let still_open = connected
        .get(report.closed_by_revocation..)
        .unwrap_or_default();
    devices.close_all(still_open)?;
    gateway.stop();
    Ok(report)
}

/// One letter of the organisation is changed after the certificate was signed. The key is the right one.
fn alter(identity: &DeviceIdentity) -> DeviceIdentity {
    let mut altered = identity.clone();
    let organisation = consortium::MANUFACTURER.as_bytes();
    for certificate in &mut altered.chain {
        let places: Vec<usize> = certificate
            .windows(organisation.len())
            .enumerate()
            .filter_map(|(at, window)| (window == organisation).then_some(at))
            .collect();
        for at in places {
            if let Some(letter) = certificate.get_mut(at) {
                *letter = b'X';
            }
        }
    }
    altered
}

fn config(devices: u32) -> Config {
    let sas = usize::try_from(devices)
        .unwrap_or(usize::MAX)
        .saturating_mul(2)
        .saturating_add(100);
    Config {
        listen: Listen {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            nat_port: 0,
            cookie_threshold: 1000,
            workers: default_workers(),
        },
        identity: IdentityFiles {
            id: GATEWAY_NAME.to_owned(),
            certificate: "demo".into(),
            key: "demo".into(),
        },
        ledger: LedgerPolicy {
            nodes: Vec::new(),
            chain: None,
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            cache: sas,
            stale_grace: None,
        },
        ocsp: None,
        pool: PoolConfig {
            network: POOL,
            dns: vec![CORE],
            hold: Duration::from_secs(60),
        },
        child: ChildPolicy {
            local: vec![devices::CORE_NETWORK.into()],
        },
        esp: EspConfig {
            backend: Backend::InProcess { core: vec![CORE] },
            replay_window: esp::WindowSize::default(),
        },
        ike: IkePolicy {
            liveness: Some(Duration::from_secs(60)),
        },
        limits: Limits {
            half_open: sas,
            sas,
        },
        metrics: None,
        control: None,
    }
}

/// Tells what happens, if it is to.
struct Teller {
    on: bool,
}

impl Teller {
    fn tell(&self, line: &str) {
        if self.on {
            eprintln!("  {line}");
        }
    }

    fn bar(&self, what: &'static str, length: u32) -> ProgressBar {
        let bar = ProgressBar::new(length.into()).with_message(what);
        if !self.on || !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("  {msg} [{bar:40}] {pos}/{len}") {
            bar.set_style(style);
        }
        bar
    }
}

/// Why the demo could not be played.
#[derive(Debug)]
#[non_exhaustive]
pub enum DemoError {
    /// The ledger.
    Consortium(ConsortiumError),
    /// The gateway's own credential.
    Credential(ikev2::auth::CredentialError),
    /// A device's key or certificate could not be made.
    Enrolment(EnrolmentError),
    /// A device cannot begin.
    Initiate(InitiateError),
    /// The devices' sockets.
    Io(io::Error),
    /// A device cannot be played.
    Profile(ProfileError),
    /// The gateway.
    Start(StartError),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consortium(error) => write!(f, "the ledger: {error}"),
            Self::Credential(error) => write!(f, "the gateway's certificate: {error}"),
            Self::Enrolment(error) => write!(f, "enrolment: {error}"),
            Self::Initiate(error) => write!(f, "a device cannot begin: {error}"),
            Self::Io(error) => write!(f, "the devices' sockets: {error}"),
            Self::Profile(error) => write!(f, "{error}"),
            Self::Start(error) => write!(f, "the gateway: {error}"),
        }
    }
}

impl core::error::Error for DemoError {}

macro_rules! from {
    ($($variant:ident($error:ty)),+ $(,)?) => {
        $(impl From<$error> for DemoError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

from!(
    Consortium(ConsortiumError),
    Enrolment(EnrolmentError),
    Initiate(InitiateError),
    Io(io::Error),
    Profile(ProfileError),
    Start(StartError),
);

const GATEWAY_NAME: &str = "segw.example.net";
const REALM: &str = "femto.example.net";
const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Room for the most devices.
const POOL: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 64, 0, 0), 16);

/// How long one step may take before it counts as failed.
const WITHIN: Duration = Duration::from_secs(10);
