//! `henb-sim`: one HeNB, or a fleet of them, against a security gateway.

mod cli;

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use henb_sim::arrival::Arrival;
use henb_sim::connect::{self, ConnectPlan, Step};
use henb_sim::enrolment::{self, DeviceIdentity};
use henb_sim::fleet::{self, FleetPlan, Pace, Progress};
use henb_sim::profile::DeviceProfile;
use henb_sim::shard::GatewayTrust;
use henb_sim::staple::StaplePolicy;
use henb_sim::{credential, report};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{CertificateHash, ParsedCertificate};
use ocsp::TrustedSigner;

use cli::{ArrivalKind, Cli, Command, Connect, Enrol, Fleet, Gateway};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Connect(arguments) => connect_one(&arguments),
        Command::Enrol(arguments) => enrol(&arguments),
        Command::Fleet(arguments) => run_fleet(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("henb-sim: {error}");
            ExitCode::from(1)
        }
    }
}

fn connect_one(arguments: &Connect) -> Result<bool, Box<dyn Error>> {
    let stop = stop_flag()?;
    let mut chain = credential::certificates(&arguments.certificate)?;
    let name = match &arguments.id {
        Some(id) => id.clone(),
        None => chain
            .first()
            .and_then(|end_entity| credential::dns_name(end_entity))
            .ok_or_else(|| {
                format!(
                    "{}: no dNSName in it: say --id",
                    arguments.certificate.display()
                )
            })?,
    };
    chain.truncate(MAX_CHAIN);
    let identity = DeviceIdentity {
        name,
        chain,
        key: credential::key(&arguments.key)?,
    };
    let plan = ConnectPlan {
        gateway: address(&arguments.gateway)?,
        trust: trust(&arguments.gateway)?,
        profile: profile(&arguments.gateway, true)?,
        target: arguments.ping,
        count: (arguments.count > 0).then_some(arguments.count),
        interval: Duration::from_millis(arguments.interval_ms),
        tun: arguments.tun.clone().map(|name| (name, arguments.mtu)),
    };
    if plan.target.is_none() && plan.tun.is_none() {
        eprintln!(
            "henb-sim: neither --ping nor --tun: the tunnel is kept until you stop it (Ctrl-C)"
        );
    }
    let quiet = arguments.json;
    let mut written = Ok(());
    let mut tell = |line: String| {
        if written.is_ok() {
            written = say(&line);
        }
    };
    let report = connect::run(&plan, &identity, &stop, |step| {
        if quiet {
            return;
        }
        match step {
            Step::Connected { inner, handshake } => {
                tell(format!(
                    "connected in {:.1} ms, inner address {inner}",
                    millis(handshake)
                ));
            }
            Step::Reply {
                sequence,
                round_trip,
            } => tell(format!("reply {sequence}: {:.2} ms", millis(round_trip))),
            Step::NoReply { sequence } => tell(format!("reply {sequence}: none")),
            Step::TunReady { name } => {
                tell(format!(
                    "TUN device {name} is up; send traffic to it, e.g. `ip route add NETWORK dev {name}`"
                ));
            }
        }
    })?;
    written?;
    if arguments.json {
        say(&serde_json::to_string(&report)?)?;
    } else {
        if let Some(pings) = report.ping_ms {
            say(&format!(
                "{} of {} echo requests answered, min/p50/max {:.2}/{:.2}/{:.2} ms",
                report.pings_ok, report.pings_sent, pings.min, pings.p50, pings.max
            ))?;
        }
        if let Some(cause) = &report.cause_text {
            eprintln!(
                "henb-sim: {} {}: {cause}",
                if report.established {
                    "the tunnel ended, gateway"
                } else {
                    "not connected to"
                },
                plan.gateway
            );
        }
    }
    Ok(report.all_well())
}

fn enrol(arguments: &Enrol) -> Result<bool, Box<dyn Error>> {
    let bar = bar(
        "keys and certificates",
        u64::from(arguments.devices),
        arguments.quiet,
    );
    let identities = enrolment::make(
        arguments.devices,
        &arguments.realm,
        &arguments.organisation,
        arguments.key_type,
        |done| bar.set_position(u64::from(done)),
    )?;
    bar.finish_and_clear();
    enrolment::save(&arguments.out, &identities)?;
    if !arguments.quiet {
        let out = arguments.out.display();
        say(&format!(
            "{} devices of {} in {out}\nrecord them with: ledger-node submit {out}/certificates.pem --key FILE",
            identities.len(),
            arguments.organisation
        ))?;
    }
    Ok(true)
}

