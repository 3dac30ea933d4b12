//! From an HTTP request to its response.

use std::convert::Infallible;
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response, Version};
use ocsp::{ResponseStatus, UnixTime};
use tokio::time::timeout;

use super::access::Access;
use super::body::Reading;
use super::clock::wall_clock;
use super::connections::Connection;
use super::question::{self, PathError};
use super::respond::{Body, HttpError, ocsp};
use super::{Service, crl};
use crate::answer::Answer;
use crate::metrics::RequestMethod;

/// Answers one request, counts it and logs it.
///
/// The way of nearly all requests, whose body came with its head and whose answer is in the cache, takes no turn of the
/// scheduler and no timer; the others' ways are kept apart, so that this one stays small.
pub(super) async fn respond(
    service: &Service,
    connection: &Connection,
    client: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let asked = asked(service, &request);
    if matches!(asked, Err(HttpError::NoSuchPath | HttpError::Method))
        && let Some(name) = crl::name(service, request.uri().path())
    {
        let response = crl::respond(service, connection, client, &request, name);
        return Ok(Box::pin(response).await);
    }
    let method = RequestMethod::from(request.method());
    service.metrics.requested(method);
    let mut whole = began;
    let question = match asked {
        Ok(Asked::Here(question)) => Ok(question),
        Ok(Asked::InBody) => {
            match Reading::new(request.body_mut(), service.limits.request_octets) {
                Ok(mut reading) => match reading.at_once(connection).await {
                    Some(read) => read.map(Question::Der),
                    None => {
                        let read = Box::pin(reading.rest(service.limits.body)).await;
                        whole = Instant::now();
                        read.map(Question::Der)
                    }
                },
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    let mut status = None;
    let (response, now) = match question {
        Ok(question) => {
            connection.serving();
            let mut told_at = wall_clock();
            let answer = match question {
                Question::Der(der) => match service.responder.answer_at_once(told_at, &der) {
                    Some(answer) => answer,
                    None => {
                        let answer = Box::pin(answer(service, told_at, &der)).await;
                        told_at = wall_clock();
                        answer
                    }
                },
                Question::Malformed => Answer::error(ResponseStatus::MalformedRequest),
            };
            status = Some(answer.status);
            let now = Instant::now();
            let took = now.saturating_duration_since(whole);
            service.metrics.answered(answer.status, took);
            let reads = matches!(method, RequestMethod::Get | RequestMethod::Head);
            let fields = mem::take(request.headers_mut());
            (ocsp(answer, told_at, reads, fields), now)
        }
        Err(error) => (error.response(), Instant::now()),
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
    Ok(response)
}

/// Where an HTTP request has its OCSP request.
enum Asked {
    Here(Question),
    InBody,
}

/// What an HTTP request asks.
enum Question {
    /// An OCSP request, it seems.
    Der(Bytes),
    /// An OCSP request was meant, but its encoding is broken.
    Malformed,
}

fn asked<B>(service: &Service, request: &Request<B>) -> Result<Asked, HttpError> {
    check_host(request)?;
    let path = || below(&service.path, request.uri().path()).ok_or(HttpError::NoSuchPath);
    match *request.method() {
        Method::GET | Method::HEAD => {
            match question::decode(path()?, service.limits.request_octets) {
                Ok(der) => Ok(Asked::Here(Question::Der(der.into()))),
                Err(PathError::Malformed) => Ok(Asked::Here(Question::Malformed)),
                Err(PathError::NotOcsp) => Err(HttpError::NoSuchPath),
                Err(PathError::TooLarge) => Err(HttpError::TooLarge),
            }
        }
        Method::POST => {
            if !path()?.trim_matches('/').is_empty() {
                return Err(HttpError::NoSuchPath);
            }
            check_media_type(request.headers())?;
            Ok(Asked::InBody)
        }
        _ => Err(HttpError::Method),
    }
}

/// The answer that takes its time.
async fn answer(service: &Service, now: UnixTime, der: &[u8]) -> Answer {
    match timeout(service.limits.answer, service.responder.answer(now, der)).await {
        Ok(answer) => answer,
        Err(_) => {
            service.metrics.answers_late.inc();
            Answer::error(ResponseStatus::TryLater)
        }
    }
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
pub(super) fn check_host<B>(request: &Request<B>) -> Result<(), HttpError> {
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
