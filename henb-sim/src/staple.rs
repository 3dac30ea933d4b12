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
        let mut responses = gateway.stapled_ocsp().peekable();
        if responses.peek().is_none() {
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
        let target = self.target(gateway).ok_or_else(|| {
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

    fn target(&self, gateway: &PresentedPeer) -> Option<TargetCertificate> {
        let own = gateway.end_entity().as_bytes();
        let target = |issuer: &[u8]| TargetCertificate::new(own, issuer).ok();
        if let Some(itself) = target(own) {
            return Some(itself);
        }
        let known = self.issuers.iter().find_map(|issuer| target(issuer));
        // What the gateway brings along names the certificate, but must never be believed as a signer.
        known.or_else(|| {
            let mut presented = gateway.issuers().iter();
            presented
                .find_map(|issuer| target(issuer.as_bytes()))
                .filter(|_| !self.trust.issuer)
        })
    }
}

fn time_of(time: UnixTime) -> ikev2::UnixTime {
    ikev2::UnixTime::from_secs(time.0)
}
