//! From an HTTP request to its response.

use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use ocsp::{ResponseStatus, UnixTime};

use super::Service;
use super::access::Access;
use super::connections::Connection;
use super::question::{self, PathError};
use super::respond::{Body, HttpError, ocsp};
use super::within::within;
use crate::answer::Answer;

/// Answers one request, counts it and logs it.
pub(super) async fn respond(
    service: &Service,
    connection: &Connection,
    client: SocketAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = Instant::now();
    let (mut head, body) = request.into_parts();
    let method = match head.method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    service.metrics.requested(method);
    let (response, status, now) = match question(service, &head, body).await {
        Ok(question) => {
            connection.serving();
            let whole = Instant::now();
            let asked_at = wall_clock();
            let answer = match question {
                Question::Der(der) => answer(service, asked_at, &der).await,
                Question::Malformed => Answer::error(ResponseStatus::MalformedRequest),
            };
            let now = Instant::now();
            let took = now.saturating_duration_since(whole);
            service.metrics.answered(answer.status, took);
            // The clock is not looked at again for what was there at once.
            let told_at = if took < AT_ONCE {
                asked_at
            } else {
                wall_clock()
            };
            let reads = matches!(head.method, Method::GET | Method::HEAD);
            let response = ocsp(&answer, told_at, reads, mem::take(&mut head.headers));
            (response, Some(answer.status), now)
        }
        Err(error) => (error.response(), None, Instant::now()),
    };
    connection.waiting(now);
    let code = response.status().as_u16();
    service.metrics.responded(code);
    service.access.write(
        now,
        &Access {
            client,
            method,
            code,
            ocsp: status.map(ResponseStatus::name),
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

async fn question(service: &Service, head: &Parts, body: Incoming) -> Result<Question, HttpError> {
    let limit = service.limits.request_octets;
    check_host(head)?;
    match head.method {
        Method::GET | Method::HEAD => {
            let text = below(&service.path, head.uri.path()).ok_or(HttpError::NoSuchPath)?;
            match question::decode(text, limit) {
                Ok(der) => Ok(Question::Der(der.into())),
                Err(PathError::Malformed) => Ok(Question::Malformed),
                Err(PathError::NotOcsp) => Err(HttpError::NoSuchPath),
                Err(PathError::TooLarge) => Err(HttpError::TooLarge),
            }
        }
        Method::POST => {
            let rest = below(&service.path, head.uri.path()).ok_or(HttpError::NoSuchPath)?;
            if !rest.trim_matches('/').is_empty() {
                return Err(HttpError::NoSuchPath);
            }
            check_media_type(&head.headers)?;
            Ok(Question::Der(octets(service, body).await?))
        }
        _ => Err(HttpError::Method),
    }
}

async fn answer(service: &Service, now: UnixTime, der: &[u8]) -> Answer {
    let answer = service.responder.answer(now, der);
    match within(service.limits.answer, answer).await {
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
pub(super) fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    let path = path.trim_start_matches('/');
    if base.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// RFC 9112 §3.2: a request of HTTP/1.1 without Host, or any with more than one, is answered with 400.
pub(super) fn check_host(head: &Parts) -> Result<(), HttpError> {
    let hosts = head.headers.get_all(HOST).iter().count();
    let absent_is_well = head.version != Version::HTTP_11;
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
async fn octets(service: &Service, mut body: Incoming) -> Result<Bytes, HttpError> {
    let limit = service.limits.request_octets;
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(HttpError::TooLarge);
    }
    match within(service.limits.body, collect(&mut body, limit)).await {
        Ok(octets) => octets,
        Err(_) => Err(HttpError::BodyTooSlow),
    }
}

/// The whole body; without a copy where it comes in one piece, as most do.
async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, HttpError> {
    let mut first = Bytes::new();
    let mut more = Vec::new();
    while let Some(frame) = body.frame().await {
        // What is not data are trailers, which say nothing here.
        let Ok(piece) = frame.map_err(|_| HttpError::BodyBroken)?.into_data() else {
            continue;
        };
        let read = first.len().max(more.len());
        if piece.len() > limit.saturating_sub(read) {
            return Err(HttpError::TooLarge);
        }
        if read == 0 {
            first = piece;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&piece);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if more.is_empty() { first } else { more.into() })
}

/// Less than the wall clock is read to.
const AT_ONCE: Duration = Duration::from_millis(1);

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
