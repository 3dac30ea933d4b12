//! The OCSP response that the gateway staples to its certificate ([RFC 4806]): fetched, verified before anybody gets it,
//! and fetched again at half of its lifetime. When the ledger changes the certificate's status it is asked for at once, and
//! every 2 seconds until the responder has heard of it too, for a minute at most.
//!
//! A response that is in force goes on being stapled while the responder is away, and never after its nextUpdate. One
//! that says revoked is stapled like any other: devices that ask are to know. If it cannot be stapled, nothing is.
//!
//! [RFC 4806]: https://www.rfc-editor.org/rfc/rfc4806

mod fetch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ikev2::auth::{CertificateDer, OcspStaple, StapleError, StapledCredential, UnixTime};
use ikev2::crypto::RING;
use ledger::{CertificateHash, RevocationReason};
use ledger_client::{Change, Changes};
use ocsp::{
    CertStatus, Request, TargetCertificate, TargetError, Trust, TrustedSigner, Verified,
    VerifyError, verify,
};
use settings::credential::{CredentialFileError, read_certificates};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use self::fetch::{FetchError, Responder};
use crate::config::OcspPolicy;
use crate::shard::Shared;

/// What is needed to ask for the status of the gateway's own certificate, and to judge the answer.
#[derive(Debug)]
pub struct Inquirer {
    responder: Responder,
    target: TargetCertificate,
    hash: CertificateHash,
    cert_id: Vec<u8>,
    trust: Trust,
    nonce: bool,
    retry: Duration,
}

impl Inquirer {
    /// Reads the files that the policy names. `chain` is the gateway's own, its certificate first.
    ///
    /// # Errors
    ///
    /// [`StaplingError`], which names the field and the mend.
    pub fn load(policy: &OcspPolicy, chain: &[CertificateDer]) -> Result<Self, StaplingError> {
        let own = chain.first().ok_or(StaplingError::NoIssuer)?.as_bytes();
        let (issuer, target) = match &policy.issuer {
            Some(file) => {
                let target = |issuer: &Vec<u8>| TargetCertificate::new(own, issuer).ok();
                let found = read_certificates(file)?;
                let found = found.into_iter().find_map(|der| Some((target(&der)?, der)));
                let (target, issuer) =
                    found.ok_or_else(|| StaplingError::NotIssuer { file: file.clone() })?;
                (issuer, target)
            }
            // Itself, if it is self-signed; else one that came with it.
            None => chain
                .iter()
                .find_map(|issuer| {
                    let issuer = issuer.as_bytes();
                    let target = TargetCertificate::new(own, issuer).ok()?;
                    Some((issuer.to_vec(), target))
                })
                .ok_or(StaplingError::NoIssuer)?,
        };
        let mut signers = Vec::new();
        for file in policy.signer.iter() {
            for der in read_certificates(file)? {
                signers.push(
                    TrustedSigner::new(&der).map_err(|error| StaplingError::Signer {
                        file: file.clone(),
                        error,
                    })?,
                );
            }
        }
        if signers.is_empty() && issuer == own {
            return Err(StaplingError::SelfSigned);
        }
        Ok(Self {
            responder: Responder::new(policy.responder.clone(), policy.timeout),
            cert_id: target.cert_id(policy.hash)?,
            target,
            hash: CertificateHash::of(own),
            trust: Trust {
                issuer: signers.is_empty(),
                signers,
                skew: CLOCK_SKEW,
            },
            nonce: policy.nonce,
            retry: policy.retry,
        })
    }

    /// One response, verified.
    async fn ask(&self) -> Result<(Vec<u8>, Verified), AskError> {
        let mut octets = [0; NONCE];
        let nonce = if self.nonce {
            RING.random
                .fill(&mut octets)
                .map_err(|_| AskError::Random)?;
            Some(&octets[..])
        } else {
            None
        };
        let response = self
            .responder
            .ask(Request::encode(&[&self.cert_id], nonce))
            .await?;
        let now = ocsp::UnixTime::from(SystemTime::now());
        let verified = verify(&response, &self.target, &self.trust, nonce, now)?;
        Ok((response, verified))
    }
}

