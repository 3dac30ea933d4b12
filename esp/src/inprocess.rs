//! A core network inside the process: needs no privilege, answers pings.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::icmp::{Echo, EchoKind};
use crate::ip::{Checksum, ICMP, ICMPV6, UDP, emit_header};
use crate::{Fragment, InnerHeader, InnerNetwork, Ports};

/// Answers that wait for [`InnerNetwork::receive`], unless told otherwise.
pub const DEFAULT_QUEUE: usize = 1024;

/// The echo service (RFC 862).
const ECHO_PORT: u16 = 7;

const UDP_HEADER_LEN: usize = 8;

/// A network that answers ICMP echo and UDP echo (port 7) for some addresses, IPv4 and IPv6.
///
/// Answers wait in a bounded queue; when it is full, further ones are dropped and counted. Buffers are reused, so that
/// steady traffic allocates nothing. Fragments are not reassembled, and hop limits are not spent.
#[derive(Debug)]
pub struct CoreNetwork {
    networks: Vec<IpNet>,
    answers: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    queue: usize,
    counters: CoreCounters,
}

/// What became of the packets that were delivered to a [`CoreNetwork`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CoreCounters {
    /// Answered.
    pub answered: u64,
    /// Dropped: not well-formed, or a wrong checksum.
    pub malformed: u64,
    /// Dropped: the queue of answers was full.
    pub overflow: u64,
    /// Dropped: for an address that the network does not have.
    pub unreachable: u64,
    /// Dropped: neither an ICMP echo request nor UDP to port 7, or a fragment.
    pub unserved: u64,
}

