//! Gathers what does not arrive whole: the pieces of one message (RFC 6455 section 5.4), and those of one control frame
//! that is cut.
//!
//! Owned by [`Protocol`](crate::protocol::Protocol) while there is such a message or frame and dropped with it: nothing stays
//! allocated between messages. The size limit is the caller's. Memory follows what arrived, never what was claimed:
//! at most twice the bytes received so far, unless memory of an earlier message is there to be used again.

use crate::buffer_pool;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::message::{Message, MessageKind};
use crate::protocol_error::ProtocolError;
use crate::utf8::TextBuffer;

/// A message in the making; holds no heap until the first byte.
#[derive(Debug)]
pub(crate) enum Assembler {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

impl Assembler {
    pub(crate) fn new(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text(TextBuffer::default()),
            MessageKind::Binary => Self::Binary(Vec::new()),
        }
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// Keeps an unmasked piece. `expected_bytes` is what is still to come of the message, known in its last frame.
    pub(crate) fn push(&mut self, piece: &[u8], expected_bytes: Option<u64>) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => text.push(piece, expected_bytes).map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => {
                reserve_for_arrival(bytes, piece.len(), expected_bytes);
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The message, after its last piece.
    pub(crate) fn finish(self) -> Result<Message, ProtocolError> {
        match self {
            Self::Text(text) => text.finish().map(Message::Text).map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => Ok(Message::Binary(buffer_pool::into_bytes(bytes))),
        }
    }

    /// Bytes kept so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }
}

/// What has come of the payload of a control frame that is cut.
#[derive(Debug)]
pub(crate) struct CutPayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    len: usize,
}

impl Default for CutPayload {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_PAYLOAD_BYTES_MAX], len: 0 }
    }
}

impl CutPayload {
    /// Adds a piece. The frame's header was refused if all pieces together are too long, so none is left out.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(piece) {
            *place = *byte;
        }
        self.len = (self.len + piece.len()).min(CONTROL_PAYLOAD_BYTES_MAX);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Makes room for `arriving_bytes` more: doubles, so that copying stays linear, but goes no further than the end of
/// the message where that is known, so that a message ends in a buffer of its own size.
pub(crate) fn reserve_for_arrival(buffer: &mut Vec<u8>, arriving_bytes: usize, expected_bytes: Option<u64>) {
    let needed = buffer.len().saturating_add(arriving_bytes);
    if needed <= buffer.capacity() {
        return;
    }
    if let (0, Some(expected)) = (buffer.len(), expected_bytes)
        && let Some(kept) =
            usize::try_from(expected).ok().and_then(|more| buffer_pool::take(needed.saturating_add(more)))
    {
        *buffer = kept;
        return;
    }
    let doubled = needed.saturating_mul(2);
    let target = match expected_bytes {
        Some(expected) => {
            let expected = usize::try_from(expected).unwrap_or(usize::MAX);
            doubled.min(needed.saturating_add(expected))
        }
        None => doubled,
    };
    buffer.reserve_exact(target - buffer.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_arrival_and_ends_at_the_size_of_the_message() {
        let mut assembler = Assembler::new(MessageKind::Binary);
        assert_eq!(assembler.capacity(), 0);
        let total = 100_000_u64;
        let mut arrived = 0;
        while arrived < total {
            let piece = vec![0; 1000.min((total - arrived) as usize)];
            arrived += piece.len() as u64;
            assembler.push(&piece, Some(total - arrived)).unwrap();
            assert!(assembler.capacity() as u64 <= 2 * arrived);
        }
        assert_eq!(assembler.capacity() as u64, total);
        assert_eq!(assembler.finish().unwrap().len() as u64, total);
    }

    #[test]
    fn fragments_of_unknown_total_grow_by_doubling() {
        let mut assembler = Assembler::new(MessageKind::Text);
        let mut growths = 0;
        // Each push takes milliseconds under miri.
        for _ in 0..if cfg!(miri) { 300 } else { 65_536 } {
            let before = assembler.capacity();
            assembler.push(b"x", None).unwrap();
            growths += usize::from(assembler.capacity() != before);
        }
        assert!(growths <= 17, "{growths} reallocations");
    }

    #[test]
    fn text_fails_in_the_piece_that_breaks_it() {
        let mut assembler = Assembler::new(MessageKind::Text);
        assembler.push(b"ok \xED", None).unwrap();
        assert_eq!(assembler.push(b"\xA0", None), Err(ProtocolError::InvalidUtf8));
    }
}
