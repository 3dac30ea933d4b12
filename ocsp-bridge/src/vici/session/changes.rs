//! What the ledger says, unasked and asked, and the certificates that are fetched for it.

use std::time::Duration;

use ledger::{CertificateHash, Status};
use ledger_client::{Answer, Change, Unavailable};
use ocsp::UnixTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{FLUSH_EVERY, Session, TRY_AGAIN, wanted};
use crate::vici::daemon::now;
use crate::vici::fetches::{Fetched, Wanted};
use crate::vici::table::MARGIN_S;

impl Session<'_> {
    /// Asks the ledger about the candidates that it was not asked about, a bounded number at a time.
    pub(super) fn ask(&mut self) {
        if self.ask_again.is_some_and(|at| at <= Instant::now()) {
            self.ask_again = None;
        }
        if self.ask_again.is_some() || self.inquiries.len() >= MAX_INQUIRIES {
            return;
        }
        let room = MAX_INQUIRIES - self.inquiries.len();
        let hashes: Vec<_> = self
            .table
            .unknown()
            .filter(|hash| !self.asked.contains(hash))
            .take(room)
            .collect();
        for hash in hashes {
            self.asked.insert(hash);
            let client = self.client.clone();
            self.inquiries
                .spawn(async move { (hash, client.status(&hash).await) });
        }
    }

    pub(super) fn answered(&mut self, hash: CertificateHash, outcome: Result<Answer, Unavailable>) {
        self.asked.remove(&hash);
        match outcome {
            Ok(answer) => {
                self.table.judge(&hash, answer.status, answer.height, None);
                let closings = self.table.closings_by(&hash);
                self.close(closings, None);
            }
            Err(error) => {
                tracing::debug!(%hash, %error, "no word of the ledger yet: the tunnels stay");
                self.ask_again
                    .get_or_insert_with(|| Instant::now() + TRY_AGAIN);
            }
        }
    }

    pub(super) fn changed(&mut self, change: Change) {
        self.metrics.ledger_changes.inc();
        let noticed = Instant::now();
        let soon = noticed + SECOND_FLUSH;
        match change {
            Change::Resynchronise => {
                tracing::info!(
                    sas = self.table.len(),
                    "changes were missed: judging all live IKE_SAs anew"
                );
                self.table.forget_standings();
                // A new set: one that has an answer already, which is from before, cannot be aborted any more.
                self.inquiries = JoinSet::new();
                self.asked.clear();
                self.flush_now();
                self.flush = Some(soon);
            }
            // A resumed certificate waits at most so long; recordings come in great numbers.
            Change::Status {
                hash,
                status: Status::Valid,
                height,
            } => {
                self.table.judge(&hash, Status::Valid, height, None);
                self.flush.get_or_insert(soon);
            }
            Change::Status {
                hash,
                status,
                height,
            } => {
                self.table.judge(&hash, status, height, Some(now()));
                let closings = self.table.closings_by(&hash);
                // A device that was just closed may be let in again by a cached answer until this is done: it is
                // then closed again as it comes up.
                let is_due = |at: Instant| noticed.saturating_duration_since(at) >= FLUSH_EVERY;
                if self.flushed.is_none_or(is_due) {
                    self.flush_now();
                }
                self.flush = Some(self.flush.map_or(soon, |at| at.min(soon)));
                self.close(closings, Some(noticed));
                self.fetch(wanted(hash, status, height));
            }
        }
    }

    /// Has a certificate fetched that was revoked, for its names: the daemon may have forgotten it.
    fn fetch(&mut self, wanted: Wanted) {
        if self.is_listed && self.table.is_empty() {
            self.fetches.clear();
        } else if !self.fetches.push(wanted) {
            self.metrics.fetches_abandoned.inc();
            tracing::error!(
                certificate = %wanted.hash,
                "too many certificates wait to be fetched: a tunnel of this one stays if the daemon has forgotten it"
            );
        }
    }

    pub(super) fn fetched(&mut self, fetched: &Fetched) {
        match fetched {
            Fetched::Named(wanted, Some(named)) => {
                // Who came later came in by an answer of the bridge.
                let until = UnixTime(wanted.at.0.saturating_add(MARGIN_S));
                self.table.offer_to_older(named, until);
                self.table
                    .judge(&wanted.hash, wanted.status, wanted.height, Some(wanted.at));
                let closings = self.table.closings_by(&wanted.hash);
                self.close(closings, Some(wanted.noticed));
            }
            Fetched::Named(wanted, None) => {
                tracing::warn!(certificate = %wanted.hash, "the revoked certificate has no name that an IKE identity can be");
            }
            Fetched::Abandoned(wanted, took) => {
                self.metrics.fetches_abandoned.inc();
                tracing::error!(
                    certificate = %wanted.hash,
                    seconds = took.as_secs(),
                    "no node gave the revoked certificate: a tunnel of it stays if the daemon has forgotten it"
                );
            }
        }
    }
}

/// When cached answers are flushed for the second time after a change: the bridge has it by then, too.
const SECOND_FLUSH: Duration = Duration::from_secs(1);

/// The most questions to the ledger under way.
const MAX_INQUIRIES: usize = 256;
