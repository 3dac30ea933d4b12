//! `duplicate` and `key-reuse`: one record for a certificate, one organisation for a key.

use crate::apply::{Context, ValidateError};
use crate::hash::{CertificateHash, KeyHash};
use crate::member::Organisation;
use crate::outcome::Refusal;
use crate::record::{Record, Standing};
use crate::state::{MAX_RECORDS_PER_KEY, State};

pub(super) fn check_hash(hash: &CertificateHash, state: &dyn State) -> Result<(), ValidateError> {
    match state.record(hash)? {
        None => Ok(()),
        Some(record) => Err(ValidateError::refused(
            Refusal::Duplicate,
            format!("recorded already, at height {}", record.recorded),
        )),
    }
}

pub(super) fn check_key(
    key: &KeyHash,
    organisation: &Organisation,
    state: &dyn State,
    context: &Context,
) -> Result<(), ValidateError> {
    let hashes = state.records_with_key(key, MAX_RECORDS_PER_KEY)?;
    if hashes.len() >= MAX_RECORDS_PER_KEY {
        return Err(ValidateError::refused(
            Refusal::KeyReuse,
            format!("{MAX_RECORDS_PER_KEY} certificates have this key already; make a new key"),
        ));
    }
    for hash in hashes {
        let Some(record) = state.record(&hash)? else {
            continue;
        };
        if is_compromised(&record) {
            return Err(ValidateError::refused(
                Refusal::KeyReuse,
                format!("{hash} has the same key and was revoked as compromised; make a new key"),
            ));
        }
        if record.is_live_at(context.time) && record.organisation != *organisation {
            return Err(ValidateError::refused(
                Refusal::KeyReuse,
                format!(
                    "{hash} has the same key, of the organisation \"{}\"",
                    record.organisation
                ),
            ));
        }
    }
    Ok(())
}

fn is_compromised(record: &Record) -> bool {
    matches!(record.standing, Standing::Revoked { reason, .. } if reason.is_compromise())
}
