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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::icmp::Echo;
    use crate::{OutboundConfig, OutboundSa, PacketBuffer, Selector};

    const KEYMAT: [u8; 36] = [0x5a; 36];
    const SUITES: [Suite; 3] = [
        Suite::Aes128Gcm16,
        Suite::Aes256Gcm16,
        Suite::ChaCha20Poly1305,
    ];

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(char::is_whitespace, "")).unwrap()
    }

    fn keys(suite: Suite) -> SaKeys {
        SaKeys::new(suite, &KEYMAT[..suite.keymat_len()]).unwrap()
    }

    fn spi() -> Spi {
        Spi::new(0x1000_0001).unwrap()
    }

    fn device() -> Selector {
        Selector::host("10.0.0.7".parse().unwrap())
    }

    fn core() -> Selector {
        Selector::host("192.0.2.1".parse().unwrap())
    }

    /// The gateway's side of a device's tunnel.
    fn config(suite: Suite) -> InboundConfig {
        let selectors = Selectors::new(vec![core()], vec![device()]).unwrap();
        InboundConfig::new(spi(), keys(suite), selectors)
    }

    fn sender(suite: Suite) -> OutboundSa {
        let selectors = Selectors::new(vec![device()], vec![core()]).unwrap();
        OutboundSa::new(OutboundConfig::new(spi(), keys(suite), selectors))
    }

    fn ping(source: &str, payload: &[u8]) -> Vec<u8> {
        let (source, core) = (source.parse().unwrap(), "192.0.2.1".parse().unwrap());
        let echo = Echo::request(source, core, 1, 1, payload);
        let mut packet = vec![0; echo.encoded_len()];
        echo.encode(&mut packet).unwrap();
        packet
    }

    fn sealed(sa: &mut OutboundSa, inner: &[u8]) -> Vec<u8> {
        let mut buffer = PacketBuffer::new(1500);
        buffer.fill(inner).unwrap();
        sa.seal(&mut buffer).unwrap().packet.to_vec()
    }

    /// An ESP packet with any plaintext, as no honest sender makes it.
    fn crafted(sequence: u64, esn: bool, plaintext: &[u8]) -> Vec<u8> {
        let aad = AssociatedData::new(spi().to_be_bytes(), sequence, esn);
        let iv = sequence.to_be_bytes();
        let mut text = plaintext.to_vec();
        let icv = keys(Suite::Aes128Gcm16).seal(iv, &aad, &mut text).unwrap();
        let mut packet = spi().to_be_bytes().to_vec();
        packet.extend_from_slice(&iv[4..]);
        packet.extend_from_slice(&iv);
        packet.extend_from_slice(&text);
        packet.extend_from_slice(&icv);
        packet
    }

    fn with_trailer(inner: &[u8], trailer: &[u8]) -> Vec<u8> {
        [inner, trailer].concat()
    }

    #[test]
    fn the_example_of_rfc_7634_is_opened() {
        let keymat =
            hex("808182838485868788898a8b8c8d8e8f 909192939495969798999a9b9c9d9e9f a0a1a2a3");
        let mut packet = hex("01020304 00000005 1011121314151617
             24039428b97f417e3c13753a4f05087b 67c352e6a7fab1b982d466ef407ae5c6
             14ee8099d52844eb61aa95dfab4c02f7 2aa71e7c4c4f64c9befe2facc638e8f3
             cbec163fac469b502773f6fb94e664da 9165b82829f641e0
             76aaa8266b7fb0f7b11b369907e1ad43");
        let mut config = InboundConfig::new(
            Spi::new(0x0102_0304).unwrap(),
            SaKeys::new(Suite::ChaCha20Poly1305, &keymat).unwrap(),
            Selectors::new(
                vec![Selector::host("192.0.2.5".parse().unwrap())],
                vec![Selector::network("198.51.100.0/24".parse().unwrap())],
            )
            .unwrap(),
        );
        config.esn = false;
        let mut sa = InboundSa::new(config);
        let inner = sa.open(&mut packet).unwrap();
        assert_eq!(inner.sequence, 5);
        assert_eq!(inner.packet.len(), 84);
        assert_eq!(Echo::decode(inner.packet).unwrap().identifier, 0x3a08);
    }

    #[test]
    fn every_suite_round_trips() {
        for suite in SUITES {
            for esn in [false, true] {
                let mut config = config(suite);
                config.esn = esn;
                let selectors = Selectors::new(vec![device()], vec![core()]).unwrap();
                let mut out = OutboundConfig::new(spi(), keys(suite), selectors);
                out.esn = esn;
                let (mut inbound, mut outbound) = (InboundSa::new(config), OutboundSa::new(out));
                for length in 0..70 {
                    let inner = ping("10.0.0.7", &vec![0xab; length]);
                    let mut packet = sealed(&mut outbound, &inner);
                    assert_eq!(packet.len() % 4, 0);
                    let opened = inbound.open(&mut packet).unwrap();
                    assert_eq!(opened.packet, inner);
                    assert_eq!(opened.sequence, length as u64 + 1);
                }
                assert_eq!(inbound.counters().packets, 70);
                assert_eq!(inbound.counters().bytes, outbound.counters().bytes);
            }
        }
    }

    #[test]
    fn a_packet_cut_off_anywhere_is_refused() {
        let mut outbound = sender(Suite::Aes128Gcm16);
        let mut packet = sealed(&mut outbound, &ping("10.0.0.7", b"0123456789"));
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        for length in 0..packet.len() {
            let mut cut = packet[..length].to_vec();
            assert!(inbound.open(&mut cut).is_err(), "{length}");
        }
        let mut longer = with_trailer(&packet, &[0]);
        assert!(inbound.open(&mut longer).is_err());
        assert_eq!(inbound.highest_sequence(), 0);
        assert!(inbound.open(&mut packet).is_ok());
    }

    #[test]
    fn any_altered_bit_is_refused_and_moves_nothing() {
        for suite in SUITES {
            let mut outbound = sender(suite);
            let mut packet = sealed(&mut outbound, &ping("10.0.0.7", b"0123456789"));
            let mut inbound = InboundSa::new(config(suite));
            for at in 0..packet.len() {
                for bit in 0..8 {
                    let mut altered = packet.clone();
                    altered[at] ^= 1 << bit;
                    let error = inbound.open(&mut altered).unwrap_err();
                    match at {
                        0..4 => assert!(matches!(error, OpenError::UnknownSpi(_))),
                        4..8 => assert!(matches!(
                            error,
                            OpenError::Authentication { .. }
                                | OpenError::Sequence { .. }
                                | OpenError::Replay(ReplayError::Zero)
                        )),
                        _ => assert_eq!(error, OpenError::Authentication { sequence: 1 }),
                    }
                }
            }
            assert_eq!(inbound.highest_sequence(), 0);
            assert!(inbound.open(&mut packet).is_ok());
            assert_eq!(inbound.highest_sequence(), 1);
        }
    }

    #[test]
    fn replays_and_latecomers_are_refused() {
        let mut outbound = sender(Suite::Aes128Gcm16);
        let inner = ping("10.0.0.7", b"x");
        let packets: Vec<_> = (0..200).map(|_| sealed(&mut outbound, &inner)).collect();
        let mut config = config(Suite::Aes128Gcm16);
        config.replay_window = WindowSize::new(64).unwrap();
        let mut inbound = InboundSa::new(config);
        // Out of order within the window: each once.
        for at in [5, 3, 4, 0, 60] {
            assert!(inbound.open(&mut packets[at].clone()).is_ok(), "{at}");
            assert_eq!(
                inbound.open(&mut packets[at].clone()).unwrap_err(),
                OpenError::Replay(ReplayError::Duplicate {
                    sequence: at as u64 + 1
                })
            );
        }
        assert!(inbound.open(&mut packets[199].clone()).is_ok());
        // With a 32-bit view 136 is just behind a window of 64 that ends at 200; extended numbers
        // take it for one of the next 2^32, which its ICV refutes. Nothing moves either way.
        assert!(matches!(
            inbound.open(&mut packets[135].clone()),
            Err(OpenError::Authentication { .. })
        ));
        assert!(inbound.open(&mut packets[136].clone()).is_ok());
        assert_eq!(inbound.highest_sequence(), 200);
        assert_eq!(inbound.counters().duplicate, 5);
        assert_eq!(inbound.counters().authentication, 1);
    }

    #[test]
    fn late_packets_count_as_late_without_extended_numbers() {
        let mut config = config(Suite::Aes128Gcm16);
        config.esn = false;
        config.replay_window = WindowSize::MIN;
        let mut inbound = InboundSa::new(config);
        let text = with_trailer(&ping("10.0.0.7", b""), &[1, 2, 2, 4]);
        assert!(inbound.open(&mut crafted(200, false, &text)).is_ok());
        assert_eq!(
            inbound.open(&mut crafted(136, false, &text)).unwrap_err(),
            OpenError::Replay(ReplayError::Late {
                sequence: 136,
                highest: 200
            })
        );
        assert_eq!(
            inbound.open(&mut crafted(0, false, &text)).unwrap_err(),
            OpenError::Replay(ReplayError::Zero)
        );
        assert_eq!(
            (inbound.counters().late, inbound.counters().sequence),
            (1, 1)
        );
        assert!(
            inbound
                .open(&mut crafted(u32::MAX.into(), false, &text))
                .is_ok()
        );
    }

    #[test]
    fn forged_high_bits_are_refused() {
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        let text = with_trailer(&ping("10.0.0.7", b""), &[1, 2, 2, 4]);
        assert!(inbound.open(&mut crafted(3, true, &text)).is_ok());
        // Sealed with number 2^32 + 5: the receiver infers 5, and the ICV covers the high half.
        assert_eq!(
            inbound
                .open(&mut crafted((1 << 32) + 5, true, &text))
                .unwrap_err(),
            OpenError::Authentication { sequence: 5 }
        );
        // Sealed as if there were no high half.
        assert_eq!(
            inbound.open(&mut crafted(5, false, &text)).unwrap_err(),
            OpenError::Authentication { sequence: 5 }
        );
        assert_eq!(inbound.highest_sequence(), 3);
        // From before the first packet.
        assert_eq!(
            inbound
                .open(&mut crafted(u32::MAX.into(), true, &text))
                .unwrap_err(),
            OpenError::Sequence { low: u32::MAX }
        );
    }

    #[test]
    fn wrong_padding_is_refused() {
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        let inner = ping("10.0.0.7", b"");
        let mut sequence = 0;
        let mut open = |trailer: &[u8]| {
            sequence += 1;
            let text = with_trailer(&inner, trailer);
            inbound
                .open(&mut crafted(sequence, true, &text))
                .map(|inner| inner.packet.len())
        };
        assert_eq!(open(&[1, 2, 2, 4]), Ok(28));
        let full: Vec<u8> = (1..=255).collect();
        assert_eq!(open(&with_trailer(&full, &[255, 4])), Ok(28));
        assert_eq!(open(&[0, 4]), Ok(28));
        for wrong in [
            &[0, 0, 2, 4][..],
            &[1, 1, 2, 4],
            &[2, 1, 2, 4],
            &[1, 2, 3, 4, 6, 5, 4],
        ] {
            assert_eq!(open(wrong), Err(OpenError::Padding));
        }
        // More padding than there is text.
        assert_eq!(open(&[200, 4]), Err(OpenError::Padding));
        // The packets were authentic, so their numbers are used.
        assert_eq!(inbound.highest_sequence(), 8);
        assert_eq!(inbound.counters().padding, 5);
    }

    #[test]
    fn next_headers_other_than_4_and_41_are_refused() {
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        let inner = ping("10.0.0.7", b"");
        let mut sequence = 0;
        let mut open = |text: &[u8], next_header| {
            sequence += 1;
            let text = with_trailer(text, &[0, next_header]);
            inbound.open(&mut crafted(sequence, true, &text)).err()
        };
        assert_eq!(open(&inner, 4), None);
        for other in [0, 1, 6, 17, 50, 255] {
            assert_eq!(open(&inner, other), Some(OpenError::NextHeader(other)));
        }
        assert_eq!(open(&[0; 40], 59), Some(OpenError::Dummy));
        assert_eq!(open(&[], 59), Some(OpenError::Dummy));
        // IPv4 announced as IPv6.
        assert_eq!(
            open(&inner, 41),
            Some(OpenError::Inner(InnerError::Version(4)))
        );
        assert_eq!(
            open(&[], 4),
            Some(OpenError::Inner(InnerError::Truncated { got: 0 }))
        );
        assert_eq!((inbound.counters().dummy, inbound.counters().inner), (2, 2));
        assert_eq!(inbound.counters().next_header, 6);
    }

    #[test]
    fn traffic_flow_confidentiality_padding_is_dropped() {
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        let inner = ping("10.0.0.7", b"abc");
        let text = [&inner[..], &[0; 500], &[1, 1, 4]].concat();
        let mut packet = crafted(1, true, &text);
        assert_eq!(inbound.open(&mut packet).unwrap().packet, inner);
    }

    #[test]
    fn traffic_of_others_is_refused() {
        let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
        let text = with_trailer(&ping("10.0.0.8", b""), &[0, 4]);
        let error = inbound.open(&mut crafted(1, true, &text)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "inner packet from 10.0.0.8 to 192.0.2.1, protocol 1, is not what the SA was negotiated for"
        );
        assert_eq!(inbound.counters().selector, 1);
        assert_eq!(inbound.counters().packets, 0);
    }

    #[test]
    fn lifetimes_signal_and_then_refuse() {
        let mut config = config(Suite::Aes128Gcm16);
        config.lifetime = Lifetime {
            soft_packets: Some(1),
            hard_packets: Some(3),
            ..Lifetime::default()
        };
        let mut inbound = InboundSa::new(config);
        let good = with_trailer(&ping("10.0.0.7", b""), &[0, 4]);
        let foreign = with_trailer(&ping("10.0.0.8", b""), &[0, 4]);
        // The limit is reached by a packet that is refused later on: the signal is not lost.
        assert!(inbound.open(&mut crafted(1, true, &foreign)).is_err());
        assert_eq!(inbound.expiry(), Some(Expiry::Soft));
        let mut packet = crafted(2, true, &good);
        assert_eq!(
            inbound.open(&mut packet).unwrap().expiry,
            Some(Expiry::Soft)
        );
        let mut packet = crafted(3, true, &good);
        assert_eq!(
            inbound.open(&mut packet).unwrap().expiry,
            Some(Expiry::Hard)
        );
        assert_eq!(
            inbound.open(&mut crafted(4, true, &good)).unwrap_err(),
            OpenError::Expired
        );
        assert_eq!(inbound.counters().expired, 1);
        assert_eq!(inbound.highest_sequence(), 3);
    }

    proptest! {
        #[test]
        fn opening_is_total(
            mut octets in prop::collection::vec(any::<u8>(), 0..200),
            authentic in any::<bool>(),
        ) {
            let mut inbound = InboundSa::new(config(Suite::Aes128Gcm16));
            if authentic {
                octets = crafted(1, true, &octets);
            }
            if let Ok(inner) = inbound.open(&mut octets) {
                prop_assert!(authentic);
                prop_assert_eq!(inner.header.source, "10.0.0.7".parse::<std::net::IpAddr>().unwrap());
            }
        }

        #[test]
        fn altered_packets_never_come_through(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        ) {
            let mut outbound = sender(Suite::ChaCha20Poly1305);
            let packet = sealed(&mut outbound, &ping("10.0.0.7", &payload));
            let mut altered = packet.clone();
            for (at, change) in changes {
                altered[at.index(packet.len())] ^= change;
            }
            prop_assume!(altered != packet);
            let mut inbound = InboundSa::new(config(Suite::ChaCha20Poly1305));
            prop_assert!(inbound.open(&mut altered).is_err());
        }
    }
}
