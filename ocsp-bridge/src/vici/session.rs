//! One connection to the daemon: its events and the ledger's in, closed IKE_SAs out.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use ledger::{CertificateHash, Height, Status};
use ledger_client::{Answer, Change, Changes, Client, Unavailable};
use ocsp::UnixTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::closer::{Closer, Order};
use super::connection::{Connection, ViciError};
use super::daemon::{Listing, flush_answers, list, list_certificates, now, read_sa, threads};
use super::fetches::{Fetched, Fetches, Wanted};
use super::follow::SyncConfig;
use super::identity::NamedCertificate;
use super::issuer::Authorities;
use super::message::Section;
use super::metrics::ViciMetrics;
use super::table::{Closing, IkeSa, MARGIN_S, Reason, Table};

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

    /// Asks the ledger about the candidates that it was not asked about, a bounded number at a time.
    fn ask(&mut self) {
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

    fn answered(&mut self, hash: CertificateHash, outcome: Result<Answer, Unavailable>) {
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

    fn changed(&mut self, change: Change) {
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

    fn fetched(&mut self, fetched: &Fetched) {
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

    fn close(&mut self, closings: Vec<Closing>, noticed: Option<Instant>) {
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

    fn closed(&mut self, order: &Order, outcome: Result<(), ViciError>) {
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

    fn unidentified(&mut self, unidentified: Vec<IkeSa>) {
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

fn now_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| {
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    })
}

/// How often all IKE_SAs are listed, in case an event was missed.
const LISTING_PAUSE: Duration = Duration::from_secs(15);

/// How soon what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// When cached answers are flushed for the second time after a change: the bridge has it by then, too.
const SECOND_FLUSH: Duration = Duration::from_secs(1);

/// How often they are flushed at most while changes come in.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The most events that are taken before the certificates are listed.
const MAX_EVENTS: usize = 64;

/// The most questions to the ledger under way.
const MAX_INQUIRIES: usize = 256;

#[cfg(test)]
mod tests;
