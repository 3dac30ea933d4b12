//! The control socket: a Unix socket on which each request is one line of JSON, and each answer some
//! lines of JSON, the last of which says `done` or `error`.
//!
//! ```text
//! -> {"request":"list"}
//! <- {"id":1,"identity":"henb1.lab.test",...}
//! <- {"done":{"count":1}}
//! ```

use std::fs;
use std::io;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::Snapshot;
use crate::registry::SaId;

/// What can be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// All established IKE SAs.
    List {},
    /// Close IKE SAs with a Delete.
    Close {
        /// Which.
        which: Which,
    },
    /// Counters.
    Counters {},
}

/// A choice of IKE SAs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All of them.
    All,
    /// The one with this name.
    Id(SaId),
    /// Those of a proven identity.
    Identity(String),
}

/// One established IKE SA.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SaSummary {
    /// Its name, for `segw-sim close --id`.
    pub id: SaId,
    /// The proven identity.
    pub identity: String,
    /// The peer's outer address and port.
    pub remote: String,
    /// The peer's inner address.
    pub inner_address: Option<String>,
    /// H(CERT) of the certificate that admitted it.
    pub certificate: String,
    /// The initiator's SPI, in hexadecimal.
    pub spi_i: String,
    /// The responder's SPI, in hexadecimal.
    pub spi_r: String,
    /// How long it has been established, in seconds.
    pub established_s: u64,
    /// ESP packets opened.
    pub packets_in: u64,
    /// ESP packets sealed.
    pub packets_out: u64,
    /// Inner octets opened.
    pub bytes_in: u64,
    /// Inner octets sealed.
    pub bytes_out: u64,
}

/// The last line of an answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It worked.
    Done {
        /// How many were listed or closed.
        count: usize,
    },
    /// It did not.
    Error(String),
}

/// Who answers.
pub trait Control: Send + Sync + 'static {
    /// All established IKE SAs, by name.
    fn list(&self) -> impl Future<Output = Vec<SaSummary>> + Send;

    /// Closes IKE SAs; returns how many.
    fn close(&self, which: Which) -> impl Future<Output = usize> + Send;

    /// Counters.
    fn counters(&self) -> Snapshot;
}

