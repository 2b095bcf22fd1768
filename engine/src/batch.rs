//! What one send carries: segments taken from the queue, owned by the driver until the send completes.

use std::collections::VecDeque;

use bytes::Bytes;

/// Segments a batch may hold, the bound of one vectored send (IOV_MAX is 1024; a short list keeps the kernel's copy of
/// it on its stack).
pub(crate) const BATCH_SEGMENTS_MAX: usize = 64;

/// Bytes after which a batch takes no further segment: a slow peer's progress is seen, and its memory freed, in steps.
pub(crate) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Contiguous bytes to send.
#[derive(Debug)]
pub(crate) enum Segment {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    /// Cuts a segment after [`BATCH_BYTES_MAX`] bytes and returns what follows, if anything does.
    fn split(&mut self) -> Option<Self> {
        if self.as_slice().len() <= BATCH_BYTES_MAX {
            return None;
        }
        let mut bytes = match std::mem::replace(self, Self::Owned(Vec::new())) {
            Self::Owned(bytes) => Bytes::from(bytes),
            Self::Shared(bytes) => bytes,
        };
        let rest = bytes.split_off(BATCH_BYTES_MAX);
        *self = Self::Shared(bytes);
        Some(Self::Shared(rest))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What one send carries: taken from the queue, owned by the driver until the send completes.
#[derive(Debug)]
pub(crate) struct SendBatch {
    /// Never empty; a single segment is the common case and needs no list.
    pub(crate) first: Segment,
    pub(crate) rest: VecDeque<Segment>,
    /// Bytes of `first` that have been sent.
    pub(crate) offset: usize,
}

impl SendBatch {
    pub(crate) fn remaining(&self) -> usize {
        self.first.as_slice().len() - self.offset + self.rest.iter().map(|s| s.as_slice().len()).sum::<usize>()
    }

    /// The unsent bytes in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.first.as_slice()[self.offset..]).chain(self.rest.iter().map(Segment::as_slice))
    }

    /// Notes that `sent` more bytes have left; true when all have.
    pub(crate) fn advance(&mut self, mut sent: usize) -> bool {
        loop {
            let left = self.first.as_slice().len() - self.offset;
            if sent < left {
                self.offset += sent;
                return false;
            }
            sent -= left;
            self.offset = 0;
            match self.rest.pop_front() {
                Some(next) => self.first = next,
                None => {
                    // Kept for `into_spent`.
                    if let Segment::Owned(bytes) = &mut self.first {
                        bytes.clear();
                    } else {
                        self.first = Segment::Owned(Vec::new());
                    }
                    return true;
                }
            }
        }
    }

    /// The memory of a batch that has left, to be filled again.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings give buffers back"))]
    pub(crate) fn into_spent(self) -> Option<Vec<u8>> {
        match self.first {
            Segment::Owned(bytes) if bytes.capacity() > 0 => Some(bytes),
            _ => None,
        }
    }
}

/// How many of the queued segments make the next batch, at least one; the last of them is cut if it is large.
pub(crate) fn cut_batch(segments: &mut VecDeque<Segment>) -> usize {
    let (mut count, mut bytes) = (0, 0);
    while bytes < BATCH_BYTES_MAX && count < BATCH_SEGMENTS_MAX {
        let Some(segment) = segments.get_mut(count) else { break };
        let rest = segment.split();
        bytes += segment.as_slice().len();
        count += 1;
        if let Some(rest) = rest {
            segments.insert(count, rest);
        }
    }
    count
}
