//! Unprotected answers of one notify, for which no state is kept (RFC 7296 §1.5, §2.6, §2.21.4).

use std::time::{Duration, Instant};

use crate::wire::{Flags, Header, MessageWriter, NotifyPayload, NotifyType, Payload};

/// Writes the answer to the request with this header. Gives its length.
pub(crate) fn notify(
    request: &Header,
    kind: NotifyType,
    value: &[u8],
    buf: &mut Vec<u8>,
) -> Option<usize> {
    buf.clear();
    let flags = Flags {
        initiator: !request.flags.initiator,
        response: true,
    };
    let header = Header::new(
        request.initiator_spi,
        request.responder_spi,
        request.exchange,
        flags,
        request.message_id,
    );
    let mut writer = MessageWriter::new(buf, &header);
    writer
        .payload(&Payload::Notify(NotifyPayload::new(kind, value)))
        .ok()?;
    writer.finish().ok()
}

/// A token bucket of one second.
#[derive(Debug, Default)]
pub(crate) struct StrayBudget {
    since: Option<Instant>,
    used: u32,
}

impl StrayBudget {
    /// Whether one more may be sent now.
    pub(crate) fn take(&mut self, now: Instant, per_second: u32) -> bool {
        let fresh = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if fresh {
            self.since = Some(now);
            self.used = 0;
        }
        if self.used >= per_second {
            return false;
        }
        self.used += 1;
        true
    }
}
