//! The anti-replay window and the inference of extended sequence numbers.

use thiserror::Error;

const WORD_BITS: u64 = 64;

/// Which sequence numbers have been seen, over a sliding window (RFC 4303 §3.4.3).
///
/// A ring of words in the manner of RFC 6479: moving forward clears whole words and never shifts.
/// Sequence numbers are 64 bits wide here; without extended sequence numbers the high half is 0.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    words: Box<[u64]>,
    size: WindowSize,
    highest: u64,
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub fn new(size: WindowSize) -> Self {
        // One word more than the window, so that the word being filled never holds bits that are
        // still inside it; a power of two makes the ring index a mask.
        let words = (usize::from(size.0) / 64 + 1).next_power_of_two();
        Self {
            words: vec![0; words].into_boxed_slice(),
            size,
            highest: 0,
        }
    }

    /// Marks `sequence` as seen and moves the window up to it if it is the highest so far.
    ///
    /// Only for a packet whose ICV has been verified: else anybody could push the window forward.
    /// A number below the window changes nothing.
    pub fn advance(&mut self, sequence: u64) {
        if sequence > self.highest {
            let from = self.highest / WORD_BITS;
            let steps = (sequence / WORD_BITS - from).min(self.words.len() as u64);
            for step in 1..=steps {
                *self.word_mut((from + step) * WORD_BITS) = 0;
            }
            self.highest = sequence;
        } else if self.below(sequence) {
            return;
        }
        *self.word_mut(sequence) |= bit(sequence);
    }

    /// Whether a packet of this number may still be accepted. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if it may not.
    pub fn check(&self, sequence: u64) -> Result<(), ReplayError> {
        if sequence == 0 {
            return Err(ReplayError::Zero);
        }
        if sequence > self.highest {
            return Ok(());
        }
        if self.below(sequence) {
            return Err(ReplayError::Late {
                sequence,
                highest: self.highest,
            });
        }
        if self.words[self.index(sequence)] & bit(sequence) != 0 {
            return Err(ReplayError::Duplicate { sequence });
        }
        Ok(())
    }

    /// The highest number seen; 0 before the first.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// How many packets back a number may be.
    pub fn size(&self) -> WindowSize {
        self.size
    }

    /// The 64-bit number that the 32 transmitted bits stand for (RFC 4303 appendix A2.2).
    ///
    /// A guess from where the window stands, which the ICV then proves or refutes. `None` if the number would lie
    /// before the first packet or beyond the last.
    pub fn infer(&self, low: u32) -> Option<u64> {
        let size = u32::from(self.size.0);
        let (high, top) = halves(self.highest);
        let bottom = top.wrapping_sub(size - 1);
        let high = match (top >= size - 1, low >= bottom) {
            // The window lies within one 2³² subspace.
            (true, true) => high,
            (true, false) => high.checked_add(1)?,
            // The window spans two subspaces.
            (false, true) => high.checked_sub(1)?,
            (false, false) => high,
        };
        Some(u64::from(high) << 32 | u64::from(low))
    }

    fn below(&self, sequence: u64) -> bool {
        self.highest.saturating_sub(sequence) >= u64::from(self.size.0)
    }

    fn index(&self, sequence: u64) -> usize {
        // The mask keeps the value below the number of words, so the conversion loses nothing.
        ((sequence / WORD_BITS) & (self.words.len() as u64 - 1)) as usize
    }

    fn word_mut(&mut self, sequence: u64) -> &mut u64 {
        let index = self.index(sequence);
        &mut self.words[index]
    }
}

/// The size of a replay window, in packets: 64 to 4096, in steps of 64.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WindowSize(u16);

impl WindowSize {
    /// 64 packets: the size that RFC 4303 §3.4.3 recommends as a default.
    pub const MIN: Self = Self(64);

    /// 4096 packets.
    pub const MAX: Self = Self(4096);

    /// A window of that many packets.
    ///
    /// # Errors
    ///
    /// [`WindowSizeError`] if out of 64 to 4096 or not a multiple of 64.
    pub fn new(packets: u16) -> Result<Self, WindowSizeError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&packets) && packets.is_multiple_of(64) {
            Ok(Self(packets))
        } else {
            Err(WindowSizeError(packets))
        }
    }

    /// The number of packets.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// 1024 packets: a gateway with several queues reorders by more than the 64 of RFC 4303, and the
/// memory is 256 octets.
impl Default for WindowSize {
    fn default() -> Self {
        Self(1024)
    }
}

/// Why a sequence number is not acceptable.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The number has been seen.
    #[error("sequence number {sequence} has been received before")]
    Duplicate {
        /// The number.
        sequence: u64,
    },
    /// The number is below the window.
    #[error("sequence number {sequence} is too far behind the highest received, {highest}")]
    Late {
        /// The number.
        sequence: u64,
        /// The top of the window.
        highest: u64,
    },
    /// The first packet of an SA has number 1 (RFC 4303 §2.2), so 0 is never sent.
    #[error("sequence number 0 is never sent")]
    Zero,
}

