//! One bounded exchange.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body as _, Incoming},
    header::{ACCEPT, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::time::timeout;

/// How long an [`HttpClient`] waits, and what it keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpLimits {
    /// For a connection, over all addresses that a name has. Default 1 s.
    pub connect: Duration,
    /// For a whole answer, the connection included. Default 5 s.
    pub answer: Duration,
    /// The most octets of an answer that are buffered at one time, its head among them; 8 KiB at least. Default 64 KiB.
    pub buffer: usize,
    /// The most idle connections kept to one host. Default 64.
    pub idle_connections: usize,
    /// How long an idle connection is kept. Default 30 s.
    pub idle_time: Duration,
}

impl HttpLimits {
    /// This long for a whole answer, however much of it the connection takes; the rest by default.
    pub fn within(answer: Duration) -> Self {
        Self {
            connect: answer,
            answer,
            ..Self::default()
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(5),
            buffer: 64 * 1024,
            idle_connections: 64,
            idle_time: Duration::from_secs(30),
        }
    }
}

/// An HTTP/1.1 client. A clone uses the same connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    http: Client<HttpConnector, Full<Bytes>>,
    limits: HttpLimits,
}

impl HttpClient {
    /// A client within these limits. Nothing is connected yet.
    pub fn new(limits: HttpLimits) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle_time)
            .pool_max_idle_per_host(limits.idle_connections)
            .http1_max_buf_size(limits.buffer.max(LEAST_BUFFER))
            .build(connector);
        Self { http, limits }
    }

    /// The limits that it was made with.
    pub const fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// What is answered to a request, with a body of at most `most` octets.
    ///
    /// # Errors
    ///
    /// [`HttpError`]; any status but 200 is [`HttpError::Status`], without a look at its body.
    pub async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response<Bytes>, HttpError> {
        self.in_time(async {
            let (head, body) = self.open(request).await?.into_parts();
            if head.status != StatusCode::OK {
                return Err(HttpError::Status {
                    status: head.status.as_u16(),
                });
            }
            Ok(Response::from_parts(head, read(body, most).await?))
        })
        .await
    }

    /// The body at a URL, at most `most` octets, of the media type `accept`, if the server minds that.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub async fn get(
        &self,
        url: &str,
        accept: &'static str,
        most: usize,
    ) -> Result<Bytes, HttpError> {
        let response = self.ask(get(url, accept)?, most).await?;
        Ok(response.into_body())
    }

    /// The answer's head at a URL, whatever its status; the time is the caller's to bound, by [`in_time`](Self::in_time).
    pub(crate) async fn open_get(
        &self,
        url: &str,
        accept: &'static str,
    ) -> Result<Response<Incoming>, HttpError> {
        self.open(get(url, accept)?).await
    }

    /// An answer, or that it took too long.
    pub(crate) async fn in_time<T, E: From<HttpError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let after = self.limits.answer;
        timeout(after, answer)
            .await
            .unwrap_or_else(|_| Err(HttpError::Timeout { after }.into()))
    }

    async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpError> {
        self.http.request(request).await.map_err(|error| {
            let detail = with_causes(&error);
            if error.is_connect() {
                HttpError::Connect { detail }
            } else {
                HttpError::Cut { detail }
            }
        })
    }
}

/// Why there is no answer. It does not say whose: that is the caller's to add.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("cannot be reached: {detail}; is it running, and is its URL right?")]
    Connect {
        /// What the transport said.
        detail: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the answer broke off: {detail}")]
    Cut {
        /// What the transport said.
        detail: String,
    },
    /// There is no such URL or request.
    #[error("no request can be made: {detail}")]
    Request {
        /// What is wrong with it.
        detail: String,
    },
    /// Another status than 200.
    #[error("it refused with HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer took too long.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The body is longer than any honest one.
    #[error("its answer has more than {limit} octets")]
    TooLarge {
        /// The bound, in octets.
        limit: usize,
    },
}

/// A body of at most `most` octets.
pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Bytes, HttpError> {
    let too_large = HttpError::TooLarge { limit: most };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large);
    }
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Cut {
            detail: with_causes(&error),
        })?;
        if let Some(chunk) = frame.data_ref() {
            if octets.len() + chunk.len() > most {
                return Err(too_large);
            }
            octets.extend_from_slice(chunk);
        }
    }
    Ok(octets.into())
}

/// An error with its causes, which hyper keeps out of its own text.
pub(crate) fn with_causes(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn get(url: &str, accept: &'static str) -> Result<Request<Full<Bytes>>, HttpError> {
    let uri: Uri = url.parse().map_err(|error| HttpError::Request {
        detail: format!("{error}"),
    })?;
    Request::get(uri)
        .header(ACCEPT, HeaderValue::from_static(accept))
        .body(Full::default())
        .map_err(|error| HttpError::Request {
            detail: error.to_string(),
        })
}

/// hyper does not take less.
const LEAST_BUFFER: usize = 8 * 1024;
