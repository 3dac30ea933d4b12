//! The ledger's valid authorities in the daemon, with the OCSP URIs of the bridge.
//!
//! The daemon is told by `load-authority` with the certificate in the message. Such a certificate is the authority's
//! own: `unload-authority` takes it away again, and nothing that the operator loaded (`load-cert`, which only
//! `clear-creds` undoes, would not do). Only authorities that have a name of ours are touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::{CertificateHash, Height, Status};
use ledger_client::{Change, Client};
use ocsp::UnixTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::anchors::{adopt, load, names, trusted, unload};
use super::connection::{Connection, ViciError};
use super::daemon::now;
use super::follow::SyncConfig;
use super::issuer::{Authorities, Authority};
use super::metrics::ViciMetrics;
use super::recorded::{MAX_AUTHORITIES, RecordedError};
use super::refresh::{Refreshed, refresh};

/// Keeps the daemon's authorities in step until the ledger client is shut down, and tells of each change.
pub(super) async fn provision(
    config: &SyncConfig,
    client: &Client,
    metrics: &ViciMetrics,
    tell: &watch::Sender<Authorities>,
) {
    let mut changes = client.subscribe();
    let mut provision = Provision::new(config, metrics);
    let mut refreshing: JoinSet<Refreshed> = JoinSet::new();
    let mut refresh_at = Instant::now();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            change = changes.recv() => match change {
                None => return,
                Some(Change::Resynchronise) => {
                    // What was missed is not among what was heard.
                    provision.is_overtaken |= !refreshing.is_empty();
                    refresh_at = Instant::now();
                    continue;
                }
                Some(Change::Status { hash, status, height }) => {
                    let is_known = provision.authorities.contains(&hash);
                    if !is_known && status.is_valid() {
                        // It may be an authority; events do not tell. Recordings come in great numbers.
                        refresh_at = refresh_at.min(Instant::now() + GATHER);
                    }
                    let is_news = if is_known {
                        provision.authorities.judge(&hash, status, height, Some(now()))
                    } else {
                        provision.hear(hash, status, height, !refreshing.is_empty())
                    };
                    if !is_news {
                        continue;
                    }
                }
            },
            Some(refreshed) = refreshing.join_next() => {
                let is_whole = refreshed.is_ok_and(|refreshed| provision.take(refreshed));
                provision.forget_heard();
                // A change that came meanwhile may have made it sooner.
                let pause = if is_whole { REFRESH_EVERY } else { REFRESH_AGAIN };
                refresh_at = refresh_at.min(Instant::now() + pause);
            }
            () = sleep_until(refresh_at), if refreshing.is_empty() => {
                refresh_at = Instant::now() + FAR;
                let known: BTreeSet<_> = provision.authorities.all().collect();
                let loaded = provision.loaded.clone().unwrap_or_default();
                let unread = provision.unread.keys().copied().collect();
                refreshing.spawn(refresh(config.recorded.clone(), client.clone(), known, loaded, unread));
                continue;
            }
            Some(read) = provision.reading.join_next() => {
                if provision.read(read.unwrap_or(Err(ViciError::Died("list-certs")))) {
                    refresh_at = Instant::now();
                }
            }
            _ = ticks.tick() => provision.look().await,
        }
        provision.tell(tell);
        if provision.align().await {
            provision.tell(tell);
        }
    }
}

