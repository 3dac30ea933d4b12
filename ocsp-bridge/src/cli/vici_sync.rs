//! `ocsp-bridge vici-sync`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ocsp_bridge::bridge::{bind, spawn_client};
use ocsp_bridge::config::Config;
use ocsp_bridge::http::serve_operations;
use ocsp_bridge::vici::{Recorded, SyncConfig, ViciMetrics, follow, socket_path};
use settings::log::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::strongswan_config::is_plain_url;

#[derive(Args)]
pub(super) struct ViciSyncArgs {
    /// The vici socket of the gateway's IKE daemon.
    #[arg(long, value_name = "URI", default_value = "unix:///run/charon.vici", value_parser = socket_path)]
    vici: PathBuf,
    /// The bridge's configuration file; its [ledger] is used.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Have the daemon trust every authority that the ledger holds as valid, and ask for its certificates' status
    /// at these OCSP URIs (http, in order). Without it, authorities are the operator's own affair.
    #[arg(long, value_name = "URI", num_args = 1.., value_delimiter = ',', value_parser = ocsp_uri)]
    authorities: Vec<String>,
    /// Serve GET /metrics, /health and /ready there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
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
        authorities: args.authorities.clone(),
        close_unidentified: args.close_unidentified,
        dry_run: args.dry_run,
    };
    let metrics = Arc::new(ViciMetrics::new(client.clone()));
    let operations = match args.metrics {
        Some(address) => Some(bind(address).await.map_err(|error| error.to_string())?),
        None => None,
    };
    let operations = async {
        let Some((listener, address)) = operations else {
            return core::future::pending().await;
        };
        tracing::info!(%address, "metrics, health and readiness listening");
        let (shown, asked) = (Arc::clone(&metrics), Arc::clone(&metrics));
        let never = core::future::pending();
        let readiness = Arc::new(move || asked.problems().into());
        serve_operations(listener, Arc::new(move || shown.text()), readiness, never).await;
    };
    tokio::select! {
        () = follow(&sync, &client, &metrics) => {}
        () = operations => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    client.shutdown().await;
    Ok(())
}

fn ocsp_uri(text: &str) -> Result<String, String> {
    if is_plain_url(text) {
        Ok(text.to_owned())
    } else {
        Err("expected an http URL without spaces, as in http://ocsp.example.net:8888/".to_owned())
    }
}
