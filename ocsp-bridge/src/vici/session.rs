//! One connection to the daemon: its events and the ledger's in, closed IKE_SAs out.

mod changes;
mod closings;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use ledger::{CertificateHash, Height, Status};
use ledger_client::{Answer, Changes, Client, Unavailable};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::closer::Closer;
use super::connection::{Connection, ViciError};
use super::daemon::{Listing, flush_answers, list, list_certificates, now, read_sa, threads};
use super::fetches::{Fetches, Wanted};
use super::follow::SyncConfig;
use super::identity::NamedCertificate;
use super::issuer::Authorities;
use super::message::Section;
use super::metrics::ViciMetrics;
use super::table::Table;

/// One connection to the daemon, until it breaks. Nothing here waits for the daemon but its events: what may take
/// as long as an OCSP responder runs beside, on connections of its own.
pub(super) struct Session<'a> {
    config: &'a SyncConfig,
    client: &'a Client,
    metrics: &'a ViciMetrics,
    changes: &'a mut Changes,
    fetches: &'a mut Fetches,
    authorities: &'a mut watch::Receiver<Authorities>,
    events: Connection,
    table: Table,
    closer: Closer,
    listing: JoinSet<Result<Listing, ViciError>>,
    comparison: JoinSet<Result<Vec<NamedCertificate>, ViciError>>,
    flushing: JoinSet<Result<(), ViciError>>,
    inquiries: JoinSet<(CertificateHash, Result<Answer, Unavailable>)>,
    asked: HashSet<CertificateHash>,
    /// Whether all IKE_SAs were listed once.
    is_listed: bool,
    /// Candidates whose inquiry had no answer, and when they are asked about again.
    ask_again: Option<Instant>,
    /// When certificates are listed again after that failed.
    compare_again: Option<Instant>,
    /// When those that were not closed are tried again; sooner than by the next listing.
    close_again: Option<Instant>,
    /// When the cached OCSP answers are flushed next.
    flush: Option<Instant>,
    /// When that was begun last.
    flushed: Option<Instant>,
    told_unidentified: HashSet<u64>,
}

impl<'a> Session<'a> {
    pub(super) async fn open(
        config: &'a SyncConfig,
        client: &'a Client,
        metrics: &'a ViciMetrics,
        changes: &'a mut Changes,
        fetches: &'a mut Fetches,
        authorities: &'a mut watch::Receiver<Authorities>,
    ) -> Result<Self, ViciError> {
        let mut events = Connection::open(&config.socket).await?;
        events.register("ike-updown").await?;
        events.register("ike-rekey").await?;
        let mut commands = Connection::open(&config.socket).await?;
        let version = commands
            .command("version", &Section::new(), |_, _| {})
            .await?;
        let threads = threads(&mut commands).await?;
        tracing::info!(
            daemon = version.text("daemon"),
            version = version.text("version"),
            threads,
            "connected to the IKE daemon"
        );
        let mut table = Table::new();
        table.set_authorities(authorities.borrow_and_update().clone());
        Ok(Self {
            config,
            client,
            metrics,
            changes,
            fetches,
            authorities,
            events,
            table,
            closer: Closer::new(&config.socket, threads),
            listing: JoinSet::new(),
            comparison: JoinSet::new(),
            flushing: JoinSet::new(),
            inquiries: JoinSet::new(),
            asked: HashSet::new(),
            is_listed: false,
            ask_again: None,
            compare_again: None,
            close_again: None,
            // What was cached before, too.
            flush: Some(Instant::now()),
            flushed: None,
            told_unidentified: HashSet::new(),
        })
    }