/// Keeps a credential's staple fresh.
#[derive(Debug)]
pub struct Keeper {
    inquirer: Inquirer,
    credential: Arc<StapledCredential>,
    shared: Arc<Shared>,
    /// What is in force: stapled, unless the status is unknown.
    held: Option<Verified>,
    /// The last status that was believed and the latest thisUpdate, whether or not it is still in force: what is over
    /// is no reason to believe something older.
    newest: Option<Verified>,
}

impl Keeper {
    /// A keeper that has not asked yet.
    pub fn new(
        inquirer: Inquirer,
        credential: Arc<StapledCredential>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            inquirer,
            credential,
            shared,
            held: None,
            newest: None,
        }
    }

    /// Asks for ever, first after `first`.
    pub async fn keep(mut self, first: Duration, mut changes: Changes) {
        let own = self.inquirer.hash;
        let mut last = Instant::now();
        let mut due = last + first;
        let mut awaited: Option<Awaited> = None;
        let mut follows = true;
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                change = changes.recv(), if follows => {
                    let patience = match change {
                        Some(Change::Status { hash, .. }) if hash == own => PATIENCE,
                        // Nobody knows whether it concerns us.
                        Some(Change::Resynchronise) => SETTLING,
                        Some(_) => continue,
                        None => { follows = false; continue; }
                    };
                    let now = Instant::now();
                    let until = now + patience;
                    awaited = Some(Awaited {
                        since: ocsp::UnixTime::from(SystemTime::now()),
                        known: self.newest.map(|newest| label(newest.status)),
                        until: awaited.map_or(until, |earlier| earlier.until.max(until)),
                    });
                    // However many there are.
                    due = due.min((last + SHORTEST).max(now));
                    continue;
                }
            }
            last = Instant::now();
            let mut wait = self.refresh().await;
            // The responder may hear of it later than we do.
            awaited =
                awaited.filter(|awaited| last < awaited.until && !awaited.is_met(self.newest));
            if awaited.is_some() {
                wait = wait.min(SETTLING);
            }
            due = Instant::now() + wait;
        }
    }

    /// Asks once, and says after what time to ask again.
    pub async fn refresh(&mut self) -> Duration {
        let answer = self.inquirer.ask().await;
        let now = ocsp::UnixTime::from(SystemTime::now());
        let retry = self.inquirer.retry;
        let result = match answer {
            Ok((response, verified)) => self.take(response, verified, now),
            Err(error) => Err(error),
        };
        let (label, wait) = match result {
            Ok(verified) => {
                let half = now.until(verified.next_update) / 2;
                (label(verified.status), half.clamp(SHORTEST, LONGEST))
            }
            Err(error) => {
                self.complain(now, &error);
                (error.label(), retry)
            }
        };
        self.shared.metrics.ocsp_fetched(label);
        // What is held may end before the next attempt is due.
        let left = self.held.map(|held| now.until(held.next_update) / 2);
        wait.min(left.unwrap_or(wait).max(SHORTEST))
    }

    /// Staples what was verified. A revocation is believed, whether or not it can be stapled.
    fn take(
        &mut self,
        response: Vec<u8>,
        verified: Verified,
        now: ocsp::UnixTime,
    ) -> Result<Verified, AskError> {
        if self
            .newest
            .is_some_and(|newest| is_undone(&newest, &verified))
        {
            return Err(AskError::Older(label(verified.status)));
        }
        let until = verified.next_update;
        let (staple, fault) = match staple(response, &verified, now) {
            Ok(staple) => (staple, None),
            Err(fault) if is_revoked(&verified) => (None, Some(fault)),
            Err(fault) => return Err(fault),
        };
        let news = self
            .held
            .is_none_or(|held| label(held.status) != label(verified.status));
        match verified.status {
            CertStatus::Good if news => {
                tracing::info!(certificate = %self.inquirer.hash, until = %UnixTime::from_secs(until.0), "stapling: our certificate is good");
            }
            CertStatus::Good => {
                tracing::debug!(until = %UnixTime::from_secs(until.0), "stapling: refreshed")
            }
            CertStatus::Revoked { time, reason } => tracing::error!(
                certificate = %self.inquirer.hash, since = %UnixTime::from_secs(time.0), reason = reason.as_str(),
                "stapling: OUR CERTIFICATE IS REVOKED; devices that ask for its status refuse this gateway"
            ),
            CertStatus::Unknown => tracing::error!(
                certificate = %self.inquirer.hash,
                "stapling: the responder does not know our certificate; record it on the ledger. Nothing is stapled"
            ),
        }
        self.shared
            .metrics
            .ocsp_staple(staple.as_ref().map(|_| until.0), is_revoked(&verified));
        self.credential.replace(staple);
        let this_update = self.newest.map_or(verified.this_update, |newest| {
            newest.this_update.max(verified.this_update)
        });
        self.newest = Some(Verified {
            this_update,
            ..verified
        });
        self.held = fault.is_none().then_some(verified);
        fault.map_or(Ok(verified), Err)
    }

    fn complain(&mut self, now: ocsp::UnixTime, error: &AskError) {
        match self.held {
            Some(held) if held.next_update > now && held.status != CertStatus::Unknown => {
                tracing::warn!(%error, left_s = now.until(held.next_update).as_secs(), "stapling: no new response; the one at hand is still in force");
            }
            _ => {
                if self.held.take().is_some() {
                    self.credential.replace(None);
                }
                let revoked = self.newest.as_ref().is_some_and(is_revoked);
                self.shared.metrics.ocsp_staple(None, revoked);
                tracing::error!(%error, "stapling: no response in force; devices that require one refuse this gateway");
            }
        }
    }
}

