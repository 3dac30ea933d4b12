//! `malformed`: one whole DER certificate, X.509 version 3, no unknown critical extension.

use crate::certificate::ParsedCertificate;
use crate::outcome::{Refusal, Refused};

pub(super) fn check(der: &[u8]) -> Result<ParsedCertificate<'_>, Refused> {
    ParsedCertificate::parse(der)
        .map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))
}
