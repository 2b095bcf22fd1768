//! Content that is sent from an open file: whole, or parts of it between texts.
//!
//! The engine reads it in pieces, each when the one before has left, so a connection holds one piece at a time. What
//! the page cache holds is read at once; for the rest the engine waits, and no thread does. A file that became shorter
//! ends the content with an error, so the connection is closed: nothing is sent in place of what is missing.
//!
//! With zero copy, a part that the page cache holds is given to the connection as a part of the file, and never enters
//! this process.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::FilePart;
use tidegate_engine::file::{self, CacheState, Read, cache_state, read_cached};

use super::ranges::ByteRange;
use crate::message::content_connection::ContentConnection;
use crate::message::content_stream::{ContentPiece, ContentStream, StreamError};

/// Bytes of a part that is sent without a copy. It takes no memory; the bound lets the worker serve others in between.
const PART_BYTES: u64 = 2 * 1024 * 1024;

/// Up to this size the rest of a range is read: sending a part costs more than the copies.
const COPIED_BYTES_MAX: u64 = file::READ_BYTES_MAX as u64;

/// Memory for all content that is being read, in the whole process. With very many at once each reads little at a time.
const READ_MEMORY_BYTES: usize = 32 * 1024 * 1024;

/// The smallest piece that is read.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Contents that are being read, in the whole process.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// Which large files are sent without a copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum ZeroCopy {
    /// Those that have not changed for a while.
    #[default]
    AtRest,
    Always,
    Never,
}

/// A section of content.
#[derive(Debug, Clone)]
pub(super) enum Section {
    Text(Bytes),
    Range(ByteRange),
}

/// Content of a file.
pub(super) struct FileContent {
    file: Arc<File>,
    sections: VecDeque<Section>,
    content_bytes: u64,
    zero_copy: bool,
    connection: Option<ContentConnection>,
    /// The read in progress.
    read: Option<Read>,
    /// Set with the first read.
    reader: Option<Reader>,
}

/// Counts content that is being read.
struct Reader;

impl Reader {
    fn new() -> Reader {
        READERS.fetch_add(1, Ordering::Relaxed);
        Reader
    }

    /// Returns the size of the next piece: this content's share of the memory, as a power of two.
    fn piece_bytes() -> usize {
        let share = READ_MEMORY_BYTES / READERS.load(Ordering::Relaxed).max(1);
        1 << share.clamp(READ_BYTES_MIN, file::READ_BYTES_MAX).ilog2()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FileContent {
    pub(super) fn new(file: Arc<File>, sections: VecDeque<Section>, zero_copy: bool) -> FileContent {
        let length = |section: &Section| match section {
            Section::Text(text) => text.len() as u64,
            Section::Range(range) => range.len,
        };
        let content_bytes = sections.iter().map(length).sum();
        FileContent { file, sections, content_bytes, zero_copy, connection: None, read: None, reader: None }
    }

    /// Takes the next part of the file if it can be sent without a copy.
    fn next_part(&mut self) -> Option<Result<FilePart, StreamError>> {
        if !self.zero_copy || self.read.is_some() {
            return None;
        }
        let Some(Section::Range(range)) = self.sections.front() else { return None };
        if range.len <= COPIED_BYTES_MAX || !self.connection.as_ref().is_some_and(ContentConnection::sends_files) {
            return None;
        }
        // A small rest goes along with the part before it.
        let len = if range.len <= PART_BYTES + COPIED_BYTES_MAX { range.len } else { PART_BYTES };
        let start = range.start;
        match cache_state(&self.file, start, len as usize) {
            Ok(CacheState::Cached) => {
                self.advance(len);
                Some(Ok(FilePart::new(Arc::clone(&self.file), start, len as usize)))
            }
            Ok(CacheState::Uncached | CacheState::Unknown) => None,
            Ok(CacheState::Short) => Some(Err(too_short())),
            Err(error) => Some(Err(StreamError::new(error))),
        }
    }

    /// Drops the first bytes of the first range.
    fn advance(&mut self, count: u64) {
        if let Some(Section::Range(range)) = self.sections.front_mut() {
            range.start += count;
            range.len -= count.min(range.len);
            if range.len == 0 {
                self.sections.pop_front();
            }
        }
    }

    /// Reads the next bytes of the first range, once those before them have left.
    fn poll_read(&mut self, range: ByteRange, cx: &mut Context<'_>) -> Poll<Result<Bytes, StreamError>> {
        if self.read.is_none() {
            // Only the head is queued before the first piece, and leaves with it.
            if self.reader.is_some() {
                ready!(self.poll_sent(cx));
            }
            self.reader.get_or_insert_with(Reader::new);
            let len = range.len.min(Reader::piece_bytes() as u64) as usize;
            match read_cached(&self.file, range.start, len) {
                Ok(Some(bytes)) => return Poll::Ready(self.take(bytes)),
                Ok(None) => self.read = Some(file::read(&self.file, range.start, len)),
                Err(error) => return Poll::Ready(Err(StreamError::new(error))),
            }
        }
        let Some(read) = &mut self.read else { return Poll::Pending };
        let bytes = ready!(Pin::new(read).poll(cx));
        self.read = None;
        Poll::Ready(bytes.map_err(StreamError::new).and_then(|bytes| self.take(bytes)))
    }

    /// Takes what was read.
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, StreamError> {
        if bytes.is_empty() {
            return Err(too_short());
        }
        self.advance(bytes.len() as u64);
        Ok(bytes)
    }

    /// Waits until the connection has sent what it was given.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.as_ref().map_or(Poll::Ready(()), |connection| connection.poll_sent(cx))
    }
}

impl ContentStream for FileContent {
    fn begin(&mut self, connection: ContentConnection) {
        self.connection = Some(connection);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        match self.sections.front_mut() {
            None => Poll::Ready(None),
            Some(Section::Text(text)) => {
                let text = std::mem::take(text);
                self.sections.pop_front();
                Poll::Ready(Some(Ok(text)))
            }
            Some(&mut Section::Range(range)) => self.poll_read(range, cx).map(Some),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ContentPiece, StreamError>>> {
        match self.next_part() {
            Some(part) => Poll::Ready(Some(part.map(ContentPiece::File))),
            None => self.poll_next(cx).map(|next| next.map(|bytes| bytes.map(ContentPiece::Bytes))),
        }
    }

    fn length(&self) -> Option<u64> {
        Some(self.content_bytes)
    }
}

fn too_short() -> StreamError {
    StreamError::new("the file became shorter while it was sent")
}
