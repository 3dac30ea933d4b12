//! A connection to the daemon's vici socket. One command at a time; events in between.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::message::Section;
use super::packet::{self, MAX_PACKET, Packet, PacketError};

/// An open connection. After an error it is of no use any more.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// A packet with its length as far as it came: an event may be awaited in a `select!`.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ViciError::Connect`] when nobody listens there, or this user may not.
    pub async fn open(socket: &Path) -> Result<Self, ViciError> {
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => break stream,
                // More knock than the daemon has let in yet; it keeps ten waiting.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && began.elapsed() < COMMAND_TIMEOUT =>
                {
                    sleep(KNOCK_AGAIN).await;
                }
                Err(error) => {
                    return Err(ViciError::Connect {
                        socket: socket.to_path_buf(),
                        error,
                    });
                }
            }
        };
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Does a command and gives its answer. Events that come meanwhile go to `event`.
    ///
    /// # Errors
    ///
    /// [`ViciError`]; the daemon's own refusal (`success = no`) is [`ViciError::Refused`].
    pub async fn command(
        &mut self,
        name: &'static str,
        arguments: &Section,
        event: impl FnMut(&str, Section) + Send,
    ) -> Result<Section, ViciError> {
        self.command_within(COMMAND_TIMEOUT, name, arguments, event)
            .await
    }

    /// As [`command`](Self::command), for one that may take longer: the daemon does some only when no IKE_SA is
    /// busy, and one that waits for an OCSP responder is.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub async fn command_within(
        &mut self,
        patience: Duration,
        name: &'static str,
        arguments: &Section,
        mut event: impl FnMut(&str, Section) + Send,
    ) -> Result<Section, ViciError> {
        let work = async {
            self.send(&packet::command(name, arguments)).await?;
            loop {
                match self.receive().await? {
                    Packet::Response(answer) => return Ok(answer),
                    Packet::CommandUnknown => return Err(ViciError::Unknown(name)),
                    Packet::Event(its, message) => event(&its, message),
                    Packet::EventConfirm | Packet::EventUnknown => {
                        return Err(ViciError::OutOfTurn);
                    }
                }
            }
        };
        let answer = timeout(patience, work)
            .await
            .map_err(|_| ViciError::Late(name, patience))??;
        if answer.text("success") == Some("no") {
            let message = answer.text("errmsg").unwrap_or("without a reason");
            return Err(ViciError::Refused {
                command: name,
                message: message.to_owned(),
            });
        }
        Ok(answer)
    }

    /// Does a command that streams its results as events.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub async fn stream(
        &mut self,
        patience: Duration,
        name: &'static str,
        arguments: &Section,
        streamed: &'static str,
        mut event: impl FnMut(Section) + Send,
    ) -> Result<(), ViciError> {
        self.register(streamed).await?;
        let take = |its: &str, message| {
            if its == streamed {
                event(message);
            }
        };
        self.command_within(patience, name, arguments, take).await?;
        self.confirm(&packet::unregister(streamed), streamed).await
    }

    /// Asks for events of that name from now on.
    ///
    /// # Errors
    ///
    /// [`ViciError`]; [`ViciError::Unknown`] when the daemon has no such event.
    pub async fn register(&mut self, event: &'static str) -> Result<(), ViciError> {
        self.confirm(&packet::register(event), event).await
    }

    /// The next event. Can be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    ///
    /// [`ViciError`] when the connection ends.
    pub async fn event(&mut self) -> Result<(String, Section), ViciError> {
        match self.receive().await? {
            Packet::Event(name, message) => Ok((name, message)),
            _ => Err(ViciError::OutOfTurn),
        }
    }

    async fn confirm(&mut self, octets: &[u8], event: &'static str) -> Result<(), ViciError> {
        let work = async {
            self.send(octets).await?;
            loop {
                match self.receive().await? {
                    Packet::EventConfirm => return Ok(()),
                    Packet::EventUnknown => return Err(ViciError::Unknown(event)),
                    Packet::Event(..) => {}
                    Packet::Response(_) | Packet::CommandUnknown => {
                        return Err(ViciError::OutOfTurn);
                    }
                }
            }
        };
        timeout(COMMAND_TIMEOUT, work)
            .await
            .map_err(|_| ViciError::Late(event, COMMAND_TIMEOUT))?
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), ViciError> {
        self.stream.write_all(octets).await.map_err(ViciError::Io)
    }

    async fn receive(&mut self) -> Result<Packet, ViciError> {
        loop {
            if let Some(packet) = self.take_packet()? {
                return Ok(packet);
            }
            self.buffer.reserve(CHUNK);
            let read = self.stream.read_buf(&mut self.buffer);
            if read.await.map_err(ViciError::Io)? == 0 {
                return Err(ViciError::Closed);
            }
        }
    }

    /// Takes a whole packet from the buffer, if there is one.
    fn take_packet(&mut self) -> Result<Option<Packet>, ViciError> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if len > MAX_PACKET {
            return Err(ViciError::TooLong(len));
        }
        let Some(octets) = rest.get(..len) else {
            return Ok(None);
        };
        let packet = Packet::decode(octets)?;
        self.buffer.drain(..4 + len);
        Ok(Some(packet))
    }
}

