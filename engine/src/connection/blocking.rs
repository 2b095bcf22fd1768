//! Handlers in blocking style: a thread of its own for each connection.
//!
//! [`blocking`] turns a plain function into a handler that any placement runs. The socket stays with its worker and the
//! bounds of both buffers hold as ever; what a thread waits on is the connection, never the ring.

use std::fmt;
use std::future::{Ready, poll_fn, ready};
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use crate::connection::{Connection, block_on::block_on};
use crate::error::{CloseCause, ReceiveError, SendError};
use crate::shared::chunk::Chunk;

/// Turns blocking-style code into a handler for [`Engine::start`](crate::Engine::start): each connection gets a thread,
/// which may block and compute as long as it likes. Returning, or panicking, closes the connection in order.
///
/// A thread costs far more than a task: for thousands of connections write an async handler. Where the system grants no
/// further thread the connection is closed, with one log line. A shutdown does not wait for threads, only for their
/// connections; watch [`Connection::is_draining`], or let the deadline end them.
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
/// let running = Engine::new(Config::default()).listen("127.0.0.1:7000")?.start(blocking(echo))?;
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
            // The connection went with the closure.
            log::warn!("no thread for a connection, which is closed: {error}");
        }
        ready(())
    }
}

/// A [`Connection`] whose calls block the present thread instead of returning futures.
///
/// It reads and writes with the engine's own types and errors, or as [`Read`], [`BufRead`] and [`Write`]; there a passed
/// read deadline is [`TimedOut`](io::ErrorKind::TimedOut), and the source of each error is the engine's. Deadlines,
/// addresses and the [`ByteSender`](crate::ByteSender) are those of [`connection`](Self::connection).
pub struct BlockingConnection {
    connection: Connection,
}

impl BlockingConnection {
    /// The next received bytes; `None` at the peer's end of stream. See [`Connection::receive`].
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

    /// Waits until everything accepted so far is in the kernel's hands.
    ///
    /// # Errors
    /// As [`ByteSender::flush`](crate::ByteSender::flush).
    pub fn flush(&self) -> Result<(), SendError> {
        block_on(self.connection.sender().flush())
    }

    /// The connection: its addresses, deadlines, timers and sender.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection by value, to abort it or to hand it on.
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
        block_on(poll_fn(|cx| self.connection.poll_fill(cx))).map_err(receive_error)?;
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
        self.send(Bytes::copy_from_slice(bytes)).map_err(send_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self).map_err(send_error)
    }
}

impl fmt::Debug for BlockingConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingConnection").field(&self.connection).finish()
    }
}

fn receive_error(error: ReceiveError) -> io::Error {
    let kind = match error {
        ReceiveError::Deadline => io::ErrorKind::TimedOut,
        ReceiveError::Closed(cause) => kind_of(cause),
    };
    io::Error::new(kind, error)
}

fn send_error(error: SendError) -> io::Error {
    let kind = match error {
        SendError::Full => io::ErrorKind::WouldBlock,
        SendError::Finished => io::ErrorKind::BrokenPipe,
        SendError::Closed(cause) => kind_of(cause),
    };
    io::Error::new(kind, error)
}

fn kind_of(cause: CloseCause) -> io::ErrorKind {
    match cause {
        CloseCause::Reset => io::ErrorKind::ConnectionReset,
        CloseCause::Io(kind) => kind,
        CloseCause::WriteDeadline | CloseCause::IdleTimeout | CloseCause::Lifetime => io::ErrorKind::TimedOut,
        CloseCause::Aborted | CloseCause::Shutdown | CloseCause::Dropped | CloseCause::TooSlow => {
            io::ErrorKind::ConnectionAborted
        }
    }
}
