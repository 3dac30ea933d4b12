//! The client's configuration.

use std::time::Duration;

use ledger::ChainId;
use thiserror::Error;

/// The policy of a [`Client`](crate::Client). The default fails closed.
///
/// ```
/// use std::time::Duration;
/// let config = ledger_client::ClientConfig {
///     ttl: Duration::from_secs(30),
///     ..Default::default()
/// };
/// # config.check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The most certificates to remember, at some 300 octets each. Default 100,000. At least 2: one in eight
    /// places is for certificates that are not recorded, so that a flood of unknown ones cannot push out the
    /// recorded ones.
    pub capacity: usize,
    /// How long an answer about a recorded certificate serves, unless an event ends it before. Default 60 s:
    /// that is the revocation delay while the event stream is down.
    pub ttl: Duration,
    /// How long `not recorded` serves, and any answer from a source that lags behind the event stream. Default
    /// 5 s: a device that was just enrolled need not wait long.
    pub negative_ttl: Duration,
    /// How long one inquiry may take in all, over all sources. Default 2 s.
    pub deadline: Duration,
    /// How long to wait for one source before the next is asked as well. Default 250 ms.
    pub hedge_after: Duration,
    /// For how long past its time to live an answer may serve while no source answers. Default `None`: not at
    /// all. With a grace, a certificate that was revoked during an outage is still admitted until it ends.
    pub stale_grace: Option<Duration>,
    /// The chain that the sources must serve. Default `None`: the chain of the first answer is expected from
    /// then on, so a gateway that has just started trusts whichever source answers first. Set it in production.
    pub expected_chain: Option<ChainId>,
    /// The most inquiries under way at one time; beyond it, [`Unavailable::Overloaded`](crate::Unavailable::Overloaded).
    /// Default 1024.
    pub max_inquiries: usize,
    /// How many changes a subscriber may lag behind before it is told to resynchronise. Default 4096.
    pub change_buffer: usize,
    /// How long the event stream may be silent before it counts as cut. Sources send something each second.
    /// Default 5 s.
    pub stream_idle: Duration,
    /// The pause before the event stream is opened again after a cut; it doubles with each failure. Default
    /// 100 ms.
    pub backoff_min: Duration,
    /// Where that pause stops growing. Default 5 s.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    ///
    /// The first field that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = |field, value: Duration| {
            if value.is_zero() {
                Err(ConfigError::Zero { field })
            } else {
                Ok(())
            }
        };
        if self.capacity < 2 {
            return Err(ConfigError::Capacity {
                capacity: self.capacity,
            });
        }
        positive("ttl", self.ttl)?;
        positive("deadline", self.deadline)?;
        positive("stream_idle", self.stream_idle)?;
        positive("backoff_min", self.backoff_min)?;
        if self.max_inquiries == 0 {
            return Err(ConfigError::Zero {
                field: "max_inquiries",
            });
        }
        if self.change_buffer == 0 {
            return Err(ConfigError::Zero {
                field: "change_buffer",
            });
        }
        if self.backoff_max < self.backoff_min {
            return Err(ConfigError::Backoff {
                min: self.backoff_min,
                max: self.backoff_max,
            });
        }
        Ok(())
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            hedge_after: Duration::from_millis(250),
            stale_grace: None,
            expected_chain: None,
            max_inquiries: 1024,
            change_buffer: 4096,
            stream_idle: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}

/// Why a client could not be started.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The longest pause is shorter than the shortest.
    #[error("backoff_max is {max:?}, but must be at least backoff_min, {min:?}")]
    Backoff {
        /// `backoff_min` as given.
        min: Duration,
        /// `backoff_max` as given.
        max: Duration,
    },
    /// The cache cannot hold one answer of each kind.
    #[error("capacity is {capacity}, but must be at least 2")]
    Capacity {
        /// The capacity as given.
        capacity: usize,
    },
    /// There is nobody to ask.
    #[error("no source is given; at least one is needed")]
    NoSource,
    /// [`Client::spawn`](crate::Client::spawn) was called outside a Tokio runtime.
    #[error("Client::spawn must be called within a Tokio runtime (Runtime::enter, or from a task)")]
    NoRuntime,
    /// A source's URL cannot be used.
    #[error("source URL {url:?}: {expected}")]
    Url {
        /// The URL as given.
        url: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A field that must be more than zero is not.
    #[error("{field} is zero, but must be more")]
    Zero {
        /// The field.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut ClientConfig)) -> Result<(), ConfigError> {
        let mut config = ClientConfig::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn default_is_sound_and_fails_closed() {
        let config = ClientConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.stale_grace, None);
    }

    #[test]
    fn each_wrong_field_is_named() {
        assert_eq!(
            with(|c| c.capacity = 1),
            Err(ConfigError::Capacity { capacity: 1 })
        );
        assert_eq!(
            with(|c| c.ttl = Duration::ZERO),
            Err(ConfigError::Zero { field: "ttl" })
        );
        assert_eq!(
            with(|c| c.deadline = Duration::ZERO),
            Err(ConfigError::Zero { field: "deadline" })
        );
        assert_eq!(
            with(|c| c.max_inquiries = 0),
            Err(ConfigError::Zero {
                field: "max_inquiries"
            })
        );
        assert_eq!(
            with(|c| c.change_buffer = 0),
            Err(ConfigError::Zero {
                field: "change_buffer"
            })
        );
        let max = Duration::from_millis(1);
        assert_eq!(
            with(|c| c.backoff_max = max),
            Err(ConfigError::Backoff {
                min: Duration::from_millis(100),
                max
            })
        );
    }
}
