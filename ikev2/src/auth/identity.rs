use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use der::Decode;
use x509_cert::name::Name;

use crate::wire::codes::IdType;

/// The longest identity that is taken: long enough for every distinguished name in use.
const MAX_IDENTITY_LEN: usize = 2_048;

/// An identity as IDi and IDr carry it ([RFC 7296 §3.5]).
///
/// [RFC 7296 §3.5]: https://www.rfc-editor.org/rfc/rfc7296#section-3.5
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Identification {
    /// ID Type.
    pub kind: IdType,
    /// Identification Data.
    pub value: Vec<u8>,
}

impl Identification {
    /// A fully-qualified domain name, without a final dot.
    #[must_use]
    pub fn fqdn(name: &str) -> Self {
        Self {
            kind: IdType::FQDN,
            value: name.as_bytes().to_vec(),
        }
    }

    /// An RFC 822 mail address.
    #[must_use]
    pub fn email(address: &str) -> Self {
        Self {
            kind: IdType::RFC822_ADDR,
            value: address.as_bytes().to_vec(),
        }
    }

    /// An IPv4 address.
    #[must_use]
    pub fn ipv4(address: Ipv4Addr) -> Self {
        Self {
            kind: IdType::IPV4_ADDR,
            value: address.octets().to_vec(),
        }
    }

    /// An IPv6 address.
    #[must_use]
    pub fn ipv6(address: Ipv6Addr) -> Self {
        Self {
            kind: IdType::IPV6_ADDR,
            value: address.octets().to_vec(),
        }
    }

    /// A distinguished name, as the DER of the certificate's subject.
    #[must_use]
    pub fn dn(der: &[u8]) -> Self {
        Self {
            kind: IdType::DER_ASN1_DN,
            value: der.to_vec(),
        }
    }

    /// Opaque octets.
    #[must_use]
    pub fn key_id(octets: &[u8]) -> Self {
        Self {
            kind: IdType::KEY_ID,
            value: octets.to_vec(),
        }
    }

    /// Takes an identity that came from the network, when its value has the form of its type.
    ///
    /// # Errors
    /// [`IdentityError`], which says what is wrong.
    pub fn decode(kind: IdType, value: &[u8]) -> Result<Self, IdentityError> {
        if value.len() > MAX_IDENTITY_LEN {
            return Err(IdentityError::TooLong {
                len: value.len(),
                limit: MAX_IDENTITY_LEN,
            });
        }
        let fits = match kind {
            IdType::IPV4_ADDR => value.len() == 4,
            IdType::IPV6_ADDR => value.len() == 16,
            IdType::FQDN | IdType::RFC822_ADDR => {
                !value.is_empty() && value.iter().all(u8::is_ascii_graphic)
            }
            IdType::DER_ASN1_DN => Name::from_der(value).is_ok(),
            IdType::KEY_ID => !value.is_empty(),
            _ => return Err(IdentityError::UnsupportedType(kind)),
        };
        if fits {
            Ok(Self {
                kind,
                value: value.to_vec(),
            })
        } else {
            Err(IdentityError::Malformed(kind))
        }
    }

