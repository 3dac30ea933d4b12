//! `unknown-issuer` and `bad-signature`: who signed the certificate, and whether that verifies.

use std::collections::HashSet;

use crate::apply::{Context, ValidateError};
use crate::certificate::ParsedCertificate;
use crate::outcome::Refusal;
use crate::record::{Class, Record, Status};
use crate::state::{MAX_AUTHORITIES_PER_NAME, State, StateError};

/// Gives how many authorities may stand below this certificate, if it is an authority and that is
/// limited.
pub(super) fn check(
    certificate: &ParsedCertificate<'_>,
    class: Class,
    state: &dyn State,
    context: &Context,
) -> Result<Option<u8>, ValidateError> {
    let own = certificate.path_length().filter(|_| class == Class::Ca);
    if certificate.is_self_issued() {
        return if certificate.is_signed_by(certificate) {
            Ok(own)
        } else {
            Err(ValidateError::refused(
                Refusal::BadSignature,
                "the certificate's signature does not verify with its own key",
            ))
        };
    }
    let issuer = find(certificate, class, state, context)?;
    // One step down, RFC 5280 §6.1.4 (l) and (m).
    let inherited = issuer
        .path_length
        .filter(|_| class == Class::Ca)
        .map(|left| left.saturating_sub(1));
    Ok(match (own, inherited) {
        (Some(own), Some(inherited)) => Some(own.min(inherited)),
        (limit, None) | (None, limit) => limit,
    })
}

/// The recorded authorities whose key verifies an issued certificate, whatever their status is by now.
/// Several of them have one key as a rule.
pub(crate) fn signers(
    certificate: &ParsedCertificate<'_>,
    state: &dyn State,
) -> Result<Vec<Record>, StateError> {
    let mut records = Vec::new();
    for hash in state.authorities_named(&certificate.issuer_hash(), MAX_AUTHORITIES_PER_NAME)? {
        records.extend(state.record(&hash)?);
    }
    // Of every key the first authority: they are one issuer.
    let mut keys = HashSet::new();
    records.retain(|record| keys.insert(record.key));
    // The signer is among them, or the certificate would not be recorded: with one there is no doubt.
    if records.len() > 1 {
        records.retain(|record| {
            ParsedCertificate::parse(&record.certificate)
                .is_ok_and(|issuer| certificate.is_signed_by(&issuer))
        });
    }
    Ok(records)
}

/// The recorded authority that signed the certificate.
fn find(
    certificate: &ParsedCertificate<'_>,
    class: Class,
    state: &dyn State,
    context: &Context,
) -> Result<Record, ValidateError> {
    let named = state.authorities_named(&certificate.issuer_hash(), MAX_AUTHORITIES_PER_NAME)?;
    let mut obstacle = None;
    let mut tried = false;
    for hash in named {
        let Some(record) = state.record(&hash)? else {
            continue;
        };
        let status = record.status_at(context.time);
        if status != Status::Valid {
            obstacle = Some(format!("the authority {hash} is {status}"));
            continue;
        }
        if class == Class::Ca && record.path_length == Some(0) {
            obstacle = Some(format!(
                "the authority {hash} may not issue to another authority"
            ));
            continue;
        }
        tried = true;
        let signed = ParsedCertificate::parse(&record.certificate)
            .is_ok_and(|issuer| certificate.is_signed_by(&issuer));
        if signed {
            return Ok(record);
        }
    }
    if let Some(obstacle) = obstacle {
        return Err(ValidateError::refused(Refusal::UnknownIssuer, obstacle));
    }
    if tried {
        return Err(ValidateError::refused(
            Refusal::BadSignature,
            "the signature verifies with no recorded authority of the issuer's name",
        ));
    }
    Err(ValidateError::refused(
        Refusal::UnknownIssuer,
        "no authority with the issuer's name is recorded; submit it with class ca first",
    ))
}
