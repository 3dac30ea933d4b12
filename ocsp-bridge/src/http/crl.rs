//! CRLs over HTTP: `GET {path}/crl/{issuer key hash}.crl`, and `.delta.crl` with `?base={CRL number}`.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use ocsp::UnixTime;
use tokio::time::timeout;

use super::Service;
use super::access::{self, Access};
use super::connections::Connection;
use super::respond::{Body, cache_control, is_unchanged};
use super::route::{below, check_host};
use crate::crl::{Crl, CrlNumber, CrlUnavailable, Crls};
use crate::metrics::RequestMethod;

/// The CRL's name, where CRLs are issued and this path is one's.
pub(super) fn name<'a>(service: &Service, path: &'a str) -> Option<&'a str> {
    let rest = below(&service.path, path)?;
    let name = rest.trim_start_matches('/').strip_prefix("crl/")?;
    service.crls.iter().next().map(|_| name)
}

/// Answers a request for the CRL of this name, counts it and logs it.
pub(super) async fn respond(
    service: &Service,
    connection: &Connection,
    client: SocketAddr,
    request: &Request<Incoming>,
    name: &str,
) -> Response<Body> {
    let began = Instant::now();
    let method = RequestMethod::from(request.method());
    service.metrics.requested(method);
    connection.serving();
    let response = if let Err(error) = check_host(request) {
        error.response()
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        let query = request.uri().query().unwrap_or_default();
        let now = UnixTime::from(SystemTime::now());
        match timeout(service.limits.answer, find(&service.crls, now, name, query)).await {
            Ok(Ok(crl)) => found(&crl, now, request.headers()),
            Ok(Err(NotFound::Name)) => text(
                StatusCode::NOT_FOUND,
                "no CRLs are issued here for this issuer key hash",
            ),
            Ok(Err(NotFound::Query)) => text(
                StatusCode::BAD_REQUEST,
                "expected base= and the number of a CRL from here, hexadecimal",
            ),
            Ok(Err(NotFound::Crl(error @ (CrlUnavailable::Base | CrlUnavailable::TooMuch)))) => {
                text(StatusCode::NOT_FOUND, &error.to_string())
            }
            Ok(Err(NotFound::Crl(error))) => unavailable(&error.to_string()),
            Err(_) => unavailable("the CRL was not made in time"),
        }
    } else {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "a CRL is read by GET");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
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
            ocsp: (code == 200).then_some(access::CRL),
            took: now.saturating_duration_since(began),
        },
    );
    response
}

/// Why there is nothing to send.
enum NotFound {
    Crl(CrlUnavailable),
    Name,
    Query,
}

async fn find(
    crls: &Crls,
    now: UnixTime,
    name: &str,
    query: &str,
) -> Result<std::sync::Arc<Crl>, NotFound> {
    let name = name.strip_suffix(".crl").ok_or(NotFound::Name)?;
    let issuer = |hash| crls.get(hash).ok_or(NotFound::Name);
    let Some(hash) = name.strip_suffix(".delta") else {
        return issuer(name)?.full(now).map_err(NotFound::Crl);
    };
    let base = match query.strip_prefix("base=") {
        Some(number) => Some(number.parse::<CrlNumber>().map_err(|_| NotFound::Query)?),
        None => None,
    };
    issuer(hash)?.delta(now, base).await.map_err(NotFound::Crl)
}

fn found(crl: &std::sync::Arc<Crl>, now: UnixTime, conditions: &HeaderMap) -> Response<Body> {
    let lifetime = crl.lifetime();
    let mut response = if is_unchanged(conditions, lifetime) {
        let mut response = Response::new(Either::Left(Full::default()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Either::Right(crl.body()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(PKIX_CRL));
        response
    };
    let headers = response.headers_mut();
    for (name, value) in &lifetime.fields {
        headers.insert(name, value.clone());
    }
    headers.insert(CACHE_CONTROL, cache_control(lifetime, now));
    response
}

fn unavailable(why: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// One line of text, which no cache may keep.
fn text(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(format!("{line}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// RFC 2585 §4.2.
const PKIX_CRL: &str = "application/pkix-crl";
