//! Where the reader stands in the received chunk.

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
    /// Where the current message begins; after [`advance`](Self::advance), the next one.
    #[inline]
    pub(crate) fn begin(&self) -> usize {
        self.begin as usize
    }

    /// Where the current message ends.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        (self.begin + self.len) as usize
    }

    /// Moves to what follows the current message.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.begin += mem::take(&mut self.len);
    }

    /// A message of `len` bytes begins here.
    #[inline]
    pub(super) fn set_len(&mut self, len: u32) {
        self.len = len;
    }

    /// Where in the buffer the payload of the current message lies.
    #[inline]
    pub(crate) fn payload(&self, frame: ShortFrame) -> Range<usize> {
        let (begin, range) = (self.begin(), frame.range());
        begin + range.start..begin + range.end
    }

    /// Returns to the start of the buffer: the bytes up to the former end have been consumed, or are to be.
    #[inline]
    pub(crate) fn rewind(&mut self) -> usize {
        (mem::take(&mut self.begin) + mem::take(&mut self.len)) as usize
    }
}
