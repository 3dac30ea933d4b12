//! CRLs ([RFC 5280 §5]) from the ledger, for relying parties that fetch those: per issuer one full CRL, and delta CRLs.
//!
//! A [`CrlIssuer`] follows the list that a ledger node keeps of one issuer's revocations, page by page at first and then
//! only what changed (`nodes`). `Revocations` holds them in the order of their serial numbers, in pieces whose
//! encoding is kept: a change costs the encoding of one piece, and one signature. A [`Crl`] is a list of such pieces
//! between a head and a signature; it is sent as it lies in memory, to however many clients.
//!
//! | | |
//! |---|---|
//! | scope | everything the issuer issued: never a partition, no issuingDistributionPoint. strongSwan ignores that extension and lets in what is revoked in another part |
//! | [`CrlNumber`] | the height of the issuer's last change, and thisUpdate: the same on every bridge, and after every restart |
//! | thisUpdate | where the `Schedule` says, or the time of the last block that changed something, whichever is later; never later than now |
//! | nextUpdate | as the `Schedule` says; with no trustworthy ledger nothing newer is issued, and what has run out is not served |
//! | expired certificates | stay for at least a day |
//! | delta CRLs | against every full CRL that has not run out, by the number that its freshestCRL asks with |
//!
//! **Who signs**: the issuing CA itself, or a key that the CA certified in its own name for cRLSign (RFC 5280 §5.1.1.3,
//! §6.3.3). A signer of another name would make an indirect CRL, which names a certificate's issuer in its entries;
//! strongSwan does not read that.
//!
//! [RFC 5280 §5]: https://www.rfc-editor.org/rfc/rfc5280#section-5

mod delta;
mod encode;
mod entry;
mod follow;
mod issued;
mod issuer;
mod list;
mod load;
mod metrics;
mod nodes;
mod number;
mod published;
mod revocations;
mod schedule;
mod serial;
mod signer;

#[cfg(test)]
mod slow_keys;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use ledger::Height;
use ocsp::UnixTime;

pub use self::issuer::{CrlIssuer, CrlUnavailable};
pub use self::load::CrlLoadError;
pub use self::number::{CrlNumber, CrlNumberError};
pub use self::published::{Crl, CrlBody, CrlWithdrawn};
pub use self::signer::{CrlSigner, CrlSignerError};

pub(crate) use self::follow::follow;
pub(crate) use self::metrics::CrlCollector;
pub(crate) use self::nodes::nodes;

/// What the CRLs of one issuer are like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrlPolicy {
    /// From thisUpdate to nextUpdate of a full CRL, at most. A relying party keeps it that long.
    pub lifetime: core::time::Duration,
    /// The same of delta CRLs.
    pub delta_lifetime: core::time::Duration,
    /// Where relying parties reach the bridge, without a slash at its end: for freshestCRL. None makes CRLs without it.
    pub url: Option<String>,
    /// The most certificates that are held; with more no CRL is issued.
    pub entries: usize,
    /// The oldest newest block that a CRL may rest on; `None` takes the node's word.
    pub max_block_age: Option<core::time::Duration>,
}

/// Every issuer whose CRLs are served, by the hash of its key.
#[derive(Debug, Default)]
pub struct Crls {
    issuers: Vec<Arc<CrlIssuer>>,
    /// By SHA-1 and by SHA-256, hexadecimal.
    by_key: HashMap<String, Arc<CrlIssuer>>,
}

impl Crls {
    /// Of these issuers.
    ///
    /// # Errors
    ///
    /// The place of the first one whose key another one has already: a URL names nothing but the key.
    pub fn new(issuers: Vec<Arc<CrlIssuer>>) -> Result<Self, usize> {
        let mut by_key = HashMap::new();
        for (at, issuer) in issuers.iter().enumerate() {
            for name in issuer.key_hashes() {
                if by_key.insert(name, Arc::clone(issuer)).is_some() {
                    return Err(at);
                }
            }
        }
        Ok(Self { issuers, by_key })
    }

    /// The issuer with this key hash, SHA-1 or SHA-256 in lower-case hexadecimal.
    #[must_use]
    pub fn get(&self, key_hash: &str) -> Option<&Arc<CrlIssuer>> {
        self.by_key.get(key_hash)
    }

    /// The time at which the first of the signers, or of the CAs they sign for, expires.
    #[must_use]
    pub fn first_expiry(&self) -> Option<UnixTime> {
        self.iter().map(|issuer| issuer.signer().not_after()).min()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CrlIssuer>> {
        self.issuers.iter()
    }

    /// Block `height` changed something, it is not said for whom.
    pub fn changed(&self, height: Height) {
        for issuer in &self.issuers {
            issuer.changed(height);
        }
    }

    /// Tries the signers' keys that are kept elsewhere: one that is lost, or does not answer any more, is found out before
    /// a CRL is due, and what was due meanwhile is signed when it is back. It ends within two seconds.
    ///
    /// It needs a Tokio runtime.
    pub async fn check_remote_keys(&self) {
        join_all(self.issuers.iter().map(async |issuer| {
            if issuer.signer().check_remote_key().await {
                issuer.try_again();
            }
        }))
        .await;
    }

    /// What keeps CRLs from being served, or the next ones from being signed.
    /// What every bridge meets alike is a [remark](Self::remarks).
    pub fn problems(&self, now: UnixTime) -> Vec<String> {
        let here = |issuer: &CrlIssuer| !issuer.is_hindered_everywhere(now);
        self.told(now, here)
    }

    /// Which CRLs are not served for a reason that every bridge meets alike, and that keeps nobody from OCSP: their CA is
    /// not recorded yet, or has more revoked certificates than are allowed.
    pub fn remarks(&self, now: UnixTime) -> Vec<String> {
        self.told(now, |issuer| issuer.is_hindered_everywhere(now))
    }

    fn told(&self, now: UnixTime, of: impl Fn(&CrlIssuer) -> bool) -> Vec<String> {
        let issuers = self.issuers.iter().filter(|issuer| of(issuer));
        issuers
            .filter_map(|issuer| {
                let why = issuer.problem(now)?;
                Some(format!("CRL of {}: {why}", issuer.name()))
            })
            .collect()
    }
}