fn run_fleet(arguments: &Fleet) -> Result<bool, Box<dyn Error>> {
    let stop = stop_flag()?;
    let mut identities = match &arguments.identities {
        Some(folder) => enrolment::load(folder)?,
        None => {
            let devices = arguments.devices.unwrap_or(DEFAULT_DEVICES);
            eprintln!(
                "henb-sim: no --identities: {devices} fresh devices that no ledger knows (make recorded ones with `henb-sim enrol`)"
            );
            enrolment::make(
                devices,
                "hnb.example",
                "Unrecorded",
                Default::default(),
                |_| (),
            )?
        }
    };
    if let Some(devices) = arguments.devices {
        let there = identities.len();
        if devices as usize > there {
            return Err(format!("--devices {devices}, but there are only {there} identities; make more with `henb-sim enrol`").into());
        }
        identities.truncate(devices as usize);
    }
    let pace = match arguments.arrival {
        ArrivalKind::Burst => Pace::Open(Arrival::Burst),
        ArrivalKind::Poisson => Pace::Open(Arrival::Poisson {
            rate: arguments.rate,
            seed: arguments.seed,
        }),
        ArrivalKind::Saturate => Pace::Saturate {
            in_flight: arguments.in_flight.get().into(),
        },
        ArrivalKind::Steady => Pace::Open(Arrival::Steady {
            rate: arguments.rate,
        }),
    };
    let plan = FleetPlan {
        gateway: address(&arguments.gateway)?,
        trust: trust(&arguments.gateway)?,
        profile: profile(&arguments.gateway, false)?,
        pace,
        pings: if arguments.ping.is_some() {
            arguments.pings
        } else {
            0
        },
        target: arguments.ping.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        hold: Duration::from_secs_f64(arguments.hold_s),
        threads: arguments.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            |threads| threads.get().into(),
        ),
        sockets: arguments.sockets.get().into(),
    };
    let progress = Progress::default();
    let finished = AtomicBool::new(false);
    let bar = bar("devices through", identities.len() as u64, arguments.json);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                bar.set_position(progress.done.load(Ordering::Relaxed));
                std::thread::sleep(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        });
        let _finish = Finish(&finished);
        fleet::run(&plan, &identities, &progress, &stop)
    });
    let report: report::FleetReport = result?;
    if arguments.json {
        say(&serde_json::to_string(&report)?)?;
    } else {
        say(report.to_string().trim_end())?;
    }
    Ok(report.all_well())
}

/// Ends the progress bar, whatever ends the run.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A line to standard output, which may be a full disk or a closed pipe.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|e| io::Error::new(e.kind(), format!("standard output: {e}")))
}

fn profile(gateway: &Gateway, initial_contact: bool) -> Result<DeviceProfile, Box<dyn Error>> {
    Ok(DeviceProfile {
        gateway_identity: gateway.gateway_id.clone(),
        nat_port: gateway.nat_port,
        networks: gateway.remote_ts.clone(),
        patience: Duration::from_secs(gateway.patience_s),
        initial_contact,
        staple: staple(gateway)?.map(Arc::new),
    })
}

fn staple(gateway: &Gateway) -> Result<Option<StaplePolicy>, Box<dyn Error>> {
    let mut signers = Vec::new();
    for file in &gateway.ocsp_signer {
        for certificate in credential::certificates(file)? {
            let signer = TrustedSigner::new(&certificate)
                .map_err(|error| format!("--ocsp-signer {}: {error}", file.display()))?;
            signers.push(signer);
        }
    }
    let mut issuers = Vec::new();
    for file in &gateway.gateway_issuer {
        for certificate in credential::certificates(file)? {
            ParsedCertificate::parse(&certificate)
                .map_err(|error| format!("--gateway-issuer {}: {error}", file.display()))?;
            issuers.push(certificate);
        }
    }
    if signers.is_empty() && issuers.is_empty() {
        return Ok(None);
    }
    let skew = Duration::from_secs(gateway.clock_skew_s);
    Ok(Some(
        StaplePolicy::new(signers, issuers, skew).required(gateway.require_staple),
    ))
}

fn trust(gateway: &Gateway) -> Result<GatewayTrust, Box<dyn Error>> {
    if gateway.dangerous_any_gateway {
        return Ok(GatewayTrust::DangerousAny);
    }
    let mut pins: HashSet<CertificateHash> = gateway.gateway_hash.iter().copied().collect();
    for file in &gateway.gateway_certificate {
        pins.extend(
            credential::certificates(file)?
                .iter()
                .map(|certificate| CertificateHash::of(certificate)),
        );
    }
    Ok(GatewayTrust::Pinned(pins))
}

/// The gateway's address: a name or address, with a port or port 500.
fn address(gateway: &Gateway) -> Result<SocketAddr, Box<dyn Error>> {
    let text = &gateway.gateway;
    let found = match text.to_socket_addrs() {
        Ok(mut found) => found.next(),
        Err(_) => (text.as_str(), IKE_PORT)
            .to_socket_addrs()
            .map_err(|e| format!("--gateway {text}: expected ADDRESS or ADDRESS:PORT: {e}"))?
            .next(),
    };
    let found = found.ok_or_else(|| format!("--gateway {text}: that name has no address"))?;
    if found.port() == 0 {
        usage(format!("--gateway {text}: port 0 is nobody's"));
    }
    if found.port() == gateway.nat_port {
        usage(format!(
            "--gateway {text} and --nat-port {}: the gateway's IKE port (usually 500) and its port for ESP in UDP (usually 4500) are two",
            gateway.nat_port
        ));
    }
    Ok(found)
}

/// Ends the program as a wrong option does.
fn usage(message: String) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, message)
        .exit()
}

/// Set by SIGTERM and SIGINT: devices that are connected then say goodbye. A second signal ends the program at once.
fn stop_flag() -> Result<Arc<AtomicBool>, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn bar(what: &'static str, length: u64, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar.with_message(what)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

const IKE_PORT: u16 = 500;
const MAX_CHAIN: usize = 8;
const DEFAULT_DEVICES: u32 = 100;
