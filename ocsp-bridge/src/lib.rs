//! An OCSP responder over the certificate ledger, for relying parties that speak OCSP and cannot be changed.
//!
//! [`Responder::answer`] takes a DER `OCSPRequest` and gives a DER `OCSPResponse`, layered:
//!
//! 1. **Filter.** [`Request::decode`] refuses what is malformed, oversized or against [`Policy`], before anything
//!    is allocated or asked.
//! 2. **Cache.** Answers without a nonce are signed once and given again, until the ledger says otherwise
//!    ([`Responder::forget`]) or half of their lifetime is over.
//! 3. **Live.** A [`Source`] finds what the ledger holds for a CertID, [`Policy`] translates it, a [`Signer`] signs.
//!
//! It speaks [RFC 6960] with the profile of RFC 9919 (formerly [RFC 5019]) and the nonces of [RFC 9654].
//!
//! **It fails closed.** Good is only what the ledger holds as valid, freshly enough. With no trustworthy answer the
//! response is `tryLater`; a CertID that two recorded certificates share is revoked; a certificate that is not recorded
//! is revoked by the extended definition of RFC 6960 §2.2, since some relying parties let `unknown` in.
//!
//! It has no clock: `now` is an argument everywhere. The parts that touch sockets, files and clocks are around it:
//! [`bridge`] puts them together, [`http`] serves, [`ledger`] asks the ledger's nodes, [`config`] reads the file.
//!
//! [RFC 5019]: https://www.rfc-editor.org/rfc/rfc5019
//! [RFC 6960]: https://www.rfc-editor.org/rfc/rfc6960
//! [RFC 9654]: https://www.rfc-editor.org/rfc/rfc9654

pub mod bridge;
pub mod config;
pub mod crl;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod vici;

mod answer;
mod cache;
#[cfg(test)]
mod fixture;
mod responder;
mod signer;
mod signers;
mod signing_queue;
mod source;
mod translate;

pub use answer::{Answer, ETag, Lifetime, Origin};
pub use ocsp::{
    CertId, CertStatus, HashAlgorithm, Limits, Request, RequestError, ResponseStatus,
    SignatureAlgorithm, UnixTime,
};
pub use responder::{Counters, Responder, SignerProblem};
#[cfg(feature = "pkcs11")]
pub use signer::pkcs11::{Pkcs11Error, Pkcs11Key};
pub use signer::{SignError, Signer, SignerError, SigningCost, SigningKey};
pub use signers::Signers;
pub use source::{BoxFuture, Finding, LookUp, Source, Unavailable};
pub use translate::{NoncePolicy, NotRecordedPolicy, Policy};
