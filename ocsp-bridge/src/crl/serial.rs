//! Serial numbers, as they stand in certificates.

use core::fmt;

/// RFC 5280 §4.1.2.2 allows 20 octets, and a certificate is recorded with one more at most.
const MAX: usize = 21;

/// The content octets of a serial number. Shorter ones come first.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Serial {
    // Before the octets, for the order; those behind it are zero.
    length: u8,
    octets: [u8; MAX],
}

impl Serial {
    /// From the content of an INTEGER; none if it is empty or longer than any recorded one.
    pub(crate) fn new(content: &[u8]) -> Option<Self> {
        let length = u8::try_from(content.len())
            .ok()
            .filter(|&length| length > 0)?;
        let mut octets = [0; MAX];
        octets.get_mut(..content.len())?.copy_from_slice(content);
        Some(Self { length, octets })
    }

    pub(crate) fn as_octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.as_octets() {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_length_and_octets() {
        let sorted = [
            &[0][..],
            &[5],
            &[0xfe],
            &[0, 0xfe],
            &[1, 0],
            &[1, 1],
            &[1; 20],
            &[0xff; 21],
        ]
        .map(|content| Serial::new(content).unwrap());
        assert!(sorted.is_sorted());
        assert_eq!(sorted[3].as_octets(), [0, 0xfe]);
        assert_eq!(format!("{:?}", sorted[3]), "00fe");
        assert_eq!(Serial::new(&[]), None);
        assert_eq!(Serial::new(&[1; 22]), None);
        assert_eq!(Serial::new(&[1; 300]), None);
    }
}
