//! Who the peer is and how it proves that: identities, certificates, AUTH payloads, CERTREQ.

mod algorithm;
mod certificate;
mod certreq;
mod credential;
mod error;
mod hashes;
mod identity;
mod ocsp;
mod proof;
mod signature;
mod time;
mod verifier;

pub use algorithm::AlgorithmError;
pub use certificate::{Certificate, CertificateDer, MAX_CERTIFICATE_LEN, PublicKey};
pub use certreq::{authorities, authority, encode_authorities};
pub use credential::{CredentialError, LocalCredential, Pkcs8Credential, SignError};
pub use error::{AuthError, CertificateError};
pub use hashes::{ANNOUNCED_HASHES, decode_hash_algorithms, encode_hash_algorithms};
pub use identity::{Identification, IdentityError};
pub use ocsp::{
    MAX_OCSP_RESPONDERS, MAX_OCSP_RESPONSE_LEN, MAX_OCSP_RESPONSES, OcspRequest, OcspStaple,
    StapleError, StapledCredential,
};
pub use proof::AuthVerified;
pub use signature::{AuthValue, PeerAuth, auth_octets, sign_auth, verify_auth};
pub use time::{FixedTime, TimeProvider, UnixTime};
pub use verifier::{MAX_CHAIN_LEN, PeerVerifier, PresentedChain, ProfileVerifier};

#[cfg(test)]
mod tests;
