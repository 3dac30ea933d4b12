//! The SAs of one data plane.

use std::collections::HashMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::outbound::inner_of;
use crate::{
    InboundSa, Inner, InnerHeader, OpenError, OutboundSa, PacketBuffer, SealError, Sealed, Spi,
    peek_spi,
};

/// SAs of each direction that a database may be allowed to hold.
pub const MAX_SAS: usize = 1 << 20;

/// Outbound SAs for ranges of addresses rather than hosts: these are tried one by one.
pub const MAX_WIDE_OUTBOUND: usize = 1024;

/// Inbound SAs by SPI, outbound SAs by the destination of the inner packet, each with the caller's tag.
///
/// The tag `T` is whatever the caller wants back with a packet: the peer, its path, an index.
///
/// Of several outbound SAs that are for a packet the one installed last is taken, so that a successor takes over
/// at once and the old one may be removed at leisure (RFC 7296 §2.8). SAs for single hosts come before SAs for ranges.
#[derive(Debug)]
pub struct SaDatabase<T> {
    limit: usize,
    inbound: HashMap<Spi, (InboundSa, T)>,
    outbound: HashMap<OutboundHandle, (OutboundSa, T)>,
    /// Oldest first.
    hosts: HashMap<IpAddr, Vec<OutboundHandle>>,
    /// Oldest first.
    wide: Vec<OutboundHandle>,
    next_handle: u64,
    unknown_spi: u64,
    no_sa: u64,
}

/// Names an outbound SA in its database. SPIs do not: they are the peers' choice and may coincide.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OutboundHandle(u64);

