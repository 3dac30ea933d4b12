//! The Certification Authority field of a CERTREQ payload ([RFC 7296 §3.7]): SHA-1 hashes of SubjectPublicKeyInfo, as identifiers only.
//!
//! [RFC 7296 §3.7]: https://www.rfc-editor.org/rfc/rfc7296#section-3.7

use super::{Certificate, CertificateDer, CertificateError};
use crate::crypto::identifier_sha1;

/// The identifier of a trusted authority: SHA-1 over the SubjectPublicKeyInfo of its certificate.
///
/// # Errors
/// [`CertificateError`] when the certificate cannot be parsed.
pub fn authority(certificate: &CertificateDer) -> Result<[u8; 20], CertificateError> {
    Ok(identifier_sha1(&[Certificate::parse(certificate)?.spki()]))
}

/// The field for these authorities. With none the field is empty: any authority will do.
#[must_use]
pub fn encode_authorities(hashes: &[[u8; 20]]) -> Vec<u8> {
    hashes.concat()
}

/// The authorities in a received field; `None` when its length is no multiple of 20.
#[must_use]
pub fn authorities(field: &[u8]) -> Option<&[[u8; 20]]> {
    let (hashes, rest) = field.as_chunks();
    rest.is_empty().then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_a_whole_number_of_hashes() {
        let field = encode_authorities(&[[1; 20], [2; 20]]);
        assert_eq!(authorities(&field), Some(&[[1; 20], [2; 20]][..]));
        assert_eq!(authorities(&field[1..]), None);
        assert_eq!(authorities(&[]), Some(&[][..]));
    }
}
