//! `ocsp-bridge run`.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use ocsp_bridge::bridge::Bridge;
use ocsp_bridge::config::Config;
use rustix::process::{Resource, getrlimit, setrlimit};
use settings::log::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

#[derive(Args)]
pub(super) struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

pub(super) fn run(args: &RunArgs) -> Result<(), String> {
    let config = Config::read(&args.config).map_err(|error| error.to_string())?;
    log::start(args.log_format, LevelFilter::INFO);
    provide_descriptors(config.limits.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads: {error}"))?;
    let done = runtime.block_on(serve(args, config));
    // A signature that a token never makes must not keep the process.
    runtime.shutdown_timeout(GRACE);
    done
}

async fn serve(args: &RunArgs, config: Config) -> Result<(), String> {
    // Before anything is started, so that a signal always ends it gracefully.
    let listen = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    // A token that does not answer must not keep from reading signals.
    let bridge = tokio::select! {
        started = Bridge::start(config) => started.map_err(|error| error.to_string())?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    {
        let mut reloading = pin!(Fuse::terminated());
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // One after the other: the next waits in the signal.
                _ = hang_up.recv(), if reloading.is_terminated() => {
                    reloading.set(reload(args.config.clone(), &bridge).fuse());
                }
                () = &mut reloading => {}
            }
        }
    }
    tracing::info!("stopping");
    bridge.stop().await;
    Ok(())
}

async fn reload(path: PathBuf, bridge: &Bridge) {
    // On a thread of its own: a file system may not answer.
    let read = spawn_blocking(move || Config::read(&path).map_err(|error| error.to_string()));
    let late = || {
        format!(
            "the configuration was not read within {} s",
            READ_TIME.as_secs()
        )
    };
    let read = match timeout(READ_TIME, read).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(late()),
    };
    let outcome = match read {
        Ok(config) => bridge
            .reload(config)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => {
            bridge.refuse_reload();
            Err(error)
        }
    };
    if let Err(error) = outcome {
        tracing::error!(error, "nothing was reloaded; all goes on as before");
    }
}

/// Raises the number of descriptors as far as the system lets us, for so many connections.
fn provide_descriptors(connections: usize) {
    let needed = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_DESCRIPTORS);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
    let raised = setrlimit(Resource::Nofile, limit).is_ok();
    let given = getrlimit(Resource::Nofile).current;
    if !raised || given.is_some_and(|given| given < needed) {
        tracing::warn!(
            needed,
            given,
            "fewer descriptors than limits.connections needs: raise the limit (LimitNOFILE in systemd) or lower that field"
        );
    }
}

/// Listeners, connections to the ledger's nodes, logs.
const OTHER_DESCRIPTORS: u64 = 256;

/// How long the configuration may take to be read at a reload.
const READ_TIME: Duration = Duration::from_secs(30);

/// How long threads that wait for a token may keep the process at its end.
const GRACE: Duration = Duration::from_secs(2);