/// A window size that is not supported.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("replay window of {0} packets: choose a multiple of 64 from 64 to 4096")]
pub struct WindowSizeError(pub u16);

fn bit(sequence: u64) -> u64 {
    1 << (sequence % WORD_BITS)
}

/// High and low 32 bits.
fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, (value & 0xffff_ffff) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The definition, without any cleverness.
    #[derive(Default)]
    struct Naive {
        seen: BTreeSet<u64>,
        highest: u64,
    }

    impl Naive {
        fn accepts(&self, sequence: u64, size: u64) -> bool {
            sequence != 0 && sequence + size > self.highest && !self.seen.contains(&sequence)
        }

        fn mark(&mut self, sequence: u64) {
            self.seen.insert(sequence);
            self.highest = self.highest.max(sequence);
        }
    }

    fn window_at(size: u16, highest: u64) -> ReplayWindow {
        let mut window = ReplayWindow::new(WindowSize::new(size).unwrap());
        window.advance(highest);
        window
    }

    proptest! {
        #[test]
        fn window_agrees_with_the_naive_model(
            size in 1_u16..=64,
            base in prop_oneof![Just(0_u64), Just((1 << 32) - 500), 0..1_u64 << 40],
            jumps in prop::collection::vec(prop_oneof![
                8 => -200_i64..200, 2 => -5_000_i64..5_000, 1 => 0_i64..100_000,
            ], 1..400),
        ) {
            let size = size * 64;
            let mut window = ReplayWindow::new(WindowSize::new(size).unwrap());
            let mut naive = Naive::default();
            let mut at = base;
            for jump in jumps {
                at = at.saturating_add_signed(jump);
                let expected = naive.accepts(at, u64::from(size));
                prop_assert_eq!(window.check(at).is_ok(), expected, "{} of {}", at, naive.highest);
                if expected {
                    window.advance(at);
                    naive.mark(at);
                }
                prop_assert_eq!(window.highest(), naive.highest);
            }
        }

        #[test]
        fn inference_finds_every_number_near_the_window(
            size in 1_u16..=64,
            highest in 5_000_u64..1 << 50,
            ahead in 1_u64..(1 << 32) - 5_000,
            behind in 0_u64..4096,
        ) {
            let size = size * 64;
            let window = window_at(size, highest);
            let forward = highest + ahead;
            prop_assert_eq!(window.infer((forward & 0xffff_ffff) as u32), Some(forward));
            if behind < u64::from(size) {
                let back = highest - behind;
                prop_assert_eq!(window.infer((back & 0xffff_ffff) as u32), Some(back));
            }
        }
    }

    #[test]
    fn inference_follows_appendix_a2() {
        // Case A: the window lies within one subspace.
        let window = window_at(64, 0x0000_0001_0000_0100);
        assert_eq!(window.infer(0xc1), Some(0x1_0000_00c1));
        assert_eq!(window.infer(0xc0), Some(0x2_0000_00c0));
        assert_eq!(window.infer(0xffff_ffff), Some(0x1_ffff_ffff));
        // Case B: it spans two.
        let window = window_at(64, 0x0000_0001_0000_0003);
        assert_eq!(window.infer(0xffff_ffc4), Some(0x0_ffff_ffc4));
        assert_eq!(window.infer(0xffff_ffc3), Some(0x1_ffff_ffc3));
        assert_eq!(window.infer(0), Some(0x1_0000_0000));
        // Nothing lies before the first packet or beyond the last.
        assert_eq!(window_at(64, 3).infer(0xffff_ffff), None);
        assert_eq!(window_at(64, u64::MAX).infer(5), None);
        assert_eq!(window_at(64, u64::MAX - 1).infer(u32::MAX), Some(u64::MAX));
    }

    #[test]
    fn edges_of_the_window() {
        let mut window = window_at(64, 100);
        assert_eq!(window.check(0), Err(ReplayError::Zero));
        assert_eq!(
            window.check(100),
            Err(ReplayError::Duplicate { sequence: 100 })
        );
        assert_eq!(window.check(37), Ok(()));
        assert_eq!(
            window.check(36),
            Err(ReplayError::Late {
                sequence: 36,
                highest: 100
            })
        );
        window.advance(36); // below: must not set a bit that a later number shares
        assert_eq!(window.check(37), Ok(()));
        window.advance(u64::MAX);
        assert_eq!(window.highest(), u64::MAX);
        assert_eq!(window.check(u64::MAX - 63), Ok(()));
        assert!(window.check(u64::MAX - 64).is_err());
    }

    #[test]
    fn sizes_are_multiples_of_64_from_64_to_4096() {
        for packets in [0, 1, 63, 65, 100, 4095, 4097, 4160, u16::MAX] {
            assert_eq!(WindowSize::new(packets), Err(WindowSizeError(packets)));
        }
        for packets in [64, 128, 1024, 4096] {
            assert_eq!(WindowSize::new(packets).map(WindowSize::get), Ok(packets));
        }
    }
}