/// What the ledger and the daemon are known to hold.
struct Provision<'a> {
    config: &'a SyncConfig,
    metrics: &'a ViciMetrics,
    authorities: Authorities,
    /// Whether the ledger's authorities were listed once: before that, only what the ledger says is not valid is
    /// taken from the daemon.
    is_listed: bool,
    /// The ledger's word that something is not valid that is no known authority: it may be one that an earlier run
    /// loaded, or one that the refresh under way will bring.
    heard: BTreeMap<CertificateHash, (Status, Height)>,
    /// Whether something was said during the refresh under way that is not known any more.
    is_overtaken: bool,
    connection: Option<Connection>,
    /// The daemon's authorities that have a name of ours; none while that is not known.
    loaded: Option<BTreeSet<CertificateHash>>,
    /// Those that the daemon did not take, or did not let go, and when that is tried again.
    refused: BTreeMap<CertificateHash, Instant>,
    /// What was said of failures, so that it is said once.
    told: BTreeMap<CertificateHash, String>,
    told_list: Option<RecordedError>,
    /// Until when nothing is taken away: that empties the daemon's memory of certificates, and a session that begins
    /// looks there for who is in.
    settled_at: Instant,
    is_told: bool,
    /// Looks for the certificates of authorities that the daemon trusts.
    reading: JoinSet<Result<BTreeMap<CertificateHash, Vec<u8>>, ViciError>>,
    /// When that is done; none when nothing is wanted of it.
    read_at: Option<Instant>,
    /// Those that were unloaded: the operator may have given the daemon the same certificate.
    unloaded: BTreeSet<CertificateHash>,
    /// Those for which the look that is under way was begun.
    looked_for: BTreeSet<CertificateHash>,
    /// Those that were unloaded before their certificate was known, and when: their tunnels cannot be told yet.
    unread: BTreeMap<CertificateHash, UnixTime>,
}

impl<'a> Provision<'a> {
    fn new(config: &'a SyncConfig, metrics: &'a ViciMetrics) -> Self {
        Self {
            config,
            metrics,
            authorities: Authorities::new(),
            is_listed: false,
            heard: BTreeMap::new(),
            is_overtaken: false,
            connection: None,
            loaded: config.dry_run.then(BTreeSet::new),
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            told_list: None,
            settled_at: Instant::now(),
            is_told: false,
            reading: JoinSet::new(),
            read_at: None,
            unloaded: BTreeSet::new(),
            looked_for: BTreeSet::new(),
            unread: BTreeMap::new(),
        }
    }

