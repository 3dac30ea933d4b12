//! The program `segw-sim`: arguments in, exit code out.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ikev2::auth::{TimeProvider as _, UnixTime};
use ledger_client::{HttpSource, Source};
use segw_sim::config::Config;
use segw_sim::control::{self, Request, SaSummary, Which};
use segw_sim::credential;
use segw_sim::demo::{self, MAX_DEVICES, Plan};
use segw_sim::gateway::{self, Gateway, SystemTimeProvider};
use segw_sim::registry::SaId;
use serde::Deserialize;
use settings::log::{self, LogFormat};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing_subscriber::filter::LevelFilter;

/// A line to standard output, which may be a full disk or a closed pipe: then the command has failed.
macro_rules! say {
    ($($line:tt)*) => { write_line(format_args!($($line)*))? };
}

const EXAMPLES: &str = "\
Examples:
  segw-sim demo                                the quick start: ledger, gateway and 20 devices, on this machine
  segw-sim run --config segw.toml              run the gateway in the foreground
  segw-sim check-config --config segw.toml     say what is wrong with a configuration
  segw-sim sas --control segw.sock             who is connected
  segw-sim close --control segw.sock --identity henb1.example.net

A configuration:
  [listen]
  address = \"192.0.2.1\"                 # one address of this machine; ports 500 and 4500
  [identity]
  id = \"segw.example.net\"
  certificate = \"segw.pem\"              # PEM or DER, paths count from this file's folder
  key = \"segw.key\"                      # PKCS#8, readable by its owner only
  [ledger]
  nodes = [\"http://127.0.0.1:9470\"]
  [pool]
  network = \"10.88.0.0/16\"              # inner addresses for the devices
  dns = [\"10.99.0.1\"]
  [child]
  local = [\"10.99.0.0/24\"]              # what the tunnels reach
  [esp]
  backend = \"inprocess\"                 # or \"tun\", with tun_name, tun_address, mtu
  core = [\"10.99.0.1\"]                  # inprocess: addresses that answer pings
  [metrics]
  listen = \"127.0.0.1:9471\"
  [control]
  socket = \"segw.sock\"

Exit codes: 0 it was done, 1 it failed, 2 wrong usage.
Logs go to standard error; RUST_LOG=debug shows more.";

/// A complete small security gateway: IKEv2 and ESP for devices whose certificates a ledger vouches for.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT, which closes all tunnels first.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How log lines look.
        #[arg(long, value_enum, default_value_t)]
        log_format: LogFormat,
    },
    /// Check a configuration and the files that it names, and start nothing.
    CheckConfig {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// List the established IKE SAs of a running gateway.
    Sas {
        /// Its control socket.
        #[arg(long, value_name = "PATH")]
        control: PathBuf,
        /// One JSON array in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Close IKE SAs of a running gateway, with a Delete to the peer.
    Close {
        /// Its control socket.
        #[arg(long, value_name = "PATH")]
        control: PathBuf,
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Play the quick start on this machine: no root, no configuration, a few seconds. A ledger of two
    /// members, a gateway and some devices: they connect, ping, are refused where they should be, and
    /// one is revoked while it is connected. Exit code 0 only if all of it happened.
    Demo {
        /// How many devices connect.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DEVICES)))]
        devices: u32,
        /// One JSON object in place of the table.
        #[arg(long)]
        json: bool,
    },
    /// Counters of a running gateway, as JSON.
    Counters {
        /// Its control socket.
        #[arg(long, value_name = "PATH")]
        control: PathBuf,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// The IKE SAs of this identity.
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// The IKE SA with this id, as `sas` shows it.
    #[arg(long, value_name = "ID")]
    id: Option<u64>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { config, log_format } => run(&config, log_format),
        Command::CheckConfig { config } => check_config(&config),
        Command::Sas { control, json } => sas(&control, json),
        Command::Close { control, which } => close(&control, which),
        Command::Demo { devices, json } => play_demo(devices, json),
        Command::Counters { control } => counters(&control),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("segw-sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path, log_format: LogFormat) -> Result<(), String> {
    let config = Config::read(path).map_err(|e| e.to_string())?;
    log::start(log_format, LevelFilter::INFO);
    // Before anything is started, so that a signal always ends it gracefully.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| format!("signals: {e}"))?;
    }
    let credential = credential::load(&config.identity, wall_time()?).map_err(|e| e.to_string())?;
    let sources = sources(&config)?;
    let gateway =
        Gateway::start(&config, Arc::new(credential), sources).map_err(|e| e.to_string())?;
    let mut result = Ok(());
    while result.is_ok() && !stop.load(Ordering::Relaxed) {
        result = gateway.wait(SIGNAL_CHECK);
    }
    gateway.stop();
    result
}

fn sources(config: &Config) -> Result<Vec<Arc<dyn Source>>, String> {
    let source = |node: &String| match HttpSource::new(node) {
        Ok(source) => Ok(Arc::new(source) as Arc<dyn Source>),
        Err(error) => Err(format!("ledger.nodes: {error}")),
    };
    config.ledger.nodes.iter().map(source).collect()
}

fn wall_time() -> Result<UnixTime, String> {
    SystemTimeProvider
        .current_time()
        .ok_or_else(|| "this machine's clock stands before 1970; set it".to_owned())
}

fn check_config(path: &Path) -> Result<(), String> {
    let config = Config::read(path).map_err(|e| e.to_string())?;
    let credential = credential::load(&config.identity, wall_time()?).map_err(|e| e.to_string())?;
    gateway::check(&config, Arc::new(credential)).map_err(|e| e.to_string())?;
    sources(&config)?;
    say!("{}: good", path.display());
    Ok(())
}

fn sas(path: &Path, json: bool) -> Result<(), String> {
    let (items, _) = control::ask(path, &Request::List {}).map_err(|e| e.to_string())?;
    if json {
        say!("{}", serde_json::Value::Array(items));
        return Ok(());
    }
    if items.is_empty() {
        if std::io::stdout().is_terminal() {
            say!("nobody is connected");
        }
        return Ok(());
    }
    say!(
        "{:>6}  {:<28} {:<22} {:<16} {:>9} {:>10} {:>10}  certificate",
        "id",
        "identity",
        "remote",
        "inner address",
        "up",
        "in",
        "out"
    );
    for item in &items {
        let sa = SaSummary::deserialize(item)
            .map_err(|e| format!("not an answer of this version: {e}"))?;
        say!(
            "{:>6}  {:<28} {:<22} {:<16} {:>8}s {:>10} {:>10}  {:.16}",
            sa.id.0,
            sa.identity,
            sa.remote,
            sa.inner_address.as_deref().unwrap_or("-"),
            sa.established_s,
            sa.packets_in,
            sa.packets_out,
            sa.certificate
        );
    }
    Ok(())
}

fn close(path: &Path, which: WhichArgs) -> Result<(), String> {
    let which = match (which.identity, which.id) {
        (Some(identity), _) => Which::Identity(identity),
        (None, Some(id)) => Which::Id(SaId(id)),
        (None, None) => Which::All,
    };
    let all = which == Which::All;
    let (_, count) = control::ask(path, &Request::Close { which }).map_err(|e| e.to_string())?;
    if count == 0 && !all {
        return Err("no such IKE SA is established; `segw-sim sas` lists them".to_owned());
    }
    say!("closed {count}");
    Ok(())
}

fn play_demo(devices: u32, json: bool) -> Result<(), String> {
    // The story is told by the demo itself; RUST_LOG brings the gateway's log back.
    log::start(LogFormat::Text, LevelFilter::ERROR);
    let plan = Plan {
        devices,
        narrate: !json,
    };
    let report = demo::run(plan).map_err(|e| format!("the demo could not be played: {e}"))?;
    if json {
        say!(
            "{}",
            serde_json::to_string(&report).map_err(|e| e.to_string())?
        );
    } else {
        eprintln!();
        say!("{}", report.to_string().trim_end());
    }
    if report.all_well() {
        Ok(())
    } else {
        Err(format!(
            "the demo did not go as it should: {}",
            report.failures.join("; ")
        ))
    }
}

fn counters(path: &Path) -> Result<(), String> {
    let (items, _) = control::ask(path, &Request::Counters {}).map_err(|e| e.to_string())?;
    for item in items {
        say!("{item}");
    }
    Ok(())
}

fn write_line(line: core::fmt::Arguments<'_>) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|e| format!("standard output: {e}"))
}

/// How often a signal is looked for.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);
