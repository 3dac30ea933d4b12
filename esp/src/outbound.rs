//! The sending half of a tunnel: inner packet in, ESP packet out.

use std::net::IpAddr;

use thiserror::Error;

use crate::inbound::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, TRAILER_LEN};
use crate::lifetime::Meter;
use crate::suite::{AssociatedData, ICV_LEN};
use crate::{
    Expiry, Flow, HEADROOM, InnerError, InnerHeader, Lifetime, NonFirstFragments, PacketBuffer,
    SaCounters, SaKeys, Selectors, Spi, Suite, TAILROOM,
};

/// Ciphertext ends on a multiple of this (RFC 4303 §2.4).
const ALIGNMENT: usize = 4;

/// After so many packets without extended sequence numbers a successor is asked for: a quarter of the numbers is
/// left for the negotiation.
const SOFT_32_BIT_PACKETS: u64 = 3 << 30;

/// All that an outbound SA is made of.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutboundConfig {
    /// The SPI that the other end chose.
    pub spi: Spi,
    /// Algorithm and keys. Never give the same keys to two outbound SAs: their IVs would collide, which
    /// discloses the traffic and lets anyone forge it.
    pub keys: SaKeys,
    /// Traffic that may go in.
    pub selectors: Selectors,
    /// Whether extended sequence numbers were negotiated. Default: yes.
    pub esn: bool,
    /// Default: no limit but that of the sequence numbers.
    pub lifetime: Lifetime,
    /// Default: refuse.
    pub fragments: NonFirstFragments,
}

impl OutboundConfig {
    /// An SA with the defaults of the fields' documentation.
    pub fn new(spi: Spi, keys: SaKeys, selectors: Selectors) -> Self {
        Self {
            spi,
            keys,
            selectors,
            esn: true,
            lifetime: Lifetime::default(),
            fragments: NonFirstFragments::default(),
        }
    }
}

/// An outbound SA.
#[derive(Debug)]
pub struct OutboundSa {
    spi: Spi,
    keys: SaKeys,
    selectors: Selectors,
    esn: bool,
    fragments: NonFirstFragments,
    /// The last number used; 0 before the first.
    sequence: u64,
    meter: Meter,
    counters: SaCounters,
}

/// An ESP packet, ready to be sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sealed<'a> {
    /// The ESP packet. With UDP encapsulation it is the UDP payload as it stands.
    pub packet: &'a [u8],
    /// Its sequence number.
    pub sequence: u64,
    /// What a lifetime asks for from this packet on; each is told once.
    pub expiry: Option<Expiry>,
}

impl OutboundSa {
    /// Installs an SA that has sent nothing.
    pub fn new(config: OutboundConfig) -> Self {
        let OutboundConfig {
            spi,
            keys,
            selectors,
            esn,
            mut lifetime,
            fragments,
        } = config;
        if !esn {
            let soft = lifetime.soft_packets.unwrap_or(u64::MAX);
            lifetime.soft_packets = Some(soft.min(SOFT_32_BIT_PACKETS));
        }
        Self {
            spi,
            keys,
            selectors,
            esn,
            fragments,
            sequence: 0,
            meter: Meter::new(lifetime),
            counters: SaCounters::default(),
        }
    }