    /// Takes over what the ledger said. Says whether it was all.
    fn take(&mut self, refreshed: Refreshed) -> bool {
        match refreshed.listed {
            Ok(()) => {
                self.is_listed = true;
                self.told_list = None;
            }
            Err(error) => {
                if self.told_list.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the ledger's authorities were not listed: those that the daemon has stay; trying again");
                }
                self.told_list = Some(error);
            }
        }
        if self.is_listed && self.told_list.is_none() {
            let failed: BTreeSet<_> = refreshed.failed.iter().map(|(hash, _)| *hash).collect();
            self.told.retain(|hash, _| failed.contains(hash));
        }
        for (hash, error) in refreshed.failed {
            if self.told.insert(hash, error.clone()).as_ref() != Some(&error) {
                tracing::warn!(authority = %hash, error, "a recorded authority cannot be used");
            }
        }
        // What is judged only by what is older than something that was missed is not trusted.
        let is_overtaken = core::mem::take(&mut self.is_overtaken);
        let mut left_out = 0_usize;
        for authority in refreshed.fetched {
            if is_overtaken {
                continue;
            }
            self.told.remove(&authority.hash);
            if !self.know(authority) {
                left_out += 1;
            }
        }
        if left_out > 0 {
            tracing::error!(
                left_out,
                "the ledger has more than {MAX_AUTHORITIES} authorities: the rest is not followed"
            );
        }
        for (hash, status, height) in refreshed.statuses {
            if self.authorities.contains(&hash) {
                self.authorities.judge(&hash, status, height, None);
            } else {
                self.hear(hash, status, height, false);
            }
        }
        for (hash, (status, height)) in &self.heard {
            self.authorities.judge(hash, *status, *height, Some(now()));
        }
        let unread = core::mem::take(&mut self.unread);
        for (hash, until) in unread {
            if self.authorities.contains(&hash) {
                self.authorities.trusted_until(&hash, until);
            } else if self.told_list.is_some() {
                self.unread.insert(hash, until);
            }
        }
        if self.told_list.is_none() {
            self.authorities.forget_unrecorded();
        }
        refreshed.is_whole && !is_overtaken
    }

    /// One more authority is known. Says false when there are too many.
    fn know(&mut self, authority: Authority) -> bool {
        let has_room = self.authorities.len() < MAX_AUTHORITIES;
        if has_room {
            self.authorities.insert(authority);
        }
        has_room
    }

    /// The ledger's word on what is no known authority. Says whether the daemon has it.
    fn hear(
        &mut self,
        hash: CertificateHash,
        status: Status,
        height: Height,
        is_refreshing: bool,
    ) -> bool {
        let is_loaded = self.is_loaded(&hash);
        let before = self.heard.get(&hash);
        if !(is_loaded || is_refreshing) || before.is_some_and(|(_, at)| *at > height) {
            return false;
        }
        if status.is_valid() {
            self.heard.remove(&hash);
        } else if before.is_some() || is_loaded || self.heard.len() < MAX_HEARD {
            self.heard.insert(hash, (status, height));
        } else {
            self.is_overtaken = true;
        }
        is_loaded
    }

    /// No refresh is under way any more: what was said of others than the daemon has is not needed.
    fn forget_heard(&mut self) {
        self.is_overtaken = false;
        let loaded = self.loaded.as_ref();
        self.heard
            .retain(|hash, _| loaded.is_some_and(|loaded| loaded.contains(hash)));
    }

    fn is_loaded(&self, hash: &CertificateHash) -> bool {
        let loaded = self.loaded.as_ref();
        loaded.is_some_and(|loaded| loaded.contains(hash))
    }

    /// Tells of the authorities, if anything is new.
    fn tell(&self, tell: &watch::Sender<Authorities>) {
        let authorities = &self.authorities;
        tell.send_if_modified(|told| {
            let is_new = told.version() != authorities.version();
            if is_new {
                *told = authorities.clone();
            }
            is_new
        });
    }

    /// Looks what the daemon has: it may have been started again, and `swanctl --load-authorities` removes what is
    /// not in its file.
    async fn look(&mut self) {
        if self.config.dry_run {
            return;
        }
        let outcome = match &mut self.connection {
            Some(connection) => names(connection).await,
            None => match adopt(&self.config.socket, &self.config.authorities).await {
                Ok((connection, loaded)) => {
                    self.connection = Some(connection);
                    self.refused.clear();
                    self.settled_at = Instant::now() + SETTLE;
                    self.read_at = Some(Instant::now());
                    Ok(loaded)
                }
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(loaded) => {
                self.metrics
                    .authorities
                    .set(i64::try_from(loaded.len()).unwrap_or(i64::MAX));
                self.loaded = Some(loaded);
                self.is_told = false;
                self.begin_reading();
            }
            Err(error) => self.lost(&error),
        }
    }

    /// Looks once for all that were loaded by an earlier run or unloaded by this one: one look can take as long as
    /// an OCSP responder.
    fn begin_reading(&mut self) {
        if !self.reading.is_empty() || self.read_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.read_at = None;
        self.looked_for = core::mem::take(&mut self.unloaded);
        let mut wanted = self.looked_for.clone();
        let loaded = self.loaded.iter().flatten();
        wanted.extend(loaded.filter(|hash| !self.authorities.contains(hash)));
        if !wanted.is_empty() {
            self.reading
                .spawn(trusted(self.config.socket.clone(), wanted));
        }
    }

    /// Takes what was found. Says whether the ledger is to be asked about somebody.
    fn read(&mut self, read: Result<BTreeMap<CertificateHash, Vec<u8>>, ViciError>) -> bool {
        let mut looked_for = core::mem::take(&mut self.looked_for);
        let certificates = match read {
            Ok(certificates) => certificates,
            Err(error) => {
                tracing::debug!(%error, "the daemon's certificates of authorities were not listed; trying again");
                self.unloaded.append(&mut looked_for);
                self.read_at = Some(Instant::now() + LOOK_EVERY);
                return false;
            }
        };
        let mut is_new = false;
        for (hash, certificate) in certificates {
            if self.is_loaded(&hash) {
                // What an earlier run loaded: by its certificate the tunnels are known that came in by it.
                if let Some(authority) = Authority::read(&certificate)
                    && self.know(authority)
                {
                    match self.heard.get(&hash) {
                        Some((status, height)) => {
                            self.authorities.judge(&hash, *status, *height, Some(now()));
                        }
                        None => is_new |= self.authorities.is_unknown(&hash),
                    }
                }
            } else if looked_for.contains(&hash) {
                tracing::error!(
                    authority = %hash,
                    "the daemon trusts this authority by its own configuration, too: remove it there (x509ca, authorities), \
                     or its devices come in again"
                );
            }
        }
        is_new
    }

    fn lost(&mut self, error: &ViciError) {
        // The session tells of the daemon's absence; this is for what is only here.
        if !self.is_told && !matches!(error, ViciError::Connect { .. } | ViciError::Closed) {
            tracing::warn!(%error, "the daemon's authorities cannot be kept in step; trying again");
            self.is_told = true;
        }
        self.connection = None;
        self.loaded = None;
    }

    /// Has the daemon trust what is to be trusted and nothing else of ours. Says whether something was taken away
    /// that peers came in by until now.
    async fn align(&mut self) -> bool {
        let Some(loaded) = self.loaded.clone() else {
            return false;
        };
        let trusted: BTreeMap<_, _> = self
            .authorities
            .trusted(now())
            .map(|authority| (authority.hash, Arc::clone(authority)))
            .collect();
        let instant = Instant::now();
        self.refused.retain(|_, again| *again > instant);
        let mut is_taken = false;
        for hash in &loaded {
            // Until the ledger says something, what it said before counts.
            let is_kept = trusted.contains_key(hash)
                || self.authorities.is_unknown(hash)
                || !(self.is_listed
                    || self.heard.contains_key(hash)
                    || self.authorities.contains(hash));
            if is_kept || self.refused.contains_key(hash) || instant < self.settled_at {
                continue;
            }
            if self.change(hash, None).await {
                if self.authorities.contains(hash) {
                    self.authorities.trusted_until(hash, now());
                } else if self.unread.len() < MAX_AUTHORITIES {
                    self.unread.insert(*hash, now());
                }
                is_taken = true;
            }
        }
        self.begin_reading();
        for (hash, authority) in &trusted {
            if !loaded.contains(hash) && !self.refused.contains_key(hash) {
                self.change(hash, Some(authority)).await;
            }
        }
        is_taken
    }

    /// Loads an authority, or unloads it. Says whether that was done.
    async fn change(&mut self, hash: &CertificateHash, authority: Option<&Authority>) -> bool {
        let change = if authority.is_some() {
            "loaded"
        } else {
            "unloaded"
        };
        if !self.config.dry_run {
            let Some(connection) = &mut self.connection else {
                return false;
            };
            let outcome = match authority {
                Some(authority) => load(connection, authority, &self.config.authorities).await,
                None => unload(connection, hash).await,
            };
            match outcome {
                Ok(()) => {}
                Err(error @ ViciError::Refused { .. }) => {
                    tracing::error!(authority = %hash, %error, "an authority was not {change}");
                    self.metrics.authorities_refused.inc();
                    self.refused.insert(*hash, Instant::now() + REFUSED_AGAIN);
                    return false;
                }
                Err(error) => {
                    self.lost(&error);
                    return false;
                }
            }
        }
        tracing::warn!(authority = %hash, dry_run = self.config.dry_run, "an authority was {change}");
        self.metrics.authority_changed(change);
        if let Some(loaded) = &mut self.loaded {
            if authority.is_some() {
                loaded.insert(*hash);
            } else {
                loaded.remove(hash);
            }
            self.metrics
                .authorities
                .set(i64::try_from(loaded.len()).unwrap_or(i64::MAX));
        }
        if authority.is_none() && !self.config.dry_run {
            self.unloaded.insert(*hash);
            self.read_at.get_or_insert_with(Instant::now);
        }
        true
    }
}

/// How often the daemon's authorities are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after connecting nothing is taken away.
const SETTLE: Duration = Duration::from_millis(700);

/// How long changes are gathered before the ledger's authorities are listed.
const GATHER: Duration = Duration::from_millis(300);

/// How often they are listed in any case: expiry raises no event.
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// How soon they are listed again after that failed.
const REFRESH_AGAIN: Duration = Duration::from_secs(1);

/// While they are being listed, only a change asks for the next time.
const FAR: Duration = Duration::from_secs(3_600);

/// How soon the daemon is asked again for what it refused.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// The most words that are kept of what is no known authority while a refresh runs; with more, it is done again.
const MAX_HEARD: usize = 65_536;

#[cfg(test)]
mod tests;
