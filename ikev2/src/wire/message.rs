//! One whole message: header and outer payloads.

use super::chain::{Payloads, read_chain};
use super::codes::PayloadType;
use super::error::{DecodeError, EncodeError};
use super::header::Header;
use super::reader::Reader;
use super::writer::MessageWriter;
use super::{HEADER_LEN, sealed};

/// An IKE message as it stands in a datagram (RFC 7296 §3.1, §3.2). What its
/// Encrypted payload holds is still sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// The IKE header.
    pub header: Header,
    /// The outer payloads.
    pub payloads: Payloads<'a>,
}

impl<'a> Message<'a> {
    /// Reads a datagram, which begins with the IKE header: the non-ESP marker of
    /// port 4500 is not part of it.
    ///
    /// # Errors
    ///
    /// The check that failed. Nothing in the message was authenticated: whether
    /// an error may have any effect is for the caller to judge (RFC 7296 §2.21).
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let header = Header::decode(datagram)?;
        let mut reader = Reader::new(datagram, 0, PayloadType::NONE);
        reader.take(HEADER_LEN)?;
        let payloads = read_chain(header.next_payload, reader, sealed::Place::Outer)?;
        Ok(Self { header, payloads })
    }

    /// Appends the message to `out`. Next Payload and all lengths are computed,
    /// whatever the header says.
    ///
    /// # Errors
    ///
    /// The payload that cannot be written; `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = out.len();
        let mut writer = MessageWriter::new(out, &self.header);
        let written = self
            .payloads
            .iter()
            .try_for_each(|payload| writer.payload(payload))
            .and_then(|()| writer.finish());
        if written.is_err() {
            out.truncate(before);
        }
        written.map(|_| ())
    }
}
