//! What to say when no source answers. Pure.

use std::time::{Duration, Instant};

use ledger::Status;

use crate::{
    answer::{Answer, Origin, Unavailable},
    cache::Entry,
};

/// Why an answer past its time to live is served all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remembered {
    /// It is a revocation.
    Revoked,
    /// It is within the stale grace.
    WithinGrace,
}

/// What an inquiry without an answer comes to, given what is still known of the certificate.
///
/// An event may have brought a fresh answer in the meantime. A revocation outlives every outage. Other
/// answers serve within the grace, if there is one; but overload is the peers' doing, so it never stretches
/// an answer's life. Otherwise: nothing, and the caller refuses.
pub(crate) fn without_answer(
    now: Instant,
    known: Option<Entry>,
    grace: Option<Duration>,
    failure: Unavailable,
) -> Result<(Answer, Option<Remembered>), Unavailable> {
    let Some(known) = known else {
        return Err(failure);
    };
    if known.is_fresh(now) {
        return Ok((known.answer(Origin::Cache), None));
    }
    if matches!(known.status, Status::Revoked { .. }) {
        return Ok((known.answer(Origin::Stale), Some(Remembered::Revoked)));
    }
    let within_grace = grace.is_some_and(|grace| now < known.expires + grace);
    match failure {
        Unavailable::Deadline { .. } | Unavailable::Sources { .. } if within_grace => {
            Ok((known.answer(Origin::Stale), Some(Remembered::WithinGrace)))
        }
        _ => Err(failure),
    }
}
