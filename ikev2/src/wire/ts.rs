//! Traffic Selector payloads, RFC 7296 §3.13.
//!
//! ```text
//! | Number of TSs |                 RESERVED                      |
//! ~                       <Traffic Selectors>                     ~
//!
//! Traffic selector
//! |   TS Type     |IP Protocol ID |       Selector Length         |
//! |           Start Port          |           End Port            |
//! ~                         Starting Address                      ~
//! ~                         Ending Address                        ~
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::MAX_SELECTORS;
use super::codes::{PayloadType, TsType};
use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::LengthField;

const IPV4_LENGTH: u16 = 16;
const IPV6_LENGTH: u16 = 40;

/// Selectors of one side (§3.13).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TsPayload<'a> {
    /// Those that we understand, in order.
    pub selectors: Vec<TrafficSelector>,
    /// Those of other types, in order. A responder narrows them away.
    pub unknown: Vec<UnknownSelector<'a>>,
}

/// A set of packets by protocol, ports and addresses of one side (§3.13.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TrafficSelector {
    /// IP protocol; 0 means any.
    pub protocol: u8,
    /// First and last port, for protocols that have them. 0 and 65535: any;
    /// 65535 and 0: OPAQUE.
    pub ports: (u16, u16),
    /// First and last address, both of one family.
    pub addresses: (IpAddr, IpAddr),
}

/// A selector of a type that this library does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownSelector<'a> {
    /// Its type.
    pub kind: TsType,
    /// Its second octet, an IP protocol in the types of RFC 7296.
    pub protocol: u8,
    /// What follows its length.
    pub body: &'a [u8],
}

impl<'a> TsPayload<'a> {
    /// A payload with these selectors.
    pub const fn new(selectors: Vec<TrafficSelector>) -> Self {
        Self {
            selectors,
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let payload = reader.payload();
        let count = usize::from(reader.u8()?);
        reader.reserved(3)?;
        if count == 0 {
            return Err(DecodeError::NoSelectors { payload });
        }
        if count > MAX_SELECTORS {
            return Err(DecodeError::TooManySelectors { payload });
        }
        let mut ts = Self::default();
        for _ in 0..count {
            ts.decode_selector(reader)?;
        }
        Ok(ts)
    }

    pub(super) fn encode(
        &self,
        payload: PayloadType,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let count = self.selectors.len().saturating_add(self.unknown.len());
        if count == 0 {
            return Err(EncodeError::Empty { payload });
        }
        if count > MAX_SELECTORS {
            return Err(EncodeError::TooMany { payload });
        }
        let count = u8::try_from(count).map_err(|_| EncodeError::TooMany { payload })?;
        out.extend_from_slice(&[count, 0, 0, 0]);
        for selector in &self.selectors {
            selector.encode(payload, out)?;
        }
        for selector in &self.unknown {
            selector.encode(payload, out)?;
        }
        Ok(())
    }

    fn decode_selector(&mut self, outer: &mut Reader<'a>) -> Result<(), DecodeError> {
        let offset = outer.offset();
        let mut head = *outer;
        let kind = TsType(head.u8()?);
        let protocol = head.u8()?;
        let length = head.u16()?;
        let misfit = DecodeError::SubstructureLength {
            payload: outer.payload(),
            offset,
            length,
        };
        let mut reader = outer.sub(usize::from(length)).ok_or(misfit)?;
        reader.take(4).map_err(|_| misfit)?;
        let expected = match kind {
            TsType::IPV4_ADDR_RANGE => IPV4_LENGTH,
            TsType::IPV6_ADDR_RANGE => IPV6_LENGTH,
            _ => {
                self.unknown.push(UnknownSelector {
                    kind,
                    protocol,
                    body: reader.remainder(),
                });
                return Ok(());
            }
        };
        if length != expected {
            return Err(DecodeError::SelectorLength { kind, length });
        }
        let ports = (reader.u16()?, reader.u16()?);
        let addresses = if kind == TsType::IPV4_ADDR_RANGE {
            let (first, last) = (reader.array::<4>()?, reader.array::<4>()?);
            (Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into())
        } else {
            let (first, last) = (reader.array::<16>()?, reader.array::<16>()?);
            (Ipv6Addr::from(first).into(), Ipv6Addr::from(last).into())
        };
        reader.finish()?;
        let selector = TrafficSelector {
            protocol,
            ports,
            addresses,
        };
        if !selector.ports_in_order() {
            let (start, end) = ports;
            return Err(DecodeError::PortRange { start, end });
        }
        if !selector.addresses_in_order() {
            return Err(DecodeError::AddressRange { offset });
        }
        self.selectors.push(selector);
        Ok(())
    }
}

impl TrafficSelector {
    /// Any protocol and port, to or from `first` up to and including `last`.
    pub const fn range(first: IpAddr, last: IpAddr) -> Self {
        Self {
            protocol: 0,
            ports: (0, u16::MAX),
            addresses: (first, last),
        }
    }

    /// Any protocol and port of one address.
    pub const fn host(address: IpAddr) -> Self {
        Self::range(address, address)
    }

    /// All of IPv4.
    pub const fn any_ipv4() -> Self {
        Self::range(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
        )
    }

    /// All of IPv6.
    pub const fn any_ipv6() -> Self {
        Self::range(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        )
    }

