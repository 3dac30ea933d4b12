//! The ledger's authorities and its word on each, asked for all at once.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use ledger::{CertificateHash, Height, Status};
use ledger_client::Client;

use super::issuer::Authority;
use super::recorded::{Recorded, RecordedError};

/// What the ledger said when it was asked for all.
pub(super) struct Refreshed {
    pub(super) listed: Result<(), RecordedError>,
    /// Authorities that were not known.
    pub(super) fetched: Vec<Authority>,
    /// Those that could not be fetched or are none, and why.
    pub(super) failed: Vec<(CertificateHash, String)>,
    pub(super) statuses: Vec<(CertificateHash, Status, Height)>,
    /// Whether nothing failed that may succeed later.
    pub(super) is_whole: bool,
}

/// Asks for the authorities that are not `known`, and the ledger's word on all, `loaded` (which the daemon has)
/// included. While no node lists them, `loaded` and `unread` (which it had) are fetched by their hashes.
pub(super) async fn refresh(
    recorded: Recorded,
    client: Client,
    known: BTreeSet<CertificateHash>,
    loaded: BTreeSet<CertificateHash>,
    unread: BTreeSet<CertificateHash>,
) -> Refreshed {
    let mut refreshed = Refreshed {
        listed: Ok(()),
        fetched: Vec::new(),
        failed: Vec::new(),
        statuses: Vec::new(),
        is_whole: true,
    };
    let listed = recorded.authorities().await.unwrap_or_else(|error| {
        refreshed.listed = Err(error);
        refreshed.is_whole = false;
        BTreeSet::new()
    });
    let mut new: BTreeSet<_> = listed.difference(&known).copied().collect();
    if refreshed.listed.is_err() {
        // A node that does not list may still give what it is asked for.
        new.extend(loaded.difference(&known));
        new.extend(unread.difference(&known));
    }
    let mut fetching = stream::iter(new)
        .map(|hash| {
            let recorded = &recorded;
            async move { (hash, recorded.certificate(&hash).await) }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((hash, outcome)) = fetching.next().await {
        match outcome.map(|certificate| Authority::read(&certificate)) {
            Ok(Some(authority)) => refreshed.fetched.push(authority),
            Ok(None) => refreshed
                .failed
                .push((hash, "it is no certificate of a CA".to_owned())),
            Err(error) => {
                if listed.contains(&hash) {
                    refreshed.failed.push((hash, error.to_string()));
                }
                refreshed.is_whole = false;
            }
        }
    }
    drop(fetching);
    let fetched = refreshed.fetched.iter().map(|authority| authority.hash);
    // What an earlier run loaded is asked about even when no node lists it.
    let mut all = loaded;
    all.extend(known.iter().copied().chain(fetched));
    // The list is a hint of one node; the client checks the chain, and knows of what was revoked before.
    let mut asking = stream::iter(all)
        .map(|hash| {
            let client = &client;
            async move { (hash, client.status(&hash).await) }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((hash, outcome)) = asking.next().await {
        match outcome {
            Ok(answer) => refreshed
                .statuses
                .push((hash, answer.status, answer.height)),
            Err(error) => {
                tracing::debug!(authority = %hash, %error, "no word of the ledger on an authority");
                refreshed.is_whole = false;
            }
        }
    }
    drop(asking);
    refreshed
}

/// The most questions to the ledger at one time.
const AT_ONCE: usize = 32;
