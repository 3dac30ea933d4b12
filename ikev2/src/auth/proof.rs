/// Proof that the peer's AUTH payload was verified over the octets of this SA with the key of the certificate it presented.
///
/// There is one way to get one: [`verify_auth`](super::verify_auth) returned `Ok`. It can be neither copied nor cloned.
#[derive(Debug)]
#[must_use]
pub struct AuthVerified(());

impl AuthVerified {
    /// For `signature::verify_auth` only.
    pub(super) fn mint() -> Self {
        Self(())
    }
}
