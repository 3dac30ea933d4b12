//! Responses: OCSP ones with what caches need to know, and plain ones.

use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::{Either, Full};
use httpdate::parse_http_date;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
};
use hyper::{Response, StatusCode};
use ocsp::UnixTime;

use crate::answer::{Answer, Lifetime, header_value};
use crate::crl::CrlBody;

/// Every response's body: whole, or a CRL's pieces.
pub(super) type Body = Either<Full<Bytes>, CrlBody>;

/// An OCSP response. `fields` are the request's, whose conditions count where it `reads` (GET and HEAD). They end here, so
/// that the response's own can have their room.
pub(super) fn ocsp(
    answer: Answer,
    now: UnixTime,
    reads: bool,
    fields: HeaderMap,
) -> Response<Body> {
    let cached = answer.cacheable.as_deref();
    let unchanged = reads && cached.is_some_and(|lifetime| is_unchanged(&fields, lifetime));
    let mut response = if unchanged {
        let mut response = whole(Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        whole(answer.der)
    };
    let headers = response.headers_mut();
    *headers = fields;
    headers.clear();
    if !unchanged {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCSP_RESPONSE));
    }
    let Some(lifetime) = cached else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    };
    // The answer to a POST is not what stands at its target, and no cache gives it again (RFC 9110 §8.8, §9.3.3): there are
    // no validators, and nothing but the client itself to tell how long it lasts.
    if reads {
        for (name, value) in &lifetime.fields {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(CACHE_CONTROL, cache_control(lifetime, now));
    response
}

/// RFC 9919 §6.2: no cache may use it past nextUpdate, or change it.
pub(super) fn cache_control(lifetime: &Lifetime, now: UnixTime) -> HeaderValue {
    let max_age = now.until(lifetime.next_update).as_secs();
    let short = usize::try_from(max_age).ok().and_then(|n| SHORT.get(n));
    short
        .cloned()
        .unwrap_or_else(|| header_value(&cache_control_text(max_age)))
}

fn cache_control_text(max_age: u64) -> String {
    format!("max-age={max_age}, public, no-transform, must-revalidate")
}

/// `Cache-Control` for the lifetimes of a minute or so that most answers have, without allocation and shared counts.
static SHORT: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    static TEXTS: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..=120).map(cache_control_text).collect());
    let texts = TEXTS.iter();
    texts.map(|text| HeaderValue::from_static(text)).collect()
});

/// Whether the client's copy is this very response (RFC 9110 §13.1.2, §13.1.3).
pub(super) fn is_unchanged(headers: &HeaderMap, lifetime: &Lifetime) -> bool {
    if headers.contains_key(IF_NONE_MATCH) {
        let ours = lifetime.etag.as_bytes();
        return headers.get_all(IF_NONE_MATCH).iter().any(|value| {
            value.as_bytes().split(|&octet| octet == b',').any(|tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ours
            })
        });
    }
    let since = headers
        .get(IF_MODIFIED_SINCE)
        .and_then(|value| value.to_str().ok());
    since
        .and_then(|text| parse_http_date(text).ok())
        .is_some_and(|since| lifetime.this_update <= UnixTime::from(since))
}

/// What is wrong with a request as far as HTTP goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HttpError {
    BodyBroken,
    BodyTooSlow,
    Host,
    MediaType,
    Method,
    NoSuchPath,
    TooLarge,
}

impl HttpError {
    /// The response. Where the rest of the request may still be on its way, the connection ends with it.
    pub(super) fn response(self) -> Response<Body> {
        let (status, text, close) = match self {
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "the body broke off\n", true),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time\n",
                true,
            ),
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "a request of HTTP/1.1 has exactly one Host field (RFC 9112 section 3.2)\n",
                true,
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "an OCSP request is sent as application/ocsp-request\n",
                true,
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "an OCSP request is sent by POST, or by GET in the path (RFC 6960 appendix A.1)\n",
                true,
            ),
            Self::NoSuchPath => (
                StatusCode::NOT_FOUND,
                "this is an OCSP responder: POST an OCSPRequest to its path, or GET that path, a slash, and the OCSPRequest in base64\n",
                false,
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "longer than any OCSP request\n",
                true,
            ),
        };
        let mut response = plain(status, text);
        let headers = response.headers_mut();
        if self == Self::Method {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// One line of text, which no cache may keep.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    typed(status, PLAIN, Bytes::from_static(text.as_bytes()))
}

