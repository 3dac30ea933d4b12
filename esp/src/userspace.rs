//! A TUN device: the operating system's own network behind the tunnel.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ipnet::IpNet;
use thiserror::Error;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::InnerNetwork;

/// The longest name of an interface on Linux, in octets.
pub const MAX_NAME: usize = 15;

/// The smallest MTU that IPv4 allows (RFC 791); below 1280 there is no IPv6.
pub const MIN_MTU: u16 = 68;

/// How a TUN device is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TunConfig {
    /// The interface's name, at most [`MAX_NAME`] octets. Default: the system chooses (`tun0`, …).
    pub name: Option<String>,
    /// Its addresses, with the prefix that is reached through it. Further routes are the operator's. Default: none.
    pub addresses: Vec<IpNet>,
    /// The longest inner packet, in octets. Default 1400: room for outer IPv4 or IPv6, UDP and ESP on a
    /// path of 1500.
    pub mtu: u16,
    /// Whether [`Tun::queue`] may open further queues, one for each thread. Default: no.
    pub multi_queue: bool,
}

impl Default for TunConfig {
    fn default() -> Self {
        Self {
            name: None,
            addresses: Vec::new(),
            mtu: 1400,
            multi_queue: false,
        }
    }
}

/// A TUN device, or one queue of it. Non-blocking. The device goes away with its last queue.
pub struct Tun {
    device: SyncDevice,
    name: String,
    mtu: u16,
}

impl Tun {
    /// Creates the device, gives it its addresses and MTU, and brings it up.
    ///
    /// # Errors
    ///
    /// [`TunError`] names the device, what went wrong and the mend; [`TunError::Permission`] without
    /// CAP_NET_ADMIN.
    pub fn create(config: &TunConfig) -> Result<Self, TunError> {
        let wanted = config.name.as_deref().unwrap_or("tun");
        if wanted.len() > MAX_NAME || wanted.is_empty() {
            return Err(TunError::Name(wanted.to_owned()));
        }
        if config.mtu < MIN_MTU {
            return Err(TunError::Mtu(config.mtu));
        }
        let mut builder = DeviceBuilder::new().mtu(config.mtu).with(|builder| {
            builder.multi_queue(config.multi_queue);
        });
        if let Some(name) = &config.name {
            builder = builder.name(name);
        }
        let failed = |source| TunError::from_io(wanted, source);
        let device = builder.build_sync().map_err(failed)?;
        for network in &config.addresses {
            match network.addr() {
                IpAddr::V4(address) => device.add_address_v4(address, network.prefix_len()),
                IpAddr::V6(address) => device.add_address_v6(address, network.prefix_len()),
            }
            .map_err(|source| TunError::Address {
                name: wanted.to_owned(),
                address: *network,
                source,
            })?;
        }
        device.set_nonblocking(true).map_err(failed)?;
        let name = device.name().map_err(failed)?;
        Ok(Self {
            device,
            name,
            mtu: config.mtu,
        })
    }

    /// Opens a further queue of the same device: the system spreads flows over them.
    ///
    /// # Errors
    ///
    /// [`TunError`]; always if the device was created without [`TunConfig::multi_queue`].
    pub fn queue(&self) -> Result<Self, TunError> {
        let failed = |source| TunError::Queue {
            name: self.name.clone(),
            source,
        };
        let device = self.device.try_clone().map_err(failed)?;
        device.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            device,
            name: self.name.clone(),
            mtu: self.mtu,
        })
    }

    /// The longest inner packet, in octets.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl InnerNetwork for Tun {
    fn deliver(&mut self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(drop)
    }

    /// `buf` should hold [`Tun::mtu`] octets; a longer packet is cut off, which its header then
    /// gives away.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.device.recv(buf) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

impl fmt::Debug for Tun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tun")
            .field("name", &self.name)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// Why there is no TUN device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TunError {
    /// An address was refused.
    #[error("TUN device {name}: cannot give it the address {address}: {source}")]
    Address {
        /// The device.
        name: String,
        /// The address.
        address: IpNet,
        /// What the system said.
        source: io::Error,
    },
    /// Another program has the device.
    #[error("TUN device {name} is in use by another program: end it, or choose another name")]
    Busy {
        /// The device.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot create TUN device {name}: {source}")]
    Create {
        /// The device.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// An MTU below [`MIN_MTU`].
    #[error("TUN device: an MTU of {0} octets is too small, at least {MIN_MTU} are needed")]
    Mtu(u16),
    /// An interface name that Linux does not take.
    #[error("TUN device: the name {0:?} must have 1 to {MAX_NAME} octets")]
    Name(String),
    /// No TUN driver.
    #[error(
        "cannot create TUN device {name}: /dev/net/tun is missing; load the driver (modprobe tun) or map the device into the container ({source})"
    )]
    NoDriver {
        /// The device.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not privileged.
    #[error(
        "cannot create TUN device {name}: {source}; run as root or give the program CAP_NET_ADMIN (setcap cap_net_admin+ep PROGRAM), or use the in-process network"
    )]
    Permission {
        /// The device.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No further queue.
    #[error("TUN device {name}: no further queue: {source}; create it with multi_queue")]
    Queue {
        /// The device.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl TunError {
    fn from_io(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { name, source },
            io::ErrorKind::NotFound => Self::NoDriver { name, source },
            io::ErrorKind::ResourceBusy => Self::Busy { name, source },
            _ => Self::Create { name, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_device_and_the_mend() {
        let text = |kind: io::ErrorKind| TunError::from_io("segw0", kind.into()).to_string();
        for (kind, mend) in [
            (io::ErrorKind::PermissionDenied, "CAP_NET_ADMIN"),
            (io::ErrorKind::NotFound, "modprobe tun"),
            (io::ErrorKind::ResourceBusy, "another name"),
            (io::ErrorKind::OutOfMemory, "cannot create"),
        ] {
            let text = text(kind);
            assert!(text.contains("segw0") && text.contains(mend), "{text}");
        }
    }
}