    /// The one form in which this identity is compared and kept: the letters of a domain name do
    /// not differ by case (RFC 4343), nor do those after the `@` of a mail address. For the AUTH
    /// computation the form that came must be used.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut value = self.value.clone();
        let domain = match self.kind {
            IdType::FQDN => Some(0),
            IdType::RFC822_ADDR => value.iter().rposition(|octet| *octet == b'@'),
            _ => None,
        };
        if let Some(domain) = domain.and_then(|start| value.get_mut(start..)) {
            domain.make_ascii_lowercase();
        }
        Self {
            kind: self.kind,
            value,
        }
    }

    /// The payload's body, as it enters the AUTH computation: type, three reserved octets, value.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.value.len());
        body.extend_from_slice(&[self.kind.0, 0, 0, 0]);
        body.extend_from_slice(&self.value);
        body
    }

    /// The address, for the two address types.
    #[must_use]
    pub fn ip_addr(&self) -> Option<IpAddr> {
        match self.kind {
            IdType::IPV4_ADDR => <[u8; 4]>::try_from(&*self.value).ok().map(IpAddr::from),
            IdType::IPV6_ADDR => <[u8; 16]>::try_from(&*self.value).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

impl fmt::Display for Identification {
    /// Safe to print whatever came from the network: other than graphic ASCII is escaped or in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.ip_addr() {
            return write!(f, "{address}");
        }
        match self.kind {
            IdType::FQDN | IdType::RFC822_ADDR => write!(f, "{}", self.value.escape_ascii()),
            IdType::DER_ASN1_DN => match Name::from_der(&self.value) {
                Ok(name) => write!(f, "{}", name.to_string().escape_debug()),
                Err(_) => hex(f, self.kind, &self.value),
            },
            _ => hex(f, self.kind, &self.value),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, kind: IdType, value: &[u8]) -> fmt::Result {
    write!(f, "{kind} ")?;
    value.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// Why Identification Data was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The value does not have the form of its type.
    Malformed(IdType),
    /// Longer than an identity may be; octets.
    TooLong {
        /// What came.
        len: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// An ID Type that this library does not know how to match.
    UnsupportedType(IdType),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(kind) => {
                write!(f, "Identification Data does not have the form of {kind}")
            }
            Self::TooLong { len, limit } => write!(
                f,
                "Identification Data of {len} octets, at most {limit} are taken"
            ),
            Self::UnsupportedType(kind) => write!(f, "ID Type {kind} is not supported"),
        }
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_type_three_reserved_octets_value() {
        // RFC 7296 §3.5: ID Type | RESERVED | Identification Data.
        assert_eq!(Identification::fqdn("a.b").body(), b"\x02\0\0\0a.b");
    }

    #[test]
    fn case_counts_only_where_it_means_something() {
        let same = [
            (Identification::fqdn("A.Example"), "a.example"),
            (Identification::email("Me@A.Example"), "Me@a.example"),
            (Identification::email("Me"), "Me"),
            (Identification::key_id(b"Key"), "Key"),
        ];
        for (identity, expected) in same {
            assert_eq!(identity.canonical().value, expected.as_bytes());
            assert_eq!(identity.canonical().kind, identity.kind);
        }
    }

    #[test]
    fn prints_hostile_octets_harmlessly() {
        let hostile = Identification {
            kind: IdType::FQDN,
            value: b"a\n\x1b[2Jb".to_vec(),
        };
        assert_eq!(hostile.to_string(), r"a\n\x1b[2Jb");
        assert_eq!(
            Identification::ipv4(Ipv4Addr::new(10, 0, 0, 1)).to_string(),
            "10.0.0.1"
        );
        assert_eq!(Identification::ipv6(Ipv6Addr::LOCALHOST).to_string(), "::1");
        assert_eq!(
            Identification::key_id(&[1, 0xFF]).to_string(),
            "ID_KEY_ID 01ff"
        );
        assert_eq!(Identification::dn(&[0x30]).to_string(), "ID_DER_ASN1_DN 30");
    }

    #[test]
    fn decode_checks_the_form() {
        assert_eq!(
            Identification::decode(IdType::FQDN, b"h.example"),
            Ok(Identification::fqdn("h.example"))
        );
        assert_eq!(
            Identification::decode(IdType::FQDN, b""),
            Err(IdentityError::Malformed(IdType::FQDN))
        );
        assert_eq!(
            Identification::decode(IdType::FQDN, b"a\0b"),
            Err(IdentityError::Malformed(IdType::FQDN))
        );
        assert_eq!(
            Identification::decode(IdType::IPV4_ADDR, &[1, 2, 3]),
            Err(IdentityError::Malformed(IdType::IPV4_ADDR))
        );
        assert_eq!(
            Identification::decode(IdType::DER_ASN1_DN, &[0x30, 1]),
            Err(IdentityError::Malformed(IdType::DER_ASN1_DN))
        );
        assert_eq!(
            Identification::decode(IdType(99), b"x"),
            Err(IdentityError::UnsupportedType(IdType(99)))
        );
        assert_eq!(
            Identification::decode(IdType::KEY_ID, &[0; MAX_IDENTITY_LEN + 1]),
            Err(IdentityError::TooLong {
                len: MAX_IDENTITY_LEN + 1,
                limit: MAX_IDENTITY_LEN
            })
        );
    }
}
