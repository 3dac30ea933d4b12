//! OCSP over HTTP (RFC 6960 appendix A), as a client: one POST, bounded in time and size.

use core::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ocsp::MAX_RESPONSE;
use thiserror::Error;
use tokio::time::timeout;

/// One responder.
pub(super) struct Responder {
    uri: Uri,
    http: Client<HttpConnector, Full<Bytes>>,
    within: Duration,
}

impl Responder {
    pub(super) fn new(uri: Uri, within: Duration) -> Self {
        // Requests are seconds apart: no connection is kept, and none can have died meanwhile.
        let http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(MAX_HEAD)
            .build(HttpConnector::new());
        Self { uri, http, within }
    }

    /// What it answers to a DER OCSPRequest.
    pub(super) async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        match timeout(self.within, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout(self.within)),
        }
    }

    async fn exchange(&self, request: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(REQUEST_TYPE))
            .header(ACCEPT, HeaderValue::from_static(RESPONSE_TYPE))
            .body(Full::from(request))
            .map_err(|error| FetchError::Http(error.to_string()))?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| FetchError::Http(words(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        if !kind.is_some_and(is_response_type) {
            return Err(FetchError::Type);
        }
        let body = Limited::new(response.into_body(), MAX_RESPONSE)
            .collect()
            .await;
        body.map(|body| body.to_bytes().to_vec())
            .map_err(|error| FetchError::Http(error.to_string()))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("uri", &self.uri)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// Why a responder gave no response.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the responder cannot be asked: {0}")]
    Http(String),
    #[error("the responder answered HTTP {0}")]
    Status(StatusCode),
    #[error("the responder did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the responder answered something other than {RESPONSE_TYPE}")]
    Type,
}

/// RFC 9110 §8.3.1: in whatever case, and perhaps with parameters.
fn is_response_type(value: &HeaderValue) -> bool {
    let kind = value.as_bytes().split(|octet| *octet == b';').next();
    kind.is_some_and(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(RESPONSE_TYPE.as_bytes())
    })
}

/// An error with its causes.
fn words(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

const REQUEST_TYPE: &str = "application/ocsp-request";
const RESPONSE_TYPE: &str = "application/ocsp-response";
/// The most octets of a response's head that are buffered.
const MAX_HEAD: usize = 16 * 1024;
