//! `ocsp-bridge vici-sync`.

use std::path::PathBuf;

use clap::Args;
use ocsp_bridge::bridge::spawn_client;
use ocsp_bridge::config::Config;
use ocsp_bridge::vici::{Recorded, SyncConfig, follow, socket_path};
use settings::log::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

#[derive(Args)]
pub(super) struct ViciSyncArgs {
    /// The vici socket of the gateway's IKE daemon.
    #[arg(long, value_name = "URI", default_value = "unix:///run/charon.vici", value_parser = socket_path)]
    vici: PathBuf,
    /// The bridge's configuration file; its [ledger] is used.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Close IKE_SAs of peers for whose identity the daemon knows no certificate, too. Not on a gateway with peers
    /// that authenticate otherwise (PSK, EAP).
    #[arg(long)]
    close_unidentified: bool,
    /// Log what would be closed, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

pub(super) fn run(args: &ViciSyncArgs) -> Result<(), String> {
    let config = Config::read(&args.config).map_err(|error| error.to_string())?;
    log::start(args.log_format, LevelFilter::INFO);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("threads: {error}"))?;
    runtime.block_on(serve(args, &config))
}

async fn serve(args: &ViciSyncArgs, config: &Config) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let client = spawn_client(config).map_err(|error| error.to_string())?;
    let sync = SyncConfig {
        socket: args.vici.clone(),
        recorded: Recorded::new(&config.ledger.index.nodes).map_err(|error| error.to_string())?,
        close_unidentified: args.close_unidentified,
        dry_run: args.dry_run,
    };
    tokio::select! {
        () = follow(&sync, &client) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    client.shutdown().await;
    Ok(())
}
