//! Unprotected answers of one notify, for which no state is kept (RFC 7296 §1.5, §2.6, §2.21.4).

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
