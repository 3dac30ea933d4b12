//! What a responder works with: policy, signers, and what is kept of their answers.

use std::sync::Arc;

use ocsp::{CertId, Single, UnixTime};

use super::flights::Flights;
use super::known::Known;
use crate::cache::{Cache, Content};
use crate::signers::Signers;
use crate::signing_queue::SigningQueues;
use crate::source::Unavailable;
use crate::translate::{Oddity, Policy};

/// What is replaced as a whole: answers that another signer signed, or that rest on another policy, go with it.
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) signers: Signers,
    pub(super) queues: SigningQueues,
    pub(super) cache: Cache,
    pub(super) known: Known,
    pub(super) flights: Arc<Flights>,
}

impl Settings {
    pub(super) fn new(policy: Policy, signers: Signers) -> Self {
        Self {
            cache: Cache::new(policy.cache_capacity),
            known: Known::new(policy.cache_capacity),
            queues: SigningQueues::new(policy.sign_queue, &signers),
            flights: Arc::default(),
            policy,
            signers,
        }
    }

    /// The encoded answer, and how long it lasts: no longer than any signer that may sign it.
    pub(super) fn content(
        &self,
        now: UnixTime,
        id: &CertId<'_>,
        mut single: Single,
        oddity: Option<Oddity>,
    ) -> Result<(Content, UnixTime), Unavailable> {
        // Those whose keys are away now are back, perhaps, when it is signed.
        let until = self
            .signers
            .for_issuer(id)
            .iter()
            .filter(|signer| signer.is_usable(now))
            .map(|signer| signer.not_after())
            .min()
            .unwrap_or(now);
        single.next_update = single.next_update.min(until);
        if single.next_update <= now {
            return Err(Unavailable {
                detail: "the signer expires this very second".to_owned(),
            });
        }
        let content = Content::Single {
            der: single.encode(id.der()),
            status: single.status,
            extended_revoked: oddity == Some(Oddity::NotIssued),
            this_update: single.this_update,
            next_update: single.next_update,
        };
        Ok((content, single.next_update))
    }
}
