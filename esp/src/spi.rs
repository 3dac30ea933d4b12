//! The security parameters index.

use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

/// The number that an ESP receiver chose to find its SA by (RFC 4303 §2.1).
///
/// Never 0 (which marks IKE on port 4500) and never 1 to 255 (reserved by IANA).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Spi(NonZeroU32);

impl Spi {
    /// The lowest number that may be used.
    pub const MIN: u32 = 256;

    /// An SPI of this value.
    ///
    /// # Errors
    ///
    /// [`ReservedSpi`] for values below [`Spi::MIN`].
    pub fn new(value: u32) -> Result<Self, ReservedSpi> {
        match NonZeroU32::new(value) {
            Some(spi) if value >= Self::MIN => Ok(Self(spi)),
            _ => Err(ReservedSpi(value)),
        }
    }

    /// The value, in host order.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    pub(crate) fn to_be_bytes(self) -> [u8; 4] {
        self.get().to_be_bytes()
    }
}

impl TryFrom<u32> for Spi {
    type Error = ReservedSpi;

    fn try_from(value: u32) -> Result<Self, ReservedSpi> {
        Self::new(value)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.get())
    }
}

/// An SPI that RFC 4303 §2.1 reserves.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("SPI {0} is reserved (RFC 4303 section 2.1): choose one of 256 and above")]
pub struct ReservedSpi(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_values_are_refused() {
        for value in [0, 1, 255] {
            assert_eq!(Spi::new(value), Err(ReservedSpi(value)));
        }
        assert_eq!(Spi::new(256).map(Spi::get), Ok(256));
        assert_eq!(Spi::new(0x0a0b_0c0d).unwrap().to_string(), "0x0a0b0c0d");
    }
}
