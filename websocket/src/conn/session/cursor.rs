//! The position of the reader in the received chunk.

use std::mem;
use std::ops::Range;

use crate::protocol::ShortFrame;

/// The current message in the connection's buffer, and the earlier ones before it.
///
/// ```text
///   │ earlier messages │ current message │ not looked at yet │
///   0                begin              end
/// ```
///
/// The bytes up to `end` are consumed together, once the chunk is read to its end or anything but the next short
/// message is looked for.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    begin: u32,
    /// Bytes from `begin` to `end`.
    len: u32,
}

impl Cursor {
    /// Returns the start of the current message; after [`advance`](Self::advance), of the next one.
    #[inline]
    pub(crate) fn begin(&self) -> usize {
        self.begin as usize
    }

    /// Returns the end of the current message.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        (self.begin + self.len) as usize
    }

    /// Returns whether there is no current message and none before it.
    #[inline]
    pub(super) fn is_at_start(&self) -> bool {
        self.begin == 0 && self.len == 0
    }

    /// Moves to what follows the current message.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.begin += mem::take(&mut self.len);
    }

    /// Makes the next `len` bytes the current message.
    #[inline]
    pub(super) fn set_len(&mut self, len: u32) {
        self.len = len;
    }

    /// Returns the place of the current message's payload in the buffer.
    #[inline]
    pub(crate) fn payload(&self, frame: ShortFrame) -> Range<usize> {
        let (begin, range) = (self.begin(), frame.range());
        begin + range.start..begin + range.end
    }

    /// Returns to the start of the buffer, and returns the former end: the caller consumes the bytes up to there.
    #[inline]
    pub(crate) fn rewind(&mut self) -> usize {
        (mem::take(&mut self.begin) + mem::take(&mut self.len)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageKind;

    #[test]
    fn messages_are_passed_one_by_one_and_consumed_together() {
        let mut cursor = Cursor::default();
        cursor.set_len(10);
        assert_eq!((cursor.begin(), cursor.end()), (0, 10));
        cursor.advance();
        assert_eq!((cursor.begin(), cursor.end()), (10, 10));
        cursor.set_len(7);
        let frame = ShortFrame::of(MessageKind::Binary, 2..7).unwrap();
        assert_eq!(cursor.payload(frame), 12..17);
        assert_eq!(cursor.rewind(), 17);
        assert_eq!((cursor.begin(), cursor.end(), cursor.rewind()), (0, 0, 0));
    }
}
