//! An admission is a lease: when the ledger no longer holds a certificate valid, the IKE SAs that it
//! admitted are closed.
//!
//! Status changes come by the client's event stream. Beyond that every certificate on which an
//! admission hangs is asked about again after each `ledger.ttl_s`, which finds what no event tells: the
//! end of a certificate's validity, and changes while the stream was down. A certificate about which
//! nobody can be asked keeps its tunnels, and is asked about again soon: an outage of the ledger lets
//! nobody in, and throws nobody out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use ledger::{CertificateHash, Status};
use ledger_client::{Change, Client};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::admission::describe;
use crate::mailbox::{CloseCause, Command};
use crate::shard::Shared;

/// Follows the ledger until the client is shut down.
pub async fn watch(shared: Arc<Shared>, client: Client, recheck_every: Duration) {
    let mut changes = client.subscribe();
    let due = Arc::new(Notify::new());
    let rechecker = tokio::spawn(recheck(Arc::clone(&shared), client, Arc::clone(&due)));
    let mut ticks = interval(recheck_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once.
    ticks.tick().await;
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Some(Change::Status { hash, status, .. }) => {
                    if !status.is_valid() {
                        close(&shared, &hash, &status);
                    }
                }
                Some(Change::Resynchronise) => {
                    tracing::warn!("changes of the ledger were missed: asking again for every admitted certificate");
                    due.notify_one();
                }
                None => break,
            },
            _ = ticks.tick() => due.notify_one(),
        }
    }
    rechecker.abort();
}

/// Asks again for every certificate on which an admission hangs, whenever it is due. One pass at a time;
/// what falls due meanwhile makes one more.
async fn recheck(shared: Arc<Shared>, client: Client, due: Arc<Notify>) {
    loop {
        due.notified().await;
        let unavailable = stream::iter(shared.registry.certificates())
            .map(|hash| {
                let (client, shared) = (&client, &shared);
                async move {
                    match client.status(&hash).await {
                        Ok(answer) if answer.is_valid() => 0,
                        Ok(answer) => {
                            close(shared, &hash, &answer.status);
                            0
                        }
                        Err(_) => 1,
                    }
                }
            })
            .buffer_unordered(MAX_RECHECKS)
            .fold(0usize, |sum, one| async move { sum + one })
            .await;
        if unavailable > 0 {
            tracing::warn!(
                certificates = unavailable,
                "ledger unavailable: admitted certificates could not be checked again; retrying"
            );
            sleep(RETRY).await;
            due.notify_one();
        }
    }
}

fn close(shared: &Shared, hash: &CertificateHash, status: &Status) {
    let heard = Instant::now();
    let admitted = shared.registry.admitted_by(hash);
    if !admitted.is_empty() {
        tracing::info!(certificate = %hash, status = %describe(status), sas = admitted.len(), "the ledger ends admissions");
    }
    for place in admitted {
        if let Some(mailbox) = shared.mailboxes.get(usize::from(place.shard)) {
            let cause = CloseCause::Ledger {
                status: *status,
                heard,
            };
            mailbox.command(Command::Close {
                sa: place.id,
                cause,
            });
        }
    }
}

/// Inquiries under way at one time while certificates are asked about again.
const MAX_RECHECKS: usize = 64;

/// How soon it is tried again when the ledger could not be asked.
const RETRY: Duration = Duration::from_secs(2);