    /// Ends well only when the ledger client is shut down.
    pub(super) async fn run(mut self) -> Result<(), ViciError> {
        let mut listings = interval(LISTING_PAUSE);
        listings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = [
                self.ask_again,
                self.compare_again,
                self.close_again,
                self.flush,
            ];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                // The ledger's word first: it has two seconds.
                biased;
                change = self.changes.recv() => match change {
                    Some(change) => self.changed(change),
                    None => return Ok(()),
                },
                (order, outcome) = self.closer.next() => self.closed(&order, outcome),
                Ok(()) = self.authorities.changed() => {
                    let authorities = self.authorities.borrow_and_update().clone();
                    self.table.set_authorities(authorities);
                    let noticed = Instant::now();
                    let closings = self.table.closings();
                    self.close(closings, Some(noticed));
                }
                Some(answered) = self.inquiries.join_next() => {
                    if let Ok((hash, outcome)) = answered {
                        self.answered(hash, outcome);
                    }
                }
                fetched = self.fetches.next(), if self.is_listed => self.fetched(&fetched),
                event = self.events.event() => {
                    let (name, message) = event?;
                    self.event(&name, &message);
                    // Those that are there already, so that certificates are listed once for all.
                    for _ in 1..MAX_EVENTS {
                        let Some(event) = self.events.event().now_or_never() else {
                            break;
                        };
                        let (name, message) = event?;
                        self.event(&name, &message);
                    }
                }
                Some(compared) = self.comparison.join_next() => {
                    if let Ok(compared) = compared {
                        self.compared(compared);
                    }
                }
                Some(listed) = self.listing.join_next() => {
                    match listed {
                        Ok(listed) => self.listed(listed),
                        Err(_) => self.table.abandon_sweep(),
                    }
                }
                Some(flushed) = self.flushing.join_next() => {
                    if let Ok(Err(error)) = flushed {
                        tracing::warn!(%error, "cached OCSP answers were not flushed; trying again");
                        self.flush.get_or_insert_with(|| Instant::now() + TRY_AGAIN);
                    }
                }
                _ = listings.tick() => self.list(),
                () = until(due) => {}
            }
            if self.close_again.is_some_and(|at| at <= Instant::now()) {
                self.close_again = None;
                self.list();
            }
            self.compare();
            let closings = self.table.closings();
            self.close(closings, None);
            self.ask();
            self.flush();
            self.show();
        }
    }

    fn list(&mut self) {
        if self.listing.is_empty() {
            self.table.begin_sweep();
            self.listing.spawn(list(self.config.socket.clone()));
        }
    }

    fn listed(&mut self, listed: Result<Listing, ViciError>) {
        let listing = match listed {
            Ok(listing) => listing,
            Err(error) => {
                self.table.abandon_sweep();
                tracing::warn!(%error, "live IKE_SAs were not listed; trying again");
                return;
            }
        };
        self.table.set_certified(listing.certified);
        for sa in listing.sas {
            self.table.insert(sa);
        }
        self.table.sweep();
        self.is_listed = true;
        self.metrics.listed();
        self.table.compare_again();
        self.show_unidentified();
    }

    fn event(&mut self, name: &str, message: &Section) {
        let now = now();
        match name {
            "ike-updown" => {
                self.metrics.daemon_told("ike-updown");
                let up = message.text("up") == Some("yes");
                for (connection, section) in message.sections() {
                    if !up {
                        if let Some(id) = section.number("uniqueid") {
                            self.table.remove(id);
                            self.told_unidentified.remove(&id);
                        }
                    } else if let Some(sa) = read_sa(connection, section, now, true) {
                        self.table.insert(sa);
                    }
                }
            }
            "ike-rekey" => {
                self.metrics.daemon_told("ike-rekey");
                for (connection, section) in message.sections() {
                    let old = section
                        .section("old")
                        .and_then(|old| old.number("uniqueid"));
                    let new = section
                        .section("new")
                        .and_then(|new| read_sa(connection, new, now, true));
                    if let (Some(old), Some(new)) = (old, new) {
                        self.table.rekeyed(old, new);
                    }
                }
            }
            _ => self.metrics.daemon_told("other"),
        }
    }

    /// Lists the daemon's certificates for the IKE_SAs that wait for that.
    fn compare(&mut self) {
        if self.compare_again.is_some_and(|at| at <= Instant::now()) {
            self.compare_again = None;
        }
        let may_begin = self.comparison.is_empty() && self.compare_again.is_none();
        if may_begin && self.table.needs_certificates() {
            self.table.begin_comparison();
            self.comparison
                .spawn(list_certificates(self.config.socket.clone()));
        }
    }

    fn compared(&mut self, compared: Result<Vec<NamedCertificate>, ViciError>) {
        match compared {
            Ok(certificates) => {
                for certificate in &certificates {
                    self.table.offer(certificate);
                }
                let unidentified = self.table.end_comparison();
                self.unidentified(unidentified);
                self.show_unidentified();
            }
            Err(error) => {
                tracing::warn!(%error, "the daemon's certificates were not listed; trying again");
                self.table.abandon_comparison();
                self.compare_again = Some(Instant::now() + TRY_AGAIN);
            }
        }
    }

    /// Flushes when it is due: the bridge may have answered from before the change meanwhile.
    fn flush(&mut self) {
        if self.flush.is_some_and(|at| at <= Instant::now()) {
            self.flush = None;
            self.flush_now();
        }
    }

    fn flush_now(&mut self) {
        if self.config.dry_run {
            return;
        }
        if !self.flushing.is_empty() {
            // One that is under way may have passed what is to go.
            self.flush
                .get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
            return;
        }
        self.metrics.flushes.inc();
        self.flushed = Some(Instant::now());
        self.flushing
            .spawn(flush_answers(self.config.socket.clone()));
    }

    fn show_unidentified(&self) {
        let unidentified = number(self.table.unidentified());
        self.metrics.tunnels_unidentified.set(unidentified);
    }

    fn show(&self) {
        let metrics = self.metrics;
        metrics.tunnels.set(number(self.table.len()));
        metrics.closings_waiting.set(number(self.closer.len()));
        metrics.fetches_waiting.set(number(self.fetches.len()));
    }
}

pub(super) fn wanted(hash: CertificateHash, status: Status, height: Height) -> Wanted {
    Wanted {
        hash,
        status,
        height,
        at: now(),
        noticed: Instant::now(),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => core::future::pending().await,
    }
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// How often all IKE_SAs are listed, in case an event was missed.
const LISTING_PAUSE: Duration = Duration::from_secs(15);

/// How soon what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How often they are flushed at most while changes come in.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The most events that are taken before the certificates are listed.
const MAX_EVENTS: usize = 64;

#[cfg(test)]
mod tests;
