//! Which certificates can stand behind an IKE identity, by the names that strongSwan prints.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::Decode as _;
use ledger::CertificateHash;
use ring::digest;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use super::issuer::IssuedBy;

/// A certificate that the daemon knows, by what an IKE identity may call it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedCertificate {
    /// H(CERT).
    pub hash: CertificateHash,
    /// Its names, each [canonical].
    pub names: BTreeSet<String>,
    /// Who issued it.
    pub issued_by: IssuedBy,
}

impl NamedCertificate {
    /// Takes the names from a DER certificate: subject, subject alternative names, subject key identifier, SHA-1
    /// of the public key, serial number. Those are what charon accepts as an identity. None when it is no
    /// certificate, or has no usable name.
    #[must_use]
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let parsed = Certificate::from_der(certificate).ok()?;
        let tbs = parsed.tbs_certificate();
        let mut names = BTreeSet::new();
        names.insert(canonical(&printed(tbs.subject())));
        // An extension that cannot be read takes nothing from the other names.
        if let Ok(Some((_, alternatives))) = tbs.get_extension::<SubjectAltName>() {
            names.extend(alternatives.0.iter().filter_map(alternative));
        }
        if let Ok(Some((_, key))) = tbs.get_extension::<SubjectKeyIdentifier>() {
            names.insert(hexadecimal(key.0.as_bytes()));
        }
        let key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key);
        names.insert(hexadecimal(sha1.as_ref()));
        names.insert(hexadecimal(tbs.serial_number().as_bytes()));
        names.remove("");
        let issued_by = IssuedBy::of(tbs)?;
        (!names.is_empty()).then(|| Self {
            hash: CertificateHash::of(certificate),
            names,
            issued_by,
        })
    }
}

/// An identity or name in the form in which they are compared: without regard to case, as charon compares, and of
/// distinguished names the values only, since versions differ in how they write types and separators.
#[must_use]
pub fn canonical(identity: &str) -> String {
    let mut out = String::with_capacity(identity.len());
    for c in identity.chars().flat_map(char::to_lowercase) {
        let doubled = matches!(c, ',' | '/' | ' ') && out.ends_with(c);
        let after_comma = c == ' ' && out.ends_with(',');
        if !doubled && !after_comma {
            out.push(c);
        }
    }
    let plain = out.trim();
    if !plain.contains('=') {
        return plain.to_owned();
    }
    let values: Vec<&str> = plain
        .split(',')
        .map(|part| part.split_once('=').map_or(part, |(_, value)| value).trim())
        .collect();
    format!("dn:{}", values.join(","))
}

/// Whether an identity can stand for many: charon lets a peer's identity with a wildcard match any certificate
/// whose name fits it.
#[must_use]
pub fn is_wildcard(identity: &str) -> bool {
    identity.contains('*') || identity.starts_with("%any")
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(canonical(name.as_str())),
        GeneralName::DirectoryName(name) => Some(canonical(&printed(name))),
        GeneralName::IpAddress(address) => {
            let octets = address.as_bytes();
            let address: IpAddr = if let Ok(v4) = <[u8; 4]>::try_from(octets) {
                Ipv4Addr::from(v4).into()
            } else {
                Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()
            };
            Some(address.to_string())
        }
        _ => None,
    }
}

/// A distinguished name as strongSwan prints it (`C=CH, O=strongSwan, CN=moon`), but for its types.
fn printed(name: &Name) -> String {
    let mut out = String::new();
    for attribute in name.iter() {
        if !out.is_empty() {
            out.push_str(", ");
        }
        // Whatever the type is called: types are not compared.
        out.push_str("x=");
        for octet in attribute.value.value() {
            out.push(match octet {
                b' '..=b'~' => char::from(*octet),
                _ => '?',
            });
        }
    }
    out
}

fn hexadecimal(octets: &[u8]) -> String {
    let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

#[cfg(test)]
mod tests {
    use rcgen::{DnType, PKCS_ECDSA_P256_SHA256, SanType};

    use super::*;
    use crate::fixture::{params, self_signed};

    #[test]
    fn a_certificate_has_all_the_names_that_charon_accepts() {
        let mut params = params("HeNB 1");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Läb");
        params.serial_number = Some(vec![0x12, 0xab].into());
        params.subject_alt_names = vec![
            SanType::DnsName("HeNB1.lab.test".try_into().unwrap()),
            SanType::Rfc822Name("a@b".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ];
        let (_key, certificate) = self_signed(&PKCS_ECDSA_P256_SHA256, params);
        let named = NamedCertificate::read(&certificate).unwrap();
        assert_eq!(named.hash, CertificateHash::of(&certificate));
        for identity in [
            "CN=HeNB 1, O=L??b",
            "cn=henb 1,o=l??b",
            "2.5.4.3=HeNB 1,, organization=L??b",
            "henb1.lab.test",
            "HENB1.LAB.TEST",
            "a@b",
            "192.0.2.7",
            "2001:db8::7",
            "12:ab",
        ] {
            assert!(
                named.names.contains(&canonical(identity)),
                "{identity}: {named:?}"
            );
        }
        for identity in [
            "",
            "henb1",
            "henb1.lab.test.",
            "CN=HeNB 1",
            "O=L??b, CN=HeNB 1",
            "HeNB 1,L??b",
            "*.lab.test",
        ] {
            assert!(!named.names.contains(&canonical(identity)), "{identity}");
        }
        assert!(NamedCertificate::read(&certificate[1..]).is_none());
    }

    #[test]
    fn wildcards() {
        for identity in ["*", "*.lab.test", "O=Lab, CN=*", "%any", "%any6"] {
            assert!(is_wildcard(identity), "{identity}");
        }
        assert!(!is_wildcard("henb1.lab.test"));
    }
}
