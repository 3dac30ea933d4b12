//! Stateless cookies (RFC 7296 §2.6): prove that a peer receives at its address before anything is
//! kept for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::crypto::{CryptoError, CryptoProvider, PrfKey, SecretBytes};

/// Makes and checks cookies: `version | prf(secret, Ni | IPi | SPIi)`. The secret is replaced every
/// [`ROTATION`]; the one before it still verifies.
#[derive(Debug, Default)]
pub(crate) struct CookieMint {
    current: Option<Secret>,
    previous: Option<Secret>,
}

#[derive(Debug)]
struct Secret {
    version: u8,
    since: Instant,
    key: Box<dyn PrfKey>,
}

impl CookieMint {
    /// A cookie for this request.
    pub(crate) fn mint(
        &mut self,
        now: Instant,
        provider: &CryptoProvider,
        address: IpAddr,
        spi: u64,
        nonce: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let secret = self.rotate(now, provider)?;
        let mut cookie = vec![secret.version];
        cookie.extend_from_slice(secret.compute(address, spi, nonce).as_bytes());
        cookie.truncate(MAX_COOKIE);
        Ok(cookie)
    }

    /// Whether we made this cookie for this request, not long ago.
    pub(crate) fn verify(
        &mut self,
        now: Instant,
        provider: &CryptoProvider,
        address: IpAddr,
        spi: u64,
        nonce: &[u8],
        cookie: &[u8],
    ) -> bool {
        if self.current.is_none() || self.rotate(now, provider).is_err() {
            return false;
        }
        let Some((version, rest)) = cookie.split_first() else {
            return false;
        };
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .filter(|secret| secret.version == *version && secret.age(now) < 2 * ROTATION)
            .any(|secret| secret.compute(address, spi, nonce).ct_eq(rest))
    }

    fn rotate(&mut self, now: Instant, provider: &CryptoProvider) -> Result<&Secret, CryptoError> {
        if let Some(old) = self.current.take_if(|secret| secret.age(now) >= ROTATION) {
            // After a long silence the old secret is too old as well.
            self.previous = (old.age(now) < 2 * ROTATION).then_some(old);
        }
        if self.current.is_none() {
            let version = self
                .previous
                .as_ref()
                .map_or(0, |secret| secret.version.wrapping_add(1));
            let mut octets = zeroize::Zeroizing::new([0; 32]);
            provider.random.fill(&mut *octets)?;
            let prf = provider.prfs.first().ok_or(CryptoError::RandomFailed)?;
            let key = prf.key(&*octets);
            self.current = Some(Secret {
                version,
                since: now,
                key,
            });
        }
        self.current.as_ref().ok_or(CryptoError::RandomFailed)
    }
}

impl Secret {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn compute(&self, address: IpAddr, spi: u64, nonce: &[u8]) -> SecretBytes {
        let spi = spi.to_be_bytes();
        match address {
            IpAddr::V4(v4) => self.key.compute(&[nonce, &v4.octets(), &spi]),
            IpAddr::V6(v6) => self.key.compute(&[nonce, &v6.octets(), &spi]),
        }
    }
}

/// A secret makes cookies for one of these, or a little longer, and verifies them for two.
pub(crate) const ROTATION: Duration = Duration::from_secs(60);
/// RFC 7296 §2.6: 1 to 64 octets.
pub(crate) const MAX_COOKIE: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::crypto::ring_provider;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const NONCE: &[u8] = &[7; 32];

    fn origin() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to count from"
        )]
        Instant::now()
    }

    #[test]
    fn a_cookie_verifies_for_its_request_only() {
        let (provider, now, mut mint) = (ring_provider(), origin(), CookieMint::default());
        let cookie = mint.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        assert!(cookie.len() <= MAX_COOKIE);
        assert!(mint.verify(now, &provider, ADDRESS, 1, NONCE, &cookie));
        assert!(!mint.verify(now, &provider, ADDRESS, 2, NONCE, &cookie));
        assert!(!mint.verify(now, &provider, ADDRESS, 1, &[8; 32], &cookie));
        assert!(!mint.verify(
            now,
            &provider,
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            1,
            NONCE,
            &cookie
        ));
        for len in 0..cookie.len() {
            assert!(!mint.verify(now, &provider, ADDRESS, 1, NONCE, &cookie[..len]));
        }
        let mut altered = cookie;
        altered[5] ^= 1;
        assert!(!mint.verify(now, &provider, ADDRESS, 1, NONCE, &altered));
    }

    #[test]
    fn the_secret_rotates_and_the_last_one_still_verifies() {
        let (provider, now, mut mint) = (ring_provider(), origin(), CookieMint::default());
        let cookie = mint.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        let later = now + ROTATION;
        assert!(mint.verify(later, &provider, ADDRESS, 1, NONCE, &cookie));
        assert_ne!(
            mint.mint(later, &provider, ADDRESS, 1, NONCE).unwrap(),
            cookie
        );
        assert!(!mint.verify(later + ROTATION, &provider, ADDRESS, 1, NONCE, &cookie));
    }

    #[test]
    fn a_secret_found_old_after_a_silence_is_not_kept() {
        let (provider, now, mut mint) = (ring_provider(), origin(), CookieMint::default());
        let cookie = mint.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        assert!(!mint.verify(now + 3 * ROTATION, &provider, ADDRESS, 1, NONCE, &cookie));
    }

    #[test]
    fn no_cookie_outlives_two_rotations() {
        let (provider, now, mut mint) = (ring_provider(), origin(), CookieMint::default());
        let cookie = mint.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        let second = Duration::from_secs(1);
        // The secret is found old late, just before it is too old to be kept.
        let late = now + 2 * ROTATION - second;
        assert!(mint.verify(late, &provider, ADDRESS, 1, NONCE, &cookie));
        assert!(!mint.verify(late + 2 * second, &provider, ADDRESS, 1, NONCE, &cookie));
    }

    #[test]
    fn two_mints_do_not_know_each_other() {
        let (provider, now) = (ring_provider(), origin());
        let (mut a, mut b) = (CookieMint::default(), CookieMint::default());
        let cookie = a.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        assert!(!b.verify(now, &provider, ADDRESS, 1, NONCE, &cookie));
        b.mint(now, &provider, ADDRESS, 1, NONCE).unwrap();
        assert!(!b.verify(now, &provider, ADDRESS, 1, NONCE, &cookie));
    }
}
