//! Assembles the pieces of one message that does not arrive whole (RFC 6455 section 5.4).
//!
//! Owned by [`Protocol`](crate::protocol::Protocol) while such a message is open: nothing stays allocated between
//! messages. The caller enforces the size limit. Memory grows with the bytes that arrive, not with the claimed length:
//! at most twice the bytes received so far, unless the memory of an earlier message is reused.

use crate::buffer_pool;
use crate::frame::mask::{MaskingKey, append_masked, apply_mask};
use crate::message::{Message, MessageKind};
use crate::protocol_error::ProtocolError;
use crate::utf8::TextBuffer;

/// A message that is being assembled. It holds no heap until the first byte.
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

    /// Appends a piece and unmasks it with `key`; a text must be unmasked already. `expected_bytes` of the message are
    /// still to arrive, which is known in its last frame.
    pub(crate) fn push(
        &mut self,
        key: MaskingKey,
        piece: &[u8],
        expected_bytes: Option<u64>,
    ) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => text
                .push_with(piece, expected_bytes, |bytes| append_masked(key, piece, bytes))
                .map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => {
                buffer_pool::reserve_for_arrival(bytes, piece.len(), expected_bytes);
                append_masked(key, piece, bytes);
                Ok(())
            }
        }
    }

    /// Returns the memory, to be given back with [`put_back`](Self::put_back).
    pub(crate) fn memory_mut(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Text(text) => text.memory_mut(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Takes the memory back with a piece behind the `kept_bytes` that it held, and unmasks the piece with `key`.
    pub(crate) fn put_back(
        &mut self,
        key: MaskingKey,
        mut memory: Vec<u8>,
        kept_bytes: usize,
    ) -> Result<(), ProtocolError> {
        apply_mask(key, &mut memory[kept_bytes..]);
        match self {
            Self::Text(text) => text.put_back(memory, kept_bytes).map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => {
                *bytes = memory;
                Ok(())
            }
        }
    }

    /// Returns the message, after its last piece.
    pub(crate) fn finish(self) -> Result<Message, ProtocolError> {
        match self {
            Self::Text(text) => text.finish().map(Message::Text).map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => Ok(Message::Binary(buffer_pool::into_bytes(bytes))),
        }
    }

    /// Returns the bytes assembled so far.
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
            assembler.push(MaskingKey::NONE, &piece, Some(total - arrived)).unwrap();
            assert!(assembler.capacity() as u64 <= 2 * arrived);
        }
        assert_eq!(assembler.capacity() as u64, total);
        assert_eq!(assembler.finish().unwrap().len() as u64, total);
    }

    #[test]
    fn fragments_of_unknown_total_grow_by_doubling() {
        let mut assembler = Assembler::new(MessageKind::Text);
        let mut growths = 0;
        assert_eq!(assembler.capacity(), 0);
        // Each push takes milliseconds under miri.
        for _ in 0..if cfg!(miri) { 300 } else { 65_536 } {
            let before = assembler.capacity();
            assembler.push(MaskingKey::NONE, b"x", None).unwrap();
            growths += usize::from(assembler.capacity() != before);
        }
        assert!((1..=17).contains(&growths), "{growths} reallocations");
        assert!((assembler.len()..=2 * assembler.len()).contains(&assembler.capacity()));
    }

    #[test]
    fn text_fails_in_the_piece_that_breaks_it() {
        let mut assembler = Assembler::new(MessageKind::Text);
        assembler.push(MaskingKey::NONE, b"ok \xED", None).unwrap();
        assert_eq!(assembler.push(MaskingKey::NONE, b"\xA0", None), Err(ProtocolError::InvalidUtf8));
    }
}
