//! IKE_AUTH (RFC 7296 §1.2, §2.15): proving ourselves and having the peer prove itself.

use crate::auth::{
    AuthValue, AuthVerified, CertificateDer, Identification, LocalCredential, PeerAuth,
    PeerVerifier, PresentedChain, auth_octets, sign_auth, verify_auth,
};
use crate::config::EndpointConfig;
use crate::crypto::{SecretBytes, SupportedPrf};
use crate::error::{Error, PeerMisbehaved};
use crate::wire::{
    AuthPayload, CertEncoding, CertPayload, HashAlgorithm, IdPayload, MAX_CERTS, NotifyType,
    Payload, Payloads,
};

/// What one side's AUTH payload covers.
pub(crate) struct Signed<'a> {
    pub(crate) prf: &'static dyn SupportedPrf,
    /// The signer's SK_pi or SK_pr.
    pub(crate) sk_p: &'a SecretBytes,
    /// The signer's IKE_SA_INIT message.
    pub(crate) message: &'a [u8],
    /// The other side's nonce.
    pub(crate) nonce: &'a [u8],
}

/// A peer whose key and identity are proven.
pub(crate) struct ProvenPeer {
    pub(crate) verified: AuthVerified,
    /// In its canonical form.
    pub(crate) identity: Identification,
    pub(crate) end_entity: CertificateDer,
    /// The other certificates that came.
    pub(crate) issuers: Vec<CertificateDer>,
    pub(crate) initial_contact: bool,
}

/// Makes our AUTH payload.
pub(crate) fn prove_ourselves(
    credential: &dyn LocalCredential,
    signed: &Signed<'_>,
    peer_hashes: Option<&[HashAlgorithm]>,
) -> Result<AuthValue, Error> {
    let octets = auth_octets(
        signed.prf,
        signed.sk_p,
        signed.message,
        signed.nonce,
        credential.identity(),
    );
    Ok(sign_auth(credential, peer_hashes, &octets)?)
}

/// Checks the peer's AUTH payload with the key of its certificate, and its identity and the
/// certificates with the configured verifier. Nobody is asked about the certificate before.
pub(crate) fn prove_peer(
    endpoint: &EndpointConfig,
    verifier: &dyn PeerVerifier,
    id: &IdPayload<'_>,
    auth: &AuthPayload<'_>,
    payloads: &Payloads<'_>,
    signed: &Signed<'_>,
) -> Result<ProvenPeer, Error> {
    let identity = Identification::decode(id.kind, id.value)?;
    // The first is the end entity's (RFC 7296 §3.6).
    let mut chain: Vec<CertificateDer> = payloads
        .certs()
        .filter(|cert| cert.encoding == CertEncoding::X509_SIGNATURE)
        .take(MAX_CERTS)
        .map(|cert| CertificateDer::from(cert.value))
        .collect();
    let end_entity = chain.first().ok_or(PeerMisbehaved::NoCertificate)?;
    let octets = auth_octets(
        signed.prf,
        signed.sk_p,
        signed.message,
        signed.nonce,
        &identity,
    );
    let verified = verify_auth(
        &endpoint.provider,
        &PeerAuth {
            method: auth.method,
            value: auth.value,
            end_entity,
            octets: &octets,
        },
    )?;
    let now = endpoint.time.current_time().ok_or(Error::NoWallTime)?;
    verifier.verify(
        &PresentedChain {
            identity: &identity,
            chain: &chain,
        },
        now,
    )?;
    let end_entity = chain.remove(0);
    Ok(ProvenPeer {
        verified,
        // Else one peer could be as many as its name has spellings.
        identity: identity.canonical(),
        end_entity,
        issuers: chain,
        initial_contact: payloads.notify(NotifyType::INITIAL_CONTACT).is_some(),
    })
}

/// The CERT payloads of a chain.
pub(crate) fn certificates(chain: &[CertificateDer]) -> impl Iterator<Item = Payload<'_>> {
    chain.iter().take(MAX_CERTS).map(|certificate| {
        Payload::Cert(CertPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            value: certificate.as_bytes(),
        })
    })
}

/// The body of IDi or IDr.
pub(crate) fn identification(identity: &Identification) -> IdPayload<'_> {
    IdPayload {
        kind: identity.kind,
        value: &identity.value,
    }
}
