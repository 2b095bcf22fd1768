//! The bytes of one send: segments taken from the queue, owned by the driver until the send completes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::shared::file_part::FilePart;
use crate::util::buffer_pool::Buffer;
use crate::util::contained::Contained;

/// Maximum segments of a batch, and so of a vectored send. (IOV_MAX is 1024; the kernel copies a short list to its
/// stack.)
pub(crate) const BATCH_SEGMENTS_MAX: usize = 64;

/// Bytes after which a batch takes no further segment, so that a slow peer's progress is noticed, and its memory freed,
/// in steps.
pub(crate) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Contiguous bytes to send.
#[derive(Debug)]
pub(crate) enum Segment {
    Owned(Owned),
    Shared(Contained<Bytes>),
}

/// The data that a segment does not share. A separate enum, because it then fits into the niche of [`Segment::Shared`].
#[derive(Debug)]
pub(crate) enum Owned {
    Bytes(Buffer),
    /// A part of a file, which is a batch by itself.
    File(Box<FilePart>),
}

const _: () = assert!(size_of::<Segment>() == size_of::<Bytes>());

impl From<Vec<u8>> for Segment {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Buffer::from(bytes))
    }
}

impl From<Buffer> for Segment {
    #[inline]
    fn from(bytes: Buffer) -> Self {
        Self::Owned(Owned::Bytes(bytes))
    }
}

impl From<FilePart> for Segment {
    fn from(part: FilePart) -> Self {
        Self::Owned(Owned::File(Box::new(part)))
    }
}

impl Segment {
    /// Cuts a segment after [`BATCH_BYTES_MAX`] bytes and returns the rest, if any.
    fn split(&mut self) -> Option<Self> {
        if self.as_slice().len() <= BATCH_BYTES_MAX {
            return None;
        }
        let mut bytes = match std::mem::replace(self, Self::from(Buffer::default())) {
            Self::Owned(Owned::Bytes(bytes)) => Bytes::from(bytes.into_vec()),
            Self::Owned(Owned::File(_)) => Bytes::new(),
            Self::Shared(mut bytes) => bytes.take(),
        };
        let rest = bytes.split_off(BATCH_BYTES_MAX);
        *self = Self::Shared(Contained::new(bytes));
        Some(Self::Shared(Contained::new(rest)))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Owned(Owned::Bytes(bytes)) => bytes.len(),
            Self::Owned(Owned::File(part)) => part.len,
            Self::Shared(bytes) => bytes.len(),
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::Owned(Owned::File(_)))
    }

    /// Returns the bytes; none of a file.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(Owned::Bytes(bytes)) => bytes,
            Self::Owned(Owned::File(_)) => &[],
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Queued segments and the sum of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pub(crate) list: VecDeque<Segment>,
    /// Not kept up to date in a batch.
    pub(crate) bytes: usize,
}

/// Maximum lists kept per thread for the next vectored sends: as many as a busy tick begins.
const LISTS_MAX: usize = 64;

/// In a box, because queues and batches hold it as one pointer.
type List = Box<Segments>;

thread_local! {
    static LISTS: RefCell<Vec<List>> = const { RefCell::new(Vec::new()) };
}

impl Segments {
    /// Returns an empty list, with the memory of an earlier one if this thread keeps one.
    pub(crate) fn pooled() -> List {
        LISTS.try_with(|lists| lists.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// Keeps the memory of an empty list.
    fn keep(mut self: List) {
        if !self.list.is_empty() || self.list.capacity() > BATCH_SEGMENTS_MAX {
            return;
        }
        self.bytes = 0;
        // An error means that the thread is ending; the list is then freed.
        let _ = LISTS.try_with(|lists| {
            let mut lists = lists.borrow_mut();
            if lists.len() < LISTS_MAX {
                lists.push(self);
            }
        });
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        self.bytes += segment.len();
        self.list.push_back(segment);
    }
}

/// The bytes of one send, owned by the driver until the send completes.
#[derive(Debug)]
pub(crate) struct SendBatch {
    /// Never empty. A single segment is the common case and needs no list.
    pub(crate) first: Segment,
    /// Never an empty list.
    pub(crate) rest: Option<Box<Segments>>,
    /// Bytes of `first` that have been sent.
    pub(crate) offset: usize,
    /// The FIN or a part of a file follows these bytes at once, so they can wait for it and share its TCP segment.
    pub(crate) more_follows: bool,
    /// The FIN follows these bytes, and nothing else can: the driver can send it as soon as they have left.
    pub(crate) fin_follows: bool,
}

impl SendBatch {
    /// Creates a batch of one segment, which must not be empty.
    #[inline]
    pub(crate) fn single(first: Segment) -> Self {
        Self { first, rest: None, offset: 0, more_follows: false, fin_follows: false }
    }

    /// Creates a batch of `segments`; `None` if there are none.
    pub(crate) fn of(mut segments: Box<Segments>) -> Option<Self> {
        let first = segments.list.pop_front()?;
        if segments.list.is_empty() {
            segments.keep();
            return Some(Self::single(first));
        }
        Some(Self { rest: Some(segments), ..Self::single(first) })
    }

    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        let first = self.first.len() - self.offset;
        if self.rest.is_none() { first } else { first + self.rest_bytes() }
    }

    #[inline(never)]
    fn rest_bytes(&self) -> usize {
        self.rest().map(|segment| segment.as_slice().len()).sum()
    }

    /// Returns the part of a file that this batch is, if it is one.
    pub(crate) fn file(&mut self) -> Option<&mut FilePart> {
        match &mut self.first {
            Segment::Owned(Owned::File(part)) => Some(part),
            _ => None,
        }
    }

    /// Reads the part of a file that this batch is, on this thread, so that it is sent as other bytes are.
    ///
    /// # Errors
    /// As [`FilePart::read_now`].
    pub(crate) fn load_file(&mut self) -> io::Result<()> {
        if let Segment::Owned(Owned::File(part)) = &self.first {
            self.first = part.read_now()?.into();
        }
        Ok(())
    }

    /// Returns the unsent bytes in order; none of a file.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        std::iter::once(&self.first.as_slice()[self.offset..]).chain(self.rest().map(Segment::as_slice))
    }

