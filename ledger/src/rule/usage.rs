//! `key-usage`: the usage fits the class, and signing needs an identity.

use der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

use crate::certificate::ParsedCertificate;
use crate::outcome::{Refusal, Refused};
use crate::record::Class;

pub(super) fn check(certificate: &ParsedCertificate<'_>, class: Class) -> Result<(), Refused> {
    let refuse = |detail: &str| Err(Refused::new(Refusal::KeyUsage, detail));
    let usage = certificate.key_usage().map(|usage| usage.0);
    // RFC 5280 §4.2.1.3: at least one bit.
    if usage.is_some_and(|usage| usage.is_empty()) {
        return refuse("the key usage allows nothing");
    }
    // The organisation is there already, or another rule has refused.
    if !certificate.names_identity() && !usage.is_some_and(|usage| unsigned().contains(usage)) {
        return refuse(
            "the subject names no identity (common name, serial number or alternative name), so the \
             key usage may only be key agreement and encipherment",
        );
    }
    let issues = usage.is_some_and(|usage| usage.contains(KeyUsages::KeyCertSign));
    match class {
        Class::Ca if !certificate.is_authority() => {
            refuse("class ca needs cA in the basic constraints")
        }
        Class::Ca if !issues => refuse("class ca needs keyCertSign in the key usage"),
        Class::Ca => Ok(()),
        Class::Device | Class::Gateway if certificate.is_authority() => refuse(
            "only class ca may have cA in the basic constraints; make the certificate with CA:FALSE",
        ),
        Class::Device | Class::Gateway
            if issues || usage.is_some_and(|usage| usage.contains(KeyUsages::CRLSign)) =>
        {
            refuse("only class ca may have keyCertSign or cRLSign in the key usage")
        }
        Class::Device | Class::Gateway => Ok(()),
    }
}

/// The usages that sign nothing.
fn unsigned() -> FlagSet<KeyUsages> {
    KeyUsages::KeyAgreement
        | KeyUsages::KeyEncipherment
        | KeyUsages::DataEncipherment
        | KeyUsages::EncipherOnly
        | KeyUsages::DecipherOnly
}
