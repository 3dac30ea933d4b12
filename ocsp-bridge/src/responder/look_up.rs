//! One look-up on the ledger, for all who wait for it.

use std::sync::Arc;

use ocsp::{CertId, UnixTime};

use super::settings::Settings;
use super::tally::Tally;
use crate::cache::{Content, Entry, Since};
use crate::source::{LookUp, Source, Unavailable};
use crate::translate::{Oddity, Translation};

/// Everything that a look-up needs, so that it outlives the request that began it.
pub(super) struct LookingUp {
    pub(super) source: Arc<dyn Source>,
    pub(super) settings: Arc<Settings>,
    pub(super) tally: Arc<Tally>,
    pub(super) now: UnixTime,
    /// Taken before the look-up.
    pub(super) since: Since,
}

impl LookingUp {
    /// What the ledger has for the CertID with these octets. The answer is kept.
    pub(super) async fn run(self, cert_id: Box<[u8]>) -> Result<Arc<Entry>, Unavailable> {
        let Self { settings, now, .. } = &self;
        let id = CertId::decode(&cert_id).map_err(|error| Unavailable {
            detail: error.to_string(),
        })?;
        Tally::add(&self.tally.look_ups);
        let finding = self.source.look_up(&id).await?;
        let (content, next_update) = match settings.policy.translate(*now, &finding) {
            Translation::Answer { single, oddity } => {
                self.note(&id, oddity);
                settings.content(*now, &id, single, oddity)?
            }
            Translation::Foreign => (Content::Foreign, now.plus(settings.policy.lifetime)),
            Translation::Stale => {
                return Err(Unavailable {
                    detail: "the ledger's answer is too old, or contradicts itself".to_owned(),
                });
            }
        };
        let hash = match finding.look_up {
            LookUp::Found { hash, .. } => Some(hash),
            LookUp::Ambiguous { .. } | LookUp::ForeignIssuer | LookUp::NotRecorded => None,
        };
        // Whoever gets it from the cache can still use it for half of its lifetime.
        let refresh_at = now.plus(now.until(next_update) / 2);
        let entry = Arc::new(Entry::new(content, hash, *now, refresh_at, self.since));
        settings.cache.insert(self.since, &cert_id, &entry);
        Ok(entry)
    }

    fn note(&self, id: &CertId<'_>, oddity: Option<Oddity>) {
        match oddity {
            Some(Oddity::Ambiguous { count }) => {
                Tally::add(&self.tally.ambiguous);
                tracing::warn!(
                    %id, count,
                    "several recorded certificates have this CertID: answered as revoked; find out which issuer gave one serial number twice"
                );
            }
            Some(Oddity::NotIssued) => Tally::add(&self.tally.not_recorded),
            None => {}
        }
    }
}
