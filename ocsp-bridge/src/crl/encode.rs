//! The octets of a `CertificateList` (RFC 5280 §5.1) around its entries.

use bytes::Bytes;
use ocsp::wire::{self, tag};
use ocsp::{SignatureAlgorithm, UnixTime};

use super::entry::time;
use super::number::CrlNumber;

/// Everything that a CRL says but for its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) algorithm: SignatureAlgorithm,
    /// The DER name of the issuer.
    pub(crate) issuer: &'a [u8],
    /// The identifier of the key that signs.
    pub(crate) key_id: &'a [u8],
    pub(crate) number: CrlNumber,
    pub(crate) next_update: UnixTime,
    /// For a delta CRL the number of the full one that it adds to.
    pub(crate) base: Option<CrlNumber>,
    /// Where delta CRLs are.
    pub(crate) freshest: Option<&'a str>,
}

/// A `TBSCertList` without its entries: what stands before them, and what after.
#[derive(Debug)]
pub(crate) struct Frame {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Frame {
    /// Around entries of this length.
    pub(crate) fn new(head: &Head<'_>, entries: usize) -> Self {
        let mut after = Vec::new();
        extensions(&mut after, head);
        let mut fields = Vec::new();
        wire::tlv(&mut fields, tag::INTEGER, &[V2]);
        head.algorithm.encode(&mut fields);
        fields.extend_from_slice(head.issuer);
        time(&mut fields, head.number.this_update());
        time(&mut fields, head.next_update);
        // Absent rather than empty (§5.1.2.6).
        if entries > 0 {
            wire::header(&mut fields, tag::SEQUENCE, entries);
        }
        let mut before = Vec::with_capacity(fields.len() + 8);
        wire::header(
            &mut before,
            tag::SEQUENCE,
            fields.len() + entries + after.len(),
        );
        before.extend_from_slice(&fields);
        Self { before, after }
    }

    /// The whole `TBSCertList`, to be signed.
    ///
    /// In one piece, since that is what a [`SigningKey`](crate::SigningKey) takes: Ed25519 reads a message twice, and
    /// neither ring nor a device behind PKCS#11 takes the state of a hash. It lasts as long as the signing does.
    pub(crate) fn message(&self, entries: &[Bytes]) -> Vec<u8> {
        let length: usize = entries.iter().map(Bytes::len).sum();
        let mut message = Vec::with_capacity(self.before.len() + length + self.after.len());
        message.extend_from_slice(&self.before);
        for piece in entries {
            message.extend_from_slice(piece);
        }
        message.extend_from_slice(&self.after);
        message
    }

    /// The signed `CertificateList`, in pieces of which the entries are shared.
    pub(crate) fn seal(
        self,
        algorithm: SignatureAlgorithm,
        entries: Vec<Bytes>,
        signature: &[u8],
    ) -> Vec<Bytes> {
        let mut after = self.after;
        algorithm.encode(&mut after);
        wire::nested(&mut after, tag::BIT_STRING, |out| {
            // No unused bits.
            out.push(0);
            out.extend_from_slice(signature);
        });
        let length: usize = entries.iter().map(Bytes::len).sum();
        let mut before = Vec::with_capacity(self.before.len() + 8);
        wire::header(
            &mut before,
            tag::SEQUENCE,
            self.before.len() + length + after.len(),
        );
        before.extend_from_slice(&self.before);
        let mut pieces = Vec::with_capacity(entries.len() + 2);
        pieces.push(before.into());
        pieces.extend(entries);
        pieces.push(after.into());
        pieces
    }
}

/// `crlExtensions` (§5.2). No issuingDistributionPoint: the scope is everything.
fn extensions(out: &mut Vec<u8>, head: &Head<'_>) {
    wire::nested(out, tag::constructed(0), |out| {
        wire::nested(out, tag::SEQUENCE, |out| {
            extension(out, wire::ID_CE_AUTHORITY_KEY_IDENTIFIER, false, |out| {
                wire::nested(out, tag::SEQUENCE, |out| {
                    wire::tlv(out, tag::primitive(0), head.key_id);
                });
            });
            extension(out, wire::ID_CE_CRL_NUMBER, false, |out| {
                head.number.encode(out);
            });
            if let Some(base) = head.base {
                extension(out, wire::ID_CE_DELTA_CRL_INDICATOR, true, |out| {
                    base.encode(out);
                });
            }
            if let Some(url) = head.freshest {
                extension(out, wire::ID_CE_FRESHEST_CRL, false, |out| {
                    // CRLDistributionPoints of one with a distributionPoint, which is a fullName of one URI.
                    wire::nested(out, tag::SEQUENCE, |out| {
                        wire::nested(out, tag::SEQUENCE, |out| {
                            wire::nested(out, tag::constructed(0), |out| {
                                wire::nested(out, tag::constructed(0), |out| {
                                    wire::tlv(out, tag::primitive(6), url.as_bytes());
                                });
                            });
                        });
                    });
                });
            }
        });
    });
}

fn extension(
    out: &mut Vec<u8>,
    id: der::asn1::ObjectIdentifier,
    critical: bool,
    value: impl FnOnce(&mut Vec<u8>),
) {
    wire::nested(out, tag::SEQUENCE, |out| {
        wire::oid(out, id);
        if critical {
            wire::tlv(out, tag::BOOLEAN, &[0xff]);
        }
        wire::nested(out, tag::OCTET_STRING, value);
    });
}

/// Version 2.
const V2: u8 = 1;
