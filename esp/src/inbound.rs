//! The receiving half of a tunnel: ESP packet in, inner packet out.

use thiserror::Error;

use crate::ip::version;
use crate::lifetime::Meter;
use crate::suite::{AssociatedData, ICV_LEN};
use crate::{
    Expiry, Flow, HEADROOM, InnerError, InnerHeader, Lifetime, NonFirstFragments, ReplayError,
    ReplayWindow, SaCounters, SaKeys, Selectors, Spi, Suite, WindowSize,
};

/// Octets of the ESP trailer behind the padding: pad length and next header.
pub(crate) const TRAILER_LEN: usize = 2;

/// Next Header of an IPv4 packet in tunnel mode (RFC 4303 §2.6).
pub(crate) const NEXT_HEADER_IPV4: u8 = 4;
/// Next Header of an IPv6 packet in tunnel mode.
pub(crate) const NEXT_HEADER_IPV6: u8 = 41;
/// Next Header of a dummy packet.
pub(crate) const NEXT_HEADER_NONE: u8 = 59;

/// All that an inbound SA is made of.
#[derive(Debug)]
#[non_exhaustive]
pub struct InboundConfig {
    /// The SPI that this end chose.
    pub spi: Spi,
    /// Algorithm and keys.
    pub keys: SaKeys,
    /// Traffic that may come out.
    pub selectors: Selectors,
    /// Whether extended sequence numbers were negotiated. Default: yes.
    pub esn: bool,
    /// Default: see [`WindowSize`].
    pub replay_window: WindowSize,
    /// Default: no limit.
    pub lifetime: Lifetime,
    /// Default: refuse.
    pub fragments: NonFirstFragments,
}

impl InboundConfig {
    /// An SA with the defaults of the fields' documentation.
    pub fn new(spi: Spi, keys: SaKeys, selectors: Selectors) -> Self {
        Self {
            spi,
            keys,
            selectors,
            esn: true,
            replay_window: WindowSize::default(),
            lifetime: Lifetime::default(),
            fragments: NonFirstFragments::default(),
        }
    }
}

/// An inbound SA.
#[derive(Debug)]
pub struct InboundSa {
    spi: Spi,
    keys: SaKeys,
    selectors: Selectors,
    esn: bool,
    fragments: NonFirstFragments,
    window: ReplayWindow,
    meter: Meter,
    counters: SaCounters,
}

/// An inner packet that passed every check.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Inner<'a> {
    /// The IP packet, without any padding.
    pub packet: &'a [u8],
    /// Its headers.
    pub header: InnerHeader,
    /// The ESP sequence number that it came with, with the inferred high half.
    pub sequence: u64,
    /// What a lifetime asks for from this packet on; each is told once.
    pub expiry: Option<Expiry>,
}

impl InboundSa {
    /// Installs an SA that has received nothing.
    pub fn new(config: InboundConfig) -> Self {
        let InboundConfig {
            spi,
            keys,
            selectors,
            esn,
            replay_window,
            lifetime,
            fragments,
        } = config;
        Self {
            spi,
            keys,
            selectors,
            esn,
            fragments,
            window: ReplayWindow::new(replay_window),
            meter: Meter::new(lifetime),
            counters: SaCounters::default(),
        }
    }

