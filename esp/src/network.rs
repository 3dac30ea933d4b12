//! What lies behind the tunnel.

use std::io;
use std::os::fd::BorrowedFd;

/// The network that inner packets go to and come from.
///
/// A data plane [`deliver`](Self::deliver)s what it decrypted and [`receive`](Self::receive)s what it is to encrypt. Neither blocks.
pub trait InnerNetwork: Send {
    /// Hands over one inner IP packet.
    ///
    /// # Errors
    ///
    /// Those of the device; [`io::ErrorKind::WouldBlock`] if it takes no more at the moment. The packet is lost
    /// then, as on any congested link.
    fn deliver(&mut self, packet: &[u8]) -> io::Result<()>;

    /// Reads one inner IP packet into `buf` and tells its length; `None` if there is none now.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>>;

    /// What to watch for readability; `None` if packets appear only in answer to [`deliver`](Self::deliver),
    /// so that draining [`receive`](Self::receive) after each is enough.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
