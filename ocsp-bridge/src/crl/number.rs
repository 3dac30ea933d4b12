//! CRL numbers (RFC 5280 §5.2.3).

use core::fmt;
use core::str::FromStr;

use ledger::Height;
use ocsp::UnixTime;
use ocsp::wire::{self, tag};

/// The number of a CRL: the height of the block that last changed something of the issuer's, then thisUpdate.
///
/// Both follow from the ledger and the schedule alone, so that bridges which share a signer give the same number to the
/// same content without a word to each other, and so that no restart takes it back. It grows with every change, and
/// between changes with thisUpdate.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CrlNumber {
    // In the order of their weight.
    height: Height,
    this_update: UnixTime,
}

impl CrlNumber {
    /// The number of what is issued with this thisUpdate after that block.
    #[must_use]
    pub fn new(height: Height, this_update: UnixTime) -> Self {
        Self {
            height,
            this_update: this_update.min(UnixTime::MAX),
        }
    }

    /// The block that last changed something.
    #[must_use]
    pub const fn height(self) -> Height {
        self.height
    }

    /// When it was issued.
    #[must_use]
    pub const fn this_update(self) -> UnixTime {
        self.this_update
    }

    fn value(self) -> u128 {
        u128::from(self.height.0) << TIME_BITS | u128::from(self.this_update.0)
    }

    /// Writes the INTEGER: at most 14 octets.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let octets = self.value().to_be_bytes();
        // One octet at least, and a zero before what would be read as negative.
        let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
        let begin = zeros.min(octets.len() - 1);
        let negative = octets[begin] & 0x80 != 0;
        wire::tlv(out, tag::INTEGER, &octets[begin - usize::from(negative)..]);
    }
}

/// Hexadecimal, as openssl shows it.
impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.value())
    }
}

/// A text is not a CRL number of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected the number of a CRL from here, hexadecimal")]
pub struct CrlNumberError;

impl FromStr for CrlNumber {
    type Err = CrlNumberError;

    fn from_str(text: &str) -> Result<Self, CrlNumberError> {
        if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(CrlNumberError);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| CrlNumberError)?;
        let height = u64::try_from(value >> TIME_BITS).map_err(|_| CrlNumberError)?;
        // The remainder has TIME_BITS bits.
        let time = u64::try_from(value & ((1 << TIME_BITS) - 1)).map_err(|_| CrlNumberError)?;
        if time > UnixTime::MAX.0 {
            return Err(CrlNumberError);
        }
        Ok(Self {
            height: Height(height),
            this_update: UnixTime(time),
        })
    }
}

/// Room for [`UnixTime::MAX`].
const TIME_BITS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(height: u64, time: u64) -> CrlNumber {
        CrlNumber::new(Height(height), UnixTime(time))
    }

    #[test]
    fn the_encoding_is_a_minimal_positive_integer_of_at_most_20_octets() {
        for (number, octets) in [
            (number(0, 0), &[0][..]),
            (number(0, 127), &[127]),
            (number(0, 128), &[0, 128]),
            (number(1, 0), &[1, 0, 0, 0, 0, 0]),
            (number(0x80, 1), &[0, 0x80, 0, 0, 0, 0, 1]),
            (
                number(u64::MAX, u64::MAX),
                &[
                    0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3a, 0xff, 0xf4, 0x41, 0x7f,
                ],
            ),
        ] {
            let mut out = Vec::new();
            number.encode(&mut out);
            assert_eq!(out[2..], *octets, "{number}");
            assert_eq!(usize::from(out[1]), octets.len());
            assert_eq!(number.to_string().parse(), Ok(number));
        }
    }

    #[test]
    fn the_height_weighs_more_than_the_time() {
        let sorted = [number(1, 9), number(1, 10), number(2, 0), number(2, 8)];
        assert!(sorted.is_sorted());
        assert!(sorted.is_sorted_by_key(|number| number.value()));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-1", "+1", "x", "0x1", "ffffffffff", &"f".repeat(33)] {
            assert_eq!(text.parse::<CrlNumber>(), Err(CrlNumberError), "{text}");
        }
    }
}