impl<T> SaDatabase<T> {
    /// An empty database for up to `limit` SAs of each direction, at most [`MAX_SAS`].
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.min(MAX_SAS),
            inbound: HashMap::new(),
            outbound: HashMap::new(),
            hosts: HashMap::new(),
            wide: Vec::new(),
            next_handle: 0,
            unknown_spi: 0,
            no_sa: 0,
        }
    }

    /// Installs an inbound SA.
    ///
    /// # Errors
    ///
    /// [`InsertError`] if the SPI is taken or the database full. The SA is dropped then.
    pub fn insert_inbound(&mut self, sa: InboundSa, tag: T) -> Result<(), InsertError> {
        let spi = sa.spi();
        if self.inbound.contains_key(&spi) {
            return Err(InsertError::SpiTaken(spi));
        }
        if self.inbound.len() >= self.limit {
            return Err(InsertError::Full { limit: self.limit });
        }
        self.inbound.insert(spi, (sa, tag));
        Ok(())
    }

    /// Installs an outbound SA; from now on it is preferred for its traffic.
    ///
    /// # Errors
    ///
    /// [`InsertError`] if the database is full. The SA is dropped then.
    pub fn insert_outbound(
        &mut self,
        sa: OutboundSa,
        tag: T,
    ) -> Result<OutboundHandle, InsertError> {
        if self.outbound.len() >= self.limit {
            return Err(InsertError::Full { limit: self.limit });
        }
        let is_wide = is_wide(&sa);
        if is_wide && self.wide.len() >= MAX_WIDE_OUTBOUND {
            return Err(InsertError::TooManyWide);
        }
        let handle = OutboundHandle(self.next_handle);
        self.next_handle += 1;
        for host in hosts(&sa) {
            let handles = self.hosts.entry(host).or_default();
            // Two selectors may name one host.
            if handles.last() != Some(&handle) {
                handles.push(handle);
            }
        }
        if is_wide {
            self.wide.push(handle);
        }
        self.outbound.insert(handle, (sa, tag));
        Ok(handle)
    }

    /// Takes an inbound SA out. Packets for it are refused from now on.
    pub fn remove_inbound(&mut self, spi: Spi) -> Option<(InboundSa, T)> {
        self.inbound.remove(&spi)
    }

    /// Takes an outbound SA out.
    pub fn remove_outbound(&mut self, handle: OutboundHandle) -> Option<(OutboundSa, T)> {
        let (sa, tag) = self.outbound.remove(&handle)?;
        for host in hosts(&sa) {
            if let Some(handles) = self.hosts.get_mut(&host) {
                handles.retain(|other| *other != handle);
                if handles.is_empty() {
                    self.hosts.remove(&host);
                }
            }
        }
        self.wide.retain(|other| *other != handle);
        Some((sa, tag))
    }

    /// Finds the SA of an ESP packet and opens it, as [`InboundSa::open`] does.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`OpenError::UnknownSpi`] if no SA has the packet's SPI.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<(Inner<'a>, &mut T), OpenError> {
        let Some((sa, tag)) = peek_spi(packet).and_then(|spi| self.inbound.get_mut(&spi)) else {
            self.unknown_spi += 1;
            return Err(match packet.first_chunk() {
                Some(spi) => OpenError::UnknownSpi(u32::from_be_bytes(*spi)),
                None => OpenError::TooShort { got: packet.len() },
            });
        };
        let inner = sa.open(packet)?;
        Ok((inner, tag))
    }

    /// Finds the SA for an inner packet and seals it, as [`OutboundSa::seal`] does.
    ///
    /// # Errors
    ///
    /// [`SealError`]; [`SealError::NoSa`] if no SA is for this packet.
    pub fn seal<'a>(
        &mut self,
        buffer: &'a mut PacketBuffer,
    ) -> Result<(Sealed<'a>, &mut T), SealError> {
        let (octets, inner_len) = buffer.take();
        self.seal_in_place(octets, inner_len)
    }

    /// Like [`seal`](Self::seal) for a caller's own buffer: see [`OutboundSa::seal_in_place`].
    ///
    /// # Errors
    ///
    /// [`SealError`]; [`SealError::NoSa`] if no SA is for this packet.
    pub fn seal_in_place<'a>(
        &mut self,
        octets: &'a mut [u8],
        inner_len: usize,
    ) -> Result<(Sealed<'a>, &mut T), SealError> {
        let header = InnerHeader::parse(inner_of(octets, inner_len)?)?;
        let found = self.find_outbound(&header);
        let Some((sa, tag)) = found.and_then(|handle| self.outbound.get_mut(&handle)) else {
            self.no_sa += 1;
            return Err(SealError::NoSa(header.flow()));
        };
        let sealed = sa.seal_parsed(octets, inner_len, &header)?;
        Ok((sealed, tag))
    }

    /// An inbound SA and its tag, for changing the tag.
    pub fn inbound_mut(&mut self, spi: Spi) -> Option<(&InboundSa, &mut T)> {
        self.inbound.get_mut(&spi).map(|(sa, tag)| (&*sa, tag))
    }

    /// An outbound SA and its tag, for changing the tag.
    pub fn outbound_mut(&mut self, handle: OutboundHandle) -> Option<(&OutboundSa, &mut T)> {
        self.outbound.get_mut(&handle).map(|(sa, tag)| (&*sa, tag))
    }

    /// The SA that a packet with this header would go into.
    pub fn find_outbound(&self, header: &InnerHeader) -> Option<OutboundHandle> {
        let hosts = self.hosts.get(&header.destination);
        let hosts = hosts.into_iter().flatten().rev();
        hosts
            .chain(self.wide.iter().rev())
            .find(|handle| {
                self.outbound
                    .get(handle)
                    .is_some_and(|(sa, _)| sa.permits(header))
            })
            .copied()
    }

    /// An inbound SA and its tag.
    pub fn inbound(&self, spi: Spi) -> Option<(&InboundSa, &T)> {
        self.inbound.get(&spi).map(|(sa, tag)| (sa, tag))
    }

    /// An outbound SA and its tag.
    pub fn outbound(&self, handle: OutboundHandle) -> Option<(&OutboundSa, &T)> {
        self.outbound.get(&handle).map(|(sa, tag)| (sa, tag))
    }

    /// All inbound SAs, in no order.
    pub fn inbound_iter(&self) -> impl Iterator<Item = (&InboundSa, &T)> {
        self.inbound.values().map(|(sa, tag)| (sa, tag))
    }

    /// All outbound SAs, in no order.
    pub fn outbound_iter(&self) -> impl Iterator<Item = (OutboundHandle, &OutboundSa, &T)> {
        self.outbound
            .iter()
            .map(|(handle, (sa, tag))| (*handle, sa, tag))
    }

    /// The number of inbound SAs.
    pub fn inbound_len(&self) -> usize {
        self.inbound.len()
    }

    /// The number of outbound SAs.
    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    /// Packets that no outbound SA was for.
    pub fn no_sa(&self) -> u64 {
        self.no_sa
    }

    /// Packets that came for an SPI which no SA has.
    pub fn unknown_spi(&self) -> u64 {
        self.unknown_spi
    }
}

