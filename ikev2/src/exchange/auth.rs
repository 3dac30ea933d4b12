//! IKE_AUTH (RFC 7296 §1.2, §2.15): proving ourselves and having the peer prove itself.

use std::sync::Arc;

use crate::auth::{
    AuthValue, AuthVerified, CertificateDer, Identification, LocalCredential, MAX_CHAIN_LEN,
    MAX_OCSP_RESPONSE_LEN, MAX_OCSP_RESPONSES, OcspRequest, OcspStaple, PeerAuth, PresentedChain,
    auth_octets, sign_auth, verify_auth,
};
use crate::config::{EndpointConfig, SaConfig};
use crate::crypto::{SecretBytes, SupportedPrf};
use crate::error::{Error, PeerMisbehaved};
use crate::wire::{
    AuthPayload, CertEncoding, CertPayload, CertReqPayload, HashAlgorithm, IdPayload, MAX_CERTS,
    NotifyType, Payload, Payloads,
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
    /// The OCSP responses that came, if any were asked for.
    pub(crate) stapled_ocsp: Vec<Vec<u8>>,
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
    config: &SaConfig,
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
    config.verifier.verify(
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
        stapled_ocsp: stapled_ocsp(config.ocsp_request.as_ref(), payloads)?,
        initial_contact: payloads.notify(NotifyType::INITIAL_CONTACT).is_some(),
    })
}

/// The OCSP responses of a message (RFC 4806 §3.2), if any were asked for. A peer whose responses are
/// out of bounds is refused: the one left out might be the one that says revoked.
fn stapled_ocsp(
    request: Option<&OcspRequest>,
    payloads: &Payloads<'_>,
) -> Result<Vec<Vec<u8>>, PeerMisbehaved> {
    if request.is_none() {
        return Ok(Vec::new());
    }
    let sent = || {
        payloads
            .certs()
            .filter(|cert| cert.encoding == CertEncoding::OCSP_CONTENT)
    };
    let count = sent().count();
    if count > MAX_OCSP_RESPONSES {
        return Err(PeerMisbehaved::OcspResponseCount(count));
    }
    sent()
        .map(|cert| match cert.value.len() {
            1..=MAX_OCSP_RESPONSE_LEN => Ok(cert.value.to_vec()),
            len => Err(PeerMisbehaved::OcspResponseLength(len)),
        })
        .collect()
}

/// The response to staple to our certificate: only if the peer asked, and while it is in force
/// (RFC 4806 §4.2).
pub(crate) fn staple(
    endpoint: &EndpointConfig,
    credential: &dyn LocalCredential,
    request: Option<&OcspRequest>,
) -> Option<Arc<OcspStaple>> {
    let staple = credential.ocsp_staple(request?)?;
    let now = endpoint.time.current_time()?;
    (now < staple.expires()).then_some(staple)
}

/// The CERT payloads of a chain, and of the OCSP response that goes with it.
pub(crate) fn certificates<'a>(
    chain: &'a [CertificateDer],
    staple: Option<&'a OcspStaple>,
) -> impl Iterator<Item = Payload<'a>> {
    let certificates = chain
        .iter()
        .take(MAX_CHAIN_LEN)
        .map(|certificate| (CertEncoding::X509_SIGNATURE, certificate.as_bytes()));
    let response = staple.map(|staple| (CertEncoding::OCSP_CONTENT, staple.response()));
    certificates
        .chain(response)
        .map(|(encoding, value)| Payload::Cert(CertPayload { encoding, value }))
}

/// The CERTREQ payload that asks for OCSP; `field` is [`OcspRequest::field`].
pub(crate) fn ocsp_request(field: &[u8]) -> Payload<'_> {
    Payload::CertReq(CertReqPayload {
        encoding: CertEncoding::OCSP_CONTENT,
        authorities: field,
    })
}

/// The body of IDi or IDr.
pub(crate) fn identification(identity: &Identification) -> IdPayload<'_> {
    IdPayload {
        kind: identity.kind,
        value: &identity.value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::UnixTime;
    use crate::wire::{ExchangeType, Flags, Header, Message, MessageWriter};

    /// The responses that are taken of a message with these CERT payloads.
    fn taken(
        request: Option<&OcspRequest>,
        certs: &[(CertEncoding, &[u8])],
    ) -> Result<Vec<Vec<u8>>, String> {
        let flags = Flags {
            initiator: false,
            response: true,
        };
        let header = Header::new(1, 2, ExchangeType::IKE_AUTH, flags, 1);
        let mut datagram = Vec::new();
        let mut writer = MessageWriter::new(&mut datagram, &header);
        for &(encoding, value) in certs {
            let cert = CertPayload { encoding, value };
            writer.payload(&Payload::Cert(cert)).unwrap();
        }
        writer.finish().unwrap();
        stapled_ocsp(request, &Message::decode(&datagram).unwrap().payloads)
            .map_err(|error| error.to_string())
    }

    const OCSP: CertEncoding = CertEncoding::OCSP_CONTENT;
    const ANY: Option<&OcspRequest> = Some(&OcspRequest::any_responder());

    #[test]
    fn rfc_4806_what_nobody_asked_for_is_ignored() {
        let certs: [(_, &[u8]); 2] = [(CertEncoding::X509_SIGNATURE, b"cert"), (OCSP, b"ocsp")];
        assert_eq!(taken(None, &certs), Ok(Vec::new()));
        assert_eq!(taken(ANY, &certs), Ok(vec![b"ocsp".to_vec()]));
        assert_eq!(taken(None, &[(OCSP, b"")]), Ok(Vec::new()));
    }

    #[test]
    fn responses_are_bounded_and_none_is_left_out() {
        let longest = vec![7; MAX_OCSP_RESPONSE_LEN];
        assert_eq!(taken(ANY, &[(OCSP, &longest)]), Ok(vec![longest.clone()]));
        let most = vec![(OCSP, &b"1"[..]); MAX_OCSP_RESPONSES];
        assert_eq!(taken(ANY, &most).unwrap().len(), MAX_OCSP_RESPONSES);
        // The one that nobody looks at might be the one that says revoked.
        let too_long = vec![7; MAX_OCSP_RESPONSE_LEN + 1];
        let many = vec![(OCSP, &b"1"[..]); MAX_OCSP_RESPONSES + 1];
        let refused: [(&[(_, &[u8])], &str); 3] = [
            (
                &[(OCSP, &longest), (OCSP, b"")],
                "an OCSP response of 0 octets",
            ),
            (
                &[(OCSP, &too_long), (OCSP, &longest)],
                "an OCSP response of 8193 octets",
            ),
            (&many, "5 OCSP responses"),
        ];
        for (certs, expected) in refused {
            let error = taken(ANY, certs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_response_goes_after_the_whole_chain() {
        let chain = vec![CertificateDer::from(&b"c"[..]); MAX_CHAIN_LEN + 1];
        let staple = OcspStaple::new(b"ocsp".to_vec(), UnixTime::from_secs(1)).unwrap();
        let sent: Vec<_> = certificates(&chain, Some(&staple)).collect();
        assert_eq!(sent.len(), MAX_CHAIN_LEN + 1);
        let last = CertPayload {
            encoding: OCSP,
            value: b"ocsp",
        };
        assert_eq!(sent.last(), Some(&Payload::Cert(last)));
        assert!(sent.len() <= MAX_CERTS, "a peer takes them all");
    }
}
