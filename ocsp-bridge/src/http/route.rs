//! From an HTTP request to its response.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response, Version};
use ocsp::{ResponseStatus, UnixTime};
use tokio::time::timeout;

use super::Service;
use super::access::Access;
use super::connections::Connection;
use super::question::{self, PathError};
use super::respond::{Body, HttpError, ocsp};
use crate::answer::Answer;

/// Answers one request, counts it and logs it.
pub(super) async fn respond(
    service: &Service,
    connection: &Connection,
    client: SocketAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    service.metrics.requested(method);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let conditions = if reads {
        Some(request.headers().clone())
    } else {
        None
    };
    let (response, status) = match question(service, request).await {
        Ok(question) => {
            connection.serving();
            let whole = Instant::now();
            let answer = match question {
                Question::Der(der) => answer(service, &der).await,
                Question::Malformed => Answer::error(ResponseStatus::MalformedRequest),
            };
            let status = answer.status.name();
            service.metrics.answered(status, whole.elapsed());
            let response = ocsp(&answer, wall_clock(), conditions.as_ref());
            (response, Some(status))
        }
        Err(error) => (error.response(), None),
    };
    let now = Instant::now();
    connection.waiting(now);
    let code = response.status().as_u16();
    service.metrics.responded(code);
    service.access.write(
        now,
        &Access {
            client,
            method,
            code,
            ocsp: status,
            took: now.saturating_duration_since(began),
        },
    );
    response
}

/// What an HTTP request asks.
enum Question {
    /// An OCSP request, it seems.
    Der(Bytes),
    /// An OCSP request was meant, but its encoding is broken.
    Malformed,
}

async fn question(service: &Service, request: Request<Incoming>) -> Result<Question, HttpError> {
    let limit = service.limits.request_octets;
    check_host(&request)?;
    match *request.method() {
        Method::GET | Method::HEAD => {
            let text = below(&service.path, request.uri().path()).ok_or(HttpError::NoSuchPath)?;
            match question::decode(text, limit) {
                Ok(der) => Ok(Question::Der(der.into())),
                Err(PathError::Malformed) => Ok(Question::Malformed),
                Err(PathError::NotOcsp) => Err(HttpError::NoSuchPath),
                Err(PathError::TooLarge) => Err(HttpError::TooLarge),
            }
        }
        Method::POST => {
            let rest = below(&service.path, request.uri().path()).ok_or(HttpError::NoSuchPath)?;
            if !rest.trim_matches('/').is_empty() {
                return Err(HttpError::NoSuchPath);
            }
            check_media_type(request.headers())?;
            Ok(Question::Der(body(service, request.into_body()).await?))
        }
        _ => Err(HttpError::Method),
    }
}

async fn answer(service: &Service, der: &[u8]) -> Answer {
    match timeout(
        service.limits.answer,
        service.responder.answer(wall_clock(), der),
    )
    .await
    {
        Ok(answer) => answer,
        Err(_) => {
            service.metrics.answers_late.inc();
            Answer::error(ResponseStatus::TryLater)
        }
    }
}

/// The only look at the wall clock on the way to an answer.
fn wall_clock() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// What follows the responder's path, if the path is below it. Slashes doubled by naive joining of URLs are
/// taken for one.
fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    let path = path.trim_start_matches('/');
    if base.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// RFC 9112 §3.2: a request of HTTP/1.1 without Host, or any with more than one, is answered with 400.
fn check_host(request: &Request<Incoming>) -> Result<(), HttpError> {
    let hosts = request.headers().get_all(HOST).iter().count();
    let absent_is_well = request.version() != Version::HTTP_11;
    if hosts == 1 || (hosts == 0 && absent_is_well) {
        Ok(())
    } else {
        Err(HttpError::Host)
    }
}

/// RFC 6960 appendix A.1. Some clients name no type; none in the field names another one.
fn check_media_type(headers: &HeaderMap) -> Result<(), HttpError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let essence = value.as_bytes().split(|&octet| octet == b';').next();
    let fits =
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(OCSP_REQUEST));
    if fits && values.next().is_none() {
        Ok(())
    } else {
        Err(HttpError::MediaType)
    }
}

/// Reads a body within its bound, in time.
async fn body(service: &Service, body: Incoming) -> Result<Bytes, HttpError> {
    let limit = service.limits.request_octets;
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(HttpError::TooLarge);
    }
    match timeout(service.limits.body, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge),
        Ok(Err(_)) => Err(HttpError::BodyBroken),
        Err(_) => Err(HttpError::BodyTooSlow),
    }
}

const OCSP_REQUEST: &[u8] = b"application/ocsp-request";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_below_its_own() {
        for (base, path, rest) in [
            ("", "/", Some("")),
            ("", "//MD+/", Some("MD+/")),
            ("ocsp", "/ocsp", Some("")),
            ("ocsp", "//ocsp/", Some("/")),
            ("ocsp", "/ocsp/MDA", Some("/MDA")),
            ("ocsp", "/ocspx", None),
            ("ocsp", "/", None),
            ("pki/ocsp", "/pki/ocsp/MDA", Some("/MDA")),
        ] {
            assert_eq!(below(base, path), rest, "{base} {path}");
        }
    }
}
