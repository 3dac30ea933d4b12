//! What goes on beside the requests: the ledger's changes, the signers' ends, the keys that are kept elsewhere, and
//! whether the bridge is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use ledger_client::{Change, Changes};
use ocsp::UnixTime;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{until, wall_clock};
use crate::crl::Crls;
use crate::http::{Readiness, Ready, TlsIdentity};
use crate::ledger::LedgerSource;
use crate::metrics::Metrics;
use crate::responder::Responder;

/// Tells the responder and the CRLs of the ledger's changes, until the ledger client is shut down.
pub(super) async fn follow_changes(
    source: Arc<LedgerSource>,
    changes: Changes,
    responder: Arc<Responder>,
    crls: Arc<Crls>,
) {
    let tell = |change| match change {
        Change::Resynchronise => responder.forget_all(),
        Change::Status { hash, height, .. } => {
            responder.forget(&hash);
            crls.changed(height);
        }
    };
    source.follow(changes, tell).await;
}

/// What keeps the bridge from being ready, looked up each time that somebody asks.
pub(super) fn readiness(
    source: &Arc<LedgerSource>,
    responder: &Arc<Responder>,
    crls: &Arc<Crls>,
    stopping: &Arc<AtomicBool>,
) -> Readiness {
    let (source, responder, crls, stopping) = (
        Arc::clone(source),
        Arc::clone(responder),
        Arc::clone(crls),
        Arc::clone(stopping),
    );
    Arc::new(move || {
        let mut problems = Vec::new();
        if stopping.load(Ordering::Relaxed) {
            problems.push("the bridge is stopping".to_owned());
        }
        if !source.is_reachable() {
            problems
                .push("the ledger is out of reach: no node's stream of events is up".to_owned());
        }
        let signers = responder.signer_problems(wall_clock());
        problems.extend(signers.iter().map(ToString::to_string));
        problems.extend(crls.problems(wall_clock()));
        let remarks = crls.remarks(wall_clock());
        Ready { problems, remarks }
    })
}

/// Tells the responder whether the ledger's changes reach it.
pub(super) async fn watch_stream(
    source: Arc<LedgerSource>,
    responder: Arc<Responder>,
    stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(STREAM_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = until(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = stopped.as_mut() => return,
            _ = ticks.tick() => responder.set_followed(source.is_reachable()),
        }
    }
}

/// Tries the keys that are kept elsewhere, again and again.
pub(super) async fn check_keys(
    responder: Arc<Responder>,
    crls: Arc<Crls>,
    stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(KEY_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = until(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = stopped.as_mut() => return,
            () = async {
                ticks.tick().await;
                join(responder.check_remote_keys(), crls.check_remote_keys()).await;
            } => {}
        }
    }
}

/// Says in the log, now and each day, that a signer comes to its end, be it of OCSP responses or of CRLs; each minute once
/// it has.
pub(super) async fn watch_expiry(
    responder: Arc<Responder>,
    crls: Arc<Crls>,
    stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(EXPIRY_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = [None; 2];
    let stopped = until(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = stopped.as_mut() => return,
            _ = ticks.tick() => {}
        }
        let ends = [
            ("OCSP responses", responder.first_expiry()),
            ("CRLs", crls.first_expiry()),
        ];
        for ((signs, not_after), warned) in ends.into_iter().zip(&mut warned) {
            if let Some(not_after) = not_after {
                tell_expiry(signs, wall_clock(), not_after, warned);
            }
        }
    }
}

fn tell_expiry(signs: &str, now: UnixTime, not_after: UnixTime, warned: &mut Option<UnixTime>) {
    if now > not_after {
        tracing::error!(
            signs,
            not_after = not_after.0,
            "a signer certificate has expired, nothing is signed with it: renew it and send SIGHUP"
        );
    } else if is_due(now, not_after, *warned) {
        *warned = Some(now);
        tracing::warn!(
            signs,
            not_after = not_after.0,
            days = now.until(not_after).as_secs() / 86_400,
            "a signer certificate expires soon: renew it and send SIGHUP"
        );
    }
}

/// Whether to warn of a signer's end.
fn is_due(now: UnixTime, not_after: UnixTime, warned: Option<UnixTime>) -> bool {
    now.until(not_after) < EXPIRY_WARNING
        && warned.is_none_or(|warned| warned.until(now) >= EXPIRY_WARNING_PAUSE)
}

/// Shows in the metrics when the first signer ends.
pub(super) fn show_expiry(metrics: &Metrics, responder: &Responder) {
    let not_after = responder.first_expiry().map_or(0, |time| time.0);
    metrics
        .signer_not_after
        .set(i64::try_from(not_after).unwrap_or(i64::MAX));
}

/// Shows in the metrics when the TLS certificate ends.
pub(super) fn show_tls_expiry(metrics: &Metrics, identity: Option<&TlsIdentity>) {
    let not_after = identity.map_or(0, |identity| identity.not_after().0);
    metrics
        .tls_not_after
        .set(i64::try_from(not_after).unwrap_or(i64::MAX));
}

/// From then on the log warns of a signer's end.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// How often it warns.
const EXPIRY_WARNING_PAUSE: Duration = Duration::from_secs(86_400);

/// How often the stream of the ledger's changes is looked at.
const STREAM_TICK: Duration = Duration::from_millis(500);

/// How often keys that are kept elsewhere are tried.
const KEY_TICK: Duration = Duration::from_secs(5);

/// How often the clock is looked at for that.
const EXPIRY_TICK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_signer_is_told_each_day_of_its_last_fortnight() {
        let day = 86_400;
        let end = UnixTime(100 * day);
        assert!(!is_due(UnixTime(80 * day), end, None));
        assert!(is_due(UnixTime(90 * day), end, None));
        assert!(!is_due(
            UnixTime(90 * day + 60),
            end,
            Some(UnixTime(90 * day))
        ));
        assert!(is_due(UnixTime(91 * day), end, Some(UnixTime(90 * day))));
    }
}
