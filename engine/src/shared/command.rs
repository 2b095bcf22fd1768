//! Commands from other threads to a worker.

use std::io;
use std::sync::Arc;

use socket2::SockRef;

use crate::clock::sleep_entry::SleepEntry;
use crate::error::CloseCause;
use crate::fanout::Lane;
use crate::shared::attempt::Attempt;
use crate::shared::file_part::FileRead;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shutdown::ShutdownPlan;
#[cfg(feature = "tls")]
use crate::tls::client_handshake::ClientHandshake;

/// The way to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// Send the queued bytes, then FIN, drain the peer's input, close.
    Orderly,
    /// Drop the queued bytes and reset.
    Abort(CloseCause),
}

/// Commands from other threads to a worker.
pub(crate) enum Command {
    /// Outbound bytes, or their end, are queued.
    Flush(ConnKey),
    /// The inbound buffer has drained to its low mark.
    Resume(ConnKey),
    /// Leave it to the reader, from the next bytes on, how bytes are received.
    HoldBack(ConnKey),
    /// Receive as usual, after a hold.
    Release(ConnKey),
    /// Receive the next bytes into memory of the reader, after a hold.
    MemoryFill(ConnKey, Box<MemoryFill>),
    /// The handler waits for a failure after the peer's end.
    WatchEnd(ConnKey),
    /// A deadline earlier than the armed timer was set.
    Deadline(ConnKey),
    /// The bytes that the peer has acknowledged, if known: the answer to the worker's own question.
    Acknowledged(ConnKey, Option<u64>),
    /// The idle timeout in ticks, 0 for none, counted from now.
    Idle(ConnKey, u32),
    Close(ConnKey, CloseMode),
    /// Run a task on the connection's socket.
    Socket(ConnKey, SocketTask),
    /// Read a part of a file.
    Read(Box<FileRead>),
    Sleep(Arc<SleepEntry>),
    CancelSleep(Arc<SleepEntry>),
    /// Deliver the messages of a fan-out that was at rest.
    FanOut(Arc<Lane>),
    /// Begin an attempt to connect.
    Connect(Arc<Attempt>),
    /// End an attempt that nobody waits for any more.
    CancelConnect(Arc<Attempt>),
    /// Begin the TLS handshake of an outbound connection.
    #[cfg(feature = "tls")]
    StartTls(ConnKey, Arc<ClientHandshake>),
    /// Begin the graceful shutdown.
    Shutdown(ShutdownPlan),
}

/// A task for a connection's socket. It gets an error if the connection is closed.
pub(crate) type SocketTask = Box<dyn FnOnce(io::Result<SockRef<'_>>) + Send>;