impl CoreNetwork {
    /// A network that has all addresses of these prefixes.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self::with_queue(networks, DEFAULT_QUEUE)
    }

    /// The same with room for that many answers.
    pub fn with_queue(networks: Vec<IpNet>, queue: usize) -> Self {
        Self {
            networks,
            answers: VecDeque::new(),
            spare: Vec::new(),
            queue,
            counters: CoreCounters::default(),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> &CoreCounters {
        &self.counters
    }

    /// Answers that wait.
    pub fn pending(&self) -> usize {
        self.answers.len()
    }

    fn answer(&mut self, packet: &[u8]) -> Result<(), Unanswered> {
        let header = InnerHeader::parse(packet).map_err(|_| Unanswered::Malformed)?;
        if !self.has(header.destination) {
            return Err(Unanswered::Unreachable);
        }
        // Nobody to answer to, or ourselves: that could go on for ever.
        if header.source.is_unspecified()
            || header.source.is_multicast()
            || self.has(header.source)
            || header.fragment != Fragment::Whole
        {
            return Err(Unanswered::Unserved);
        }
        match header.protocol {
            ICMP | ICMPV6 => self.answer_ping(packet),
            UDP => self.answer_udp(packet, &header),
            _ => Err(Unanswered::Unserved),
        }
    }

    fn answer_ping(&mut self, packet: &[u8]) -> Result<(), Unanswered> {
        use crate::icmp::DecodeError;
        let echo = Echo::decode(packet).map_err(|error| match error {
            DecodeError::NotEcho { .. } | DecodeError::NotIcmp { .. } => Unanswered::Unserved,
            _ => Unanswered::Malformed,
        })?;
        if echo.kind != EchoKind::Request {
            return Err(Unanswered::Unserved);
        }
        let reply = echo.reply();
        self.push(reply.encoded_len(), |out| reply.encode(out).ok())
    }

    fn answer_udp(&mut self, packet: &[u8], header: &InnerHeader) -> Result<(), Unanswered> {
        let Ports::Known {
            source: peer_port,
            destination: ECHO_PORT,
        } = header.ports
        else {
            return Err(Unanswered::Unserved);
        };
        // Two echo services would keep each other busy for ever.
        if peer_port == ECHO_PORT || peer_port == 0 {
            return Err(Unanswered::Unserved);
        }
        let rest = packet.get(header.transport..header.length);
        let rest = rest.ok_or(Unanswered::Malformed)?;
        let head = rest.first_chunk::<UDP_HEADER_LEN>();
        let [_, _, _, _, l0, l1, c0, c1] = *head.ok_or(Unanswered::Malformed)?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let datagram = rest.get(..length).ok_or(Unanswered::Malformed)?;
        let payload = datagram
            .get(UDP_HEADER_LEN..)
            .ok_or(Unanswered::Malformed)?;
        let pseudo = Checksum::pseudo_header(header.source, header.destination, UDP, length);
        // No checksum is allowed on IPv4 only (RFC 768, RFC 8200 §8.1).
        let right = match [c0, c1] {
            [0, 0] => header.source.is_ipv4(),
            _ => pseudo.add(datagram).finish() == 0,
        };
        let ip_header = packet.get(..header.transport).unwrap_or_default();
        if !right || (header.source.is_ipv4() && Checksum::default().add(ip_header).finish() != 0) {
            return Err(Unanswered::Malformed);
        }

        let total = header.transport + length;
        let (source, destination) = (header.destination, header.source);
        self.push(total, |out| {
            let transport = emit_header(out, source, destination, UDP, length)?;
            let total = transport + length;
            let (head, rest) = out
                .get_mut(transport..total)?
                .split_first_chunk_mut::<UDP_HEADER_LEN>()?;
            rest.copy_from_slice(payload);
            let [p0, p1] = peer_port.to_be_bytes();
            let [e0, e1] = ECHO_PORT.to_be_bytes();
            *head = [e0, e1, p0, p1, l0, l1, 0, 0];
            let sum = pseudo.add(head).add(rest).finish();
            // 0 means "no checksum", so its other form is sent.
            let [c0, c1] = if sum == 0 { 0xffff } else { sum }.to_be_bytes();
            *head = [e0, e1, p0, p1, l0, l1, c0, c1];
            Some(total)
        })
    }

    /// Queues what `write` puts into a buffer of `capacity` octets.
    fn push(
        &mut self,
        capacity: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Unanswered> {
        if self.answers.len() >= self.queue {
            return Err(Unanswered::Overflow);
        }
        let mut answer = self.spare.pop().unwrap_or_default();
        answer.resize(capacity, 0);
        let Some(length) = write(&mut answer) else {
            self.spare.push(answer);
            return Err(Unanswered::Malformed);
        };
        answer.truncate(length);
        self.answers.push_back(answer);
        Ok(())
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl InnerNetwork for CoreNetwork {
    /// Answers the packet, or drops it; never fails.
    fn deliver(&mut self, packet: &[u8]) -> io::Result<()> {
        let counter = match self.answer(packet) {
            Ok(()) => &mut self.counters.answered,
            Err(Unanswered::Malformed) => &mut self.counters.malformed,
            Err(Unanswered::Overflow) => &mut self.counters.overflow,
            Err(Unanswered::Unreachable) => &mut self.counters.unreachable,
            Err(Unanswered::Unserved) => &mut self.counters.unserved,
        };
        *counter += 1;
        Ok(())
    }

    /// Takes the oldest answer. One that does not fit `buf` is dropped with an error.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(answer) = self.answers.pop_front() else {
            return Ok(None);
        };
        let (length, room) = (answer.len(), buf.len());
        let fits = buf
            .get_mut(..length)
            .map(|out| out.copy_from_slice(&answer));
        self.spare.push(answer);
        match fits {
            Some(()) => Ok(Some(length)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "answer of {length} octets in a buffer of {room}: make it for the inner MTU"
                ),
            )),
        }
    }
}

enum Unanswered {
    Malformed,
    Overflow,
    Unreachable,
    Unserved,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> CoreNetwork {
        CoreNetwork::new(vec![
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/64".parse().unwrap(),
        ])
    }

    fn ping(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let echo = Echo::request(source, destination, 7, 9, payload);
        let mut packet = vec![0; echo.encoded_len()];
        echo.encode(&mut packet).unwrap();
        packet
    }

    /// UDP from 10.0.0.7 or 2001:db8:1::7 to the core network.
    fn udp(v6: bool, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let (source, destination): (IpAddr, IpAddr) = if v6 {
            (
                "2001:db8:1::7".parse().unwrap(),
                "2001:db8::1".parse().unwrap(),
            )
        } else {
            ("10.0.0.7".parse().unwrap(), "192.0.2.1".parse().unwrap())
        };
        let length = UDP_HEADER_LEN + payload.len();
        let mut packet = vec![0; 40];
        let header = emit_header(&mut packet, source, destination, UDP, length).unwrap();
        packet.truncate(header);
        let mut datagram = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        datagram.extend_from_slice(&(length as u16).to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(payload);
        let pseudo = Checksum::pseudo_header(source, destination, UDP, length);
        let sum = pseudo.add(&datagram).finish();
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&datagram);
        packet
    }