    fn rest(&self) -> impl Iterator<Item = &Segment> + Clone {
        self.rest.iter().flat_map(|rest| rest.list.iter())
    }

    /// Records that `sent` more bytes have left. Returns whether all have.
    #[inline]
    pub(crate) fn advance(&mut self, sent: usize) -> bool {
        if self.rest.is_none() && sent == self.first.as_slice().len() - self.offset {
            self.offset += sent;
            return true;
        }
        self.advance_in_part(sent)
    }

    fn advance_in_part(&mut self, mut sent: usize) -> bool {
        loop {
            let left = self.first.as_slice().len() - self.offset;
            if sent < left {
                self.offset += sent;
                return false;
            }
            sent -= left;
            let Some(rest) = &mut self.rest else {
                self.offset += left;
                return true;
            };
            let next = rest.list.pop_front();
            if rest.list.is_empty()
                && let Some(rest) = self.rest.take()
            {
                rest.keep();
            }
            self.offset = 0;
            self.first = next.unwrap_or_else(|| Segment::from(Buffer::default()));
        }
    }
}

/// Returns the number of queued segments in the next batch, at least one. A large last segment is cut, and a part of a
/// file is alone.
pub(crate) fn cut_batch(segments: &mut VecDeque<Segment>) -> usize {
    let (mut count, mut bytes) = (0, 0);
    while bytes < BATCH_BYTES_MAX && count < BATCH_SEGMENTS_MAX {
        let Some(segment) = segments.get_mut(count) else { break };
        if segment.is_file() {
            return count.max(1);
        }
        let rest = segment.split();
        bytes += segment.as_slice().len();
        count += 1;
        if let Some(rest) = rest {
            segments.insert(count, rest);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(segments: &[&[u8]]) -> SendBatch {
        let mut queued = Box::new(Segments::default());
        segments.iter().for_each(|bytes| queued.push(Segment::from(bytes.to_vec())));
        SendBatch::of(queued).expect("there are segments")
    }

    #[test]
    fn what_is_left_of_a_batch_is_known_however_it_leaves() {
        for segments in [&[b"abcdef".as_slice()][..], &[b"abc", b"d", b"ef"]] {
            for step in 1..=6 {
                let mut batch = batch(segments);
                let mut left = &b"abcdef"[..];
                while !left.is_empty() {
                    assert_eq!(batch.remaining(), left.len());
                    assert_eq!(batch.slices().collect::<Vec<_>>().concat(), left);
                    let sent = step.min(left.len());
                    left = &left[sent..];
                    assert_eq!(batch.advance(sent), left.is_empty());
                }
                assert_eq!(batch.remaining(), 0);
            }
        }
    }

    #[test]
    fn the_list_of_a_batch_is_used_again_empty() {
        let mut queued = Segments::pooled();
        let place = std::ptr::from_ref(&*queued);
        for bytes in [vec![1; 3], vec![2; 4]] {
            queued.push(bytes.into());
        }
        let mut batch = SendBatch::of(queued).unwrap();
        assert!(batch.advance(7));
        let again = Segments::pooled();
        assert_eq!((std::ptr::from_ref(&*again), again.bytes, again.list.len()), (place, 0, 0));
    }

    #[test]
    fn the_memory_of_a_batch_is_used_again() {
        drop(batch(&[&[7; 1000]]));
        assert!(Buffer::copy(b"").capacity() >= 1000);
    }
}
