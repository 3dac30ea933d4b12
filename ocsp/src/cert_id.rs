//! The name by which OCSP asks for a certificate.

use std::fmt;

use der::{ErrorKind, Tag};
use ring::digest;

use crate::request::RequestError;
use crate::wire::{self, Elements, Tlv, tag};

/// The longest serial number: 20 octets (RFC 5280 §4.1.2.2) and the zero that keeps such a one positive.
const MAX_SERIAL: usize = 21;

/// A `CertID` (RFC 6960 §4.1.1), borrowed from the request.
///
/// Displayed as `sha1/<issuer name hash>/<issuer key hash>/<serial number>` in hexadecimal, the way in which the
/// ledger node's look-up takes it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct CertId<'a> {
    der: &'a [u8],
    algorithm: HashAlgorithm,
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
}

impl<'a> CertId<'a> {
    /// Reads one `CertID` with nothing after it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when it is not DER, uses a hash that is not served, or hashes of a wrong length.
    pub fn decode(der: &'a [u8]) -> Result<Self, RequestError> {
        let tlv = Tlv::only(der).map_err(RequestError::der("CertID"))?;
        Self::from_tlv(tlv)
    }

    pub(crate) fn from_tlv(tlv: Tlv<'a>) -> Result<Self, RequestError> {
        let der = RequestError::der("CertID");
        let mut fields = tlv.open(Tag::Sequence).map_err(der)?;
        let algorithm = fields.expect(Tag::Sequence).map_err(der)?;
        let name = fields.expect(Tag::OctetString).map_err(der)?;
        let key = fields.expect(Tag::OctetString).map_err(der)?;
        let serial = fields.expect(Tag::Integer).map_err(der)?;
        fields.finish().map_err(der)?;
        let algorithm = HashAlgorithm::from_identifier(algorithm)?;
        for (field, hash) in [("issuerNameHash", name), ("issuerKeyHash", key)] {
            if hash.value.len() != algorithm.output_len() {
                return Err(RequestError::HashLength {
                    field,
                    expected: algorithm.output_len(),
                    found: hash.value.len(),
                });
            }
        }
        let serial = match *serial.value {
            // X.690 §8.3.2: the first nine bits are never all the same.
            [] => Err(RequestError::Serial("empty")),
            [0x00, next, ..] if next < 0x80 => Err(RequestError::Serial("not minimal")),
            [0xff, next, ..] if next >= 0x80 => Err(RequestError::Serial("not minimal")),
            [first, ..]
                if serial.value.len() > MAX_SERIAL
                    || (serial.value.len() == MAX_SERIAL && first != 0) =>
            {
                Err(RequestError::Serial("longer than 20 octets"))
            }
            _ => Ok(serial.value),
        }?;
        Ok(Self {
            der: tlv.raw,
            algorithm,
            issuer_name_hash: name.value,
            issuer_key_hash: key.value,
            serial,
        })
    }

    /// The DER `CertID` of a certificate, for those who ask.
    ///
    /// `issuer_name` is the issuer's DER name, `issuer_key` the content of its `subjectPublicKey` BIT STRING without
    /// the octet of unused bits, `serial` the content of the certificate's `serialNumber` INTEGER as it is there.
    #[must_use]
    pub fn encode(
        algorithm: HashAlgorithm,
        issuer_name: &[u8],
        issuer_key: &[u8],
        serial: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        wire::nested(&mut out, tag::SEQUENCE, |out| {
            wire::nested(out, tag::SEQUENCE, |out| {
                wire::oid(out, algorithm.oid());
                wire::tlv(out, tag::NULL, &[]);
            });
            wire::tlv(
                out,
                tag::OCTET_STRING,
                algorithm.digest(issuer_name).as_ref(),
            );
            wire::tlv(
                out,
                tag::OCTET_STRING,
                algorithm.digest(issuer_key).as_ref(),
            );
            wire::tlv(out, tag::INTEGER, serial);
        });
        out
    }

    /// All octets as they came, to be echoed: relying parties compare them.
    #[must_use]
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// What the two hashes are made with.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash of the issuer's DER name.
    #[must_use]
    pub const fn issuer_name_hash(&self) -> &'a [u8] {
        self.issuer_name_hash
    }

    /// The hash of the issuer's public key, without tag, length and unused bits.
    #[must_use]
    pub const fn issuer_key_hash(&self) -> &'a [u8] {
        self.issuer_key_hash
    }

    /// The content octets of the serial number as they came.
    #[must_use]
    pub const fn serial_octets(&self) -> &'a [u8] {
        self.serial
    }

    /// The serial number as an unsigned number without leading zeros, but at least one octet.
    ///
    /// strongSwan 5.9.8 may leave out the zero that keeps a number positive, so that it reads as a negative one; it
    /// means the unsigned number of the same octets.
    #[must_use]
    pub const fn serial(&self) -> &'a [u8] {
        match self.serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        }
    }
}

impl fmt::Debug for CertId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertId({self})")
    }
}

impl fmt::Display for CertId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        for octets in [self.issuer_name_hash, self.issuer_key_hash, self.serial()] {
            f.write_str("/")?;
            octets
                .iter()
                .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        }
        Ok(())
    }
}

/// The hash functions that a CertID may use.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HashAlgorithm {
    /// What strongSwan and most others ask with. It names issuers here and protects nothing.
    Sha1,
    /// What RFC 9919 wants.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name, as the ledger node's look-up takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Octets of a hash.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> const_oid::ObjectIdentifier {
        match self {
            Self::Sha1 => wire::ID_SHA1,
            Self::Sha256 => wire::ID_SHA256,
            Self::Sha384 => wire::ID_SHA384,
            Self::Sha512 => wire::ID_SHA512,
        }
    }

    /// The hash of these octets.
    #[must_use]
    pub fn digest(self, octets: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, octets)
    }

    /// From an `AlgorithmIdentifier`, whose parameters are absent or NULL (RFC 5754 §2 wants both accepted).
    fn from_identifier(tlv: Tlv<'_>) -> Result<Self, RequestError> {
        let der = RequestError::der("hashAlgorithm");
        let mut fields = Elements::new(tlv.value).map_err(der)?;
        let oid = fields.expect(Tag::ObjectIdentifier).map_err(der)?;
        if !fields.is_finished() {
            let parameters = fields.expect(Tag::Null).map_err(der)?;
            if !parameters.value.is_empty() {
                return Err(der(ErrorKind::Length { tag: Tag::Null }));
            }
        }
        fields.finish().map_err(der)?;
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid().as_bytes() == oid.value)
            .ok_or(RequestError::HashAlgorithm)
    }
}
