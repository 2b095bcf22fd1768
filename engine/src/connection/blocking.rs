//! Handlers in blocking style, with one thread per connection.
//!
//! [`blocking`] turns a plain function into a handler for any placement. The socket stays with its worker and both
//! buffers stay bounded. A thread waits on its connection, never on the ring.

use std::fmt;
use std::future::{Ready, poll_fn, ready};
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use crate::connection::Connection;
use crate::connection::block_on::block_on;
use crate::error::{ReceiveError, SendError};
use crate::shared::chunk::Chunk;

/// Turns blocking-style code into a handler for [`Engine::start`](crate::Engine::start): each connection gets a thread,
/// which can block and compute for any length of time. Returning or panicking closes the connection in order.
///
/// A thread costs far more than a task, so use async handlers for thousands of connections. If no thread can be
/// spawned, the connection is closed, with one log line. A shutdown does not wait for threads, only for their
/// connections: watch [`Connection::is_draining`], or let the deadline end them.
///
/// ```no_run
/// use tidegate_engine::{BlockingConnection, Config, Engine, blocking};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let echo = |mut connection: BlockingConnection| {
///     while let Ok(Some(chunk)) = connection.receive() {
///         if connection.send(chunk.into_vec()).is_err() {
///             break;
///         }
///     }
/// };
/// let running = Engine::new(Config::default()).bind("127.0.0.1:7000")?.start(blocking(echo))?;
/// # running.run_until_signal(Default::default())?;
/// # Ok(())
/// # }
/// ```
pub fn blocking<F>(handler: F) -> impl Fn(Connection) -> Ready<()> + Send + Sync + 'static
where
    F: Fn(BlockingConnection) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    move |connection| {
        let handler = Arc::clone(&handler);
        let body = move || handler(BlockingConnection { connection });
        if let Err(error) = thread::Builder::new().name("tidegate-blocking".to_owned()).spawn(body) {
            // The connection was dropped with the closure.
            log::warn!("closing a connection, because its thread cannot be spawned: {error}");
        }
        ready(())
    }
}

/// A [`Connection`] whose methods block the current thread instead of returning futures. [`blocking`] creates it.
///
/// It reads and writes with the engine's own types and errors, or through [`Read`], [`BufRead`] and [`Write`]. Through
/// these traits an expired read deadline is [`TimedOut`](io::ErrorKind::TimedOut), and each error wraps the engine's.
/// [`connection`](Self::connection) gives deadlines, addresses and the [`ByteSender`](crate::ByteSender).
///
/// ```no_run
/// use std::io::{self, BufRead, Write};
/// use tidegate_engine::BlockingConnection;
///
/// /// Answers each line with its length.
/// fn lengths(mut connection: BlockingConnection) -> io::Result<()> {
///     let mut line = String::new();
///     while connection.read_line(&mut line)? > 0 {
///         writeln!(connection, "{}", line.trim_end().len())?;
///         line.clear();
///     }
///     Ok(())
/// }
/// ```
pub struct BlockingConnection {
    connection: Connection,
}

impl BlockingConnection {
    /// Receives the next bytes, or `None` at the peer's end of stream. See [`Connection::receive`].
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn receive(&mut self) -> Result<Option<Chunk>, ReceiveError> {
        block_on(self.connection.receive())
    }

    /// Waits for space, then queues `bytes`. See [`ByteSender::send`](crate::ByteSender::send).
    ///
    /// # Errors
    /// As [`ByteSender::send`](crate::ByteSender::send).
    pub fn send(&self, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        block_on(self.connection.sender().send(bytes))
    }

    /// Waits until the kernel has taken everything accepted so far.
    ///
    /// # Errors
    /// As [`ByteSender::flush`](crate::ByteSender::flush).
    pub fn flush(&self) -> Result<(), SendError> {
        block_on(self.connection.sender().flush())
    }

    /// Returns the connection, for its addresses, deadlines, timer and sender.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the connection by value, to abort it or to hand it over.
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

impl Read for BlockingConnection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for BlockingConnection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        block_on(poll_fn(|cx| self.connection.poll_fill(cx)))?;
        Ok(self.connection.buffer())
    }

    fn consume(&mut self, count: usize) {
        if count > 0 {
            self.connection.consume(count);
        }
    }
}

impl Write for BlockingConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Bytes::copy_from_slice(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(Self::flush(self)?)
    }
}

impl fmt::Debug for BlockingConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingConnection").field(&self.connection).finish()
    }
}
