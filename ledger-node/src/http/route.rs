//! Which call is which, and what each answers.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use ledger::{
    CertId, CertificateHash, HashAlgorithm, IssuerId, MAX_TRANSACTION, RevocationCursor,
    SignedTransaction,
};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::{ApiError, Body, json, octets_as};
use super::message::{HeadAnswer, MembersAnswer, StatusRequest, StatusesAnswer};
use super::{Server, events};
use crate::issuer::{IssuerCursor, MAX_ISSUERS};
use crate::node::{MAX_REVOCATIONS, Node};

/// The most hashes in one `POST /v1/status`.
pub const MAX_HASHES: usize = 1_024;

/// The longest body of `POST /v1/status`: each hash takes 64 digits, quotes, a comma, some space.
const MAX_STATUS_BODY: usize = MAX_HASHES * 96 + 1_024;

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const GET: &str = "GET, HEAD";

type Answer = Result<Response<Body>, ApiError>;

/// Answers one request.
pub(super) async fn respond(server: &Server, request: Request<Incoming>) -> Response<Body> {
    let (route, answer) = dispatch(server, request).await;
    let response = answer.unwrap_or_else(ApiError::into_response);
    server
        .node
        .metrics()
        .requested(route, response.status().as_u16());
    response
}

async fn dispatch(server: &Server, request: Request<Incoming>) -> (&'static str, Answer) {
    let node = &server.node;
    let path = request.uri().path().to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let posts = request.method() == Method::POST;
    // The path decides the route, and only then the method, so that a wrong method can be named.
    let read = |answer: fn(&Node) -> Answer| {
        if reads {
            answer(node)
        } else {
            Err(ApiError::method(GET))
        }
    };
    match path.as_str() {
        "/v1/status" => (
            "status-batch",
            if posts {
                status_batch(node, request).await
            } else {
                Err(ApiError::method("POST"))
            },
        ),
        "/v1/transactions" => (
            "transactions",
            if posts {
                transaction(node, request).await
            } else {
                Err(ApiError::method("POST"))
            },
        ),
        "/v1/events" => (
            "events",
            if request.method() == Method::GET {
                events::answer(server, request.uri().query())
            } else {
                Err(ApiError::method("GET"))
            },
        ),
        "/v1/head" => ("head", read(head)),
        "/v1/members" => ("members", read(members)),
        "/v1/issuers" => (
            "issuers",
            if reads {
                issuers(node, request.uri().query().unwrap_or_default())
            } else {
                Err(ApiError::method(GET))
            },
        ),
        "/v1/health" => ("health", read(health)),
        "/v1/ready" => ("ready", read(ready)),
        "/metrics" => ("metrics", read(metrics)),
        other => {
            if let Some(hash) = other.strip_prefix("/v1/status/") {
                (
                    "status",
                    if reads {
                        status(node, hash)
                    } else {
                        Err(ApiError::method(GET))
                    },
                )
            } else if let Some(hash) = other.strip_prefix("/v1/certificate/") {
                (
                    "certificate",
                    if reads {
                        certificate(node, hash)
                    } else {
                        Err(ApiError::method(GET))
                    },
                )
            } else if let Some(id) = other.strip_prefix("/v1/certid/") {
                (
                    "certid",
                    if reads {
                        cert_id(node, id)
                    } else {
                        Err(ApiError::method(GET))
                    },
                )
            } else if let Some(issuer) = other
                .strip_prefix("/v1/issuers/")
                .and_then(|rest| rest.strip_suffix("/revoked"))
            {
                (
                    "revoked",
                    if reads {
                        revoked(node, issuer, request.uri().query().unwrap_or_default()).await
                    } else {
                        Err(ApiError::method(GET))
                    },
                )
            } else {
                (
                    "none",
                    Err(ApiError::new(
                        StatusCode::NOT_FOUND,
                        "no-such-path",
                        "there is no such call; the API is under /v1/ and metrics are at /metrics",
                    )),
                )
            }
        }
    }
}

fn status(node: &Node, hash: &str) -> Answer {
    let answer = node.status(&parse_hash(hash)?)?;
    Ok(json(StatusCode::OK, &answer))
}

async fn status_batch(node: &Node, request: Request<Incoming>) -> Answer {
    let body = body_of(request, MAX_STATUS_BODY).await?;
    let question: StatusRequest = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(
            "bad-json",
            format!("expected {{\"hashes\":[\"<64 lower-case hexadecimal digits>\",…]}}: {error}"),
        )
    })?;
    if question.hashes.len() > MAX_HASHES {
        return Err(ApiError::bad_request(
            "too-many",
            format!(
                "{} hashes are more than the {MAX_HASHES} of one call; ask in several",
                question.hashes.len()
            ),
        ));
    }
    let node = node.clone();
    let answers = spawn_blocking(move || node.statuses(&question.hashes))
        .await
        .map_err(|_| ApiError::unavailable("unavailable", "the node is stopping"))??;
    Ok(json(StatusCode::OK, &StatusesAnswer { answers }))
}

