//! OCSP requests from a file, and one exchange over HTTP with blocking calls.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// HTTP requests with the DER requests of a file as bodies, one in hexadecimal on each line. `fields` are more
/// lines of the head.
pub(super) fn read_requests(file: &Path, fields: &str) -> Result<Vec<Vec<u8>>, String> {
    let bad = |problem: String| format!("{}: {problem}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
    let requests: Vec<_> = text
        .lines()
        .map(|line| hex::decode(line.trim()).map(|der| post(&der, fields)))
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("expected hexadecimal lines: {error}")))?;
    if requests.is_empty() {
        return Err(bad("it holds no request".to_owned()));
    }
    Ok(requests)
}

fn post(der: &[u8], fields: &str) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n{fields}Content-Length: {}\r\n\r\n",
        der.len()
    );
    [head.as_bytes(), der].concat()
}

/// A connection that is kept.
pub(super) struct Exchange {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Exchange {
    pub(super) fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER],
        })
    }

    /// Sends a request and reads its response. Whether that holds a signed OCSP response.
    pub(super) fn ask(&mut self, request: &[u8]) -> io::Result<bool> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            if room.is_empty() {
                return Err(io::Error::other("the response is too long"));
            }
            let length = self.stream.read(room)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += length;
            if let Some(is_signed) = is_signed(&self.buffer[..filled]) {
                return Ok(is_signed);
            }
        }
    }
}

/// Once a response is complete: whether it holds a signed OCSP response, judged by its length: an unsigned one has
/// five octets.
pub(super) fn is_signed(octets: &[u8]) -> Option<bool> {
    let (is_ok, head, body) = read_head(octets)?;
    (octets.len() >= head + body).then_some(is_ok && body > 100)
}

/// Room for a response.
pub(super) const BUFFER: usize = 16 * 1_024;

/// Whether the status is 200, the length of the head, and that of the body, once the head is complete.
fn read_head(octets: &[u8]) -> Option<(bool, usize, usize)> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&octets[..end]).ok()?;
    let body = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    });
    Some((
        head.get(9..12) == Some("200"),
        end + 4,
        body.unwrap_or_default(),
    ))
}
