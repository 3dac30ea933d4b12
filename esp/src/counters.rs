//! Counters of one SA.

use std::ops::AddAssign;

/// What happened to the packets of one SA, by cause. Plain numbers since the SA was installed.
///
/// One type for both directions, so that sums are easy; fields that a direction does not know stay
/// 0. `a += b` sums.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SaCounters {
    /// Packets that went through.
    pub packets: u64,
    /// Octets of inner packets that went through.
    pub bytes: u64,
    /// Refused: the ICV is not right (inbound).
    pub authentication: u64,
    /// Dropped as intended: dummy packets, RFC 4303 §2.6 (inbound).
    pub dummy: u64,
    /// Refused: the number has been received before (inbound).
    pub duplicate: u64,
    /// Refused: no sequence number is left (outbound).
    pub exhausted: u64,
    /// Refused: a hard lifetime has been reached.
    pub expired: u64,
    /// Refused: the inner packet is not well-formed IP.
    pub inner: u64,
    /// Refused: the number is below the replay window (inbound).
    pub late: u64,
    /// Refused: too short, for another SPI (inbound), or without room for header and trailer (outbound).
    pub malformed: u64,
    /// Refused: neither IPv4, IPv6 nor a dummy inside (inbound).
    pub next_header: u64,
    /// Refused: the padding is not 1, 2, 3, … (inbound).
    pub padding: u64,
    /// Refused: the inner packet does not match the traffic selectors.
    pub selector: u64,
    /// Refused: a sequence number that cannot be: 0, or before the first (inbound).
    pub sequence: u64,
}

impl AddAssign for SaCounters {
    fn add_assign(&mut self, other: Self) {
        let Self {
            packets,
            bytes,
            authentication,
            dummy,
            duplicate,
            exhausted,
            expired,
            inner,
            late,
            malformed,
            next_header,
            padding,
            selector,
            sequence,
        } = other;
        self.packets += packets;
        self.bytes += bytes;
        self.authentication += authentication;
        self.dummy += dummy;
        self.duplicate += duplicate;
        self.exhausted += exhausted;
        self.expired += expired;
        self.inner += inner;
        self.late += late;
        self.malformed += malformed;
        self.next_header += next_header;
        self.padding += padding;
        self.selector += selector;
        self.sequence += sequence;
    }
}