/// Why an SA could not be installed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InsertError {
    /// The database holds as many as it may.
    #[error("the SA database is full: {limit} SAs in this direction; raise its limit")]
    Full {
        /// SAs of each direction that it may hold.
        limit: usize,
    },
    /// An inbound SA has this SPI already.
    #[error("an inbound SA with SPI {0} exists: choose another SPI")]
    SpiTaken(Spi),
    /// More than [`MAX_WIDE_OUTBOUND`].
    #[error(
        "more than {MAX_WIDE_OUTBOUND} outbound SAs for address ranges: negotiate single addresses"
    )]
    TooManyWide,
}

fn hosts(sa: &OutboundSa) -> impl Iterator<Item = IpAddr> {
    let remote = sa.selectors().remote().iter();
    remote.filter_map(|selector| selector.single_host())
}

fn is_wide(sa: &OutboundSa) -> bool {
    let mut remote = sa.selectors().remote().iter();
    remote.any(|selector| selector.single_host().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::icmp::Echo;
    use crate::{InboundConfig, OutboundConfig, SaKeys, Selector, Selectors, Suite};

    fn spi(value: u32) -> Spi {
        Spi::new(value).unwrap()
    }

    fn keys(spi: u32) -> SaKeys {
        let mut keymat = [9; 20];
        keymat[..4].copy_from_slice(&spi.to_be_bytes());
        SaKeys::new(Suite::Aes128Gcm16, &keymat).unwrap()
    }

    fn outbound_to(value: u32, remote: Vec<Selector>) -> OutboundSa {
        let selectors = Selectors::new(vec![Selector::any_v4()], remote).unwrap();
        OutboundSa::new(OutboundConfig::new(spi(value), keys(value), selectors))
    }

    fn inbound(value: u32) -> InboundSa {
        let selectors = Selectors::new(vec![Selector::any_v4()], vec![Selector::any_v4()]);
        InboundSa::new(InboundConfig::new(
            spi(value),
            keys(value),
            selectors.unwrap(),
        ))
    }

    fn host(last: u8) -> Selector {
        Selector::host([10, 0, 0, last].into())
    }

    fn ping(last: u8) -> PacketBuffer {
        let mut buffer = PacketBuffer::new(100);
        let echo = Echo::request([192, 0, 2, 1].into(), [10, 0, 0, last].into(), 1, 1, b"");
        let length = echo.encode(buffer.space()).unwrap();
        buffer.set_inner_len(length).unwrap();
        buffer
    }

    /// The SPI that a packet to this host is sealed for.
    fn sealed_for<T>(database: &mut SaDatabase<T>, last: u8) -> Result<u32, SealError> {
        let mut buffer = ping(last);
        let (sealed, _) = database.seal(&mut buffer)?;
        Ok(peek_spi(sealed.packet).unwrap().get())
    }

    #[test]
    fn packets_find_their_sa_and_bring_the_tag_back() {
        let mut database = SaDatabase::new(10);
        for last in 1..=3 {
            let sa = outbound_to(1000 + u32::from(last), vec![host(last)]);
            database.insert_outbound(sa, last).unwrap();
            database
                .insert_inbound(inbound(1000 + u32::from(last)), last)
                .unwrap();
        }
        for last in 1..=3 {
            let mut buffer = ping(last);
            let (sealed, tag) = database.seal(&mut buffer).unwrap();
            assert_eq!(*tag, last);
            let mut packet = sealed.packet.to_vec();
            let (inner, tag) = database.open(&mut packet).unwrap();
            assert_eq!(inner.header.destination, IpAddr::from([10, 0, 0, last]));
            assert_eq!(*tag, last);
            *tag += 100;
        }
        assert_eq!(database.inbound(spi(1002)).unwrap().1, &102);
        assert!(matches!(
            sealed_for(&mut database, 4),
            Err(SealError::NoSa(_))
        ));
        assert_eq!(database.no_sa(), 1);
    }

    #[test]
    fn unknown_spis_are_counted() {
        let mut database = SaDatabase::<()>::new(10);
        database.insert_inbound(inbound(1000), ()).unwrap();
        assert_eq!(
            database.open(&mut [0, 0, 3, 0xe9, 0, 0, 0, 1]).unwrap_err(),
            OpenError::UnknownSpi(1001)
        );
        assert_eq!(
            database.open(&mut [0, 0]).unwrap_err(),
            OpenError::TooShort { got: 2 }
        );
        assert_eq!(database.unknown_spi(), 2);
        database.remove_inbound(spi(1000)).unwrap();
        assert!(database.open(&mut [0, 0, 3, 0xe8, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn the_successor_takes_over_and_the_predecessor_can_go() {
        let mut database = SaDatabase::new(10);
        let old = database
            .insert_outbound(outbound_to(1000, vec![host(1)]), ())
            .unwrap();
        assert_eq!(sealed_for(&mut database, 1), Ok(1000));
        let new = database
            .insert_outbound(outbound_to(2000, vec![host(1)]), ())
            .unwrap();
        assert_eq!(sealed_for(&mut database, 1), Ok(2000));
        assert!(database.remove_outbound(old).is_some());
        assert!(database.remove_outbound(old).is_none());
        assert_eq!(sealed_for(&mut database, 1), Ok(2000));
        assert!(database.remove_outbound(new).is_some());
        assert!(sealed_for(&mut database, 1).is_err());
        assert!(database.hosts.is_empty() && database.wide.is_empty());
    }

    #[test]
    fn hosts_come_before_ranges() {
        let mut database = SaDatabase::new(10);
        let narrow = database
            .insert_outbound(outbound_to(1000, vec![host(1), host(1)]), ())
            .unwrap();
        let wide = outbound_to(2000, vec![Selector::any_v4()]);
        let wide = database.insert_outbound(wide, ()).unwrap();
        assert_eq!(sealed_for(&mut database, 1), Ok(1000));
        assert_eq!(sealed_for(&mut database, 2), Ok(2000));
        database.remove_outbound(narrow).unwrap();
        assert_eq!(sealed_for(&mut database, 1), Ok(2000));
        database.remove_outbound(wide).unwrap();
        assert_eq!(database.outbound_len(), 0);
    }

    #[test]
    fn a_host_sa_for_other_ports_leaves_the_rest_to_a_wide_one() {
        let mut database = SaDatabase::new(10);
        let udp_only = host(1).with_protocol(17);
        database
            .insert_outbound(outbound_to(1000, vec![udp_only]), ())
            .unwrap();
        database
            .insert_outbound(outbound_to(2000, vec![Selector::any_v4()]), ())
            .unwrap();
        assert_eq!(sealed_for(&mut database, 1), Ok(2000));
    }

    #[test]
    fn the_bounds_hold() {
        let mut database = SaDatabase::new(2);
        for value in [1000, 1001] {
            database.insert_inbound(inbound(value), ()).unwrap();
            database
                .insert_outbound(outbound_to(value, vec![host(1)]), ())
                .unwrap();
        }
        assert_eq!(
            database.insert_inbound(inbound(1000), ()),
            Err(InsertError::SpiTaken(spi(1000)))
        );
        assert_eq!(
            database.insert_inbound(inbound(1002), ()),
            Err(InsertError::Full { limit: 2 })
        );
        assert_eq!(
            database.insert_outbound(outbound_to(1002, vec![host(1)]), ()),
            Err(InsertError::Full { limit: 2 })
        );
        assert_eq!((database.inbound_len(), database.outbound_len()), (2, 2));
        database.remove_inbound(spi(1000)).unwrap();
        assert!(database.insert_inbound(inbound(1002), ()).is_ok());

        let mut database = SaDatabase::new(usize::MAX);
        for value in 0..MAX_WIDE_OUTBOUND {
            let sa = outbound_to(1000 + value as u32, vec![Selector::any_v4()]);
            database.insert_outbound(sa, ()).unwrap();
        }
        assert_eq!(
            database.insert_outbound(outbound_to(1000, vec![Selector::any_v4()]), ()),
            Err(InsertError::TooManyWide)
        );
        assert!(
            database
                .insert_outbound(outbound_to(1000, vec![host(1)]), ())
                .is_ok()
        );
    }
}
