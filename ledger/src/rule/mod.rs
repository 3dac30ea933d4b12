//! What a submitted certificate must satisfy, each rule in a file with the [`Refusal`] it leads to.
//!
//! The rules are tried in the order of [`ORDER`]; the first that fails gives the outcome. Cheap
//! rules stand before dear ones, and `duplicate` before all that can change with time.

mod algorithm;
mod endorsement;
mod form;
mod issuer;
mod organisation;
mod uniqueness;
mod usage;
mod validity;

pub(crate) use endorsement::check as check_endorsement;
pub(crate) use issuer::signers;

use crate::apply::{Context, ValidateError};
use crate::hash::CertificateHash;
use crate::member::Member;
use crate::outcome::Refusal;
use crate::record::{Class, Record, Standing};
use crate::state::State;

/// The refusals of the rules, in the order in which the rules are tried.
///
/// | refusal | the rule |
/// |---|---|
/// | `not-endorsed` | the submitting member has the role `submission` |
/// | `malformed` | DER, X.509 v3, no trailing octets, at most 8 KiB, no unknown critical extension |
/// | `duplicate` | H(CERT) is not recorded yet, whatever its status |
/// | `weak-algorithm` | key ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more; signature with SHA-2 |
/// | `foreign-organisation` | the subject names exactly one organisation, and it is registered to the member |
/// | `key-usage` | see below |
/// | `validity` | contains the block time; no longer than the chain's limit |
/// | `key-reuse` | the same key is not live under another organisation, and was never revoked as compromised |
/// | `unknown-issuer` | issued: a record of class `ca` with the issuer's name is valid and may issue this |
/// | `bad-signature` | verifies with the certificate's own key if self-issued, else with such an issuer's |
///
/// Key usage: a certificate without an identity in its subject may only be for key agreement and
/// encipherment. A `ca` needs `cA` in its basic constraints and `keyCertSign`; nothing else may have
/// `cA`, `keyCertSign` or `cRLSign`. No key usage extension means any usage.
pub const ORDER: [Refusal; 10] = [
    Refusal::NotEndorsed,
    Refusal::Malformed,
    Refusal::Duplicate,
    Refusal::WeakAlgorithm,
    Refusal::ForeignOrganisation,
    Refusal::KeyUsage,
    Refusal::Validity,
    Refusal::KeyReuse,
    Refusal::UnknownIssuer,
    Refusal::BadSignature,
];

/// Judges one certificate as if `member` submitted it in the block of `context`, and gives the
/// record that it would have.
///
/// # Errors
///
/// The first rule of [`ORDER`] that refuses it, or the store's failure.
pub fn judge(
    der: &[u8],
    class: Class,
    member: &Member,
    state: &dyn State,
    context: &Context,
) -> Result<Record, ValidateError> {
    endorsement::check(member)?;
    let certificate = form::check(der)?;
    let hash = CertificateHash::of(der);
    uniqueness::check_hash(&hash, state)?;
    algorithm::check(&certificate)?;
    let organisation = organisation::check(&certificate, member)?;
    usage::check(&certificate, class)?;
    validity::check(&certificate, context)?;
    let key = certificate.key_hash();
    uniqueness::check_key(&key, &organisation, state, context)?;
    let path_length = issuer::check(&certificate, class, state, context)?;
    Ok(Record {
        hash,
        certificate: der.to_vec(),
        class,
        standing: Standing::Valid,
        endorser: member.id.clone(),
        organisation,
        key,
        subject: certificate.subject_hash(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        path_length,
        recorded: context.height,
        changed: context.height,
    })
}

#[cfg(test)]
mod tests;
