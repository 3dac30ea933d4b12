//! Where a node has the time from.

use std::time::{SystemTime, UNIX_EPOCH};

use ledger::BlockTime;

/// Wall time. The node stamps its blocks with it, and judges by it what has expired since the
/// newest block. It may jump; block time never goes backwards whatever it says.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> BlockTime;
}

/// The machine's clock. Programs hand it in; nothing else in this crate reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> BlockTime {
        // A clock before 1970 counts as 1970; block time then stays at the newest block's.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        BlockTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
