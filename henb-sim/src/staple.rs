//! The gateway's status, as an OCSP response that it staples to its certificate ([RFC 4806]): a device has no network
//! before the tunnel, and can ask nobody else.
//!
//! [RFC 4806]: https://www.rfc-editor.org/rfc/rfc4806

use std::sync::Arc;

use ikev2::auth::{CertificateDer, TimeProvider, authority};
use ikev2::{OcspRequest, PresentedPeer};
use ocsp::{CertStatus, TargetCertificate, Trust, TrustedSigner, UnixTime, VerifyError, verify};

use crate::profile::SystemClock;
use crate::shard::Cause;

/// Whose responses about the gateway's certificate are believed, and whether there must be one.
#[derive(Clone, Debug)]
pub struct StaplePolicy {
    trust: Trust,
    issuers: Vec<Vec<u8>>,
    required: bool,
    clock: Arc<dyn TimeProvider>,
}

impl StaplePolicy {
    /// Believes these signers, and of these issuers each for what it issued, its delegates included. `issuers` are DER
    /// certificates of authorities that may have issued the gateway's; a self-signed gateway needs none, but a signer.
    pub fn new(
        signers: Vec<TrustedSigner>,
        issuers: Vec<Vec<u8>>,
        skew: std::time::Duration,
    ) -> Self {
        Self {
            trust: Trust {
                signers,
                issuer: !issuers.is_empty(),
                skew,
            },
            issuers,
            required: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Whether a gateway that sends no response is refused. Default: it is not, since it may not know RFC 4806.
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// What the gateway is asked.
    pub(crate) fn request(&self) -> OcspRequest {
        // One that cannot be parsed was refused when the policy was made; the list is a hint.
        OcspRequest::naming(
            self.trust
                .signers
                .iter()
                .filter_map(|signer| authority(&CertificateDer::from(signer.certificate())).ok()),
        )
    }

    /// Judges what a gateway sent about its certificate. Of several responses one must be good, and none may say
    /// revoked; those about other certificates do not count.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(crate) fn judge(&self, gateway: &PresentedPeer) -> Result<(), Cause> {
        let responses: Vec<&[u8]> = gateway.stapled_ocsp().collect();
        self.judge_responses(
            gateway.end_entity().as_bytes(),
            gateway.issuers(),
            &responses,
        )
    }

    fn judge_responses(
        &self,
        own: &[u8],
        presented: &[CertificateDer],
        responses: &[&[u8]],
    ) -> Result<(), Cause> {
        if responses.is_empty() {
            return if self.required {
                Err(Cause::new(
                    "staple-missing",
                    "the gateway sent no OCSP response about its certificate, and one is required",
                ))
            } else {
                Ok(())
            };
        }
        let now = self.clock.current_time().ok_or_else(|| {
            Cause::new(
                "staple-invalid",
                "this machine's clock is not set, so no OCSP response can be judged",
            )
        })?;
        let now = UnixTime(now.as_secs());
        let target = self.target(own, presented).ok_or_else(|| {
            Cause::new(
                "staple-invalid",
                "the issuer of the gateway's certificate is not known, so its OCSP response cannot be judged: name it with --gateway-issuer",
            )
        })?;
        let mut good = false;
        let mut fault = None;
        for response in responses {
            match verify(response, &target, &self.trust, None, now) {
                Ok(verified) => match verified.status {
                    CertStatus::Good => good = true,
                    CertStatus::Revoked { time, reason } => {
                        return Err(Cause::new(
                            "staple-revoked",
                            format!(
                                "the gateway's certificate is revoked since {}, reason {}",
                                time_of(time),
                                reason.as_str()
                            ),
                        ));
                    }
                    CertStatus::Unknown => {
                        fault.get_or_insert_with(|| {
                            Cause::new(
                                "staple-unknown",
                                "the responder does not know the gateway's certificate",
                            )
                        });
                    }
                },
                Err(VerifyError::NoStatus) => {}
                Err(error) => {
                    let word = match error {
                        VerifyError::Expired { .. } => "staple-expired",
                        _ => "staple-invalid",
                    };
                    fault.get_or_insert_with(|| {
                        Cause::new(word, format!("the gateway's OCSP response: {error}"))
                    });
                }
            }
        }
        match fault {
            _ if good => Ok(()),
            Some(fault) => Err(fault),
            None => Err(Cause::new(
                "staple-invalid",
                "no OCSP response of the gateway is about its certificate",
            )),
        }
    }

    fn target(&self, own: &[u8], presented: &[CertificateDer]) -> Option<TargetCertificate> {
        let target = |issuer: &[u8]| TargetCertificate::new(own, issuer).ok();
        if let Some(itself) = target(own) {
            return Some(itself);
        }
        let known = self.issuers.iter().find_map(|issuer| target(issuer));
        // What the gateway brings along names the certificate, but must never be believed as a signer.
        known.or_else(|| {
            presented
                .iter()
                .find_map(|issuer| target(issuer.as_bytes()))
                .filter(|_| !self.trust.issuer)
        })
    }
}

fn time_of(time: UnixTime) -> ikev2::UnixTime {
    ikev2::UnixTime::from_secs(time.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ikev2::auth::FixedTime;
    use ledger::RevocationReason;
    use ocsp::wire::{nested, tag};
    use ocsp::{Frame, HashAlgorithm, SignatureAlgorithm, Single, response_data, successful};
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, PublicKeyData as _, SigningKey as _, date_time_ymd,
    };

    use super::*;

    const NOW: UnixTime = UnixTime(1_785_542_400); // 2026-08-01
    const MINUTE: Duration = Duration::from_secs(60);

    struct Certified {
        key: KeyPair,
        params: CertificateParams,
        der: Vec<u8>,
    }

    impl Certified {
        fn authority() -> Self {
            let mut params = params("ca");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self::self_signed(params)
        }

        fn responder() -> CertificateParams {
            let mut params = params("ocsp");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
            params
        }

        fn self_signed(params: CertificateParams) -> Self {
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            Self { key, params, der }
        }

        fn issue(&self, params: CertificateParams) -> Self {
            let key = KeyPair::generate().unwrap();
            let issuer = Issuer::from_params(&self.params, &self.key);
            let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
            Self { key, params, der }
        }

        /// A response about `gateway`, in force until `next_update`.
        fn says(
            &self,
            status: CertStatus,
            gateway: &TargetCertificate,
            next_update: UnixTime,
        ) -> Vec<u8> {
            let single = Single {
                status,
                this_update: NOW.minus(MINUTE * 60),
                next_update,
                cert_hash: None,
                archive_cutoff: None,
            };
            let single = single.encode(&gateway.cert_id(HashAlgorithm::Sha1).unwrap());
            let hash = HashAlgorithm::Sha1.digest(self.key.der_bytes());
            let frame = Frame {
                responder_key_hash: hash.as_ref().try_into().unwrap(),
                produced_at: NOW,
                nonce: None,
                extended_revoked: false,
            };
            let data = response_data(frame, std::iter::once(&single[..]));
            let mut certificates = Vec::new();
            nested(&mut certificates, tag::constructed(0), |out| {
                nested(out, tag::SEQUENCE, |out| out.extend_from_slice(&self.der));
            });
            let signature = self.key.sign(&data).unwrap();
            successful(
                &data,
                SignatureAlgorithm::EcdsaSha256,
                &signature,
                &certificates,
            )
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params
    }

    fn policy(signers: &[&Certified], issuers: &[&Certified]) -> StaplePolicy {
        let signers = signers
            .iter()
            .map(|signer| TrustedSigner::new(&signer.der).unwrap());
        let issuers = issuers.iter().map(|issuer| issuer.der.clone());
        StaplePolicy {
            clock: Arc::new(FixedTime(ikev2::UnixTime::from_secs(NOW.0))),
            ..StaplePolicy::new(signers.collect(), issuers.collect(), MINUTE)
        }
    }

    fn word(judged: Result<(), Cause>) -> Option<String> {
        judged.err().map(|cause| cause.word)
    }

    fn revoked() -> CertStatus {
        CertStatus::Revoked {
            time: UnixTime(NOW.0 - 5),
            reason: RevocationReason::KeyCompromise,
        }
    }

    #[test]
    fn each_answer_has_its_cause() {
        let (ca, local) = (
            Certified::authority(),
            Certified::self_signed(Certified::responder()),
        );
        let gateway = ca.issue(params("segw.example"));
        let other = ca.issue(params("other.example"));
        let target = TargetCertificate::new(&gateway.der, &ca.der).unwrap();
        let elsewhere = TargetCertificate::new(&other.der, &ca.der).unwrap();
        let later = NOW.plus(MINUTE);
        let good = local.says(CertStatus::Good, &target, later);
        let bad = local.says(revoked(), &target, later);
        let unknown = local.says(CertStatus::Unknown, &target, later);
        let over = local.says(CertStatus::Good, &target, NOW.minus(MINUTE * 2));
        let not_ours = local.says(CertStatus::Good, &elsewhere, later);
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        forged[40] ^= 1;
        let presented = [CertificateDer::from(ca.der)];
        let cases: [(&[&[u8]], Option<&str>); 12] = [
            (&[], None),
            (&[&good], None),
            (&[&bad], Some("staple-revoked")),
            (&[&unknown], Some("staple-unknown")),
            (&[&over], Some("staple-expired")),
            (&[&forged], Some("staple-invalid")),
            (&[&not_ours], Some("staple-invalid")),
            (&[b""], Some("staple-invalid")),
            // One for a certificate above, which the issuer of that one signed, beside ours.
            (&[&not_ours, &good], None),
            (&[&forged, &over, &good], None),
            (&[&good, &bad], Some("staple-revoked")),
            (&[&over, &forged], Some("staple-expired")),
        ];
        for (at, (responses, expected)) in cases.into_iter().enumerate() {
            let judged =
                policy(&[&local], &[]).judge_responses(&gateway.der, &presented, responses);
            assert_eq!(word(judged).as_deref(), expected, "case {at}");
        }
        let required = policy(&[&local], &[]).required(true);
        let judged = required.judge_responses(&gateway.der, &presented, &[]);
        assert_eq!(word(judged).as_deref(), Some("staple-missing"));
    }

    #[test]
    fn an_issuer_that_the_gateway_brings_along_is_never_believed() {
        let later = NOW.plus(MINUTE);
        let (real, forged) = (Certified::authority(), Certified::authority());
        for ca in [&real, &forged] {
            let gateway = ca.issue(params("segw.example"));
            let delegate = ca.issue(Certified::responder());
            let target = TargetCertificate::new(&gateway.der, &ca.der).unwrap();
            let presented = [CertificateDer::from(ca.der.clone())];
            let expected = std::ptr::eq(ca, &forged).then_some("staple-invalid");
            for signer in [ca, &delegate] {
                let response = signer.says(CertStatus::Good, &target, later);
                let policy = policy(&[], &[&real]);
                let judged = policy.judge_responses(&gateway.der, &presented, &[&response]);
                assert_eq!(word(judged).as_deref(), expected);
            }
        }
    }

    #[test]
    fn a_self_signed_gateway_needs_somebody_else_to_vouch_for_it() {
        let gateway = Certified::self_signed(Certified::responder());
        let local = Certified::self_signed(Certified::responder());
        let target = TargetCertificate::new(&gateway.der, &gateway.der).unwrap();
        let later = NOW.plus(MINUTE);
        let own = gateway.says(CertStatus::Good, &target, later);
        let theirs = local.says(CertStatus::Good, &target, later);
        let judge = |policy: StaplePolicy, response: &[u8]| {
            word(policy.judge_responses(&gateway.der, &[], &[response]))
        };
        assert_eq!(judge(policy(&[&local], &[]), &theirs), None);
        for policy in [
            policy(&[&local], &[]),
            policy(&[&gateway], &[]),
            policy(&[], &[&gateway]),
        ] {
            assert_eq!(judge(policy, &own).as_deref(), Some("staple-invalid"));
        }
    }

    #[test]
    fn the_gateway_is_told_whom_we_believe() {
        let local = Certified::self_signed(Certified::responder());
        let hash = authority(&CertificateDer::from(local.der.clone())).unwrap();
        assert_eq!(policy(&[&local], &[]).request().responders(), [hash]);
        assert_eq!(
            policy(&[], &[&Certified::authority()]).request(),
            OcspRequest::any_responder()
        );
    }
}
