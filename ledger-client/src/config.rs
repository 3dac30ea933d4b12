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
        if self.capacity < 2 {
            return Err(ConfigError::Capacity {
                capacity: self.capacity,
            });
        }
        for (field, value, may_be_zero) in [
            ("ttl", self.ttl, false),
            ("negative_ttl", self.negative_ttl, true),
            ("deadline", self.deadline, false),
            ("hedge_after", self.hedge_after, true),
            ("stale_grace", self.stale_grace.unwrap_or_default(), true),
            ("stream_idle", self.stream_idle, false),
            ("backoff_min", self.backoff_min, false),
            ("backoff_max", self.backoff_max, false),
        ] {
            if value.is_zero() && !may_be_zero {
                return Err(ConfigError::Zero { field });
            }
            if value > MAX_DURATION {
                return Err(ConfigError::TooLong { field, value });
            }
        }
        if self.max_inquiries == 0 {
            return Err(ConfigError::Zero {
                field: "max_inquiries",
            });
        }
        if !(1..=MAX_CHANGE_BUFFER).contains(&self.change_buffer) {
            return Err(ConfigError::ChangeBuffer {
                change_buffer: self.change_buffer,
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

/// The longest time that any field may state.
const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);

/// The largest change buffer; its places are taken when the client starts.
const MAX_CHANGE_BUFFER: usize = 1 << 20;

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
    /// There is no room for any change, or more than is sensible.
    #[error("change_buffer is {change_buffer}, but must be from 1 to {MAX_CHANGE_BUFFER}")]
    ChangeBuffer {
        /// The buffer as given.
        change_buffer: usize,
    },
    /// There is nobody to ask.
    #[error("no source is given; at least one is needed")]
    NoSource,
    /// [`Client::spawn`](crate::Client::spawn) was called outside a Tokio runtime.
    #[error("Client::spawn must be called within a Tokio runtime (Runtime::enter, or from a task)")]
    NoRuntime,
    /// A time is longer than a year.
    #[error("{field} is {value:?}, but must be at most a year")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Duration,
    },
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
        for change_buffer in [0, MAX_CHANGE_BUFFER + 1] {
            assert_eq!(
                with(|c| c.change_buffer = change_buffer),
                Err(ConfigError::ChangeBuffer { change_buffer })
            );
        }
        let value = MAX_DURATION + Duration::from_nanos(1);
        assert_eq!(
            with(|c| c.stale_grace = Some(value)),
            Err(ConfigError::TooLong {
                field: "stale_grace",
                value
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
