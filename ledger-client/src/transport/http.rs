//! A ledger node over HTTP.

use std::{fmt, time::Duration};

use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::{Response, StatusCode, body::Incoming};
use ledger::{CertificateHash, Height, StatusAnswer, StatusEvent};
use serde::Deserialize;

use super::lines::Lines;
use crate::{
    config::ConfigError,
    http::{HttpClient, HttpError, HttpLimits, base_of, read, with_causes},
    source::{BoxFuture, EventStream, Source, SourceError, StreamItem},
};

/// The longest answer that is read, in octets; honest ones have some 400.
const MAX_BODY: usize = 16 * 1024;

/// The longest line of the event stream, in octets; honest ones have some 250.
const MAX_LINE: usize = 4 * 1024;

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
    http: HttpClient,
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
        let HttpTimeouts { connect, response } = timeouts;
        Ok(Self {
            base: base_of(url)?,
            http: HttpClient::new(HttpLimits {
                connect,
                answer: response,
                ..HttpLimits::default()
            }),
        })
    }

    async fn get(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Response<Incoming>, SourceError> {
        let url = format!("{}{path}", self.base);
        let response = self.http.open_get(&url, accept).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        Ok(response)
    }

    async fn ask(&self, hash: CertificateHash) -> Result<StatusAnswer, SourceError> {
        let response = self
            .get(&format!("/v1/status/{hash}"), "application/json")
            .await?;
        let body = read(response.into_body(), MAX_BODY).await?;
        serde_json::from_slice(&body).map_err(|error| SourceError::Malformed {
            what: "status answer",
            detail: error.to_string(),
        })
    }

    async fn follow(&self, from: Height) -> Result<EventStream, SourceError> {
        let path = format!("/v1/events?from={}&follow=true", from.0);
        let response = self.get(&path, "application/x-ndjson").await?;
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
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("base", &self.base)
            .field("limits", self.http.limits())
            .finish_non_exhaustive()
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.base
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(self.http.in_time(self.ask(hash)))
    }

    fn events(&self, from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(self.http.in_time(self.follow(from)))
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
                Some(Err(error)) => return cut(&with_causes(&error)),
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
    let body = read(response.into_body(), MAX_BODY)
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

impl From<HttpError> for SourceError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Connect { detail } | HttpError::Cut { detail } => Self::Connect { detail },
            HttpError::Request { detail } => Self::Malformed {
                what: "request",
                detail,
            },
            HttpError::Status { status } => Self::Refused {
                status,
                error: String::new(),
            },
            HttpError::Timeout { after } => Self::Timeout { after },
            HttpError::TooLarge { limit } => Self::TooLarge {
                what: "status answer",
                limit,
            },
        }
    }
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
