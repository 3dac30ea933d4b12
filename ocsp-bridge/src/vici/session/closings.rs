//! Closing those who must go, and what comes of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::Status;
use tokio::time::Instant;

use super::{Session, TRY_AGAIN};
use crate::vici::closer::Order;
use crate::vici::connection::ViciError;
use crate::vici::table::{Closing, IkeSa, Reason};

impl Session<'_> {
    pub(super) fn close(&mut self, closings: Vec<Closing>, noticed: Option<Instant>) {
        for Closing { sa, reason } in closings {
            let mut block_ms = None;
            let dry_run = self.config.dry_run;
            match reason {
                Reason::Certificate { hash, status } => {
                    if let Status::Suspended { since: time } | Status::Revoked { time, .. } = status
                    {
                        block_ms = noticed.is_some().then_some(time.0);
                    }
                    tracing::warn!(
                        identity = sa.identity, ike_id = sa.id, connection = sa.connection,
                        certificate = %hash, status = status.as_str(), dry_run,
                        "closing an IKE_SA: the ledger says {status}"
                    );
                }
                Reason::Authority(withdrawal) => tracing::warn!(
                    identity = sa.identity, ike_id = sa.id, connection = sa.connection,
                    authority = %withdrawal.authority, status = withdrawal.status.as_str(), dry_run,
                    "closing an IKE_SA: the ledger says of its certificate's authority {}", withdrawal.status
                ),
                Reason::Unidentified(withdrawal) => tracing::warn!(
                    identity = sa.identity, ike_id = sa.id, connection = sa.connection,
                    authority = %withdrawal.authority, status = withdrawal.status.as_str(), dry_run,
                    "closing an IKE_SA: the daemon knows no certificate of that identity, and this authority may have issued it"
                ),
                Reason::Wildcard => tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    dry_run,
                    "closing an IKE_SA: its identity is a wildcard, which hides whose certificate it came in by"
                ),
            }
            self.order(sa, reason.name(), noticed, block_ms);
        }
    }

    fn order(
        &mut self,
        sa: IkeSa,
        reason: &'static str,
        noticed: Option<Instant>,
        block_ms: Option<u64>,
    ) {
        if !self.config.dry_run {
            self.closer.push(Order {
                sa,
                noticed,
                reason,
                block_ms,
            });
        }
    }

    pub(super) fn closed(&mut self, order: &Order, outcome: Result<(), ViciError>) {
        let sa = &order.sa;
        match outcome {
            Ok(()) => {
                self.table.remove(sa.id);
                self.metrics.closed(order.reason);
                if let Some(noticed) = order.noticed {
                    self.metrics
                        .closing_seconds
                        .observe(noticed.elapsed().as_secs_f64());
                }
                if let Some(block) = order.block_ms {
                    let took = Duration::from_millis(now_ms().saturating_sub(block));
                    self.metrics
                        .block_to_closing_seconds
                        .observe(took.as_secs_f64());
                }
            }
            // It may be gone by itself; if not, the next listing has it again.
            Err(ViciError::Refused { message, .. }) => {
                tracing::info!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    message,
                    "the IKE_SA was not closed"
                );
            }
            Err(error) => {
                self.metrics.closings_failed.inc();
                tracing::error!(identity = sa.identity, ike_id = sa.id, %error, "the IKE_SA was not closed; trying again");
                self.close_again = Some(Instant::now() + TRY_AGAIN);
            }
        }
    }

    pub(super) fn unidentified(&mut self, unidentified: Vec<IkeSa>) {
        for sa in unidentified {
            if self.config.close_unidentified {
                if !self.table.begin_closing(sa.id) {
                    continue;
                }
                tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    dry_run = self.config.dry_run,
                    "closing an IKE_SA: the daemon knows no certificate of that identity"
                );
                self.order(sa, "unidentified", None, None);
            } else if self.told_unidentified.insert(sa.id) {
                tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    "the daemon knows no certificate of that identity: only a revocation from now on can close this IKE_SA"
                );
            }
        }
    }
}

fn now_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| {
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    })
}