fn certificate(node: &Node, hash: &str) -> Answer {
    let hash = parse_hash(hash)?;
    match node.certificate(&hash)? {
        Some(der) => Ok(octets_as(StatusCode::OK, "application/pkix-cert", der)),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not-recorded",
            format!("no certificate with the hash {hash} is recorded"),
        )),
    }
}

fn cert_id(node: &Node, id: &str) -> Answer {
    let id: CertId = id.parse().map_err(|error| {
        ApiError::bad_request("bad-cert-id", format!("the CertID in the path: {error}"))
    })?;
    Ok(json(StatusCode::OK, &node.certificates_by_cert_id(&id)?))
}

fn issuers(node: &Node, query: &str) -> Answer {
    let (after, limit) = page_of::<IssuerCursor>(query, MAX_ISSUERS)?;
    Ok(json(StatusCode::OK, &node.issuers(after.as_ref(), limit)?))
}

async fn revoked(node: &Node, issuer: &str, query: &str) -> Answer {
    let bad = |detail: String| ApiError::bad_request("bad-issuer", detail);
    let issuer: IssuerId = issuer
        .parse()
        .map_err(|error| bad(format!("the issuer in the path: {error}")))?;
    if issuer.algorithm() != HashAlgorithm::Sha256 {
        return Err(bad(format!(
            "the issuer in the path: it is named with {}; expected {}",
            issuer.algorithm(),
            HashAlgorithm::Sha256
        )));
    }
    let (after, limit) = page_of::<RevocationCursor>(query, MAX_REVOCATIONS)?;
    let after = after.unwrap_or(RevocationCursor::START);
    let node = node.clone();
    let page = spawn_blocking(move || node.revocations(&issuer, &after, limit))
        .await
        .map_err(|_| ApiError::unavailable("unavailable", "the node is stopping"))??;
    Ok(json(StatusCode::OK, &page))
}

/// Where a page begins, and how much it may hold.
fn page_of<C: FromStr<Err: Display>>(
    query: &str,
    most: usize,
) -> Result<(Option<C>, usize), ApiError> {
    let bad = |detail: String| ApiError::bad_request("bad-query", detail);
    let (mut after, mut limit) = (None, most);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", value)) => {
                let cursor = value
                    .parse()
                    .map_err(|error| bad(format!("after: {error}")))?;
                after = Some(cursor);
            }
            Some(("limit", value)) => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=most).contains(limit))
                    .ok_or_else(|| bad(format!("limit: expected a number from 1 to {most}")))?;
            }
            _ => return Err(bad("expected after=CURSOR and limit=NUMBER".to_owned())),
        }
    }
    Ok((after, limit))
}

async fn transaction(node: &Node, request: Request<Incoming>) -> Answer {
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes() != b"application/octet-stream") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "a transaction is sent in its binary (borsh) form as application/octet-stream",
        ));
    }
    let body = body_of(request, MAX_TRANSACTION).await?;
    let transaction = SignedTransaction::decode(&body).map_err(|error| {
        ApiError::bad_request(
            "malformed",
            format!("the body is not a signed transaction: {error}"),
        )
    })?;
    let receipt = node.submit(transaction).await?;
    Ok(json(StatusCode::OK, &receipt))
}

fn head(node: &Node) -> Answer {
    let chain = node.chain_description()?;
    let head = node.head()?;
    let answer = HeadAnswer {
        chain: chain.id,
        name: chain.name,
        height: head.height,
        hash: head.hash,
        time: head.time,
        parameters: chain.parameters,
    };
    Ok(json(StatusCode::OK, &answer))
}

fn members(node: &Node) -> Answer {
    let members = node.members()?;
    Ok(json(StatusCode::OK, &MembersAnswer { members }))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the same shape as the other calls"
)]
fn health(_: &Node) -> Answer {
    Ok(json(StatusCode::OK, &serde_json::json!({"status": "ok"})))
}

fn ready(node: &Node) -> Answer {
    let head = node.head()?;
    node.check()
        .map_err(|stopped| ApiError::unavailable("not-ready", stopped.to_string()))?;
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({"status": "ready", "height": head.height}),
    ))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the same shape as the other calls"
)]
fn metrics(node: &Node) -> Answer {
    Ok(octets_as(
        StatusCode::OK,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        node.metrics_text().into_bytes(),
    ))
}

fn parse_hash(text: &str) -> Result<CertificateHash, ApiError> {
    text.parse()
        .map_err(|error| ApiError::bad_request("bad-hash", format!("H(CERT) in the path: {error}")))
}

/// Reads a body of at most `limit` octets, in time.
async fn body_of(request: Request<Incoming>, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!(
                "the body is longer than the {limit} octets that this call takes; send less at once"
            ),
        )
    };
    let body = request.into_body();
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad_request(
            "bad-body",
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!(
                "the body did not arrive within {} s",
                BODY_TIMEOUT.as_secs()
            ),
        )),
    }
}
