//! Writing OCSP responses: their parts, and putting them together.

use ledger::{CertificateHash, RevocationReason};

use crate::algorithm::SignatureAlgorithm;
use crate::status::{CertStatus, ResponseStatus};
use crate::time::UnixTime;
use crate::wire::{self, tag};

/// One `SingleResponse` before it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Single {
    /// What is said of the certificate.
    pub status: CertStatus,
    /// When that was so.
    pub this_update: UnixTime,
    /// When something newer can be had.
    pub next_update: UnixTime,
    /// H(CERT), to be told as certHash.
    pub cert_hash: Option<CertificateHash>,
    /// How far back this responder knows (RFC 6960 §4.4.4).
    pub archive_cutoff: Option<UnixTime>,
}

impl Single {
    /// The DER `SingleResponse` for the CertID with these octets.
    #[must_use]
    pub fn encode(&self, cert_id: &[u8]) -> Vec<u8> {
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
pub struct Frame<'a> {
    /// SHA-1 over the responder's public key, for `responderID` byKey.
    pub responder_key_hash: &'a [u8; 20],
    /// When it is signed.
    pub produced_at: UnixTime,
    /// Echoed (RFC 9654 §2.1).
    pub nonce: Option<&'a [u8]>,
    /// One of the certificates was never issued, and is said to be revoked (RFC 6960 §2.2).
    pub extended_revoked: bool,
}

/// Writes the `ResponseData` that is signed, around encoded single responses.
#[must_use]
pub fn response_data<'s>(
    frame: Frame<'_>,
    singles: impl Iterator<Item = &'s [u8]> + Clone,
) -> Vec<u8> {
    let length: usize = singles.clone().map(<[u8]>::len).sum();
    let mut out = Vec::with_capacity(length + 256);
    wire::nested(&mut out, tag::SEQUENCE, |out| {
        // byKey, as RFC 9919 wants.
        wire::nested(out, tag::constructed(2), |out| {
            wire::tlv(out, tag::OCTET_STRING, frame.responder_key_hash);
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

/// Writes the successful `OCSPResponse` of a signed [`response_data`].
///
/// `certificates` is the field `certs` as it stands in the response: `[0] EXPLICIT SEQUENCE OF Certificate`, or
/// nothing.
#[must_use]
pub fn successful(
    response_data: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
    certificates: &[u8],
) -> Vec<u8> {
    let parts = certificates.len() + signature.len() + response_data.len();
    let mut out = Vec::with_capacity(parts + 64);
    wire::nested(&mut out, tag::SEQUENCE, |out| {
        wire::tlv(out, tag::ENUMERATED, &[ResponseStatus::Successful.code()]);
        wire::nested(out, tag::constructed(0), |out| {
            wire::nested(out, tag::SEQUENCE, |out| {
                wire::oid(out, wire::ID_PKIX_OCSP_BASIC);
                wire::nested(out, tag::OCTET_STRING, |out| {
                    wire::nested(out, tag::SEQUENCE, |out| {
                        out.extend_from_slice(response_data);
                        algorithm.encode(out);
                        wire::nested(out, tag::BIT_STRING, |out| {
                            out.push(0);
                            out.extend_from_slice(signature);
                        });
                        out.extend_from_slice(certificates);
                    });
                });
            });
        });
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
