//! `validity`: contains the block time, and is no longer than the chain allows.

use crate::apply::Context;
use crate::certificate::ParsedCertificate;
use crate::outcome::{Refusal, Refused};

pub(super) fn check(certificate: &ParsedCertificate<'_>, context: &Context) -> Result<(), Refused> {
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let now = context.time.seconds();
    let refuse = |detail: String| Err(Refused::new(Refusal::Validity, detail));
    // Both ends are inclusive, RFC 5280 §4.1.2.5.
    if now < begin {
        return refuse(format!(
            "valid from {begin} on, and the block time is {now} (Unix seconds)"
        ));
    }
    if now > end {
        return refuse(format!(
            "valid until {end}, and the block time is {now} (Unix seconds)"
        ));
    }
    let longest = context.parameters.max_validity_seconds();
    if end - begin > longest {
        return refuse(format!(
            "valid for {} days; this chain allows {}",
            (end - begin) / 86_400,
            context.parameters.max_validity_days
        ));
    }
    Ok(())
}
