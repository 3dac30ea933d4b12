//! Datagrams that wait to be sent, in one buffer.

use std::ops::Range;

use esp::NON_ESP_MARKER;
use ikev2::{NonEspMarker, Path, Transmit};

/// Datagrams to send. The owner of the sockets empties it after each input; its memory is kept.
#[derive(Debug, Default)]
pub struct Outbox {
    octets: Vec<u8>,
    items: Vec<(Path, Range<usize>)>,
}

impl Outbox {
    /// Adds an IKE message, with its marker where there is one.
    pub fn push_ike(&mut self, transmit: &Transmit, message: &[u8]) {
        let begin = self.octets.len();
        if transmit.marker == NonEspMarker::Present {
            self.octets.extend_from_slice(&NON_ESP_MARKER);
        }
        self.octets.extend_from_slice(message);
        self.items.push((transmit.path, begin..self.octets.len()));
    }

    /// Adds an ESP packet for UDP.
    pub fn push_esp(&mut self, path: Path, packet: &[u8]) {
        let begin = self.octets.len();
        self.octets.extend_from_slice(packet);
        self.items.push((path, begin..self.octets.len()));
    }

    /// The datagrams, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.items
            .iter()
            .map(|(path, range)| (*path, &self.octets[range.clone()]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.items.clear();
    }
}
