//! `weak-algorithm`: a strong key, and a signature with SHA-2.

use crate::certificate::ParsedCertificate;
use crate::outcome::{Refusal, Refused};

pub(super) fn check(certificate: &ParsedCertificate<'_>) -> Result<(), Refused> {
    certificate
        .key_kind()
        .and_then(|_| certificate.signature_kind())
        .map(|_| ())
        .map_err(|error| Refused::new(Refusal::WeakAlgorithm, error.to_string()))
}
