//! The buffer in which a packet is sealed.

use thiserror::Error;

use crate::suite::ICV_LEN;

/// Octets before the inner packet: SPI, sequence number and IV.
pub const HEADROOM: usize = 16;

/// Octets after the inner packet: at most three of padding, pad length, next header, ICV; rounded up.
pub const TAILROOM: usize = 24;

const _: () = assert!(TAILROOM >= 3 + 2 + ICV_LEN);

/// A buffer with [`HEADROOM`] and [`TAILROOM`] around the inner packet.
///
/// Read the inner packet into [`space`](Self::space) (from a TUN device, say), tell its length by
/// [`set_inner_len`](Self::set_inner_len), seal, send: the packet never moves. Meant to be kept and reused.
#[derive(Clone, Debug)]
pub struct PacketBuffer {
    octets: Box<[u8]>,
    inner_len: usize,
}

impl PacketBuffer {
    /// A buffer for inner packets of up to `capacity` octets, which is the inner MTU.
    pub fn new(capacity: usize) -> Self {
        Self {
            octets: vec![0; HEADROOM + capacity + TAILROOM].into_boxed_slice(),
            inner_len: 0,
        }
    }

    /// Where to put an inner packet: all of the capacity, with whatever was left there.
    pub fn space(&mut self) -> &mut [u8] {
        self.inner_len = 0;
        let end = HEADROOM + self.capacity();
        &mut self.octets[HEADROOM..end]
    }

    /// Says how many octets of [`space`](Self::space) the inner packet takes.
    ///
    /// More than the packet's own length is allowed: the receiver drops what follows the packet
    /// (traffic flow confidentiality padding, RFC 4303 §2.7). Clear it first.
    ///
    /// # Errors
    ///
    /// [`InnerLengthError`] if that is more than the capacity.
    pub fn set_inner_len(&mut self, length: usize) -> Result<(), InnerLengthError> {
        let capacity = self.capacity();
        if length > capacity {
            return Err(InnerLengthError { length, capacity });
        }
        self.inner_len = length;
        Ok(())
    }

    /// Copies an inner packet in, for callers that have it elsewhere.
    ///
    /// # Errors
    ///
    /// [`InnerLengthError`] if it is longer than the capacity.
    pub fn fill(&mut self, inner: &[u8]) -> Result<(), InnerLengthError> {
        self.set_inner_len(inner.len())?;
        self.octets[HEADROOM..HEADROOM + inner.len()].copy_from_slice(inner);
        Ok(())
    }

    /// The longest inner packet that fits.
    pub fn capacity(&self) -> usize {
        self.octets.len() - HEADROOM - TAILROOM
    }

    /// The inner packet. After sealing: its ciphertext.
    pub fn inner(&self) -> &[u8] {
        &self.octets[HEADROOM..HEADROOM + self.inner_len]
    }

    /// The whole buffer with the length of the inner packet, as `seal_in_place` takes them.
    ///
    /// The length is forgotten, so that a packet cannot be sealed twice by mistake.
    pub(crate) fn take(&mut self) -> (&mut [u8], usize) {
        (&mut self.octets, std::mem::take(&mut self.inner_len))
    }
}

/// An inner packet that does not fit a [`PacketBuffer`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("inner packet of {length} octets in a buffer for {capacity}: make it for the inner MTU")]
pub struct InnerLengthError {
    /// Octets of the packet.
    pub length: usize,
    /// Octets of room.
    pub capacity: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_packet_lies_between_headroom_and_tailroom() {
        let mut buffer = PacketBuffer::new(100);
        assert_eq!(buffer.space().len(), 100);
        assert_eq!(buffer.capacity(), 100);
        buffer.fill(&[1, 2, 3]).unwrap();
        assert_eq!(buffer.inner(), [1, 2, 3]);
        let error = buffer.set_inner_len(101).unwrap_err();
        assert_eq!((error.length, error.capacity), (101, 100));
        let (octets, length) = buffer.take();
        assert_eq!((octets.len(), length), (HEADROOM + 100 + TAILROOM, 3));
        assert_eq!(buffer.take().1, 0);
    }
}
