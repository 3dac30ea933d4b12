//! Certificate payload, RFC 7296 §3.6.
//!
//! ```text
//! | Cert Encoding |
//! ~                       Certificate Data                        ~
//! ```

use super::codes::CertEncoding;
use super::error::DecodeError;
use super::reader::Reader;

/// A certificate, or what stands in for or beside one (§3.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CertPayload<'a> {
    /// What the value is.
    pub encoding: CertEncoding,
    /// The value: DER, for X.509.
    pub value: &'a [u8],
}

impl<'a> CertPayload<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let encoding = CertEncoding(reader.u8()?);
        let value = reader.remainder();
        Ok(Self { encoding, value })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_body, decode_body};
    use super::super::{Payload, PayloadType};
    use super::*;

    #[test]
    fn literal_octets() {
        let cert = CertPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            value: &[0x30, 0x03, 0x02, 0x01, 0x00],
        };
        check_body(&Payload::Cert(cert), "04 3003020100");
    }

    #[test]
    fn without_an_encoding_it_is_cut_short() {
        let truncated = DecodeError::Truncated {
            payload: PayloadType::CERT,
            offset: 4,
        };
        assert_eq!(decode_body(PayloadType::CERT, ""), Err(truncated));
    }
}