/// What the responder has not told yet of a change of our status.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// When we heard of it.
    since: ocsp::UnixTime,
    /// The status that was known until then.
    known: Option<&'static str>,
    /// After this it is not asked for any more out of turn.
    until: Instant,
}

impl Awaited {
    fn is_met(&self, newest: Option<Verified>) -> bool {
        newest.is_some_and(|newest| {
            newest.this_update >= self.since || Some(label(newest.status)) != self.known
        })
    }
}

/// What devices are given; nothing for a status that is unknown.
fn staple(
    response: Vec<u8>,
    verified: &Verified,
    now: ocsp::UnixTime,
) -> Result<Option<OcspStaple>, AskError> {
    let until = verified.next_update;
    if until <= now {
        return Err(AskError::Over);
    }
    match verified.status {
        CertStatus::Unknown => Ok(None),
        CertStatus::Good | CertStatus::Revoked { .. } => Ok(Some(OcspStaple::new(
            response,
            UnixTime::from_secs(until.0),
        )?)),
    }
}

/// Whether an older response would take the place of a newer one: somebody on the way to the responder may have kept it.
/// What is revoked is so until something later says otherwise.
///
/// A revocation for good is believed even if it is older, since nothing good can have followed it: the good news came
/// from a responder with a faster clock. One that may be taken back (certificateHold) is not, or a kept one would undo
/// the end of the hold; a new one from a slower clock is believed once that clock has caught up.
fn is_undone(newest: &Verified, new: &Verified) -> bool {
    match (newest.status, new.status) {
        (CertStatus::Revoked { .. }, CertStatus::Good | CertStatus::Unknown) => {
            new.this_update <= newest.this_update
        }
        (CertStatus::Good | CertStatus::Unknown, CertStatus::Revoked { reason, .. })
            if reason != RevocationReason::CertificateHold =>
        {
            false
        }
        _ => new.this_update < newest.this_update,
    }
}

const fn is_revoked(verified: &Verified) -> bool {
    matches!(verified.status, CertStatus::Revoked { .. })
}