    fn answer(core: &mut CoreNetwork, packet: &[u8]) -> Option<Vec<u8>> {
        core.deliver(packet).unwrap();
        let mut buf = [0; 2000];
        let length = core.receive(&mut buf).unwrap()?;
        Some(buf[..length].to_vec())
    }

    #[test]
    fn pings_are_answered_in_both_families() {
        let mut core = core();
        for (source, destination) in [("10.0.0.7", "192.0.2.77"), ("2001:db8:1::7", "2001:db8::5")]
        {
            let request = ping(source, destination, b"abcdefg");
            let reply = answer(&mut core, &request).unwrap();
            let reply = Echo::decode(&reply).unwrap();
            assert_eq!(reply, Echo::decode(&request).unwrap().reply());
        }
        assert_eq!(core.counters().answered, 2);
    }

    #[test]
    fn udp_echo_is_answered_with_right_checksums() {
        let mut core = core();
        for v6 in [false, true] {
            for payload in [&b""[..], b"x", b"hello, world"] {
                let reply = answer(&mut core, &udp(v6, (5000, 7), payload)).unwrap();
                let header = InnerHeader::parse(&reply).unwrap();
                assert_eq!(
                    header.ports,
                    Ports::Known {
                        source: 7,
                        destination: 5000
                    }
                );
                let datagram = &reply[header.transport..];
                assert_eq!(&datagram[UDP_HEADER_LEN..], payload);
                let pseudo =
                    Checksum::pseudo_header(header.source, header.destination, UDP, datagram.len());
                assert_eq!(pseudo.add(datagram).finish(), 0);
                if !v6 {
                    assert_eq!(Checksum::default().add(&reply[..20]).finish(), 0);
                }
            }
        }
        // Without a checksum: allowed on IPv4 only.
        let mut packet = udp(false, (5000, 7), b"x");
        packet[26..28].fill(0);
        assert!(answer(&mut core, &packet).is_some());
        let mut packet = udp(true, (5000, 7), b"x");
        packet[46..48].fill(0);
        assert!(answer(&mut core, &packet).is_none());
        assert_eq!(core.counters().malformed, 1);
    }

    #[test]
    fn everything_else_is_dropped_and_counted() {
        let mut core = core();
        assert!(answer(&mut core, &ping("10.0.0.7", "192.0.3.1", b"")).is_none());
        assert_eq!(core.counters().unreachable, 1);
        for unserved in [
            udp(false, (5000, 53), b"x"),
            udp(false, (7, 7), b"loop"),
            ping("192.0.2.9", "192.0.2.1", b"from inside"),
        ] {
            assert!(answer(&mut core, &unserved).is_none());
        }
        let (source, own) = ("10.0.0.7".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut reply = vec![0; 28];
        Echo::request(own, source, 1, 1, b"")
            .reply()
            .encode(&mut reply)
            .unwrap();
        assert!(
            answer(&mut core, &reply).is_none(),
            "a reply is not answered"
        );
        assert_eq!(core.counters().unserved, 4);

        let good = udp(false, (5000, 7), b"payload");
        for at in 0..good.len() {
            let mut wrong = good.clone();
            wrong[at] ^= 0x01;
            assert!(answer(&mut core, &wrong).is_none(), "octet {at}");
        }
        for length in 0..good.len() {
            assert!(answer(&mut core, &good[..length]).is_none());
        }
        assert_eq!(core.counters().answered, 0);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut core = CoreNetwork::with_queue(vec!["192.0.2.1/32".parse().unwrap()], 2);
        let request = ping("10.0.0.7", "192.0.2.1", b"x");
        for _ in 0..5 {
            core.deliver(&request).unwrap();
        }
        assert_eq!(core.pending(), 2);
        assert_eq!(core.counters().overflow, 3);
        let mut buf = [0; 2000];
        assert_eq!(core.receive(&mut buf).unwrap(), Some(29));
        // Too small a buffer loses the packet, once.
        assert!(core.receive(&mut buf[..10]).is_err());
        assert_eq!(core.receive(&mut buf).unwrap(), None);
        core.deliver(&request).unwrap();
        assert_eq!(core.pending(), 1);
        assert!(core.poll_fd().is_none());
    }
}
