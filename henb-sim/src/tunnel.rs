//! A device's end of its child SA.

use std::net::{IpAddr, Ipv4Addr};

use esp::{
    InboundConfig, InboundSa, InnerLengthError, KeyLengthError, OpenError, OutboundConfig,
    OutboundSa, PacketBuffer, ReservedSpi, SaKeys, SealError, Selector, SelectorError, Selectors,
    Spi, Suite,
};
use ikev2::wire::{EncrId, TrafficSelector};
use ikev2::{ChildSa, EspSuite, Path};

/// Both directions of one child SA.
#[derive(Debug)]
pub(crate) struct Tunnel {
    inbound: InboundSa,
    outbound: OutboundSa,
    inner: Ipv4Addr,
    path: Path,
}

impl Tunnel {
    /// Installs a child SA. `assigned` is the inner address from the configuration payload; without one, our side of
    /// the traffic selectors must be a single address.
    pub(crate) fn new(child: &ChildSa, assigned: Option<Ipv4Addr>) -> Result<Self, TunnelError> {
        let suite = suite(child.suite)?;
        let selectors = Selectors::new(
            selectors(&child.local_selectors),
            selectors(&child.remote_selectors),
        )?;
        let inner = assigned
            .or_else(|| match selectors.local().first()?.single_host()? {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .ok_or(TunnelError::NoInnerAddress)?;
        let keys = |octets: &[u8]| SaKeys::new(suite, octets);
        let mut inbound = InboundConfig::new(
            Spi::new(child.inbound_spi)?,
            keys(child.inbound.as_bytes())?,
            selectors.clone(),
        );
        inbound.esn = child.suite.esn;
        let mut outbound = OutboundConfig::new(
            Spi::new(child.outbound_spi)?,
            keys(child.outbound.as_bytes())?,
            selectors,
        );
        outbound.esn = child.suite.esn;
        Ok(Self {
            inbound: InboundSa::new(inbound),
            outbound: OutboundSa::new(outbound),
            inner,
            path: child.path,
        })
    }

    /// Decrypts an ESP packet in place and gives the inner IP packet.
    pub(crate) fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        self.inbound.open(packet).map(|inner| inner.packet)
    }

    /// Makes an ESP packet of an inner IP packet, in `buffer`.
    pub(crate) fn seal<'a>(
        &mut self,
        inner: &[u8],
        buffer: &'a mut PacketBuffer,
    ) -> Result<&'a [u8], TunnelError> {
        buffer.fill(inner)?;
        Ok(self.outbound.seal(buffer)?.packet)
    }

    pub(crate) fn inner(&self) -> Ipv4Addr {
        self.inner
    }

    pub(crate) fn path(&self) -> Path {
        self.path
    }

    pub(crate) fn set_path(&mut self, path: Path) {
        self.path = path;
    }
}

/// Why a child SA cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error(transparent)]
    InnerLength(#[from] InnerLengthError),
    #[error(transparent)]
    Keys(#[from] KeyLengthError),
    #[error("the gateway gave no inner IPv4 address")]
    NoInnerAddress,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Selectors(#[from] SelectorError),
    #[error(transparent)]
    Spi(#[from] ReservedSpi),
    #[error("no ESP with {0} and a key of {1} bits")]
    Suite(EncrId, u16),
}

fn suite(suite: EspSuite) -> Result<Suite, TunnelError> {
    match (suite.encr, suite.key_bits) {
        (EncrId::AES_GCM_16, 128) => Ok(Suite::Aes128Gcm16),
        (EncrId::AES_GCM_16, 256) => Ok(Suite::Aes256Gcm16),
        (EncrId::CHACHA20_POLY1305, _) => Ok(Suite::ChaCha20Poly1305),
        (encr, bits) => Err(TunnelError::Suite(encr, bits)),
    }
}

fn selectors(selectors: &[TrafficSelector]) -> Vec<Selector> {
    selectors
        .iter()
        .map(|selector| Selector {
            protocol: selector.protocol,
            ports: selector.ports,
            addresses: selector.addresses,
        })
        .collect()
}
