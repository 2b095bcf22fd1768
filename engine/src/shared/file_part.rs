//! Parts of files: to be sent without a copy, or to be read.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::util::sync::Mutex;

/// A part of a file, to be sent without a copy: see [`ByteSender::append_file`](crate::ByteSender::append_file).
#[derive(Clone, Debug)]
pub struct FilePart {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

impl FilePart {
    /// Creates the part of `len` bytes from `offset`. The file must be a regular one, open for reading.
    pub fn new(file: Arc<File>, offset: u64, len: usize) -> Self {
        Self { file, offset, len }
    }

    /// Returns the number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty part is not worth asking for")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Drops the first `count` bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn advance(&mut self, count: usize) {
        self.offset += count as u64;
        self.len -= count.min(self.len);
    }

    /// Reads the whole part, on this thread.
    ///
    /// # Errors
    /// Those of reading, and `UnexpectedEof` if the file ends before the part does.
    pub(crate) fn read_now(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        let mut filled = 0;
        while filled < bytes.len() {
            match read_at(&self.file, &mut bytes[filled..], self.offset + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

/// Reads from a file, on this thread.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

/// Memory for one read. Every byte of it is initialised; those beyond what was read last are never shown.
pub(crate) type ReadBuffer = Box<[u8]>;

/// The answer to a read: its memory and the number of bytes read, zero at the end of the file.
pub(crate) type ReadAnswer = io::Result<(ReadBuffer, usize)>;

/// A read of a file, on its way to a driver. The driver owns the memory until the read has ended.
pub(crate) struct FileRead {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) buffer: ReadBuffer,
    /// Maximum bytes to read, within the memory.
    pub(crate) len: usize,
    pub(crate) slot: Arc<ReadSlot>,
}

impl FileRead {
    /// Answers with the number of bytes read into the memory.
    pub(crate) fn finish(self, result: io::Result<usize>) {
        let len = self.len;
        self.slot.fill(result.map(|count| (self.buffer, count.min(len))));
    }

    /// Reads on this thread.
    pub(crate) fn run(mut self) {
        let len = self.len;
        let result = loop {
            match read_at(&self.file, &mut self.buffer[..len], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.finish(result);
    }
}

/// The place for an answer, which any thread fills and one task awaits.
pub(crate) struct Slot<T>(Mutex<SlotState<T>>);

/// The place for the answer to a read.
pub(crate) type ReadSlot = Slot<ReadAnswer>;

struct SlotState<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SlotState { answer: None, waker: None })))
    }

    pub(crate) fn fill(&self, answer: T) {
        let waker = {
            let mut state = self.0.lock();
            state.answer = Some(answer);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    fn temporary(content: &[u8]) -> (std::path::PathBuf, Arc<File>) {
        let path = std::env::temp_dir().join(format!("tidegate-part-{}-{}", std::process::id(), content.len()));
        std::fs::write(&path, content).expect("written");
        let file = File::open(&path).expect("opens");
        (path, Arc::new(file))
    }

    #[test]
    fn a_part_beyond_the_end_is_an_error() {
        let (path, file) = temporary(b"0123456789");
        assert_eq!(FilePart::new(Arc::clone(&file), 3, 4).read_now().expect("read"), b"3456");
        let beyond = FilePart::new(file, 8, 4).read_now().expect_err("too short");
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_read_shows_only_what_it_read() {
        let (path, file) = temporary(b"abc");
        let slot = Slot::new();
        let buffer = vec![b'x'; 16].into_boxed_slice();
        FileRead { file, offset: 1, buffer, len: 8, slot: Arc::clone(&slot) }.run();
        let Poll::Ready(Ok((buffer, count))) = slot.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("read");
        };
        assert_eq!(&buffer[..count], b"bc");
        std::fs::remove_file(path).expect("removed");
    }
}
