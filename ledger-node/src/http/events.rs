//! The event stream: one JSON object a line, from a height on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use ledger::{Height, InquiryError};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer::{ApiError, Body, BodyError, with_body};
use super::{Server, stopped};
use crate::node::Node;

/// How often the height is told while nothing happens. Followers are promised a line each second:
/// what is left of it is for the way.
const HEARTBEAT: Duration = Duration::from_millis(900);

/// How many events are told at a time. A block may have many more; a reader that takes none holds no
/// more than this many in memory.
const PAGE: usize = 512;

/// Answers `GET /v1/events`.
pub(super) fn answer(server: &Server, query: Option<&str>) -> Result<Response<Body>, ApiError> {
    let query = Query::parse(query.unwrap_or_default())?;
    let room = Arc::clone(&server.streams)
        .try_acquire_owned()
        .map_err(|_| {
            ApiError::unavailable(
                "too-many-streams",
                "this node has as many event streams as it may; ask another, or try again later",
            )
        })?;
    let mut follower = Follower {
        commits: server.node.commits(),
        stop: server.stop.clone(),
        open: Open::new(server.node.clone(), room),
        next: query.from,
        told: 0,
        follow: query.follow,
        phase: Phase::Reading,
        heartbeat: interval(HEARTBEAT),
        ready: None,
    };
    follower
        .heartbeat
        .set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first page at once, so that a gap is told by the status.
    follower.ready = Some(follower.read()?);
    let frames = stream::unfold(follower, |mut follower| async {
        let item = follower.chunk().await?;
        Some((item.map(Frame::data), follower))
    });
    Ok(with_body(
        StatusCode::OK,
        "application/x-ndjson",
        StreamBody::new(frames).boxed_unsync(),
    ))
}

#[derive(Debug, Eq, PartialEq)]
struct Query {
    from: Height,
    follow: bool,
}

impl Query {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let bad = |detail: String| ApiError::bad_request("bad-query", detail);
        let mut parsed = Self {
            from: Height(0),
            follow: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("from", value)) => {
                    parsed.from = value.parse().map(Height).map_err(|_| {
                        bad("from: expected a height, a number from 0 on".to_owned())
                    })?;
                }
                Some(("follow", value)) => {
                    parsed.follow = value
                        .parse()
                        .map_err(|_| bad("follow: expected true or false".to_owned()))?;
                }
                _ => {
                    return Err(bad(
                        "expected from=HEIGHT and follow=true or false".to_owned()
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

enum Phase {
    /// There may be more to read at once.
    Reading,
    /// All was told; a commit or the heartbeat comes next.
    Waiting,
    /// Nothing more will be told.
    Ended,
}

struct Follower {
    commits: watch::Receiver<Height>,
    stop: watch::Receiver<bool>,
    open: Open,
    next: Height,
    /// How many events of the block at `next` have been told.
    told: u32,
    follow: bool,
    phase: Phase,
    heartbeat: Interval,
    ready: Option<Bytes>,
}

impl Follower {
    /// The next lines; none at the end.
    async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        if let Some(ready) = self.ready.take() {
            return Some(Ok(ready));
        }
        if matches!(self.phase, Phase::Waiting) {
            tokio::select! {
                changed = self.commits.changed() => changed.ok()?,
                _ = self.heartbeat.tick() => {}
                () = stopped(&mut self.stop) => return None,
            }
        } else if matches!(self.phase, Phase::Ended) || *self.stop.borrow() {
            return None;
        }
        match self.read() {
            Ok(lines) => Some(Ok(lines)),
            Err(error) => {
                // The status line is gone; cutting the body is all that can be said.
                self.phase = Phase::Ended;
                Some(Err(error.into()))
            }
        }
    }

    /// Reads the next page. The height is told only once all events up to it have been.
    fn read(&mut self) -> Result<Bytes, InquiryError> {
        #[derive(Serialize)]
        struct Beat {
            head: Height,
        }

        // Marked as seen before reading: a commit in between is then read twice rather than missed.
        self.commits.borrow_and_update();
        let page = self.open.node.replica().events(self.next, PAGE)?;
        let mut lines = Vec::new();
        let (block, told) = (self.next, self.told);
        let untold = page
            .events
            .iter()
            .filter(|event| event.height > block || event.index >= told);
        for (count, event) in untold.enumerate() {
            if count == PAGE {
                (self.next, self.told) = (event.height, event.index);
                self.phase = Phase::Reading;
                return Ok(lines.into());
            }
            line(&mut lines, event)?;
        }
        self.told = 0;
        let is_whole = page.next > page.head;
        self.next = page.next;
        self.phase = match (is_whole, self.follow) {
            (false, _) => Phase::Reading,
            (true, true) => Phase::Waiting,
            (true, false) => Phase::Ended,
        };
        if is_whole {
            line(&mut lines, &Beat { head: page.head })?;
            self.heartbeat.reset();
        }
        Ok(lines.into())
    }
}

fn line(lines: &mut Vec<u8>, value: &impl Serialize) -> Result<(), InquiryError> {
    serde_json::to_writer(&mut *lines, value).map_err(|error| InquiryError::Unavailable {
        detail: error.to_string(),
    })?;
    lines.push(b'\n');
    Ok(())
}

/// Counts the stream as open for as long as it lives.
struct Open {
    node: Node,
    _room: OwnedSemaphorePermit,
}

impl Open {
    fn new(node: Node, room: OwnedSemaphorePermit) -> Self {
        node.metrics().streams.inc();
        Self { node, _room: room }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.node.metrics().streams.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_refused() {
        let query = |from, follow| Query {
            from: Height(from),
            follow,
        };
        for (text, expected) in [
            ("", query(0, false)),
            ("from=7", query(7, false)),
            (
                "follow=true&from=18446744073709551615",
                query(u64::MAX, true),
            ),
        ] {
            assert_eq!(Query::parse(text).unwrap(), expected, "{text}");
        }
        for text in [
            "from",
            "from=",
            "from=-1",
            "from=x",
            "follow=yes",
            "to=3",
            "from=1;follow=true",
        ] {
            Query::parse(text).unwrap_err();
        }
    }
}