    /// Turns the inner packet in `buffer` into an ESP packet, in place.
    ///
    /// The buffer's inner length is reset, so fill it again before the next call.
    ///
    /// # Errors
    ///
    /// [`SealError`] names the check; the packet must not be sent.
    pub fn seal<'a>(&mut self, buffer: &'a mut PacketBuffer) -> Result<Sealed<'a>, SealError> {
        let (octets, inner_len) = buffer.take();
        self.seal_in_place(octets, inner_len)
    }

    /// Like [`seal`](Self::seal) for a caller's own buffer (one slot of a batch, say): the inner packet of `inner_len` octets
    /// begins at [`HEADROOM`], and [`TAILROOM`] octets must follow it.
    ///
    /// # Errors
    ///
    /// [`SealError`] names the check; the packet must not be sent.
    pub fn seal_in_place<'a>(
        &mut self,
        octets: &'a mut [u8],
        inner_len: usize,
    ) -> Result<Sealed<'a>, SealError> {
        let header = inner_of(octets, inner_len)
            .and_then(|inner| InnerHeader::parse(inner).map_err(SealError::Inner));
        match header {
            Ok(header) => self.seal_parsed(octets, inner_len, &header),
            Err(error) => {
                *self.counter(&error) += 1;
                Err(error)
            }
        }
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

    /// Whether the traffic selectors let this packet in.
    pub fn permits(&self, header: &InnerHeader) -> bool {
        self.selectors.permit_outbound(header, self.fragments)
    }

    /// Traffic that may go in.
    pub fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    /// The last sequence number used; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The SPI that packets of this SA bear.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// The algorithm.
    pub fn suite(&self) -> Suite {
        self.keys.suite()
    }

    /// Seals a packet whose header has been read already.
    pub(crate) fn seal_parsed<'a>(
        &mut self,
        octets: &'a mut [u8],
        inner_len: usize,
        header: &InnerHeader,
    ) -> Result<Sealed<'a>, SealError> {
        let sealed = self.process(octets, inner_len, header);
        match &sealed {
            Ok(_) => {
                self.counters.packets += 1;
                self.counters.bytes += header.length as u64;
            }
            Err(error) => *self.counter(error) += 1,
        }
        sealed
    }

    fn process<'a>(
        &mut self,
        octets: &'a mut [u8],
        inner_len: usize,
        header: &InnerHeader,
    ) -> Result<Sealed<'a>, SealError> {
        if !self.permits(header) {
            return Err(SealError::Selector(header.flow()));
        }
        if self.meter.is_used_up() {
            return Err(SealError::Expired);
        }
        let last = if self.esn { u64::MAX } else { u32::MAX.into() };
        if self.sequence >= last {
            return Err(SealError::Exhausted);
        }

        let no_room = no_room(octets, inner_len);
        let pad_len =
            (inner_len + TRAILER_LEN).next_multiple_of(ALIGNMENT) - inner_len - TRAILER_LEN;
        let text_len = inner_len + pad_len + TRAILER_LEN;
        let packet = octets
            .get_mut(..HEADROOM + text_len + ICV_LEN)
            .ok_or(no_room)?;
        let (head, body) = packet.split_first_chunk_mut::<HEADROOM>().ok_or(no_room)?;
        let (text, icv) = body.split_last_chunk_mut::<ICV_LEN>().ok_or(no_room)?;

        let next_header = match header.source {
            IpAddr::V4(_) => NEXT_HEADER_IPV4,
            IpAddr::V6(_) => NEXT_HEADER_IPV6,
        };
        // At most three octets of padding: 1, 2, 3.
        let trailer: &[u8] = match pad_len {
            0 => &[0, next_header],
            1 => &[1, 1, next_header],
            2 => &[1, 2, 2, next_header],
            _ => &[1, 2, 3, 3, next_header],
        };
        text.get_mut(inner_len..)
            .ok_or(no_room)?
            .copy_from_slice(trailer);

        // From here on the number is used up, whatever happens.
        self.sequence += 1;
        let spi = self.spi.to_be_bytes();
        // The sequence number is the IV: it never repeats under one key (RFC 4106 §3.1).
        let iv = self.sequence.to_be_bytes();
        let aad = AssociatedData::new(spi, self.sequence, self.esn);
        let [s0, s1, s2, s3] = spi;
        let [a, b, c, d, e, f, g, h] = iv;
        *head = [s0, s1, s2, s3, e, f, g, h, a, b, c, d, e, f, g, h];
        *icv = self
            .keys
            .seal(iv, &aad, text)
            .ok_or(SealError::TooLong { got: inner_len })?;
        self.meter.count(text_len);
        Ok(Sealed {
            packet,
            sequence: self.sequence,
            expiry: self.meter.signal(),
        })
    }

    fn counter(&mut self, error: &SealError) -> &mut u64 {
        let counters = &mut self.counters;
        match error {
            SealError::Exhausted => &mut counters.exhausted,
            SealError::Expired => &mut counters.expired,
            SealError::Inner(_) => &mut counters.inner,
            SealError::NoRoom { .. } | SealError::TooLong { .. } => &mut counters.malformed,
            SealError::NoSa(_) | SealError::Selector(_) => &mut counters.selector,
        }
    }
}

/// Why an inner packet cannot be sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// Every sequence number has been used: the SA must be replaced (RFC 4303 §3.3.3).
    #[error("the SA has used up its sequence numbers: rekey")]
    Exhausted,
    /// The hard lifetime has been reached.
    #[error("the SA's lifetime is used up: rekey")]
    Expired,
    /// Not a well-formed IP packet.
    #[error("inner packet: {0}")]
    Inner(#[from] InnerError),
    /// The buffer has not [`HEADROOM`] before and [`TAILROOM`] after the packet.
    #[error("buffer of {got} octets for a packet that needs {needed}")]
    NoRoom {
        /// Octets of the buffer.
        got: usize,
        /// Octets needed.
        needed: usize,
    },
    /// No outbound SA is for this packet.
    #[error("no SA for packets {0}")]
    NoSa(Flow),
    /// The packet does not match the traffic selectors.
    #[error("packet {0}, is not what the SA was negotiated for")]
    Selector(Flow),
    /// The packet is longer than the algorithm takes.
    #[error("inner packet of {got} octets is longer than the algorithm takes")]
    TooLong {
        /// Octets of the packet.
        got: usize,
    },
}

