//! A ledger node over HTTP.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body as _, Incoming},
    header::{ACCEPT, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use ledger::{CertificateHash, Height, StatusAnswer, StatusEvent};
use serde::Deserialize;
use tokio::time::timeout;

use super::lines::Lines;
use crate::{
    config::ConfigError,
    source::{BoxFuture, EventStream, Source, SourceError, StreamItem},
};

/// The longest answer that is read, in octets; honest ones have some 400.
const MAX_BODY: usize = 16 * 1024;

/// The longest line of the event stream, in octets; honest ones have some 250.
const MAX_LINE: usize = 4 * 1024;

/// The most octets of a response that are buffered at one time.
const MAX_BUFFER: usize = 64 * 1024;

/// The most idle connections kept to one node.
const MAX_IDLE: usize = 64;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The longest piece of an error text that is kept for the log, in characters.
const MAX_ERROR_TEXT: usize = 200;

/// How long an [`HttpSource`] waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpTimeouts {
    /// For a connection. Default 1 s.
    pub connect: Duration,
    /// For a whole answer, or for the head of the event stream. Default 5 s; the client's own deadline usually
    /// ends an inquiry before.
    pub response: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(5),
        }
    }
}

/// A [`Source`] that asks a ledger node over HTTP/1.1, with connections kept alive.
pub struct HttpSource {
    base: String,
    http: Client<HttpConnector, Empty<Bytes>>,
    timeouts: HttpTimeouts,
}

impl HttpSource {
    /// A source at `url`, such as `http://inquiry.example:8080`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] when `url` is not an absolute `http` URL, or has a query.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::with_timeouts(url, HttpTimeouts::default())
    }

    /// As [`new`](Self::new), with other timeouts.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_timeouts(url: &str, timeouts: HttpTimeouts) -> Result<Self, ConfigError> {
        let base = base_of(url).map_err(|expected| ConfigError::Url {
            url: url.to_owned(),
            expected,
        })?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_BUFFER)
            .build(connector);
        Ok(Self {
            base,
            http,
            timeouts,
        })
    }

    async fn get(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Response<Incoming>, SourceError> {
        let malformed = |detail: String| SourceError::Malformed {
            what: "request",
            detail,
        };
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|error| malformed(format!("{error}")))?;
        let request = Request::get(uri)
            .header(ACCEPT, HeaderValue::from_static(accept))
            .body(Empty::new())
            .map_err(|error| malformed(error.to_string()))?;
        self.http
            .request(request)
            .await
            .map_err(|error| SourceError::Connect {
                detail: chain_of(&error),
            })
    }

    async fn ask(&self, hash: CertificateHash) -> Result<StatusAnswer, SourceError> {
        let response = self
            .get(&format!("/v1/status/{hash}"), "application/json")
            .await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = read_bounded(response.into_body(), "status answer").await?;
        serde_json::from_slice(&body).map_err(|error| SourceError::Malformed {
            what: "status answer",
            detail: error.to_string(),
        })
    }

    async fn follow(&self, from: Height) -> Result<EventStream, SourceError> {
        let path = format!("/v1/events?from={}&follow=true", from.0);
        let response = self.get(&path, "application/x-ndjson").await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let reader = Reader {
            body: response.into_body(),
            lines: Lines::new(MAX_LINE),
        };
        let items = stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.item().await {
                Ok(item) => Some((Ok(item), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Box::pin(items))
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>> + Send,
    ) -> Result<T, SourceError> {
        let after = self.timeouts.response;
        timeout(after, answer)
            .await
            .unwrap_or(Err(SourceError::Timeout { after }))
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("base", &self.base)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.base
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(self.in_time(self.ask(hash)))
    }

    fn events(&self, from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(self.in_time(self.follow(from)))
    }
}

struct Reader {
    body: Incoming,
    lines: Lines,
}

/// One line of the event stream.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Head { head: Height },
    Event(StatusEvent),
}

impl Reader {
    async fn item(&mut self) -> Result<StreamItem, SourceError> {
        loop {
            while let Some(line) = self.lines.next_line().map_err(|_| too_long())? {
                if !line.is_empty() {
                    return parse_line(line);
                }
            }
            let cut = |detail: &str| {
                Err(SourceError::Cut {
                    detail: detail.to_owned(),
                })
            };
            match self.body.frame().await {
                None if self.lines.is_mid_line() => return cut("it ended within a line"),
                None => return cut("it ended"),
                Some(Err(error)) => return cut(&chain_of(&error)),
                Some(Ok(frame)) => {
                    if let Some(chunk) = frame.data_ref() {
                        self.lines.push(chunk);
                    }
                }
            }
        }
    }
}

