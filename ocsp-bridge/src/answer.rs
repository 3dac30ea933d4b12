//! What the responder hands to its HTTP server.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use httpdate::fmt_http_date;
use hyper::header::{ETAG, EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED};
use ocsp::{ResponseStatus, UnixTime};
use ring::digest;

use crate::cache::Signed;

/// An answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The DER `OCSPResponse`. Cloning it copies nothing.
    pub der: Bytes,
    /// What it is.
    pub status: ResponseStatus,
    /// How it came about.
    pub origin: Origin,
    /// How long, and under which name, HTTP caches may keep it. `None`: not at all, since it holds a nonce or an error.
    pub cacheable: Option<Arc<Lifetime>>,
}

impl Answer {
    /// An unsigned answer that says only that there is none (RFC 6960 §4.2.1). It allocates nothing.
    ///
    /// [`ResponseStatus::Successful`] is no such answer and is told as an internal error.
    #[must_use]
    pub const fn error(status: ResponseStatus) -> Self {
        let (status, der): (_, &'static [u8]) = match status {
            ResponseStatus::Successful | ResponseStatus::InternalError => {
                (ResponseStatus::InternalError, b"\x30\x03\x0a\x01\x02")
            }
            ResponseStatus::MalformedRequest => (status, b"\x30\x03\x0a\x01\x01"),
            ResponseStatus::TryLater => (status, b"\x30\x03\x0a\x01\x03"),
            ResponseStatus::Unauthorized => (status, b"\x30\x03\x0a\x01\x06"),
        };
        Self {
            der: Bytes::from_static(der),
            status,
            origin: Origin::Fixed,
            cacheable: None,
        }
    }

    pub(crate) fn successful(signed: Signed, origin: Origin) -> Self {
        Self {
            der: signed.der,
            status: ResponseStatus::Successful,
            origin,
            cacheable: Some(signed.lifetime),
        }
    }

    /// With a nonce, so that it answers nobody else.
    pub(crate) const fn signed_once(der: Bytes) -> Self {
        Self {
            der,
            status: ResponseStatus::Successful,
            origin: Origin::Signed,
            cacheable: None,
        }
    }
}

/// How an [`Answer`] came about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Signed earlier.
    Cache,
    /// One of the few answers that are not signed.
    Fixed,
    /// Signed for this request.
    Signed,
}

/// How long an answer holds, for HTTP caches (RFC 9919 §6).
#[derive(Debug, Eq, PartialEq)]
pub struct Lifetime {
    /// `thisUpdate`: the time of the ledger's knowledge. For `Last-Modified`.
    pub this_update: UnixTime,
    /// When it was signed.
    pub produced_at: UnixTime,
    /// `nextUpdate`: not to be used from then on. For `Expires` and `max-age`.
    pub next_update: UnixTime,
    /// The name of exactly these octets. For `ETag` and `If-None-Match`.
    pub etag: ETag,
    /// The header fields that stay the same whenever the answer is given.
    pub(crate) fields: [(HeaderName, HeaderValue); 3],
}

impl Lifetime {
    /// Of the response with these octets.
    pub(crate) fn new(
        this_update: UnixTime,
        produced_at: UnixTime,
        next_update: UnixTime,
        der: &[u8],
    ) -> Self {
        let etag = ETag::of(der);
        let fields = [
            (ETAG, header_value(etag.as_str())),
            (EXPIRES, header_value(&http_date(next_update))),
            (LAST_MODIFIED, header_value(&http_date(this_update))),
        ];
        Self {
            this_update,
            produced_at,
            next_update,
            etag,
            fields,
        }
    }
}

/// Of letters, digits and punctuation, which are always a header value.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn http_date(time: UnixTime) -> String {
    fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.min(UnixTime::MAX).0))
}

/// A strong entity tag: the SHA-256 of the response in hexadecimal, as RFC 9919 recommends.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ETag([u8; 66]);

impl ETag {
    /// The tag of a DER response.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'"'; 66];
        let hash = digest::digest(&digest::SHA256, der);
        for (pair, octet) in text[1..65].chunks_exact_mut(2).zip(hash.as_ref()) {
            pair[0] = DIGITS[usize::from(octet >> 4)];
            pair[1] = DIGITS[usize::from(octet & 15)];
        }
        Self(text)
    }

    /// As in the header field, with its quotation marks.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As in the header field, with its quotation marks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Quotation marks and hexadecimal digits only.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_quoted_sha_256() {
        let tag = ETag::of(b"abc");
        let expected = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";
        assert_eq!(tag.as_str(), expected);
        assert_eq!(tag.as_bytes(), expected.as_bytes());
        assert_eq!(format!("{tag:?}"), expected);
    }

    #[test]
    fn errors_are_five_octets() {
        for (status, code) in [
            (ResponseStatus::MalformedRequest, 1),
            (ResponseStatus::InternalError, 2),
            (ResponseStatus::TryLater, 3),
            (ResponseStatus::Unauthorized, 6),
        ] {
            let answer = Answer::error(status);
            assert_eq!(*answer.der, [0x30, 3, 0x0a, 1, code]);
            assert_eq!((answer.status, answer.origin), (status, Origin::Fixed));
            assert!(answer.cacheable.is_none());
        }
        let answer = Answer::error(ResponseStatus::Successful);
        assert_eq!(answer.status, ResponseStatus::InternalError);
    }
}
