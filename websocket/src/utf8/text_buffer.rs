//! Assembles a text from pieces, each checked as it arrives.

use super::{InvalidUtf8, Text, Utf8Validator};
use crate::buffer_pool;

/// A text that is assembled from pieces, checked as they arrive. It holds no heap until the first byte.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    bytes: Vec<u8>,
    validator: Utf8Validator,
}

impl TextBuffer {
    /// Checks a piece, which `append` then adds. `expected_bytes` are expected after it, if that is known.
    pub(crate) fn push_with(
        &mut self,
        piece: &[u8],
        expected_bytes: Option<u64>,
        append: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), InvalidUtf8> {
        self.validator.push(piece)?;
        buffer_pool::reserve_for_arrival(&mut self.bytes, piece.len(), expected_bytes);
        append(&mut self.bytes);
        Ok(())
    }

    /// Returns the memory, to be given back with [`put_back`](Self::put_back).
    pub(crate) fn memory_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes the memory back and checks the piece behind the `kept_bytes` that it held.
    pub(crate) fn put_back(&mut self, memory: Vec<u8>, kept_bytes: usize) -> Result<(), InvalidUtf8> {
        self.bytes = memory;
        self.validator.push(&self.bytes[kept_bytes..])
    }

    /// Returns the text, unless it ends inside a character.
    pub(crate) fn finish(self) -> Result<Text, InvalidUtf8> {
        if !self.validator.is_complete() {
            return Err(InvalidUtf8);
        }
        Ok(Text::from_validated(buffer_pool::into_bytes(self.bytes)))
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(buffer: &mut TextBuffer, piece: &[u8]) -> Result<(), InvalidUtf8> {
        buffer.push_with(piece, None, |bytes| bytes.extend_from_slice(piece))
    }

    #[test]
    fn texts_that_stop_inside_a_character_do_not_finish() {
        for text in ["é", "€", "𝄞"] {
            for len in 1..text.len() {
                let mut buffer = TextBuffer::default();
                push(&mut buffer, &text.as_bytes()[..len]).unwrap();
                assert_eq!(buffer.finish(), Err(InvalidUtf8));
            }
            let mut buffer = TextBuffer::default();
            for byte in text.as_bytes() {
                push(&mut buffer, &[*byte]).unwrap();
            }
            assert_eq!(buffer.finish().unwrap(), text);
        }
    }
}
