//! When each device starts: pure, seeded, open loop.

use std::time::Duration;

/// How devices arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// All at the same moment: the boot storm after a power cut.
    Burst,
    /// Independent arrivals with this mean rate a second.
    Poisson {
        /// Devices a second.
        rate: f64,
        /// Equal seeds give equal times.
        seed: u64,
    },
    /// Evenly spaced.
    Steady {
        /// Devices a second.
        rate: f64,
    },
}

impl Arrival {
    /// The intended start of each of `devices` devices, from the beginning of the run, in order.
    pub fn times(self, devices: usize) -> Vec<Duration> {
        match self {
            Self::Burst => vec![Duration::ZERO; devices],
            Self::Poisson { rate, seed } => {
                let mut state = seed;
                let mut at = 0.0;
                (0..devices)
                    .map(|_| {
                        at += -uniform(&mut state).ln() / rate;
                        seconds(at)
                    })
                    .collect()
            }
            Self::Steady { rate } => (0..devices).map(|n| seconds(n as f64 / rate)).collect(),
        }
    }
}

/// A rate may be so low that the last devices would arrive later than clocks can tell.
fn seconds(at: f64) -> Duration {
    Duration::try_from_secs_f64(at).map_or(LATEST, |at| at.min(LATEST))
}

/// The next number in (0, 1], by SplitMix64.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A hundred years: later than any run.
const LATEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_is_even() {
        let times = Arrival::Steady { rate: 4.0 }.times(5);
        assert_eq!(times[0], Duration::ZERO);
        assert_eq!(times[4], Duration::from_secs(1));
    }

    #[test]
    fn poisson_has_its_rate_and_repeats_by_seed() {
        let arrival = Arrival::Poisson {
            rate: 100.0,
            seed: 7,
        };
        let times = arrival.times(10_000);
        assert_eq!(times, arrival.times(10_000));
        assert_ne!(
            times,
            Arrival::Poisson {
                rate: 100.0,
                seed: 8
            }
            .times(10_000)
        );
        assert!(times.is_sorted());
        let last = times[9_999].as_secs_f64();
        assert!(
            (97.0..103.0).contains(&last),
            "10,000 arrivals at 100 a second took {last} s"
        );
    }

    #[test]
    fn a_rate_of_almost_nothing_is_late_and_no_panic() {
        for rate in [1e-300, f64::MIN_POSITIVE] {
            let steady = Arrival::Steady { rate }.times(2);
            assert_eq!(steady, [Duration::ZERO, LATEST]);
            assert_eq!(Arrival::Poisson { rate, seed: 1 }.times(1), [LATEST]);
        }
    }

    #[test]
    fn a_burst_is_one_moment() {
        assert!(Arrival::Burst.times(3).iter().all(Duration::is_zero));
    }
}