/// The listening socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, with access for the owner only. A file that a dead gateway left is replaced.
    ///
    /// # Errors
    ///
    /// When another gateway answers there, something else lies there, or the system refuses.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(io::Error::other(format!(
                    "{}: is there, and not a socket",
                    path.display()
                )));
            }
            if BlockingStream::connect(path).is_ok() {
                return Err(io::Error::other(format!(
                    "{}: another gateway answers there",
                    path.display()
                )));
            }
        }
        // The socket gets its mode under another name first, so that it is never open to others.
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        drop(fs::remove_file(&draft));
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let listener = UnixListener::bind(&draft).map_err(named)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&draft, path))
            .map_err(|e| {
                drop(fs::remove_file(&draft));
                named(e)
            })?;
        Ok(Self {
            listener,
            path: path.to_path_buf(),
        })
    }

    /// Answers until the task is dropped.
    pub async fn serve(self, control: Arc<impl Control>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let control = Arc::clone(&control);
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &*control).await {
                            tracing::debug!(%error, "a control connection broke");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

async fn answer(stream: UnixStream, control: &impl Control) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(read.take(MAX_REQUEST));
    timeout(REQUEST_TIMEOUT, reader.read_line(&mut line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut out = Vec::new();
    let ending = match serde_json::from_str(&line) {
        Ok(Request::List {}) => {
            let mut sas = control.list().await;
            sas.sort_unstable_by_key(|sa| sa.id);
            for sa in &sas {
                push_line(&mut out, sa)?;
            }
            Ending::Done { count: sas.len() }
        }
        Ok(Request::Close { which }) => Ending::Done {
            count: control.close(which).await,
        },
        Ok(Request::Counters {}) => {
            push_line(&mut out, &control.counters())?;
            Ending::Done { count: 1 }
        }
        Err(error) => Ending::Error(format!(
            "not a request: {error}; expected {{\"request\":\"list\"}}, {{\"request\":\"counters\"}} or \
             {{\"request\":\"close\",\"which\":\"all\"|{{\"id\":N}}|{{\"identity\":\"NAME\"}}}}"
        )),
    };
    push_line(&mut out, &ending)?;
    timeout(ANSWER_TIMEOUT, write.write_all(&out))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    write.shutdown().await
}

fn push_line(out: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.push(b'\n');
    Ok(())
}

/// Asks a running gateway. Returns the lines before the ending, and the ending's count.
///
/// # Errors
///
/// When nobody answers at `path`, or the gateway says what is wrong with the request.
pub fn ask(path: &Path, request: &Request) -> io::Result<(Vec<serde_json::Value>, usize)> {
    let named = |e: io::Error| {
        io::Error::new(
            e.kind(),
            format!(
                "{}: {e}; is the gateway running, with this control.socket?",
                path.display()
            ),
        )
    };
    let mut stream = BlockingStream::connect(path).map_err(named)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(named)?;
    let mut items = Vec::new();
    for line in BufReader::new(stream).lines() {
        let value: serde_json::Value = serde_json::from_str(&line.map_err(named)?)?;
        match Ending::deserialize(&value) {
            Ok(Ending::Done { count }) => return Ok((items, count)),
            Ok(Ending::Error(error)) => return Err(io::Error::other(error)),
            Err(_) => items.push(value),
        }
    }
    Err(named(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the answer has no end",
    )))
}

/// Connections served at one time; more wait.
const MAX_CONNECTIONS: usize = 16;

/// Octets in one request.
const MAX_REQUEST: u64 = 64 * 1024;

/// How long a request may take to come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to go.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Script {
        closed: Mutex<Vec<Which>>,
    }

    fn summary(id: u64) -> SaSummary {
        SaSummary {
            id: SaId(id),
            identity: "henb1.lab.test".to_owned(),
            remote: "192.0.2.2:4500".to_owned(),
            inner_address: Some("10.88.0.1".to_owned()),
            certificate: "00".repeat(32),
            spi_i: "1".to_owned(),
            spi_r: "2".to_owned(),
            established_s: 3,
            packets_in: 4,
            packets_out: 5,
            bytes_in: 6,
            bytes_out: 7,
        }
    }

    impl Control for Script {
        async fn list(&self) -> Vec<SaSummary> {
            tokio::task::yield_now().await;
            vec![summary(2), summary(1)]
        }

        async fn close(&self, which: Which) -> usize {
            tokio::task::yield_now().await;
            self.closed.lock().unwrap().push(which);
            7
        }

        fn counters(&self) -> Snapshot {
            Snapshot {
                handshakes_started: 9,
                ..Snapshot::default()
            }
        }
    }

    #[tokio::test]
    async fn requests_are_answered_and_the_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segw.sock");
        let script = Arc::new(Script::default());
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let task = tokio::spawn(socket.serve(Arc::clone(&script)));

        let asked = path.clone();
        tokio::task::spawn_blocking(move || {
            let (items, count) = ask(&asked, &Request::List {}).unwrap();
            assert_eq!(count, 2);
            assert_eq!(items[0]["id"], 1);
            assert_eq!(items[1], serde_json::to_value(summary(2)).unwrap());
            let which = Which::Identity("henb1.lab.test".to_owned());
            assert_eq!(
                ask(&asked, &Request::Close { which }).unwrap(),
                (Vec::new(), 7)
            );
            let (items, _) = ask(&asked, &Request::Counters {}).unwrap();
            assert_eq!(items[0]["handshakes_started"], 9);
            let taken = ControlSocket::bind(&asked).unwrap_err().to_string();
            assert!(taken.contains("another gateway"), "{taken}");

            // What is no request gets a helpful answer, and does no harm.
            for bad in ["", "{}\n", "{\"request\":\"list\",\"x\":1}\n", "\u{1}\n"] {
                let mut stream = BlockingStream::connect(&asked).unwrap();
                stream.write_all(bad.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut lines = BufReader::new(stream).lines();
                let line = lines.next().unwrap().unwrap();
                assert!(line.contains("not a request"), "{bad:?}: {line}");
            }
        })
        .await
        .unwrap();
        assert_eq!(
            *script.closed.lock().unwrap(),
            [Which::Identity("henb1.lab.test".to_owned())]
        );
        task.abort();
        drop(task.await);
        assert!(!path.exists());
        let message = ask(&path, &Request::List {}).unwrap_err().to_string();
        assert!(message.contains("is the gateway running"), "{message}");
    }

    #[tokio::test]
    async fn a_dead_gateway_s_socket_is_replaced_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segw.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(ControlSocket::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        let message = ControlSocket::bind(&path).unwrap_err().to_string();
        assert!(message.contains("not a socket"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