/// Any other answer, which no cache may keep.
pub(super) fn typed(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = whole(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(body: Bytes) -> Response<Body> {
    Response::new(Either::Left(Full::new(body)))
}

const OCSP_RESPONSE: &str = "application/ocsp-response";
const PLAIN: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::answer::{ETag, Origin};
    use ocsp::ResponseStatus;

    const NOW: UnixTime = UnixTime(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110 §5.6.7)

    fn good() -> Answer {
        Answer {
            der: Bytes::from_static(b"abc"),
            status: ResponseStatus::Successful,
            origin: Origin::Cache,
            cacheable: Some(Arc::new(Lifetime::new(
                NOW,
                NOW,
                NOW.plus(Duration::from_secs(60)),
                b"abc",
            ))),
        }
    }

    fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn caches_are_told_all_that_they_need() {
        let later = NOW.plus(Duration::from_secs(13));
        let response = ocsp(good(), later, true, HeaderMap::new());
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "application/ocsp-response"),
            (
                "cache-control",
                "max-age=47, public, no-transform, must-revalidate",
            ),
            (
                "etag",
                "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
            ),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
        ] {
            assert_eq!(header(&response, name), value);
        }
        // No cache has use for the answer to a POST, but the client may go by its lifetime.
        let posted = ocsp(good(), later, false, HeaderMap::new());
        let names: Vec<_> = posted.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["content-type", "cache-control"]);
        let cache_control = |response| header(response, "cache-control").to_owned();
        assert_eq!(cache_control(&posted), cache_control(&response));
        let long = Lifetime::new(NOW, NOW, NOW.plus(Duration::from_secs(3_600)), b"abc");
        assert!(
            super::cache_control(&long, NOW)
                .as_bytes()
                .starts_with(b"max-age=3600, ")
        );
        let late = Answer::error(ResponseStatus::TryLater);
        let response = ocsp(late, NOW, true, HeaderMap::new());
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert!(!response.headers().contains_key("etag"));
    }

    #[test]
    fn conditions_follow_rfc_9110_section_13() {
        let tag = ETag::of(b"abc").as_str().to_owned();
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let after = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (conditions, status) in [
            (vec![("if-none-match", tag.as_str())], 304),
            (vec![("if-none-match", "*")], 304),
            (vec![("if-none-match", &format!("W/{tag}"))], 304),
            (
                vec![("if-none-match", &format!("\"a\", {tag} ,\"b\""))],
                304,
            ),
            (
                vec![("if-none-match", "\"a\""), ("if-none-match", tag.as_str())],
                304,
            ),
            (vec![("if-none-match", "\"a\"")], 200),
            (vec![("if-none-match", "")], 200),
            (vec![("if-none-match", &tag[1..])], 200),
            (vec![("if-modified-since", after)], 304),
            (vec![("if-modified-since", before)], 200),
            (vec![("if-modified-since", "yesterday")], 200),
            // If-None-Match has the last word.
            (
                vec![("if-none-match", "\"a\""), ("if-modified-since", after)],
                200,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &conditions {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let response = ocsp(good(), NOW, true, headers.clone());
            assert_eq!(response.status(), status, "{conditions:?}");
            assert_eq!(header(&response, "etag"), tag, "{conditions:?}");
            // What must not be cached is never "not modified".
            let refused = ocsp(
                Answer::error(ResponseStatus::TryLater),
                NOW,
                true,
                headers.clone(),
            );
            assert_eq!(refused.status(), 200, "{conditions:?}");
            // A POST has no conditions, and nothing of a request comes back.
            let posted = ocsp(good(), NOW, false, headers);
            assert_eq!(posted.status(), 200, "{conditions:?}");
            assert!(!posted.headers().contains_key("if-none-match"));
            assert!(!response.headers().contains_key("if-none-match"));
        }
    }
}
