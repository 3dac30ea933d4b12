//! The one way octets are read: forward, bounded, with the place kept for errors.

use nom::IResult;
use nom::bytes::complete::take;
use nom::error::Error;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use super::codes::PayloadType;
use super::error::DecodeError;

/// Octets of one payload (or of the header) that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    payload: PayloadType,
}

impl<'a> Reader<'a> {
    /// Reads `octets`, which begin at `offset` of what is being decoded and
    /// belong to `payload`.
    pub(super) const fn new(octets: &'a [u8], offset: usize, payload: PayloadType) -> Self {
        Self {
            rest: octets,
            offset,
            payload,
        }
    }

    /// One octet.
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.step(be_u8)
    }

    /// Two octets, big-endian.
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.step(be_u16)
    }

    /// Four octets, big-endian.
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.step(be_u32)
    }

    /// Eight octets, big-endian.
    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.step(be_u64)
    }

    /// `count` octets as they are.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        self.step(take(count))
    }

    /// `N` octets as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let truncated = self.truncated();
        self.take(N)?.try_into().map_err(|_| truncated)
    }

    /// Passes over `count` reserved octets, which are ignored on receipt.
    pub(super) fn reserved(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(|_| ())
    }

    /// Everything that is left.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        let all = self.rest;
        self.offset = self.offset.saturating_add(all.len());
        self.rest = &[];
        all
    }

    /// Opens the next `length` octets as a reader of their own; `None` if there
    /// are fewer.
    pub(super) fn sub(&mut self, length: usize) -> Option<Self> {
        let offset = self.offset;
        let octets = self.take(length).ok()?;
        Some(Self::new(octets, offset, self.payload))
    }

    /// Ends reading: nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::TrailingOctets {
            payload: self.payload,
            offset: self.offset,
            count: self.rest.len(),
        })
    }

    /// Where the next octet stands.
    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// How many octets are left.
    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all has been read.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The payload being read.
    pub(super) const fn payload(&self) -> PayloadType {
        self.payload
    }

    fn step<T>(
        &mut self,
        parser: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], T, Error<&'a [u8]>>,
    ) -> Result<T, DecodeError> {
        let (rest, value) = parser(self.rest).map_err(|_| self.truncated())?;
        self.offset = self
            .offset
            .saturating_add(self.rest.len().saturating_sub(rest.len()));
        self.rest = rest;
        Ok(value)
    }

    const fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            payload: self.payload,
            offset: self.offset,
        }
    }
}
