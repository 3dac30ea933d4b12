//! Responses before they are signed.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ocsp::{CertStatus, Frame, Request, SignatureAlgorithm, Single, UnixTime};

use super::settings::Settings;
use crate::cache::{Content, Entry, Span};
use crate::signer::{SignError, Signer};

/// A response that lacks its signature.
pub(super) struct Unsigned {
    pub(super) signer: Arc<Signer>,
    pub(super) algorithm: SignatureAlgorithm,
    /// The `ResponseData`.
    pub(super) data: Vec<u8>,
    pub(super) span: Span,
    /// It holds no nonce.
    pub(super) is_cacheable: bool,
    /// Whose next request gets the same response.
    pub(super) keep_in: Option<Arc<Entry>>,
}

impl Unsigned {
    /// The `OCSPResponse`.
    pub(super) fn sign(self) -> Result<Bytes, SignError> {
        let signed = self
            .signer
            .respond(self.span.produced_at(), self.algorithm, &self.data);
        signed.map(Bytes::from)
    }
}

/// What is signed to say what the entries say.
pub(super) fn response_data(
    settings: &Settings,
    now: UnixTime,
    request: &Request<'_>,
    entries: &[Arc<Entry>],
    nonce: Option<&[u8]>,
    signer: &Signer,
) -> Vec<u8> {
    let frame = |extended_revoked| Frame {
        responder_key_hash: signer.key_hash(),
        produced_at: now,
        nonce,
        extended_revoked,
    };
    if let [entry] = entries
        && let Content::Single {
            der,
            extended_revoked,
            ..
        } = &entry.content
    {
        return ocsp::response_data(frame(*extended_revoked), std::iter::once(&**der));
    }
    let mut extended = false;
    let singles: Vec<_> = request
        .cert_ids()
        .zip(entries)
        .map(|(id, entry)| match &entry.content {
            Content::Single {
                der,
                extended_revoked,
                ..
            } => {
                extended |= extended_revoked;
                Cow::Borrowed(&**der)
            }
            // RFC 6960 §2.2: unknown, usually since the issuer is not served.
            Content::Foreign => Cow::Owned(
                Single {
                    status: CertStatus::Unknown,
                    this_update: entry.looked_up_at,
                    next_update: entry.looked_up_at.plus(settings.policy.lifetime),
                    cert_hash: None,
                    archive_cutoff: None,
                }
                .encode(id.der()),
            ),
        })
        .collect();
    ocsp::response_data(frame(extended), singles.iter().map(AsRef::as_ref))
}
