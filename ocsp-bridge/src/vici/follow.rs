//! The work: events of the daemon and of the ledger in, closed IKE_SAs out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use ledger::{CertificateHash, Height, Status};
use ledger_client::{Answer, Change, Changes, Client, Unavailable};
use ocsp::UnixTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::connection::{Connection, ViciError};
use super::identity::NamedCertificate;
use super::message::Section;
use super::recorded::Recorded;
use super::table::{Closing, IkeSa, Reason, Table};

/// How a gateway is kept in step.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// The daemon's vici socket.
    pub socket: PathBuf,
    /// Where certificates are fetched that the ledger revokes and the daemon no longer knows.
    pub recorded: Recorded,
    /// Close IKE_SAs whose certificate cannot be found out, too.
    pub close_unidentified: bool,
    /// Say what would be closed, and close nothing.
    pub dry_run: bool,
}

/// Follows the ledger for a gateway until the ledger client is shut down. Comes back to the daemon, with a growing
/// pause, when the connection to it ends; whatever was live is then judged anew.
pub async fn follow(config: &SyncConfig, client: &Client) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        match Session::open(config, client).await {
            Ok(session) => match session.run().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the daemon is lost; trying again"),
            },
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "the daemon cannot be reached; trying again");
            }
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = ended(client) => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until the client is shut down.
async fn ended(client: &Client) {
    let mut changes = client.subscribe();
    while changes.recv().await.is_some() {}
}

/// A certificate for its names, and the event that made it wanted.
type Fetched = (Option<NamedCertificate>, Status, Height, UnixTime);

/// One connection to the daemon, until it breaks.
struct Session<'a> {
    config: &'a SyncConfig,
    client: &'a Client,
    changes: Changes,
    /// Events come here, so that none is missed during a command.
    events: Connection,
    commands: Connection,
    table: Table,
    listing: JoinSet<Result<Vec<IkeSa>, ViciError>>,
    inquiries: JoinSet<(CertificateHash, Result<Answer, Unavailable>)>,
    asked: HashSet<CertificateHash>,
    fetches: JoinSet<Fetched>,
    /// Candidates whose inquiry had no answer, and when they are asked about again.
    ask_again: Option<Instant>,
    /// When the cached OCSP answers are flushed next.
    flush: Option<Instant>,
    told_unidentified: HashSet<u64>,
}

impl<'a> Session<'a> {
    async fn open(config: &'a SyncConfig, client: &'a Client) -> Result<Self, ViciError> {
        // Subscribed before anything is asked: a change may overtake an answer.
        let changes = client.subscribe();
        let mut events = Connection::open(&config.socket).await?;
        events.register("ike-updown").await?;
        events.register("ike-rekey").await?;
        let mut commands = Connection::open(&config.socket).await?;
        let version = commands
            .command("version", &Section::new(), |_, _| {})
            .await?;
        tracing::info!(
            daemon = version.text("daemon"),
            version = version.text("version"),
            "connected to the IKE daemon"
        );
        Ok(Self {
            config,
            client,
            changes,
            events,
            commands,
            table: Table::new(),
            listing: JoinSet::new(),
            inquiries: JoinSet::new(),
            asked: HashSet::new(),
            fetches: JoinSet::new(),
            ask_again: None,
            // What was cached before, too.
            flush: Some(Instant::now()),
            told_unidentified: HashSet::new(),
        })
    }

