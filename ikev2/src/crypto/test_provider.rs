//! A provider whose random octets come from a seed, for tests that must repeat.
//!
//! SPIs, nonces and cookies repeat with the seed. Key exchange does not: `ring` makes its ephemeral keys and its ECDSA nonces from the system's random
//! source and lets nobody else feed it, so keys and ciphertexts still differ from run to run. Sizes, message order and time do not depend on them.

use std::sync::Mutex;

use ring::digest;

use super::{CryptoProvider, RING, RandomFailed, SecureRandom};

/// [`RING`](super::RING) with `random` replaced by SHA-256 in counter mode over `seed`.
///
/// The generator is leaked, since a provider holds `&'static` fields: some 60 octets per call.
#[must_use]
pub fn test_provider(seed: u64) -> CryptoProvider {
    CryptoProvider {
        random: Box::leak(Box::new(SeededRandom::new(seed))),
        ..RING.clone()
    }
}

/// The generator behind [`test_provider`]: SHA-256(seed | counter), each block cut up in order.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    stream: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    counter: u64,
    block: Vec<u8>,
}

impl SeededRandom {
    /// Starts the stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            stream: Mutex::default(),
        }
    }
}

impl SecureRandom for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        let mut stream = self.stream.lock().map_err(|_| RandomFailed)?;
        for octet in out {
            let next = match stream.block.pop() {
                Some(next) => next,
                None => {
                    let mut input = [0; 16];
                    input[..8].copy_from_slice(&self.seed.to_be_bytes());
                    input[8..].copy_from_slice(&stream.counter.to_be_bytes());
                    stream.counter = stream.counter.checked_add(1).ok_or(RandomFailed)?;
                    stream.block = digest::digest(&digest::SHA256, &input).as_ref().to_vec();
                    stream.block.pop().ok_or(RandomFailed)?
                }
            };
            *octet = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_however_it_is_cut() {
        let (whole, cut, other) = (
            SeededRandom::new(7),
            SeededRandom::new(7),
            SeededRandom::new(8),
        );
        let (mut a, mut b, mut c) = ([0; 100], [0; 100], [0; 100]);
        whole.fill(&mut a).unwrap();
        for part in b.chunks_mut(7) {
            cut.fill(part).unwrap();
        }
        other.fill(&mut c).unwrap();
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