const fn label(status: CertStatus) -> &'static str {
    match status {
        CertStatus::Good => "good",
        CertStatus::Revoked { .. } => "revoked",
        CertStatus::Unknown => "unknown",
    }
}

/// Why there is no new response to staple.
#[derive(Debug, Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the response, which says {0}, is older than one that was believed before")]
    Older(&'static str),
    #[error("the response is over by our clock")]
    Over,
    #[error("no random octets for a nonce")]
    Random,
    #[error("the response cannot be stapled: {0}")]
    Staple(#[from] StapleError),
    #[error("the response is not to be believed: {0}")]
    Verify(#[from] VerifyError),
}

impl AskError {
    const fn label(&self) -> &'static str {
        match self {
            Self::Fetch(_) | Self::Random => "failed",
            Self::Older(_) | Self::Over | Self::Staple(_) | Self::Verify(_) => "refused",
        }
    }
}

/// What is wrong with the configuration of stapling.
#[derive(Debug, Error)]
pub enum StaplingError {
    /// A file cannot be read, or does not hold what it should.
    #[error("[ocsp]: {0}")]
    File(#[from] CredentialFileError),
    /// The issuer of the gateway's certificate is not at hand.
    #[error(
        "[ocsp]: the issuer's certificate is needed to ask for the status of identity.certificate: put it after it in the same file, or name it in ocsp.issuer"
    )]
    NoIssuer,
    /// `ocsp.issuer` did not issue it.
    #[error("{}: ocsp.issuer holds no certificate that issued identity.certificate", file.display())]
    NotIssuer {
        /// The file.
        file: PathBuf,
    },
    /// A self-signed certificate, and nobody else is trusted.
    #[error(
        "[ocsp]: identity.certificate is self-signed and cannot vouch for itself: name the responder's certificate in ocsp.signer"
    )]
    SelfSigned,
    /// `ocsp.signer` is no certificate.
    #[error("{}: ocsp.signer: {error}", file.display())]
    Signer {
        /// The file.
        file: PathBuf,
        /// Why.
        error: ledger::CertificateError,
    },
    /// The gateway's certificate cannot be asked about.
    #[error("[ocsp]: identity.certificate: {0}")]
    Target(#[from] TargetError),
}

/// How much the responder's clock may differ from ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Octets in our nonces (RFC 9654 §2.1).
const NONCE: usize = 32;
/// A response is not asked for again sooner, nor later.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// How soon it is asked for once more after the ledger told of a change,
const SETTLING: Duration = Duration::from_secs(2);
/// and for how long again and again.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use ocsp::UnixTime;

    use super::*;

    fn at(this_update: u64, status: CertStatus) -> Verified {
        Verified {
            status,
            this_update: UnixTime(this_update),
            next_update: UnixTime(this_update + 60),
        }
    }

    #[test]
    fn an_older_response_undoes_nothing() {
        let because = |reason| CertStatus::Revoked {
            time: UnixTime(1),
            reason,
        };
        let revoked = because(RevocationReason::KeyCompromise);
        let hold = because(RevocationReason::CertificateHold);
        for (held, new, undone) in [
            (at(5, CertStatus::Good), at(4, CertStatus::Good), true),
            (at(5, CertStatus::Good), at(5, CertStatus::Good), false),
            (at(5, CertStatus::Good), at(5, revoked), false),
            (at(5, CertStatus::Good), at(4, revoked), false),
            (at(5, CertStatus::Unknown), at(4, revoked), false),
            // Kept from before the end of the hold.
            (at(5, CertStatus::Good), at(4, hold), true),
            (at(5, CertStatus::Good), at(5, hold), false),
            (at(5, hold), at(5, CertStatus::Good), true),
            (at(5, hold), at(5, revoked), false),
            (at(5, revoked), at(5, revoked), false),
            (at(5, revoked), at(5, CertStatus::Good), true),
            (at(5, revoked), at(6, CertStatus::Good), false),
        ] {
            assert_eq!(is_undone(&held, &new), undone, "{held:?} {new:?}");
        }
    }
}
