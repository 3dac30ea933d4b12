//! One revoked certificate.

use ledger::{CertificateHash, Height, RevocationReason};
use ocsp::UnixTime;
use ocsp::wire::{self, tag};

use super::serial::Serial;

/// What a CRL says of a certificate, and what decides how long it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) serial: Serial,
    pub(crate) hash: CertificateHash,
    pub(crate) reason: RevocationReason,
    /// When it was revoked.
    pub(crate) time: UnixTime,
    /// The last second of its validity.
    pub(crate) not_after: UnixTime,
    /// The block that last changed this.
    pub(crate) changed: Height,
}

impl Entry {
    /// What to say of one serial number that several certificates have: the worst of it, as long as any of them lasts.
    pub(crate) fn worse(self, other: Self) -> Self {
        let holds = |entry: &Self| entry.reason == RevocationReason::CertificateHold;
        let mut worse =
            if (holds(&self), self.time, self.hash) <= (holds(&other), other.time, other.hash) {
                self
            } else {
                other
            };
        worse.not_after = self.not_after.max(other.not_after);
        worse.changed = self.changed.max(other.changed);
        worse
    }

    /// Writes it as an element of `revokedCertificates` (RFC 5280 §5.1.2.6): without reasonCode when there is no
    /// particular reason (§5.3.1).
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        wire::nested(out, tag::SEQUENCE, |out| {
            wire::tlv(out, tag::INTEGER, self.serial.as_octets());
            time(out, self.time);
            if self.reason != RevocationReason::Unspecified {
                wire::nested(out, tag::SEQUENCE, |out| {
                    wire::nested(out, tag::SEQUENCE, |out| {
                        wire::oid(out, wire::ID_CE_CRL_REASONS);
                        wire::nested(out, tag::OCTET_STRING, |out| {
                            wire::tlv(out, tag::ENUMERATED, &[self.reason.code()]);
                        });
                    });
                });
            }
        });
    }
}

/// Writes a `Time`: UTCTime through 2049, GeneralizedTime from then on (RFC 5280 §5.1.2.4).
pub(crate) fn time(out: &mut Vec<u8>, time: UnixTime) {
    let text = time.generalized();
    if time < YEAR_2050 {
        wire::tlv(out, tag::UTC_TIME, &text[2..]);
    } else {
        wire::tlv(out, tag::GENERALIZED_TIME, &text);
    }
}

/// 2050-01-01T00:00:00Z.
const YEAR_2050: UnixTime = UnixTime(2_524_608_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reason: RevocationReason, at: u64) -> Entry {
        Entry {
            serial: Serial::new(&[0, 0xfe]).unwrap(),
            hash: CertificateHash::from_octets([1; 32]),
            reason,
            time: UnixTime(at),
            not_after: UnixTime(9),
            changed: Height(7),
        }
    }

    #[test]
    fn known_encodings() {
        let mut out = Vec::new();
        entry(RevocationReason::Unspecified, YEAR_2050.0 - 1).encode(&mut out);
        assert_eq!(
            out,
            [
                &[0x30, 0x13, 0x02, 0x02, 0x00, 0xfe, 0x17, 0x0d][..],
                b"491231235959Z"
            ]
            .concat()
        );
        out.clear();
        entry(RevocationReason::CertificateHold, YEAR_2050.0).encode(&mut out);
        assert_eq!(
            out,
            [
                &[0x30, 0x23, 0x02, 0x02, 0x00, 0xfe, 0x18, 0x0f][..],
                b"20500101000000Z",
                // SEQUENCE { SEQUENCE { 2.5.29.21, OCTET STRING { ENUMERATED 6 } } }
                &[
                    0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01,
                    0x06
                ],
            ]
            .concat()
        );
    }

    #[test]
    fn of_several_the_worst_is_said() {
        let hold = entry(RevocationReason::CertificateHold, 1);
        let mut revoked = entry(RevocationReason::KeyCompromise, 5);
        revoked.not_after = UnixTime(3);
        revoked.changed = Height(2);
        for worse in [hold.worse(revoked), revoked.worse(hold)] {
            assert_eq!(worse.reason, RevocationReason::KeyCompromise);
            assert_eq!((worse.time, worse.not_after), (UnixTime(5), UnixTime(9)));
            assert_eq!(worse.changed, Height(7));
        }
        let earlier = entry(RevocationReason::Superseded, 4);
        assert_eq!(earlier.worse(revoked).time, UnixTime(4));
    }
}
