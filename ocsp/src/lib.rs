//! OCSP messages ([RFC 6960], with the profile of RFC 9919 and the nonces of [RFC 9654]), for both sides.
//!
//! * A responder reads a [`Request`] and writes a response: [`Single`], [`response_data`], [`successful`].
//! * A relying party writes a request ([`Request::encode`], [`TargetCertificate::cert_id`]) and judges the response:
//!   [`verify`].
//!
//! No I/O, no clock, no keys. Reading is strict, total and bounded by its input; every check has its own error.
//!
//! [RFC 6960]: https://www.rfc-editor.org/rfc/rfc6960
//! [RFC 9654]: https://www.rfc-editor.org/rfc/rfc9654

pub mod wire;

mod algorithm;
mod cert_id;
mod encode;
mod extension;
mod request;
mod response;
mod status;
mod time;
mod verify;

pub use algorithm::SignatureAlgorithm;
pub use cert_id::{CertId, HashAlgorithm};
pub use encode::{Frame, Single, response_data, successful};
pub use request::{Limits, Request, RequestError};
pub use response::{
    MAX_RESPONSE, MAX_RESPONSE_CERTIFICATES, MAX_SINGLES, ResponderId, Response, ResponseError,
    SingleResponse,
};
pub use status::{CertStatus, ResponseStatus};
pub use time::UnixTime;
pub use verify::{
    TargetCertificate, TargetError, Trust, TrustedSigner, Verified, VerifyError, verify,
};