    fn encode(&self, payload: PayloadType, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.ports_in_order() || !self.addresses_in_order() {
            return Err(EncodeError::Field { payload });
        }
        let (kind, length) = match self.addresses {
            (IpAddr::V4(_), IpAddr::V4(_)) => (TsType::IPV4_ADDR_RANGE, IPV4_LENGTH),
            (IpAddr::V6(_), IpAddr::V6(_)) => (TsType::IPV6_ADDR_RANGE, IPV6_LENGTH),
            _ => return Err(EncodeError::Field { payload }),
        };
        out.extend_from_slice(&[kind.0, self.protocol]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.ports.0.to_be_bytes());
        out.extend_from_slice(&self.ports.1.to_be_bytes());
        for address in [self.addresses.0, self.addresses.1] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
        Ok(())
    }

    /// OPAQUE is the one range that may run backwards: 65535 to 0 (§3.13.1).
    const fn ports_in_order(&self) -> bool {
        self.ports.0 <= self.ports.1 || (self.ports.0 == u16::MAX && self.ports.1 == 0)
    }

    fn addresses_in_order(&self) -> bool {
        self.addresses.0 <= self.addresses.1
    }
}

impl UnknownSelector<'_> {
    fn encode(&self, payload: PayloadType, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if matches!(self.kind, TsType::IPV4_ADDR_RANGE | TsType::IPV6_ADDR_RANGE) {
            return Err(EncodeError::Field { payload });
        }
        let start = out.len();
        out.extend_from_slice(&[self.kind.0, self.protocol]);
        let length = LengthField::open(out, start, payload);
        out.extend_from_slice(self.body);
        length.close(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::super::testing::{check_body, decode_body, message_with};
    use super::*;

    const TSI: PayloadType = PayloadType::TSI;

    #[test]
    fn literal_octets() {
        let web = TrafficSelector {
            protocol: 6,
            ports: (80, 443),
            addresses: (
                Ipv4Addr::new(10, 0, 0, 0).into(),
                Ipv4Addr::new(10, 0, 0, 255).into(),
            ),
        };
        let opaque = TrafficSelector {
            ports: (u16::MAX, 0),
            ..TrafficSelector::host(Ipv6Addr::LOCALHOST.into())
        };
        let body = "02 000000
             07 06 0010 0050 01bb 0a000000 0a0000ff
             08 00 0028 ffff 0000 00000000000000000000000000000001 00000000000000000000000000000001";
        let ts = TsPayload::new(vec![web, opaque]);
        check_body(&Payload::TsI(ts.clone()), body);
        check_body(&Payload::TsR(ts), body);
        check_body(
            &Payload::TsR(TsPayload {
                selectors: vec![TrafficSelector::any_ipv4()],
                unknown: vec![UnknownSelector {
                    kind: TsType(10),
                    protocol: 0,
                    body: &[1, 2],
                }],
            }),
            "02 000000  07 00 0010 0000 ffff 00000000 ffffffff  0a 00 0006 0102",
        );
    }

    #[test]
    fn the_count_is_the_declared_one() {
        let one = "07 00 0010 0000 ffff 00000000 ffffffff";
        assert_eq!(
            decode_body(TSI, "00 000000"),
            Err(DecodeError::NoSelectors { payload: TSI })
        );
        assert_eq!(decode_body(TSI, &format!("01 ffffff {one}")), Ok(()));
        assert!(matches!(
            decode_body(TSI, &format!("01 000000 {one} {one}")),
            Err(DecodeError::TrailingOctets { count: 16, .. })
        ));
        assert!(matches!(
            decode_body(TSI, &format!("02 000000 {one}")),
            Err(DecodeError::Truncated { .. })
        ));
        let many = |count| format!("{count:02x} 000000 {}", one.repeat(count));
        assert_eq!(decode_body(TSI, &many(MAX_SELECTORS)), Ok(()));
        assert_eq!(
            decode_body(TSI, &many(MAX_SELECTORS + 1)),
            Err(DecodeError::TooManySelectors { payload: TSI })
        );
    }

    #[test]
    fn selector_lengths() {
        for (body, kind, length) in [
            (
                "07 00 000f 0000 ffff 00000000 ffffff",
                TsType::IPV4_ADDR_RANGE,
                15,
            ),
            (
                "07 00 0011 0000 ffff 00000000 ffffffff 00",
                TsType::IPV4_ADDR_RANGE,
                17,
            ),
            (
                "08 00 0010 0000 ffff 00000000 ffffffff",
                TsType::IPV6_ADDR_RANGE,
                16,
            ),
        ] {
            assert_eq!(
                decode_body(TSI, &format!("01 000000 {body}")),
                Err(DecodeError::SelectorLength { kind, length })
            );
        }
        for length in ["0000", "0003", "0011"] {
            let body = format!("01 000000 07 00 {length} 0000 ffff 00000000 ffffffff");
            assert!(matches!(
                decode_body(TSI, &body),
                Err(DecodeError::SubstructureLength { .. })
            ));
        }
    }

    #[test]
    fn ranges_do_not_run_backwards() {
        assert_eq!(
            decode_body(TSI, "01 000000 07 06 0010 0051 0050 00000000 ffffffff"),
            Err(DecodeError::PortRange { start: 81, end: 80 })
        );
        assert_eq!(
            decode_body(TSI, "01 000000 07 06 0010 0000 ffff 0a000001 0a000000"),
            Err(DecodeError::AddressRange { offset: 8 })
        );
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mixed = TsPayload::new(vec![TrafficSelector::range(v4, v6)]);
        assert_eq!(
            message_with(&Payload::TsI(mixed)),
            Err(EncodeError::Field { payload: TSI })
        );
        assert_eq!(
            message_with(&Payload::TsI(TsPayload::default())),
            Err(EncodeError::Empty { payload: TSI })
        );
    }
}