/// The inner packet in a buffer with head- and tailroom.
pub(crate) fn inner_of(octets: &[u8], inner_len: usize) -> Result<&[u8], SealError> {
    let no_room = no_room(octets, inner_len);
    let end = HEADROOM.saturating_add(inner_len);
    if octets.len() < end.saturating_add(TAILROOM) {
        return Err(no_room);
    }
    octets.get(HEADROOM..end).ok_or(no_room)
}

fn no_room(octets: &[u8], inner_len: usize) -> SealError {
    SealError::NoRoom {
        got: octets.len(),
        needed: inner_len.saturating_add(HEADROOM + TAILROOM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::icmp::Echo;
    use crate::{InboundConfig, InboundSa, Selector};

    fn keys() -> SaKeys {
        SaKeys::new(Suite::Aes256Gcm16, &[0x17; 36]).unwrap()
    }

    fn spi() -> Spi {
        Spi::new(0xdead_beef).unwrap()
    }

    fn selectors() -> Selectors {
        Selectors::new(
            vec![Selector::any_v4(), Selector::any_v6()],
            vec![
                Selector::host("192.0.2.1".parse().unwrap()),
                Selector::host("2001:db8::1".parse().unwrap()),
            ],
        )
        .unwrap()
    }

    fn sender(esn: bool) -> OutboundSa {
        let mut config = OutboundConfig::new(spi(), keys(), selectors());
        config.esn = esn;
        OutboundSa::new(config)
    }

    fn receiver(esn: bool) -> InboundSa {
        let selectors = Selectors::new(selectors().remote().to_vec(), selectors().local().to_vec());
        let mut config = InboundConfig::new(spi(), keys(), selectors.unwrap());
        config.esn = esn;
        InboundSa::new(config)
    }

    fn filled(source: &str, destination: &str) -> PacketBuffer {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut buffer = PacketBuffer::new(200);
        let echo = Echo::request(source, destination, 1, 1, b"12345");
        let length = echo.encode(buffer.space()).unwrap();
        buffer.set_inner_len(length).unwrap();
        buffer
    }

    fn ping() -> PacketBuffer {
        filled("10.0.0.7", "192.0.2.1")
    }

    #[test]
    fn the_packet_is_laid_out_as_rfc_4303_says() {
        let mut sa = sender(false);
        let mut buffer = ping();
        let sealed = sa.seal(&mut buffer).unwrap();
        assert_eq!(sealed.sequence, 1);
        // SPI, sequence number, IV; 33 octets of packet, 1 of padding, 2 of trailer; ICV.
        assert_eq!(sealed.packet[..4], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(sealed.packet[4..8], [0, 0, 0, 1]);
        assert_eq!(sealed.packet.len(), 16 + 36 + 16);
        let mut second = ping();
        let second = sa.seal(&mut second).unwrap();
        assert_ne!(second.packet[8..16], sealed.packet[8..16], "IVs differ");
    }

    #[test]
    fn both_families_go_through() {
        let (mut sender, mut receiver) = (sender(true), receiver(true));
        for (source, destination) in [("10.0.0.7", "192.0.2.1"), ("2001:db8::7", "2001:db8::1")] {
            let mut buffer = filled(source, destination);
            let inner = buffer.inner().to_vec();
            let mut packet = sender.seal(&mut buffer).unwrap().packet.to_vec();
            assert_eq!(receiver.open(&mut packet).unwrap().packet, inner);
        }
    }

    #[test]
    fn extended_numbers_roll_over_2_to_the_32() {
        let (mut sender, mut receiver) = (sender(true), receiver(true));
        let border = 1_u64 << 32;
        sender.sequence = border - 2000;
        let mut late = None;
        for step in 0..4000 {
            let mut buffer = ping();
            let sealed = sender.seal(&mut buffer).unwrap();
            let sequence = border - 2000 + step + 1;
            assert_eq!(sealed.sequence, sequence);
            let mut packet = sealed.packet.to_vec();
            let low = u32::from_be_bytes(packet[4..8].try_into().unwrap());
            assert_eq!(u64::from(low), sequence % border);
            if sequence == border - 10 {
                late = Some(packet);
                continue;
            }
            assert_eq!(receiver.open(&mut packet).unwrap().sequence, sequence);
            // One from before the border comes just behind it.
            if sequence == border + 5 {
                let mut packet = late.take().unwrap();
                let mut again = packet.clone();
                assert_eq!(receiver.open(&mut again).unwrap().sequence, border - 10);
                assert!(receiver.open(&mut packet).is_err(), "and only once");
            }
        }
        assert_eq!(receiver.highest_sequence(), border + 2000);
    }

    #[test]
    fn nothing_is_sealed_once_the_numbers_are_used_up() {
        for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
            let mut sa = sender(esn);
            sa.sequence = last - 1;
            let mut buffer = ping();
            assert_eq!(sa.seal(&mut buffer).unwrap().sequence, last);
            for _ in 0..2 {
                let mut buffer = ping();
                let inner = buffer.inner().to_vec();
                assert_eq!(sa.seal(&mut buffer).unwrap_err(), SealError::Exhausted);
                // Nor has the plaintext been touched or a number been reused.
                assert!(inner.starts_with(&[0x45]));
                assert_eq!(sa.sequence(), last);
            }
            assert_eq!(sa.counters().exhausted, 2);
        }
    }

    #[test]
    fn short_numbers_ask_for_a_successor_in_time() {
        let mut config = OutboundConfig::new(spi(), keys(), selectors());
        config.esn = false;
        // A limit beyond the numbers does not put it off.
        config.lifetime.soft_packets = Some(u64::MAX);
        let mut sa = OutboundSa::new(config);
        sa.sequence = SOFT_32_BIT_PACKETS - 2;
        sa.meter.packets = sa.sequence;
        let mut seal = || sa.seal(&mut ping()).unwrap().expiry;
        assert_eq!([seal(), seal(), seal()], [None, Some(Expiry::Soft), None]);

        let mut sa = sender(true);
        sa.sequence = u32::MAX.into();
        sa.meter.packets = sa.sequence;
        assert_eq!(sa.seal(&mut ping()).unwrap().expiry, None);
    }

    #[test]
    fn lifetimes_signal_and_then_refuse() {
        let mut config = OutboundConfig::new(spi(), keys(), selectors());
        // Each ping is 36 octets for the cipher.
        config.lifetime = Lifetime {
            soft_bytes: Some(72),
            hard_bytes: Some(100),
            ..Lifetime::default()
        };
        let mut sa = OutboundSa::new(config);
        let mut seal = || sa.seal(&mut ping()).map(|sealed| sealed.expiry);
        assert_eq!(seal(), Ok(None));
        assert_eq!(seal(), Ok(Some(Expiry::Soft)));
        assert_eq!(seal(), Ok(Some(Expiry::Hard)));
        assert_eq!(seal(), Err(SealError::Expired));
        assert_eq!(sa.counters().expired, 1);
        assert_eq!(sa.counters().packets, 3);
    }

    #[test]
    fn foreign_and_malformed_packets_use_no_number() {
        let mut sa = sender(true);
        let mut buffer = filled("10.0.0.7", "192.0.2.2");
        assert!(matches!(
            sa.seal(&mut buffer),
            Err(SealError::Selector(flow)) if flow.destination.to_string() == "192.0.2.2"
        ));
        // An empty buffer, so also a second seal of the same one.
        assert!(matches!(sa.seal(&mut buffer), Err(SealError::Inner(_))));
        buffer.fill(&[0; 40]).unwrap();
        assert_eq!(
            sa.seal(&mut buffer).unwrap_err(),
            SealError::Inner(InnerError::Version(0))
        );
        assert_eq!(sa.sequence(), 0);
        assert_eq!((sa.counters().selector, sa.counters().inner), (1, 2));
    }

    #[test]
    fn a_buffer_without_room_is_refused() {
        let mut sa = sender(true);
        let inner = ping().inner().to_vec();
        let mut octets = vec![0; HEADROOM];
        octets.extend_from_slice(&inner);
        octets.resize(HEADROOM + inner.len() + TAILROOM, 0);
        for length in 0..octets.len() {
            let error = sa.seal_in_place(&mut octets[..length], inner.len());
            assert!(matches!(error, Err(SealError::NoRoom { .. })), "{length}");
        }
        assert!(matches!(
            sa.seal_in_place(&mut octets, usize::MAX),
            Err(SealError::NoRoom { .. })
        ));
        assert!(sa.seal_in_place(&mut octets, inner.len()).is_ok());
        assert_eq!(sa.sequence(), 1);
    }

    #[test]
    fn a_longer_length_is_traffic_flow_confidentiality_padding() {
        let (mut sender, mut receiver) = (sender(true), receiver(true));
        let mut buffer = ping();
        let inner = buffer.inner().to_vec();
        buffer.set_inner_len(200).unwrap();
        let mut packet = sender.seal(&mut buffer).unwrap().packet.to_vec();
        assert!(packet.len() > 200);
        assert_eq!(receiver.open(&mut packet).unwrap().packet, inner);
    }
}
