use std::fmt::Debug;

use der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

use super::{Certificate, CertificateDer, CertificateError, Identification, UnixTime};
use crate::{crypto::CryptoProvider, wire::codes::IdType};

/// The most certificates that are taken from one peer.
pub const MAX_CHAIN_LEN: usize = 8;

/// What a peer presented about itself. Its AUTH payload is verified separately, and first.
#[derive(Clone, Copy, Debug)]
pub struct PresentedChain<'a> {
    /// IDi or IDr.
    pub identity: &'a Identification,
    /// The certificates in the order they came; the first is the end entity's ([RFC 7296 §3.6]), the others in any order.
    ///
    /// [RFC 7296 §3.6]: https://www.rfc-editor.org/rfc/rfc7296#section-3.6
    pub chain: &'a [CertificateDer],
}

/// Judges a peer's certificates by themselves: form, time, use, names, signatures. Whether the end entity is trusted is the application's verdict.
pub trait PeerVerifier: Debug + Send + Sync {
    /// # Errors
    /// [`CertificateError`] for the first check that fails.
    fn verify(&self, peer: &PresentedChain<'_>, now: UnixTime) -> Result<(), CertificateError>;
}

/// The verifier for certificates whose standing a ledger knows, so that no trust anchor is configured:
/// version 3, in force, allowed to sign, naming the identity; a self-signed one verifies with its own key, and an issued one with the issuers that came along,
/// as far as they go. *That alone proves no trust*: anybody can make such a certificate. Admission must ask for its status.
#[derive(Clone, Debug)]
pub struct ProfileVerifier {
    provider: CryptoProvider,
    common_name: CommonName,
}

/// Whether a subject's common name may stand in for a missing dNSName.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CommonName {
    Ignored,
    LastResort,
}

impl ProfileVerifier {
    /// Takes names from the subject alternative name and the subject as a whole.
    #[must_use]
    pub fn new(provider: CryptoProvider) -> Self {
        Self {
            provider,
            common_name: CommonName::Ignored,
        }
    }

    /// Lets an ID_FQDN match the subject's common name where the certificate has no dNSName at all. Off by default: a common name is free text, and
    /// RFC 9525 abolished the habit; old device certificates have nothing else.
    #[must_use]
    pub fn with_common_name_as_last_resort(mut self) -> Self {
        self.common_name = CommonName::LastResort;
        self
    }

    fn check_identity(
        &self,
        certificate: &Certificate<'_>,
        identity: &Identification,
    ) -> Result<(), CertificateError> {
        let names = certificate
            .extension::<SubjectAltName>()?
            .map(|names| names.0)
            .unwrap_or_default();
        let value = &*identity.value;
        let found = match identity.kind {
            IdType::FQDN => {
                let mut dns_names = names.iter().filter_map(|name| match name {
                    GeneralName::DnsName(name) => Some(name.as_bytes()),
                    _ => None,
                });
                match dns_names.next() {
                    Some(first) => first.eq_ignore_ascii_case(value) || dns_names.any(|name| name.eq_ignore_ascii_case(value)),
                    None => self.common_name == CommonName::LastResort && has_common_name(certificate, value),
                }
            }
            IdType::RFC822_ADDR => names.iter().any(|name| matches!(name, GeneralName::Rfc822Name(name) if same_mailbox(name.as_bytes(), value))),
            IdType::IPV4_ADDR | IdType::IPV6_ADDR => {
                identity.ip_addr().is_some() && names.iter().any(|name| matches!(name, GeneralName::IpAddress(address) if address.as_bytes() == value))
            }
            IdType::DER_ASN1_DN => certificate.subject() == value && !certificate.tbs().subject().is_empty(),
            kind => return Err(CertificateError::IdentityUnsupported(kind)),
        };
        if found {
            Ok(())
        } else {
            Err(CertificateError::IdentityMismatch {
                identity: identity.clone(),
            })
        }
    }

    /// Follows issuers through the presented certificates until one is self-signed or the next was not presented.
    fn check_path(
        &self,
        end_entity: Certificate<'_>,
        others: &[CertificateDer],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        // One that cannot be parsed counts as not presented: the path may do without it.
        let mut unused: Vec<_> = others
            .iter()
            .enumerate()
            .filter_map(|(index, issuer)| Some((index + 1, Certificate::parse(issuer).ok()?)))
            .collect();
        let mut subject = end_entity;
        let mut below = 0;
        while !subject.is_self_issued() {
            // Every candidate is tried once in all, so at most MAX_CHAIN_LEN signatures are verified for one peer.
            let (named, rest): (Vec<_>, _) = unused
                .into_iter()
                .partition(|(_, issuer)| issuer.subject() == subject.issuer());
            if named.is_empty() {
                return Ok(());
            }
            unused = rest;
            let mut refused = CertificateError::BadSignature;
            let issuer = named.into_iter().find(|(_, issuer)| {
                match subject.check_signature(&self.provider, issuer.public_key()) {
                    Ok(()) => true,
                    Err(cause) => {
                        refused = cause;
                        false
                    }
                }
            });
            let Some((index, issuer)) = issuer else {
                return Err(refused);
            };
            issuer
                .check_issuer_usage(below)
                .and_then(|()| issuer.check_validity(now))
                .map_err(|cause| CertificateError::Issuer {
                    index,
                    cause: Box::new(cause),
                })?;
            subject = issuer;
            below += 1;
        }
        subject.check_signature(&self.provider, subject.public_key())
    }
}

impl PeerVerifier for ProfileVerifier {
    fn verify(&self, peer: &PresentedChain<'_>, now: UnixTime) -> Result<(), CertificateError> {
        if peer.chain.len() > MAX_CHAIN_LEN {
            return Err(CertificateError::ChainTooLong {
                len: peer.chain.len(),
                limit: MAX_CHAIN_LEN,
            });
        }
        let (first, others) = peer
            .chain
            .split_first()
            .ok_or(CertificateError::ChainEmpty)?;
        let end_entity = Certificate::parse(first)?;
        end_entity.check_validity(now)?;
        end_entity.check_end_entity_usage()?;
        self.check_identity(&end_entity, peer.identity)?;
        self.check_path(end_entity, others, now)
    }
}

/// Domain without regard to case, local part as it stands (RFC 5280 §7.5).
fn same_mailbox(left: &[u8], right: &[u8]) -> bool {
    fn split(address: &[u8]) -> Option<(&[u8], &[u8])> {
        address.split_at_checked(address.iter().rposition(|octet| *octet == b'@')?)
    }
    match (split(left), split(right)) {
        (Some((left_local, left_domain)), Some((right_local, right_domain))) => {
            left_local == right_local && left_domain.eq_ignore_ascii_case(right_domain)
        }
        _ => false,
    }
}

fn has_common_name(certificate: &Certificate<'_>, wanted: &[u8]) -> bool {
    const COMMON_NAME: const_oid::ObjectIdentifier =
        const_oid::ObjectIdentifier::new_unwrap("2.5.4.3");
    certificate
        .tbs()
        .subject()
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .any(|attribute| {
            let value = &attribute.value;
            let text = value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|text| text.as_bytes().to_vec())
                .or_else(|_| {
                    value
                        .decode_as::<PrintableStringRef<'_>>()
                        .map(|text| text.as_bytes().to_vec())
                })
                .or_else(|_| {
                    value
                        .decode_as::<Ia5StringRef<'_>>()
                        .map(|text| text.as_bytes().to_vec())
                });
            text.is_ok_and(|text| text.eq_ignore_ascii_case(wanted))
        })
}
