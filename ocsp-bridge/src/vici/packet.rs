//! Packets: a message with its type and, for some, a name (vici README, "Packet layer").

use thiserror::Error;

use super::message::{MessageError, Section};

/// A packet from the daemon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet {
    /// The answer to a command.
    Response(Section),
    /// The daemon does not know the command.
    CommandUnknown,
    /// An event was registered or unregistered.
    EventConfirm,
    /// The daemon does not know the event.
    EventUnknown,
    /// An event that was registered for.
    Event(String, Section),
}

impl Packet {
    /// Reads a packet without its length.
    ///
    /// # Errors
    ///
    /// [`PacketError`] when it is none that a daemon sends.
    pub fn decode(packet: &[u8]) -> Result<Self, PacketError> {
        let (&kind, rest) = packet.split_first().ok_or(PacketError::Short)?;
        match kind {
            CMD_RESPONSE => Ok(Self::Response(Section::decode(rest)?)),
            CMD_UNKNOWN => Ok(Self::CommandUnknown),
            EVENT_CONFIRM => Ok(Self::EventConfirm),
            EVENT_UNKNOWN => Ok(Self::EventUnknown),
            EVENT => {
                let (&len, rest) = rest.split_first().ok_or(PacketError::Short)?;
                let (name, message) = rest
                    .split_at_checked(usize::from(len))
                    .ok_or(PacketError::Short)?;
                let name = String::from_utf8_lossy(name).into_owned();
                Ok(Self::Event(name, Section::decode(message)?))
            }
            kind => Err(PacketError::Kind(kind)),
        }
    }
}

/// A command with its length, ready to be sent.
#[must_use]
pub fn command(name: &str, message: &Section) -> Vec<u8> {
    framed(CMD_REQUEST, name, message)
}

/// A registration for an event with its length, ready to be sent.
#[must_use]
pub fn register(event: &str) -> Vec<u8> {
    framed(EVENT_REGISTER, event, &Section::new())
}

/// The end of a registration with its length, ready to be sent.
#[must_use]
pub fn unregister(event: &str) -> Vec<u8> {
    framed(EVENT_UNREGISTER, event, &Section::new())
}

fn framed(kind: u8, name: &str, message: &Section) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let mut out = vec![0, 0, 0, 0, kind, len];
    out.extend(name.bytes().take(usize::from(len)));
    message.encode(&mut out);
    let octets = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    for (place, octet) in out.iter_mut().zip(octets.to_be_bytes()) {
        *place = octet;
    }
    out
}

/// Why octets are no packet.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PacketError {
    /// A packet of a type that a daemon does not send.
    #[error("packet type {0}, which a daemon does not send")]
    Kind(u8),
    /// Its message cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It ends within its type or name.
    #[error("the packet is cut short")]
    Short,
}

const CMD_REQUEST: u8 = 0;
const CMD_RESPONSE: u8 = 1;
const CMD_UNKNOWN: u8 = 2;
const EVENT_REGISTER: u8 = 3;
const EVENT_UNREGISTER: u8 = 4;
const EVENT_CONFIRM: u8 = 5;
const EVENT_UNKNOWN: u8 = 6;
const EVENT: u8 = 7;

/// The longest packet (vici README, "Transport protocol").
pub const MAX_PACKET: usize = 512 * 1_024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_have_length_type_name_and_message() {
        let message = Section::new().with("ike-id", "7");
        let octets = command("terminate", &message);
        assert_eq!(octets, b"\0\0\0\x16\0\x09terminate\x03\x06ike-id\0\x017");
        assert_eq!(register("list-sa"), b"\0\0\0\x09\x03\x07list-sa");
        assert_eq!(unregister("list-sa"), b"\0\0\0\x09\x04\x07list-sa");
    }

    #[test]
    fn what_a_daemon_sends() {
        let message = Section::new().with("up", "yes");
        for (octets, expected) in [
            (
                &b"\x01\x03\x02up\0\x03yes"[..],
                Ok(Packet::Response(message.clone())),
            ),
            (b"\x02", Ok(Packet::CommandUnknown)),
            (b"\x05", Ok(Packet::EventConfirm)),
            (b"\x06", Ok(Packet::EventUnknown)),
            (
                b"\x07\x02ev\x03\x02up\0\x03yes",
                Ok(Packet::Event("ev".to_owned(), message)),
            ),
            (b"", Err(PacketError::Short)),
            (b"\x07", Err(PacketError::Short)),
            (b"\x07\x03ev", Err(PacketError::Short)),
            (b"\x00", Err(PacketError::Kind(0))),
            (b"\x08", Err(PacketError::Kind(8))),
            (b"\x01\x03", Err(PacketError::Message(MessageError::Short))),
        ] {
            assert_eq!(Packet::decode(octets), expected, "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = Packet::decode(&octets);
        }
    }
}
