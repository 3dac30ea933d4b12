//! OCSP over HTTP (RFC 6960 appendix A), as a client: one POST, bounded in time and size.

use std::time::Duration;

use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Uri};
use ledger_client::http::{HttpClient, HttpError, HttpLimits};
use ocsp::MAX_RESPONSE;
use thiserror::Error;

/// One responder.
#[derive(Debug)]
pub(super) struct Responder {
    uri: Uri,
    http: HttpClient,
}

impl Responder {
    pub(super) fn new(uri: Uri, within: Duration) -> Self {
        let http = HttpClient::new(HttpLimits {
            buffer: MAX_HEAD,
            // Requests are seconds apart: no connection is kept, and none can have died meanwhile.
            idle_connections: 0,
            ..HttpLimits::within(within)
        });
        Self { uri, http }
    }

    /// What it answers to a DER OCSPRequest.
    pub(super) async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        let failed = |error| FetchError::Http {
            uri: self.uri.clone(),
            error,
        };
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(REQUEST_TYPE))
            .header(ACCEPT, HeaderValue::from_static(RESPONSE_TYPE))
            .body(Full::from(request))
            .map_err(|error| {
                failed(HttpError::Request {
                    detail: error.to_string(),
                })
            })?;
        let response = self.http.ask(request, MAX_RESPONSE).await.map_err(failed)?;
        let kind = response.headers().get(CONTENT_TYPE);
        if !kind.is_some_and(is_response_type) {
            return Err(FetchError::Type(self.uri.clone()));
        }
        Ok(response.into_body().into())
    }
}

/// Why a responder gave no response.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the responder {uri}: {error}")]
    Http { uri: Uri, error: HttpError },
    #[error("the responder {0} answered something other than {RESPONSE_TYPE}")]
    Type(Uri),
}

/// RFC 9110 §8.3.1: in whatever case, and perhaps with parameters.
fn is_response_type(value: &HeaderValue) -> bool {
    let kind = value.as_bytes().split(|octet| *octet == b';').next();
    kind.is_some_and(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(RESPONSE_TYPE.as_bytes())
    })
}

const REQUEST_TYPE: &str = "application/ocsp-request";
const RESPONSE_TYPE: &str = "application/ocsp-response";
/// The most octets of a response's head that are buffered.
const MAX_HEAD: usize = 16 * 1024;