const fn too_long() -> SourceError {
    SourceError::TooLarge {
        what: "line of the event stream",
        limit: MAX_LINE,
    }
}

fn parse_line(line: &[u8]) -> Result<StreamItem, SourceError> {
    match serde_json::from_slice(line) {
        Ok(Line::Head { head }) => Ok(StreamItem::Head(head)),
        Ok(Line::Event(event)) => Ok(StreamItem::Event(event)),
        Err(error) => Err(SourceError::Malformed {
            what: "line of the event stream",
            detail: error.to_string(),
        }),
    }
}

/// What an error response says; its body is read only as far as it is useful.
async fn refusal(response: Response<Incoming>) -> SourceError {
    /// The error object of the node's API.
    #[derive(Deserialize)]
    struct ErrorBody {
        error: String,
        #[serde(default)]
        detail: String,
        oldest: Option<u64>,
    }

    let status = response.status();
    let body = read_bounded(response.into_body(), "error answer")
        .await
        .unwrap_or_default();
    let error = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody {
            error,
            oldest: Some(oldest),
            ..
        }) if status == StatusCode::GONE && error == "history-gone" => {
            return SourceError::HistoryGone { oldest };
        }
        Ok(ErrorBody { error, detail, .. }) if detail.is_empty() => error,
        Ok(ErrorBody { error, detail, .. }) => format!("{error}: {detail}"),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    // What a stranger sends goes to the log in one line, and short.
    let error = error
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_ERROR_TEXT)
        .collect();
    SourceError::Refused {
        status: status.as_u16(),
        error,
    }
}

async fn read_bounded(mut body: Incoming, what: &'static str) -> Result<Vec<u8>, SourceError> {
    let too_large = SourceError::TooLarge {
        what,
        limit: MAX_BODY,
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large);
    }
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SourceError::Connect {
            detail: chain_of(&error),
        })?;
        if let Some(chunk) = frame.data_ref() {
            if octets.len() + chunk.len() > MAX_BODY {
                return Err(too_large);
            }
            octets.extend_from_slice(chunk);
        }
    }
    Ok(octets)
}

/// The URL without its last slash, or what should have been.
fn base_of(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url
        .parse()
        .map_err(|_| "expected an absolute URL such as http://host:8080")?;
    if uri.scheme_str() != Some("http") {
        return Err("expected the scheme http");
    }
    let Some(authority) = uri.authority() else {
        return Err("expected a host");
    };
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err("expected a host, without user or password");
    }
    if uri.query().is_some() {
        return Err("expected no query");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// An error with its causes, which hyper keeps out of its own text.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use ledger::Status;

    use super::*;

    #[test]
    fn urls_are_checked_when_they_are_given() {
        for good in [
            "http://127.0.0.1:8080",
            "http://[::1]:80/",
            "http://inquiry.example/ledger/",
        ] {
            let source = HttpSource::new(good).unwrap();
            assert_eq!(source.name(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "/v1",
            "localhost:8080",
            "https://a.example",
            "http://u:p@a.example",
            "http://a.example/?q=1",
        ] {
            assert!(
                matches!(HttpSource::new(bad), Err(ConfigError::Url { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn lines_are_heads_or_events_and_nothing_else() {
        assert_eq!(
            parse_line(br#"{"head":7}"#),
            Ok(StreamItem::Head(Height(7)))
        );
        let hash = CertificateHash::from_octets([1; 32]);
        let event = format!(r#"{{"height":3,"index":1,"hash":"{hash}","status":"valid"}}"#);
        assert_eq!(
            parse_line(event.as_bytes()),
            Ok(StreamItem::Event(StatusEvent {
                height: Height(3),
                index: 1,
                hash,
                status: Status::Valid
            }))
        );
        for bad in [
            &b"7"[..],
            b"{}",
            b"{\"head\":-1}",
            b"\xff",
            b"{\"height\":3}",
            b"[]",
        ] {
            assert!(
                matches!(parse_line(bad), Err(SourceError::Malformed { .. })),
                "{bad:?}"
            );
        }
    }
}
