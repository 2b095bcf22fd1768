//! What other threads ask of a worker.

use std::io;
use std::sync::Arc;

use socket2::SockRef;

use crate::clock::sleep_entry::SleepEntry;
use crate::error::CloseCause;
use crate::fanout::Lane;
use crate::shared::key::ConnKey;
use crate::shutdown::ShutdownPlan;

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// Send what is queued, then FIN, drain the peer's input, close.
    Orderly,
    /// Drop what is queued and reset.
    Abort(CloseCause),
}

/// What other threads ask of a worker.
pub(crate) enum Command {
    /// Outbound bytes, or the end of them, are queued.
    Flush(ConnKey),
    /// The inbound buffer has come down to its low mark.
    Resume(ConnKey),
    /// A deadline was set that is earlier than the armed timer.
    Deadline(ConnKey),
    Close(ConnKey, CloseMode),
    /// Run a task on the connection's socket.
    Socket(ConnKey, SocketTask),
    Sleep(Arc<SleepEntry>),
    CancelSleep(Arc<SleepEntry>),
    /// A fan-out that rested has something for members of this worker.
    FanOut(Arc<Lane>),
    /// Begin the graceful shutdown.
    Shutdown(ShutdownPlan),
}

/// A task to be run on a connection's socket, or told why it cannot be.
pub(crate) type SocketTask = Box<dyn FnOnce(io::Result<SockRef<'_>>) + Send>;
