//! Certificate Request payload, RFC 7296 §3.7.
//!
//! ```text
//! | Cert Encoding |
//! ~                    Certification Authority                    ~
//! ```

use super::codes::{CertEncoding, PayloadType};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;

/// Octets in a SHA-1 hash of an authority's SubjectPublicKeyInfo.
const HASH_LEN: usize = 20;

/// A wish for certificates of certain authorities (§3.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CertReqPayload<'a> {
    /// What is asked for.
    pub encoding: CertEncoding,
    /// For X.509 and OCSP (RFC 4806 §3.1): SHA-1 hashes of public keys, end to
    /// end; none means any authority.
    pub authorities: &'a [u8],
}

impl<'a> CertReqPayload<'a> {
    /// The hashes, 20 octets each; nothing sensible for encodings that have none.
    pub fn hashes(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.authorities.chunks_exact(HASH_LEN)
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let encoding = CertEncoding(reader.u8()?);
        let authorities = reader.remainder();
        let request = Self {
            encoding,
            authorities,
        };
        if request.has_right_length() {
            Ok(request)
        } else {
            Err(DecodeError::AuthoritiesLength {
                length: authorities.len(),
            })
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.has_right_length() {
            return Err(EncodeError::Field {
                payload: PayloadType::CERTREQ,
            });
        }
        out.push(self.encoding.0);
        out.extend_from_slice(self.authorities);
        Ok(())
    }

    const fn has_right_length(&self) -> bool {
        match self.encoding {
            CertEncoding::X509_SIGNATURE
            | CertEncoding::HASH_AND_URL
            | CertEncoding::HASH_AND_URL_BUNDLE
            | CertEncoding::OCSP_CONTENT => self.authorities.len().is_multiple_of(HASH_LEN),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body};
    use super::*;

    #[test]
    fn literal_octets() {
        let authorities = [[1; HASH_LEN], [2; HASH_LEN]].concat();
        let request = CertReqPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            authorities: &authorities,
        };
        check_body(
            &Payload::CertReq(request),
            &format!("04 {} {}", "01".repeat(20), "02".repeat(20)),
        );
        assert_eq!(request.hashes().count(), 2);
    }

    #[test]
    fn hashes_come_whole() {
        let request = |encoding, length| {
            decode_body(
                PayloadType::CERTREQ,
                &format!("{encoding} {}", "07".repeat(length)),
            )
        };
        assert_eq!(request("04", 0), Ok(()));
        assert_eq!(request("0e", 20), Ok(()));
        for length in [19, 21] {
            assert_eq!(
                request("04", length),
                Err(DecodeError::AuthoritiesLength { length })
            );
        }
        assert_eq!(request("c9", 3), Ok(()), "an encoding nobody knows");
    }
}