/// The path of a vici socket from how strongSwan writes it: `unix:///run/charon.vici`, or a bare path.
///
/// # Errors
///
/// A text that says what was expected.
pub fn socket_path(uri: &str) -> Result<PathBuf, String> {
    let path = match uri.split_once("://") {
        Some(("unix", path)) => path,
        Some((scheme, _)) => {
            return Err(format!(
                "'{scheme}://' is not supported: expected unix:///run/charon.vici or a path"
            ));
        }
        None => uri,
    };
    if path.is_empty() {
        return Err("no path: expected unix:///run/charon.vici".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// Why the daemon could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ViciError {
    /// The daemon closed the connection.
    #[error("the daemon closed the vici connection")]
    Closed,
    /// No connection.
    #[error("{}: {error}; is the daemon running with its vici plugin, and may this user connect?", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What did the command here came to a bad end.
    #[error("{0}: the task that was to do it died")]
    Died(&'static str),
    /// The connection broke.
    #[error("vici connection: {0}")]
    Io(io::Error),
    /// No answer in time.
    #[error("{0}: no answer from the daemon within {1:?}")]
    Late(&'static str, Duration),
    /// A packet that nothing was asked for.
    #[error("the daemon answered something that was not asked")]
    OutOfTurn,
    /// A packet that cannot be read.
    #[error("vici packet: {0}")]
    Packet(#[from] PacketError),
    /// The daemon did not do it.
    #[error("{command}: the daemon refused: {message}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The daemon's words.
        message: String,
    },
    /// A packet beyond what the protocol allows.
    #[error("a vici packet of {0} octets, at most {MAX_PACKET} are allowed")]
    TooLong(usize),
    /// The daemon is too old, or a plugin is missing.
    #[error("the daemon does not know '{0}'")]
    Unknown(&'static str),
}

/// How long a command may take that waits for nobody.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for so many octets is made before each read.
const CHUNK: usize = 8_192;

/// How soon a daemon that has no room for another connection is tried again.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_are_named_as_strongswan_names_them() {
        assert_eq!(
            socket_path("unix:///run/charon.vici").unwrap(),
            Path::new("/run/charon.vici")
        );
        assert_eq!(socket_path("unix://a/b").unwrap(), Path::new("a/b"));
        assert_eq!(socket_path("/run/c").unwrap(), Path::new("/run/c"));
        assert!(socket_path("tcp://127.0.0.1:4502").is_err());
        assert!(socket_path("unix://").is_err());
    }

    /// A daemon that says these packets, some octets at a time, whatever it is told.
    async fn told(packets: &[&[u8]]) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("vici");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut octets = Vec::new();
        for packet in packets {
            octets.extend_from_slice(&u32::try_from(packet.len()).unwrap().to_be_bytes());
            octets.extend_from_slice(packet);
        }
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 512];
            let _heard = stream.read(&mut heard).await.unwrap();
            for octets in octets.chunks(3) {
                stream.write_all(octets).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let connection = Connection::open(&socket).await.unwrap();
        (dir, connection)
    }

    #[tokio::test]
    async fn a_stream_of_events_ends_with_the_answer() {
        let packets: [&[u8]; 5] = [
            b"\x05",
            b"\x07\x07list-sa\x03\x01n\0\x011",
            b"\x07\x05other\x03\x01n\0\x012",
            b"\x01",
            b"\x05",
        ];
        let (_dir, mut connection) = told(&packets).await;
        let mut seen = Vec::new();
        connection
            .stream(
                COMMAND_TIMEOUT,
                "list-sas",
                &Section::new(),
                "list-sa",
                |message| {
                    seen.push(message.number("n"));
                },
            )
            .await
            .unwrap();
        assert_eq!(seen, [Some(1)]);
    }

    #[tokio::test]
    async fn refusals_and_ends_are_errors() {
        let refused: &[u8] = b"\x01\x03\x07success\0\x02no\x03\x06errmsg\0\x03why";
        for (packet, expected) in [
            (refused, "terminate: the daemon refused: why"),
            (b"\x02", "the daemon does not know 'terminate'"),
            (b"\x05", "the daemon answered something that was not asked"),
            (b"\x01\x03", "vici packet: the message is cut short"),
        ] {
            let (_dir, mut connection) = told(&[packet]).await;
            let outcome = connection
                .command("terminate", &Section::new(), |_, _| {})
                .await;
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
        let (_dir, mut connection) = told(&[]).await;
        let outcome = connection.register("ike-updown").await;
        assert!(matches!(outcome, Err(ViciError::Closed)), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_it_is_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[0, 8, 0, 1]).await.unwrap();
        let mut connection = Connection {
            stream: ours,
            buffer: Vec::new(),
        };
        let outcome = connection.event().await;
        assert!(matches!(outcome, Err(ViciError::TooLong(524_289))));
    }
}