    /// Turns an ESP packet (without UDP header) into the inner packet, in place.
    ///
    /// The order is that of RFC 4303 §3.4: the sequence number is checked, the ICV is verified, only then the
    /// window moves; padding, next header and traffic selectors follow. A packet that fails before its ICV is
    /// verified changes nothing but a counter. On failure the content of `packet` is no longer meaningful.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the check. All mean: drop the packet.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<Inner<'a>, OpenError> {
        let opened = self.process(packet);
        match &opened {
            Ok(inner) => {
                self.counters.packets += 1;
                self.counters.bytes += inner.packet.len() as u64;
            }
            Err(error) => *self.counter(error) += 1,
        }
        opened
    }

    /// What happened so far.
    pub fn counters(&self) -> &SaCounters {
        &self.counters
    }

    /// Whether extended sequence numbers are in use.
    pub fn esn(&self) -> bool {
        self.esn
    }

    /// What the lifetime asks for now.
    pub fn expiry(&self) -> Option<Expiry> {
        self.meter.reached()
    }

    /// The highest sequence number received; 0 before the first.
    pub fn highest_sequence(&self) -> u64 {
        self.window.highest()
    }

    /// Traffic that may come out.
    pub fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    /// The SPI that packets of this SA bear.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// The algorithm.
    pub fn suite(&self) -> Suite {
        self.keys.suite()
    }

    fn process<'a>(&mut self, packet: &'a mut [u8]) -> Result<Inner<'a>, OpenError> {
        let too_short = OpenError::TooShort { got: packet.len() };
        let (header, body) = packet
            .split_first_chunk_mut::<HEADROOM>()
            .ok_or(too_short)?;
        let (text, icv) = body.split_last_chunk_mut::<ICV_LEN>().ok_or(too_short)?;
        if text.len() < TRAILER_LEN {
            return Err(too_short);
        }
        let [s0, s1, s2, s3, n0, n1, n2, n3, iv @ ..] = *header;
        let spi = [s0, s1, s2, s3];
        if spi != self.spi.to_be_bytes() {
            return Err(OpenError::UnknownSpi(u32::from_be_bytes(spi)));
        }
        if self.meter.is_used_up() {
            return Err(OpenError::Expired);
        }

        let low = u32::from_be_bytes([n0, n1, n2, n3]);
        let sequence = if self.esn {
            self.window.infer(low).ok_or(OpenError::Sequence { low })?
        } else {
            low.into()
        };
        self.window.check(sequence)?;
        let aad = AssociatedData::new(spi, sequence, self.esn);
        let text = self
            .keys
            .open(iv, &aad, text, *icv)
            .ok_or(OpenError::Authentication { sequence })?;
        self.window.advance(sequence);
        self.meter.count(text.len());

        let (next_header, payload) = strip_trailer(text).ok_or(OpenError::Padding)?;
        let family = match next_header {
            NEXT_HEADER_IPV4 => 4,
            NEXT_HEADER_IPV6 => 6,
            NEXT_HEADER_NONE => return Err(OpenError::Dummy),
            other => return Err(OpenError::NextHeader(other)),
        };
        if let Some(other) = version(payload)
            && other != family
        {
            return Err(OpenError::Inner(InnerError::Version(other)));
        }
        let header = InnerHeader::parse(payload)?;
        if !self.selectors.permit_inbound(&header, self.fragments) {
            return Err(OpenError::Selector(header.flow()));
        }
        // What follows the packet is traffic flow confidentiality padding (RFC 4303 §2.7).
        let packet = payload.get(..header.length).ok_or(too_short)?;
        Ok(Inner {
            packet,
            header,
            sequence,
            expiry: self.meter.signal(),
        })
    }

    fn counter(&mut self, error: &OpenError) -> &mut u64 {
        let counters = &mut self.counters;
        match error {
            OpenError::Authentication { .. } => &mut counters.authentication,
            OpenError::Dummy => &mut counters.dummy,
            OpenError::Expired => &mut counters.expired,
            OpenError::Inner(_) => &mut counters.inner,
            OpenError::NextHeader(_) => &mut counters.next_header,
            OpenError::Padding => &mut counters.padding,
            OpenError::Replay(ReplayError::Duplicate { .. }) => &mut counters.duplicate,
            OpenError::Replay(ReplayError::Late { .. }) => &mut counters.late,
            OpenError::Replay(ReplayError::Zero) | OpenError::Sequence { .. } => {
                &mut counters.sequence
            }
            OpenError::Selector(_) => &mut counters.selector,
            OpenError::TooShort { .. } | OpenError::UnknownSpi(_) => &mut counters.malformed,
        }
    }
}

/// Why no inner packet comes out of an ESP packet.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// The ICV is not right: altered on the way, or sealed with another key.
    #[error("ESP packet {sequence}: wrong ICV")]
    Authentication {
        /// Its sequence number, as inferred.
        sequence: u64,
    },
    /// Not a fault: a dummy packet, sent to hide that there is no traffic (RFC 4303 §2.6).
    #[error("dummy packet")]
    Dummy,
    /// The hard lifetime has been reached.
    #[error("the SA's lifetime is used up")]
    Expired,
    /// Not a well-formed IP packet inside.
    #[error("inner packet: {0}")]
    Inner(#[from] InnerError),
    /// Neither IPv4 (4), IPv6 (41) nor a dummy (59): not tunnel mode.
    #[error("next header {0} where tunnel mode has 4 or 41")]
    NextHeader(u8),
    /// The padding is not 1, 2, 3, … or longer than the packet (RFC 4303 §2.4).
    #[error("wrong ESP padding")]
    Padding,
    /// The sequence number was refused by the replay window.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The inner packet does not match the traffic selectors (RFC 4301 §5.2).
    #[error("inner packet {0}, is not what the SA was negotiated for")]
    Selector(Flow),
    /// The number would lie before the first or beyond the last of the 64-bit numbers.
    #[error("sequence number ending in {low:#010x} lies outside the SA's numbers")]
    Sequence {
        /// The transmitted half.
        low: u32,
    },
    /// Not even header, trailer and ICV.
    #[error("{got} octets are too short for ESP")]
    TooShort {
        /// Octets given.
        got: usize,
    },
    /// No SA with this SPI, or a packet handed to the wrong SA.
    #[error("no SA with SPI {0:#010x}")]
    UnknownSpi(u32),
}

/// Splits off padding, pad length and next header; `None` if the padding is not 1, 2, 3, …
fn strip_trailer(text: &[u8]) -> Option<(u8, &[u8])> {
    let (rest, [pad_len, next_header]) = text.split_last_chunk::<TRAILER_LEN>()?;
    let payload_len = rest.len().checked_sub(usize::from(*pad_len))?;
    let (payload, padding) = rest.split_at_checked(payload_len)?;
    padding
        .iter()
        .zip(1_u8..=u8::MAX)
        .all(|(octet, expected)| *octet == expected)
        .then_some((*next_header, payload))
}
