//! The bounds of an engine.

use ledger::{MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION};

/// How much may wait, and how much a block may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most transactions that wait for a block. Default 10 000.
    pub pending: usize,
    /// The most octets of encoded transactions that wait. Default 64 MiB.
    pub pending_octets: usize,
    /// The most transactions in a block. Default 1 000; at most
    /// [`MAX_BLOCK_TRANSACTIONS`](ledger::MAX_BLOCK_TRANSACTIONS).
    pub block: usize,
    /// The most octets of transactions in a block. Default 4 MiB, at most 32 MiB. One transaction
    /// always fits.
    pub block_octets: usize,
}

/// The most octets of transactions in a block, whatever is configured: half of what decoding takes.
const MAX_BLOCK_OCTETS: usize = 32 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: 10_000,
            pending_octets: 64 << 20,
            block: 1_000,
            block_octets: 4 << 20,
        }
    }
}

impl Limits {
    /// The same limits, brought into the range that works: none is zero, a block never holds more
    /// than can be decoded, and the largest transaction can wait.
    #[must_use]
    pub fn in_range(self) -> Self {
        Self {
            pending: self.pending.max(1),
            pending_octets: self.pending_octets.max(MAX_TRANSACTION),
            block: self.block.clamp(1, MAX_BLOCK_TRANSACTIONS),
            block_octets: self.block_octets.clamp(1, MAX_BLOCK_OCTETS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_brought_into_range() {
        let zero = Limits {
            pending: 0,
            pending_octets: 0,
            block: 0,
            block_octets: 0,
        };
        assert_eq!(
            zero.in_range(),
            Limits {
                pending: 1,
                pending_octets: MAX_TRANSACTION,
                block: 1,
                block_octets: 1,
            }
        );
        let huge = Limits {
            pending: usize::MAX,
            pending_octets: usize::MAX,
            block: usize::MAX,
            block_octets: usize::MAX,
        };
        assert_eq!(huge.in_range().block, MAX_BLOCK_TRANSACTIONS);
        assert_eq!(huge.in_range().block_octets, MAX_BLOCK_OCTETS);
        assert_eq!(Limits::default().in_range(), Limits::default());
    }
}
