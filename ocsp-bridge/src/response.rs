//! OCSP responses: their parts, and putting them together.

use ledger::{CertificateHash, RevocationReason};

use crate::signer::{SignError, SignatureAlgorithm, Signer};
use crate::time::UnixTime;
use crate::wire::{self, tag};

/// `OCSPResponseStatus` (RFC 6960 §4.2.1). `sigRequired` does not occur: anybody may ask.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResponseStatus {
    /// A signed answer.
    Successful,
    /// The request is not one.
    MalformedRequest,
    /// The responder cannot sign.
    InternalError,
    /// No trustworthy answer now.
    TryLater,
    /// The issuer is not served here (RFC 5019 §2.2.3).
    Unauthorized,
}

impl ResponseStatus {
    /// The RFC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// `CertStatus` (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CertStatus {
    /// Recorded and in good standing.
    Good,
    /// Not to be accepted.
    Revoked {
        /// Since when.
        time: UnixTime,
        /// Why. `unspecified` is told by leaving it out.
        reason: RevocationReason,
    },
    /// Nothing is known.
    Unknown,
}

/// One `SingleResponse` before it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Single {
    pub(crate) status: CertStatus,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    /// H(CERT), to be told as certHash.
    pub(crate) cert_hash: Option<CertificateHash>,
    /// How far back this responder knows (RFC 6960 §4.4.4).
    pub(crate) archive_cutoff: Option<UnixTime>,
}

impl Single {
    /// The DER `SingleResponse` for the CertID with these octets.
    pub(crate) fn encode(&self, cert_id: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(cert_id.len() + 192);
        wire::nested(&mut out, tag::SEQUENCE, |out| {
            out.extend_from_slice(cert_id);
            match self.status {
                CertStatus::Good => wire::tlv(out, tag::primitive(0), &[]),
                CertStatus::Revoked { time, reason } => {
                    wire::nested(out, tag::constructed(1), |out| revoked(out, time, reason));
                }
                CertStatus::Unknown => wire::tlv(out, tag::primitive(2), &[]),
            }
            generalized_time(out, self.this_update);
            wire::nested(out, tag::constructed(0), |out| {
                generalized_time(out, self.next_update);
            });
            if self.cert_hash.is_some() || self.archive_cutoff.is_some() {
                wire::nested(out, tag::constructed(1), |out| {
                    wire::nested(out, tag::SEQUENCE, |out| self.extensions(out));
                });
            }
        });
        out
    }

    fn extensions(&self, out: &mut Vec<u8>) {
        if let Some(hash) = &self.cert_hash {
            extension(out, wire::ID_COMMONPKI_AT_CERT_HASH, |out| {
                wire::nested(out, tag::SEQUENCE, |out| {
                    wire::nested(out, tag::SEQUENCE, |out| wire::oid(out, wire::ID_SHA256));
                    wire::tlv(out, tag::OCTET_STRING, hash.as_ref());
                });
            });
        }
        if let Some(cutoff) = self.archive_cutoff {
            extension(out, wire::ID_PKIX_OCSP_ARCHIVE_CUTOFF, |out| {
                generalized_time(out, cutoff);
            });
        }
    }
}

/// What a response says beside its single responses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Frame<'a> {
    pub(crate) produced_at: UnixTime,
    /// Echoed (RFC 9654 §2.1).
    pub(crate) nonce: Option<&'a [u8]>,
    /// One of the certificates was never issued, and is said to be revoked (RFC 6960 §2.2).
    pub(crate) extended_revoked: bool,
}

/// A signed `OCSPResponse` around encoded single responses.
pub(crate) fn sign<'s>(
    signer: &Signer,
    algorithm: SignatureAlgorithm,
    frame: Frame<'_>,
    singles: impl Iterator<Item = &'s [u8]> + Clone,
) -> Result<Vec<u8>, SignError> {
    let tbs = tbs_response_data(signer, frame, singles);
    let signature = signer.sign(frame.produced_at, algorithm, &tbs)?;
    let parts = signer.certificates().len() + signature.len() + tbs.len();
    let mut out = Vec::with_capacity(parts + 64);
    wire::nested(&mut out, tag::SEQUENCE, |out| {
        wire::tlv(out, tag::ENUMERATED, &[0]);
        wire::nested(out, tag::constructed(0), |out| {
            wire::nested(out, tag::SEQUENCE, |out| {
                wire::oid(out, wire::ID_PKIX_OCSP_BASIC);
                wire::nested(out, tag::OCTET_STRING, |out| {
                    wire::nested(out, tag::SEQUENCE, |out| {
                        out.extend_from_slice(&tbs);
                        algorithm.encode(out);
                        wire::nested(out, tag::BIT_STRING, |out| {
                            out.push(0);
                            out.extend_from_slice(&signature);
                        });
                        out.extend_from_slice(signer.certificates());
                    });
                });
            });
        });
    });
    Ok(out)
}

fn tbs_response_data<'s>(
    signer: &Signer,
    frame: Frame<'_>,
    singles: impl Iterator<Item = &'s [u8]> + Clone,
) -> Vec<u8> {
    let length: usize = singles.clone().map(<[u8]>::len).sum();
    let mut out = Vec::with_capacity(length + 256);
    wire::nested(&mut out, tag::SEQUENCE, |out| {
        // byKey, as RFC 9919 wants.
        wire::nested(out, tag::constructed(2), |out| {
            wire::tlv(out, tag::OCTET_STRING, signer.key_hash());
        });
        generalized_time(out, frame.produced_at);
        wire::nested(out, tag::SEQUENCE, |out| {
            singles.for_each(|single| out.extend_from_slice(single));
        });
        if frame.nonce.is_some() || frame.extended_revoked {
            wire::nested(out, tag::constructed(1), |out| {
                wire::nested(out, tag::SEQUENCE, |out| {
                    if let Some(nonce) = frame.nonce {
                        extension(out, wire::ID_PKIX_OCSP_NONCE, |out| {
                            wire::tlv(out, tag::OCTET_STRING, nonce);
                        });
                    }
                    if frame.extended_revoked {
                        extension(out, wire::ID_PKIX_OCSP_EXTENDED_REVOKE, |out| {
                            wire::tlv(out, tag::NULL, &[]);
                        });
                    }
                });
            });
        }
    });
    out
}

fn revoked(out: &mut Vec<u8>, time: UnixTime, reason: RevocationReason) {
    generalized_time(out, time);
    if reason != RevocationReason::Unspecified {
        wire::nested(out, tag::constructed(0), |out| {
            wire::tlv(out, tag::ENUMERATED, &[reason.code()]);
        });
    }
}

fn generalized_time(out: &mut Vec<u8>, time: UnixTime) {
    wire::tlv(out, tag::GENERALIZED_TIME, &time.generalized());
}

/// An extension that is not critical: none of ours ever is.
fn extension(
    out: &mut Vec<u8>,
    oid: const_oid::ObjectIdentifier,
    value: impl FnOnce(&mut Vec<u8>),
) {
    wire::nested(out, tag::SEQUENCE, |out| {
        wire::oid(out, oid);
        wire::nested(out, tag::OCTET_STRING, value);
    });
}
