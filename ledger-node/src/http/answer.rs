//! Response bodies and errors.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use ledger::{Height, InquiryError};
use ledger_engine::SubmitError;
use serde::Serialize;

use super::message::ErrorAnswer;
use crate::error::ReadError;

/// Why a streamed body broke off.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Every response's body.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    name: &'static str,
    detail: String,
    oldest: Option<Height>,
    allow: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            name,
            detail: detail.into(),
            oldest: None,
            allow: None,
        }
    }

    pub(super) fn bad_request(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, name, detail)
    }

    /// The path exists, and takes other methods.
    pub(super) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                format!("this path takes {allow}"),
            )
        }
    }

    pub(super) fn unavailable(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, name, detail)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = json(
            self.status,
            &ErrorAnswer {
                error: self.name.to_owned(),
                detail: self.detail,
                oldest: self.oldest,
            },
        );
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<InquiryError> for ApiError {
    fn from(error: InquiryError) -> Self {
        let detail = error.to_string();
        match error {
            InquiryError::HistoryGone { oldest } => Self {
                oldest: Some(oldest),
                ..Self::new(StatusCode::GONE, "history-gone", detail)
            },
            _ => {
                tracing::error!(detail, "the store cannot be read");
                Self::unavailable("unavailable", detail)
            }
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "the store cannot be read");
        Self::unavailable("unavailable", error.to_string())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Full => Self::unavailable("backpressure", detail),
            SubmitError::Refused(refused) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                refused.refusal.as_str(),
                refused.detail,
            ),
            SubmitError::Stopped => Self::unavailable("stopping", detail),
            _ => Self::unavailable("store-failed", detail),
        }
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(octets) => octets_as(status, "application/json", octets),
        Err(error) => {
            tracing::error!(%error, "an answer has no JSON form");
            octets_as(
                StatusCode::INTERNAL_SERVER_ERROR,
                "application/json",
                br#"{"error":"internal","detail":"the answer has no JSON form; see the node's log"}"#.to_vec(),
            )
        }
    }
}

/// An answer of the given type.
pub(super) fn octets_as(
    status: StatusCode,
    content_type: &'static str,
    octets: Vec<u8>,
) -> Response<Body> {
    let body = Full::new(Bytes::from(octets))
        .map_err(|never| match never {})
        .boxed_unsync();
    with_body(status, content_type, body)
}

/// An answer with any body. Nothing here may be kept by a cache on the way.
pub(super) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
