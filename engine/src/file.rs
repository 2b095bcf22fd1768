//! Reading files in handlers, without making a worker wait for a disk.
//!
//! On io_uring a [`read`] is an operation of the worker's ring. On the portable engine, and outside the engine's
//! threads, a few threads that all engines of the process share read. Calls that have no such form, such as opening a
//! file, run on those threads with [`on_pool`]. Parts of files can also be sent without reading them at all:
//! [`ByteSender::append_file`](crate::ByteSender::append_file).

use std::fs::File;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;

pub use crate::driver::page_cache::{CacheState, cache_state};

use crate::driver::page_cache::read_without_waiting;
use crate::shared::command::Command;
use crate::shared::file_part::{FileRead, ReadBuffer, ReadSlot, Slot};
use crate::shared::wake_scope;
use crate::time;
use crate::util::file_pool;

/// Maximum bytes of one [`read`]. Larger ones save nothing: two copies of this size stay in a processor's cache.
pub const READ_BYTES_MAX: usize = 128 * 1024;

/// The smallest memory that is kept for further reads.
const KEPT_BYTES_MIN: usize = 4 * 1024;

/// Maximum memory that is kept for further reads, in the whole process. Without it the memory of each large read would
/// be zeroed first.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Memory for further reads, by the logarithm of its size; each size is a power of two.
struct BufferPool {
    buffers: [Vec<ReadBuffer>; CLASSES],
    bytes: usize,
}

const CLASSES: usize = (READ_BYTES_MAX / KEPT_BYTES_MIN).ilog2() as usize + 1;

static POOL: Mutex<BufferPool> = Mutex::new(BufferPool { buffers: [const { Vec::new() }; CLASSES], bytes: 0 });

/// Returns the class of a size that can be kept.
fn class(bytes: usize) -> Option<usize> {
    let fits = bytes.is_power_of_two() && (KEPT_BYTES_MIN..=READ_BYTES_MAX).contains(&bytes);
    fits.then(|| (bytes / KEPT_BYTES_MIN).ilog2() as usize)
}

fn pool() -> MutexGuard<'static, BufferPool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes memory for at least `len` bytes, which are initialised.
fn take_buffer(len: usize) -> ReadBuffer {
    let bytes = len.next_power_of_two().max(KEPT_BYTES_MIN);
    let Some(class) = class(bytes) else { return vec![0; len].into_boxed_slice() };
    let mut pool = pool();
    match pool.buffers[class].pop() {
        Some(buffer) => {
            pool.bytes -= bytes;
            buffer
        }
        None => {
            drop(pool);
            vec![0; bytes].into_boxed_slice()
        }
    }
}

/// Reads up to `len` bytes of a file from `offset`, at most [`READ_BYTES_MAX`]. The result is empty at the end of the
/// file, and can be shorter than asked for before it.
///
/// Dropping the future before it completes ends the wait, not the read.
///
/// ```no_run
/// use std::fs::File;
/// use std::sync::Arc;
/// use tidegate_engine::{Connection, file};
///
/// /// Sends a file in pieces, at the pace of the peer.
/// async fn send_file(connection: Connection, file: Arc<File>) -> std::io::Result<()> {
///     let mut offset = 0;
///     loop {
///         let piece = file::read(&file, offset, file::READ_BYTES_MAX).await?;
///         if piece.is_empty() {
///             return Ok(());
///         }
///         offset += piece.len() as u64;
///         if connection.sender().send(piece).await.is_err() {
///             return Ok(());
///         }
///     }
/// }
/// ```
///
/// # Errors
/// Those of the system, and `NotConnected` if the worker has ended.
pub fn read(file: &Arc<File>, offset: u64, len: usize) -> Read {
    let (slot, len) = (Slot::new(), len.min(READ_BYTES_MAX));
    let read = FileRead { file: Arc::clone(file), offset, buffer: take_buffer(len), len, slot: Arc::clone(&slot) };
    Read { slot, unposted: Some(Box::new(read)) }
}

/// Reads up to `len` bytes of a file from `offset`, at most [`READ_BYTES_MAX`], if the first of them are in memory,
/// without waiting. The result is empty at the end of the file, and can be shorter than asked for before it. `None`:
/// use [`read`].
///
/// # Errors
/// Those of reading.
pub fn read_cached(file: &File, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
    let len = len.min(READ_BYTES_MAX);
    let mut buffer = take_buffer(len);
    match read_without_waiting(file, &mut buffer[..len], offset) {
        Ok(len) => Ok(Some(Filled { buffer, len }.into_bytes())),
        Err(error) => {
            // Keeps the memory.
            drop(Filled { buffer, len: 0 });
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported => Ok(None),
                _ => Err(error),
            }
        }
    }
}

/// The future of [`read`].
#[must_use = "futures do nothing unless awaited"]
pub struct Read {
    slot: Arc<ReadSlot>,
    unposted: Option<Box<FileRead>>,
}

impl Future for Read {
    type Output = io::Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(read) = self.unposted.take() {
            match time::current_worker() {
                Some(worker) => wake_scope::post(&worker, Command::Read(read)),
                None => file_pool::run(move || read.run()),
            }
        }
        let (buffer, len) = ready!(self.slot.poll(cx))?;
        Poll::Ready(Ok(Filled { buffer, len }.into_bytes()))
    }
}

/// Read bytes. Their memory is kept for further reads once they are dropped.
struct Filled {
    buffer: ReadBuffer,
    len: usize,
}

impl Filled {
    fn into_bytes(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let bytes = self.buffer.len();
        let Some(class) = class(bytes) else { return };
        let mut pool = pool();
        if pool.bytes + bytes <= KEPT_BYTES_MAX {
            pool.bytes += bytes;
            pool.buffers[class].push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Runs a call that can block on a disk on a thread for such calls, and returns its result. There are at most four of
/// these threads in a process, so the call must not wait for anything else.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use tidegate_engine::file;
///
/// let file = file::on_pool(|| std::fs::File::open("page.html")).await??;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the call panicked.
pub fn on_pool<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> OnPool<T> {
    let slot = Slot::new();
    let fill = Arc::clone(&slot);
    file_pool::run(move || {
        let result = catch_unwind(AssertUnwindSafe(call));
        fill.fill(result.map_err(|_| io::Error::other("a call on a thread for files panicked")));
    });
    OnPool { slot }
}

/// The future of [`on_pool`].
#[must_use = "futures do nothing unless awaited"]
pub struct OnPool<T> {
    slot: Arc<Slot<io::Result<T>>>,
}

impl<T> Future for OnPool<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.slot.poll(cx)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::connection::block_on::block_on;

    #[test]
    fn files_are_read_outside_the_engine_too() {
        let path = std::env::temp_dir().join(format!("tidegate-read-{}", std::process::id()));
        let content: Vec<u8> = (0..READ_BYTES_MAX + 10).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).expect("written");
        let file = Arc::new(block_on(on_pool(move || File::open(path))).expect("no panic").expect("opens"));
        let first = block_on(read(&file, 0, usize::MAX)).expect("read");
        assert_eq!(first, &content[..READ_BYTES_MAX]);
        drop(first);
        // The same memory again, with fewer bytes in it.
        assert_eq!(block_on(read(&file, READ_BYTES_MAX as u64, READ_BYTES_MAX)).expect("read").len(), 10);
        assert!(block_on(read(&file, content.len() as u64, 1)).expect("read").is_empty());
        let cached = read_cached(&file, 5, 10).expect("read");
        assert!(cached.is_none_or(|bytes| bytes == content[5..15]));
        assert!(block_on(on_pool(|| -> () { panic!("expected") })).is_err());
    }
}