    /// Ends well only when the ledger client is shut down.
    async fn run(mut self) -> Result<(), ViciError> {
        let mut listings = interval(LISTING_PAUSE);
        listings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = [self.ask_again, self.flush].into_iter().flatten().min();
            tokio::select! {
                // The ledger's word first: it has two seconds.
                biased;
                change = self.changes.recv() => match change {
                    Some(change) => self.changed(change).await?,
                    None => return Ok(()),
                },
                Some(answered) = self.inquiries.join_next() => {
                    if let Ok((hash, outcome)) = answered {
                        self.answered(hash, outcome).await?;
                    }
                }
                Some(fetched) = self.fetches.join_next() => {
                    if let Ok((Some(named), status, height, at)) = fetched {
                        self.table.offer(&named);
                        self.table.judge(&named.hash, status, height, Some(at));
                        let closings = self.table.closings_by(&named.hash);
                        self.close(closings).await?;
                    }
                }
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
                Some(listed) = self.listing.join_next() => {
                    if let Ok(listed) = listed {
                        self.listed(listed?);
                    }
                }
                _ = listings.tick() => self.list(),
                () = until(due) => {}
            }
            if self.table.needs_certificates() {
                let unidentified = self.list_certificates().await?;
                self.unidentified(unidentified).await?;
            }
            let closings = self.table.closings();
            self.close(closings).await?;
            self.ask();
            self.flush().await?;
        }
    }

    /// Lists the IKE_SAs on a connection of its own: that waits for those that are busy, which may take as long
    /// as an OCSP responder.
    fn list(&mut self) {
        if self.listing.is_empty() {
            self.table.begin_sweep();
            self.listing.spawn(list_sas(self.config.socket.clone()));
        }
    }

    fn listed(&mut self, sas: Vec<IkeSa>) {
        for sa in sas {
            self.table.insert(sa);
        }
        self.table.sweep();
        self.table.compare_again();
    }

    fn event(&mut self, name: &str, message: &Section) {
        let now = now();
        match name {
            "ike-updown" => {
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
            _ => {}
        }
    }

    /// Tells which of the new IKE_SAs have no certificate.
    async fn list_certificates(&mut self) -> Result<Vec<IkeSa>, ViciError> {
        let table = &mut self.table;
        // Of every flag: an extended key usage must not hide a device's certificate.
        let arguments = Section::new().with("type", "X509").with("flag", "ANY");
        self.commands
            .stream("list-certs", &arguments, "list-cert", |message| {
                if let Some(named) = message.value("data").and_then(NamedCertificate::read) {
                    table.offer(&named);
                }
            })
            .await?;
        Ok(table.offered())
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

    async fn answered(
        &mut self,
        hash: CertificateHash,
        outcome: Result<Answer, Unavailable>,
    ) -> Result<(), ViciError> {
        self.asked.remove(&hash);
        match outcome {
            Ok(answer) => {
                self.table.judge(&hash, answer.status, answer.height, None);
                let closings = self.table.closings_by(&hash);
                self.close(closings).await
            }
            Err(error) => {
                tracing::debug!(%hash, %error, "no word of the ledger yet: the tunnels stay");
                self.ask_again
                    .get_or_insert_with(|| Instant::now() + ASK_AGAIN);
                Ok(())
            }
        }
    }

    async fn changed(&mut self, change: Change) -> Result<(), ViciError> {
        let soon = Instant::now() + SECOND_FLUSH;
        match change {
            Change::Resynchronise => {
                tracing::info!(
                    sas = self.table.len(),
                    "changes were missed: judging all live IKE_SAs anew"
                );
                self.table.forget_standings();
                self.inquiries.abort_all();
                self.asked.clear();
                self.flush_now().await?;
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
                // First the answers, so that a device which was just closed is not let in again by one.
                if self.flush_due() {
                    self.flush_now().await?;
                }
                self.flush = Some(self.flush.map_or(soon, |at| at.min(soon)));
                self.close(closings).await?;
                self.fetch(hash, status, height);
            }
        }
        Ok(())
    }

    /// Fetches a certificate that was revoked, for its names: the daemon may have forgotten it.
    fn fetch(&mut self, hash: CertificateHash, status: Status, height: Height) {
        if self.table.is_empty() || self.fetches.len() >= MAX_FETCHES {
            return;
        }
        let (recorded, at) = (self.config.recorded.clone(), now());
        self.fetches
            .spawn(async move { (recorded.fetch(&hash).await, status, height, at) });
    }

    /// Whether flushing before a closing is worth it: not when it was just done for another event.
    fn flush_due(&self) -> bool {
        self.flush.is_none_or(|at| {
            at.saturating_duration_since(Instant::now()) < SECOND_FLUSH - FLUSH_EVERY
        })
    }

    /// Flushes again when it is due: the bridge may have answered from before the change meanwhile.
    async fn flush(&mut self) -> Result<(), ViciError> {
        if self.flush.is_some_and(|at| at <= Instant::now()) {
            self.flush = None;
            self.flush_now().await?;
        }
        Ok(())
    }

    async fn flush_now(&mut self) -> Result<(), ViciError> {
        if self.config.dry_run {
            return Ok(());
        }
        let arguments = Section::new().with("type", "OCSP_RESPONSE");
        self.commands
            .command("flush-certs", &arguments, |_, _| {})
            .await?;
        Ok(())
    }

    async fn close(&mut self, closings: Vec<Closing>) -> Result<(), ViciError> {
        for Closing { sa, reason } in closings {
            match reason {
                Reason::Certificate { hash, status } => tracing::warn!(
                    identity = sa.identity, ike_id = sa.id, connection = sa.connection,
                    certificate = %hash, status = status.as_str(), dry_run = self.config.dry_run,
                    "closing an IKE_SA: the ledger says {status}"
                ),
                Reason::Wildcard => tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    dry_run = self.config.dry_run,
                    "closing an IKE_SA: its identity is a wildcard, which hides whose certificate it came in by"
                ),
            }
            self.terminate(&sa).await?;
        }
        Ok(())
    }

    async fn terminate(&mut self, sa: &IkeSa) -> Result<(), ViciError> {
        if self.config.dry_run {
            return Ok(());
        }
        // Forced: a Delete is sent, and no answer awaited, so that a peer that is silent stays in no longer.
        let arguments = Section::new()
            .with("ike-id", sa.id.to_string())
            .with("force", "yes");
        let outcome = self
            .commands
            .command("terminate", &arguments, |_, _| {})
            .await;
        match outcome {
            Ok(_) => {
                self.table.remove(sa.id);
                Ok(())
            }
            // It may be gone by itself; if not, the next listing has it again.
            Err(ViciError::Refused { message, .. }) => {
                tracing::info!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    message,
                    "the IKE_SA was not closed"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn unidentified(&mut self, unidentified: Vec<IkeSa>) -> Result<(), ViciError> {
        for sa in unidentified {
            if self.config.close_unidentified {
                tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    dry_run = self.config.dry_run,
                    "closing an IKE_SA: the daemon knows no certificate of that identity"
                );
                self.terminate(&sa).await?;
            } else if self.told_unidentified.insert(sa.id) {
                tracing::warn!(
                    identity = sa.identity,
                    ike_id = sa.id,
                    connection = sa.connection,
                    "the daemon knows no certificate of that identity: only a revocation from now on can close this IKE_SA"
                );
            }
        }
        Ok(())
    }
}

async fn list_sas(socket: PathBuf) -> Result<Vec<IkeSa>, ViciError> {
    let mut connection = Connection::open(Path::new(&socket)).await?;
    let (mut sas, now) = (Vec::new(), now());
    connection
        .stream("list-sas", &Section::new(), "list-sa", |message| {
            for (name, section) in message.sections() {
                sas.extend(read_sa(name, section, now, false));
            }
        })
        .await?;
    Ok(sas)
}

/// Reads an IKE_SA; none when it is not established. The event of its coming may precede the state's change.
fn read_sa(connection: &str, section: &Section, now: UnixTime, is_up: bool) -> Option<IkeSa> {
    let state = section.text("state").unwrap_or_default();
    if !is_up && !matches!(state, "ESTABLISHED" | "REKEYING") {
        return None;
    }
    let age = Duration::from_secs(section.number("established").unwrap_or(0));
    let identity = section.value("remote-id")?;
    Some(IkeSa {
        id: section.number("uniqueid")?,
        connection: connection.to_owned(),
        identity: String::from_utf8_lossy(identity).into_owned(),
        established: now.minus(age),
    })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => core::future::pending().await,
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// The pause before the daemon is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often all IKE_SAs are listed, in case an event was missed.
const LISTING_PAUSE: Duration = Duration::from_secs(15);

/// How soon the ledger is asked again when it had no answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// When cached answers are flushed for the second time after a change: the bridge has it by then, too.
const SECOND_FLUSH: Duration = Duration::from_secs(1);

/// How often they are flushed at most while changes come in.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The most certificates that are fetched at one time.
const MAX_FETCHES: usize = 1_024;

/// The most events that are taken before the certificates are listed.
const MAX_EVENTS: usize = 64;

/// The most questions to the ledger under way.
const MAX_INQUIRIES: usize = 256;
