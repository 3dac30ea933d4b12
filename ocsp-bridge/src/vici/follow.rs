//! Following the ledger for a gateway, over losses of the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger_client::{Change, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::fetches::Fetches;
use super::issuer::Authorities;
use super::metrics::ViciMetrics;
use super::provision::provision;
use super::recorded::Recorded;
use super::session::Session;

/// How a gateway is kept in step.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// The daemon's vici socket.
    pub socket: PathBuf,
    /// Where certificates are fetched that the daemon does not know, or no longer.
    pub recorded: Recorded,
    /// The OCSP URIs with which the ledger's valid authorities are loaded into the daemon; empty for none.
    pub authorities: Vec<String>,
    /// Close IKE_SAs whose certificate cannot be found out, too.
    pub close_unidentified: bool,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// Follows the ledger for a gateway until the ledger client is shut down. Comes back to the daemon, with a growing
/// pause, when the connection to it ends; whatever was live is then judged anew.
pub async fn follow(config: &SyncConfig, client: &Client, metrics: &Arc<ViciMetrics>) {
    let (tell, told) = watch::channel(Authorities::new());
    let sessions = sessions(config, client, metrics, told);
    if config.authorities.is_empty() {
        sessions.await;
        return;
    }
    // Both end when the client does.
    tokio::select! {
        () = sessions => {}
        () = provision(config, client, metrics, &tell) => {}
    }
}

async fn sessions(
    config: &SyncConfig,
    client: &Client,
    metrics: &ViciMetrics,
    mut authorities: watch::Receiver<Authorities>,
) {
    // Over the losses of the daemon: what the ledger says meanwhile is kept.
    let mut changes = client.subscribe();
    let mut fetches = Fetches::new(config.recorded.clone());
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        match Session::open(
            config,
            client,
            metrics,
            &mut changes,
            &mut fetches,
            &mut authorities,
        )
        .await
        {
            Ok(session) => {
                metrics.daemon_connected.set(1);
                metrics.daemon_connects.inc();
                let ended = session.run().await;
                metrics.daemon_connected.set(0);
                match ended {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the daemon is lost; trying again"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "the daemon cannot be reached; trying again");
            }
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        let until = Instant::now() + pause;
        let mut missed = false;
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                change = changes.recv() => match change {
                    None => return,
                    // A new session asks about every certificate that the daemon knows; those that it has
                    // forgotten are fetched.
                    Some(Change::Status { hash, status, height }) => {
                        if !status.is_valid() {
                            missed |= !fetches.push(super::session::wanted(hash, status, height));
                        }
                    }
                    Some(Change::Resynchronise) => {}
                }
            }
        }
        if missed {
            metrics.fetches_abandoned.inc();
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The pause before the daemon is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
