//! The open loop for high rates: one thread that never sleeps drives all connections, so that neither a wake-up nor
//! a switch of threads is charged to the server. It wants a core of its own.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::exchange::{BUFFER, is_signed};
use super::open_loop::{LEAD, PATIENCE, Seen, microseconds};

/// Sends the requests in turn, `rate` a second for `time`, on the first connection that is free.
pub(super) fn drive(
    address: SocketAddr,
    connections: usize,
    requests: &[Vec<u8>],
    rate: f64,
    time: Duration,
) -> Result<Seen, String> {
    let mut lines = Lines::connect(address, connections)?;
    let mut seen = Seen::new()?;
    let mut requests = requests.iter().cycle();
    let mut waiting = VecDeque::new();
    let began = Instant::now() + LEAD;
    let mut dues = (0..u32::MAX)
        .map(|number| Duration::from_secs_f64(f64::from(number) / rate))
        .take_while(|due| *due < time)
        .map(|due| began + due)
        .peekable();
    loop {
        let now = Instant::now();
        while let Some(due) = dues.next_if(|due| *due <= now) {
            match lines.free.pop_front() {
                Some(at) => {
                    seen.lag += microseconds(due.elapsed());
                    lines.send(at, &mut requests, due)?;
                }
                None => waiting.push_back(due),
            }
        }
        lines.answers(&mut seen)?;
        while !waiting.is_empty()
            && let Some(at) = lines.free.pop_front()
            && let Some(due) = waiting.pop_front()
        {
            lines.send(at, &mut requests, due)?;
        }
        if dues.peek().is_none() && waiting.is_empty() && lines.free.len() == lines.all.len() {
            return Ok(seen);
        }
        if now > began + time + PATIENCE {
            return Err(format!("an answer took longer than {PATIENCE:?}"));
        }
    }
}

struct Lines {
    poll: Poll,
    events: Events,
    all: Vec<Line>,
    /// Those without a request under way, the longest idle first.
    free: VecDeque<usize>,
}

struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// When the request under way was due.
    due: Instant,
}

impl Lines {
    fn connect(address: SocketAddr, count: usize) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{address}: {error}");
        let poll = Poll::new().map_err(failed)?;
        let mut all = Vec::with_capacity(count);
        for number in 0..count {
            let stream = std::net::TcpStream::connect(address).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_nonblocking(true).map_err(failed)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)
                .map_err(failed)?;
            all.push(Line {
                stream,
                buffer: vec![0; BUFFER],
                filled: 0,
                due: Instant::now(),
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(count),
            free: (0..count).collect(),
            all,
        })
    }

    fn send<'a>(
        &mut self,
        at: usize,
        requests: &mut impl Iterator<Item = &'a Vec<u8>>,
        due: Instant,
    ) -> Result<(), String> {
        let (Some(line), Some(request)) = (self.all.get_mut(at), requests.next()) else {
            return Err("there is no such connection, or no request".to_owned());
        };
        line.due = due;
        // Nothing else is under way, so the system's buffer has room for it.
        line.stream.write_all(request).map_err(broken)
    }

    /// Takes in what has come, without waiting.
    fn answers(&mut self, seen: &mut Seen) -> Result<(), String> {
        self.poll
            .poll(&mut self.events, Some(Duration::ZERO))
            .map_err(|error| format!("epoll: {error}"))?;
        for event in &self.events {
            let at = event.token().0;
            let Some(line) = self.all.get_mut(at) else {
                continue;
            };
            if let Some(is_signed) = line.read()? {
                seen.latency += microseconds(line.due.elapsed());
                seen.wrong += u64::from(!is_signed);
                self.free.push_back(at);
            }
        }
        Ok(())
    }
}

impl Line {
    /// Whether the answer that is complete now is signed.
    fn read(&mut self) -> Result<Option<bool>, String> {
        loop {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.filled += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(broken(error)),
            }
            if let Some(is_signed) = is_signed(&self.buffer[..self.filled]) {
                self.filled = 0;
                return Ok(Some(is_signed));
            }
        }
    }
}

fn broken(error: io::Error) -> String {
    format!("the server broke an exchange off: {error}")
}
