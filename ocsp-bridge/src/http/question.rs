//! The OCSP request in the path of a GET (RFC 6960 appendix A.1, RFC 9919 section 5).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Why a path holds no request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathError {
    /// It does not look like one at all: another resource was meant.
    NotOcsp,
    /// It begins like one, but is not the base64 of anything.
    Malformed,
    /// It is longer than any request may be.
    TooLarge,
}

/// The octets that a path stands for; `path` is what follows the responder's own path.
///
/// Clients differ, so all of these are taken: base64 with its own alphabet or the URL-safe one, with or
/// without padding, any character percent-encoded, leading slashes doubled by naive joining of URLs, line
/// breaks of encoders that make them, and the space that some proxies make of `+`.
pub(super) fn decode(path: &str, limit: usize) -> Result<Vec<u8>, PathError> {
    // A character of the path stands for at most three quarters of an octet.
    if path.len() > longest_path(limit) {
        return Err(PathError::TooLarge);
    }
    let mut text = Vec::with_capacity(path.len());
    let mut octets = path.bytes();
    while let Some(octet) = octets.next() {
        let octet = if octet == b'%' {
            let digits = (
                octets.next().and_then(nibble),
                octets.next().and_then(nibble),
            );
            let (Some(high), Some(low)) = digits else {
                return Err(unusable(&text));
            };
            high << 4 | low
        } else {
            octet
        };
        match octet {
            b'/' if text.is_empty() => {}
            b'\r' | b'\n' => {}
            b'-' | b' ' => text.push(b'+'),
            b'_' => text.push(b'/'),
            other => text.push(other),
        }
    }
    // Every OCSPRequest is a SEQUENCE, 0x30, whose base64 begins with M.
    if text.first() != Some(&b'M') {
        return Err(PathError::NotOcsp);
    }
    let der = BASE64.decode(&text).map_err(|_| PathError::Malformed)?;
    if der.len() > limit {
        return Err(PathError::TooLarge);
    }
    Ok(der)
}

/// The most characters that a request of `limit` octets takes: four for three octets, all percent-encoded.
const fn longest_path(limit: usize) -> usize {
    limit
        .div_ceil(3)
        .saturating_mul(4)
        .saturating_mul(3)
        .saturating_add(64)
}

fn unusable(begun: &[u8]) -> PathError {
    match begun.first() {
        Some(b'M') => PathError::Malformed,
        _ => PathError::NotOcsp,
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets whose base64 holds `+`, `/` and padding: `MD+//vA=`.
    const DER: &[u8] = &[0x30, 0x3f, 0xbf, 0xfe, 0xf0];

    #[test]
    fn every_spelling_of_the_same_octets_is_taken() {
        assert_eq!(BASE64.encode(DER), "MD+//vA=");
        for path in [
            "MD+//vA=",
            "/MD+//vA=",
            "///MD+//vA=",
            "MD+//vA",
            "MD-__vA=",
            "MD-__vA",
            "MD%2B%2F%2FvA%3D",
            "MD%2b%2f%2fvA%3d",
            "MD+%2F/vA=",
            "%4DD+//vA=",
            "%2FMD+//vA=",
            "MD%20//vA=",
            "MD+/%0A/vA=%0A",
            "MD+/%0D%0A/vA=",
        ] {
            assert_eq!(decode(path, 4096).as_deref(), Ok(DER), "{path}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_from_what_is_a_bad_one() {
        for (path, error) in [
            ("", PathError::NotOcsp),
            ("/", PathError::NotOcsp),
            ("favicon.ico", PathError::NotOcsp),
            ("%", PathError::NotOcsp),
            ("%zz", PathError::NotOcsp),
            ("%00", PathError::NotOcsp),
            ("AAAA", PathError::NotOcsp),
            ("M", PathError::Malformed),
            ("MD+//vA==", PathError::Malformed),
            ("MD+/=/vA", PathError::Malformed),
            ("MD+//v!=", PathError::Malformed),
            ("MD+//v%", PathError::Malformed),
            ("MD+//v%4", PathError::Malformed),
            ("MD+//v%G1", PathError::Malformed),
            ("MD+//v%C3%A4", PathError::Malformed),
            ("MD+//vA=x", PathError::Malformed),
            ("MD+//vB=", PathError::Malformed),
        ] {
            assert_eq!(decode(path, 4096), Err(error), "{path}");
        }
    }

    #[test]
    fn the_bound_is_that_of_the_octets() {
        let exact = BASE64.encode([0x30; 100]);
        assert_eq!(decode(&exact, 100).unwrap().len(), 100);
        assert_eq!(
            decode(&BASE64.encode([0x30; 101]), 100),
            Err(PathError::TooLarge)
        );
        let encoded: String = exact.bytes().map(|octet| format!("%{octet:02X}")).collect();
        assert_eq!(decode(&encoded, 100).unwrap().len(), 100);
        assert_eq!(decode(&"M".repeat(2_000), 100), Err(PathError::TooLarge));
    }
}
