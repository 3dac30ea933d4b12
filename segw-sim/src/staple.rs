//! The OCSP response that the gateway staples to its certificate ([RFC 4806]): fetched, verified before anybody gets it,
//! and fetched again at half of its lifetime, or as soon as the ledger changes the certificate's status.
//!
//! A response that is in force goes on being stapled while the responder is away, and never after its nextUpdate. One
//! that says revoked is stapled like any other: devices that ask are to know.
//!
//! [RFC 4806]: https://www.rfc-editor.org/rfc/rfc4806

mod fetch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ikev2::auth::{CertificateDer, OcspStaple, StapleError, StapledCredential, UnixTime};
use ikev2::crypto::RING;
use ledger::CertificateHash;
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
    held: Option<Verified>,
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
        }
    }

    /// Asks for ever, first after `first`.
    pub async fn keep(mut self, first: Duration, mut changes: Changes) {
        let own = self.inquirer.hash;
        let mut due = Instant::now() + first;
        let mut follows = true;
        loop {
            let mut changed = false;
            tokio::select! {
                () = sleep_until(due) => {}
                change = changes.recv(), if follows => match change {
                    Some(Change::Status { hash, .. }) if hash == own => changed = true,
                    Some(Change::Resynchronise) => changed = true,
                    Some(_) => continue,
                    None => { follows = false; continue; }
                },
            }
            let mut wait = self.refresh().await;
            if changed {
                // The responder may hear of it a moment later than we do.
                wait = wait.min(SETTLING);
            }
            due = Instant::now() + wait;
        }
    }

    /// Asks once, and says after what time to ask again.
    pub async fn refresh(&mut self) -> Duration {
        let now = ocsp::UnixTime::from(SystemTime::now());
        let answer = self.inquirer.ask().await;
        let retry = self.inquirer.retry;
        let result = match answer {
            Ok((response, verified)) => self.take(response, verified),
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

    /// Staples what was verified.
    fn take(&mut self, response: Vec<u8>, verified: Verified) -> Result<Verified, AskError> {
        if let Some(held) = self.held
            && is_undone(&held, &verified)
        {
            return Err(AskError::Older);
        }
        let until = verified.next_update;
        let staple = match verified.status {
            CertStatus::Unknown => None,
            CertStatus::Good | CertStatus::Revoked { .. } => {
                Some(OcspStaple::new(response, UnixTime::from_secs(until.0))?)
            }
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
        self.held = Some(verified);
        Ok(verified)
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
                self.shared.metrics.ocsp_staple(None, false);
                tracing::error!(%error, "stapling: no response in force; devices that require one refuse this gateway");
            }
        }
    }
}

/// Whether an older response would take the place of a newer one: somebody on the way to the responder may have kept it.
/// What is revoked is so until something later says otherwise.
fn is_undone(held: &Verified, new: &Verified) -> bool {
    if is_revoked(held) && !is_revoked(new) {
        new.this_update <= held.this_update
    } else {
        new.this_update < held.this_update
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
    #[error("the response is older than the one at hand")]
    Older,
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
            Self::Older | Self::Staple(_) | Self::Verify(_) => "refused",
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
/// How soon it is asked for once more after the ledger told of a change.
const SETTLING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use ledger::RevocationReason;
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
        let revoked = CertStatus::Revoked {
            time: UnixTime(1),
            reason: RevocationReason::KeyCompromise,
        };
        for (held, new, undone) in [
            (at(5, CertStatus::Good), at(4, CertStatus::Good), true),
            (at(5, CertStatus::Good), at(5, CertStatus::Good), false),
            (at(5, CertStatus::Good), at(5, revoked), false),
            (at(5, CertStatus::Good), at(4, revoked), true),
            (at(5, revoked), at(5, revoked), false),
            (at(5, revoked), at(5, CertStatus::Good), true),
            (at(5, revoked), at(6, CertStatus::Good), false),
        ] {
            assert_eq!(is_undone(&held, &new), undone, "{held:?} {new:?}");
        }
    }
}
