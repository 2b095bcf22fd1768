//! The interface between a worker and its I/O backend.
//!
//! A [`Driver`] is completion-based and single-threaded: the worker starts operations, waits, and reaps [`Event`]s into
//! a list that it then processes. There are four: `uring` (a ring per worker); `portable` (non-blocking
//! sockets and readiness); `memory` (clients in this process, for tests of applications) and, in tests of the engine,
//! `sim` (scripted peers, seeded faults), both with fake time.
//!
//! Contract of all drivers:
//! - at most one receive and one send are outstanding per connection; the driver owns a send's bytes until it
//!   completes, as it owns the memory of a fill, and a send of a part of a file can end with `FileFailed` in place of
//!   `Sent`;
//! - a receive armed with a budget ends by itself with the buffer in which that many bytes are reached; every armed
//!   receive ends with exactly one event (`more == false`, or `ReceiveEnded`);
//! - events of a connection carry its key; after `Closed` no event carries it, and only then is its index reused.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::clock::Clock;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::file_part::FileRead;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;
use crate::util::file_pool;

pub(crate) mod listener;
pub(crate) mod machine_memory;
#[cfg(feature = "testing")]
pub(crate) mod memory;
pub(crate) mod open_files;
#[cfg(unix)]
pub(crate) mod outbound_socket;
pub(crate) mod page_cache;
pub(crate) mod portable;
mod send_file;
pub(crate) mod share_port;
#[cfg(all(test, not(loom)))]
pub(crate) mod sim;
#[cfg(target_os = "linux")]
pub(crate) mod systemd;
pub(crate) mod tcp_info;
#[cfg(unix)]
pub(crate) mod unix_socket;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

/// A completed operation. Events come in the order in which the driver saw them.
pub(crate) enum Event {
    /// A connection was accepted and its addresses are known.
    Accepted(Box<Accepted>),
    /// Accepting failed or ended. The worker decides when to arm it again.
    AcceptEnded { listener: usize, error: Option<io::Error> },
    /// Bytes were received. Without `more` the receive is over, because of its budget or because the driver ended it.
    Received { key: ConnKey, data: Received, more: bool },
    /// A fill is over, with at least one byte.
    Filled { key: ConnKey, fill: Box<MemoryFill> },
    /// The receive or the fill is over without bytes. A fill ends so only at the end of the stream or for a failure,
    /// and its memory is dropped.
    ReceiveEnded { key: ConnKey, end: ReceiveEnd },
    /// The send is over: the whole batch has left, or the connection failed with an errno.
    Sent { key: ConnKey, result: Result<(), i32> },
    /// The send of a part of a file is over, because the file could not be read: `UnexpectedEof` if it is too short.
    FileFailed { key: ConnKey, error: io::Error },
    /// The watched end of the peer: its FIN, possibly behind bytes that have not been received, or the connection's
    /// error.
    PeerEnded { key: ConnKey, error: Option<i32> },
    /// Much has happened at once, and memory was taken for it. [`Driver::trim`] is due once it may not be needed any
    /// more.
    Burst,
    /// The connection's socket is closed and its index free.
    Closed { key: ConnKey },
    /// The attempt to connect is over: it has a connection, or failed and holds nothing any more.
    Connected { attempt: u32, result: Result<Box<Connected>, ConnectFailure> },
}

/// A new connection.
pub(crate) struct Accepted {
    pub(crate) key: ConnKey,
    /// The number of the listener, in the order in which they were added.
    pub(crate) listener: usize,
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

/// A connection that was opened from this side.
pub(crate) struct Connected {
    pub(crate) key: ConnKey,
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

/// Received bytes, in a buffer of the driver or in owned memory.
#[derive(Debug)]
pub(crate) enum Received {
    /// `len` bytes in receive buffer `buffer`. The worker reads them with [`Driver::view`] and must pass this to either
    /// [`Driver::lease`] or [`Driver::recycle`].
    Buffer {
        /// Its name, for the driver alone.
        buffer: u16,
        /// It is a large buffer.
        large: bool,
        len: u32,
    },
    Owned(Vec<u8>),
}

/// The reason why a receive ended without bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveEnd {
    Eof,
    /// No receive buffer was free. More bytes, or the end of the stream, can be waiting.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings run out of buffers"))]
    Starved,
    Cancelled,
    Failed(i32),
}

/// The capabilities of a driver, found by probing.
#[derive(Clone, Debug)]
pub(crate) struct Capabilities {
    /// The driver for logs: "io_uring" with the features in use, or "portable" with the source of readiness.
    pub(crate) summary: String,
    /// Receives can be armed with a byte budget. Otherwise the worker cancels them at the high mark.
    pub(crate) receive_budget: bool,
    /// Nothing that arrives for a connection ends the wait of [`Driver::enter`] while no receive of it is armed.
    pub(crate) unarmed_is_quiet: bool,
    /// Maximum connections.
    pub(crate) connections_max: usize,
}

/// The budget of a receive after which the reader decides how more is received: one small receive buffer. Drivers
/// without budgets end such a receive after one buffer.
pub(crate) const HELD_BYTES: u32 = 4096;

/// Entries for which the lists of a tick keep memory after a burst.
pub(crate) const LIST_ENTRIES_KEPT: usize = 64;

/// The I/O backend of one worker. See the module for the contract.
pub(crate) trait Driver {
    fn capabilities(&self) -> &Capabilities;

    /// Returns the signal with which other threads end the worker's sleep.
    fn signal(&self) -> Arc<Signal>;

    /// Returns the time since the worker's epoch.
    fn elapsed(&self) -> Duration;

    /// Returns a clock that began at `epoch` and runs as [`elapsed`](Self::elapsed) does.
    fn clock(&self, epoch: Instant) -> Clock {
        Clock::new(epoch)
    }

    /// Arms accepting on a listener, unless it is armed. Returns false if there is no slot for another connection.
    fn arm_accept(&mut self, listener: usize) -> bool;
    /// Stops accepting and closes all listeners. Each armed accept ends with an event.
    fn close_listeners(&mut self);

    /// Begins attempt number `attempt` to connect, which is not in progress. It ends with one event.
    ///
    /// # Errors
    /// The reason why it could not begin. There is no event then.
    fn connect(&mut self, attempt: u32, request: Box<ConnectRequest>) -> Result<(), ConnectFailure>;
    /// Ends an attempt to connect early. If it succeeds before the cancellation, that is still reported.
    fn cancel_connect(&mut self, attempt: u32);

    /// Arms a receive, without end or with a budget of bytes. Every driver takes budgets up to [`HELD_BYTES`].
    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>);
    /// Cancels an armed receive. Data that completes before the cancellation is still reported.
    fn cancel_receive(&mut self, key: ConnKey);

    /// Receives once, as much as has arrived, into memory of the reader. It counts as the connection's receive, and
    /// owns the memory until it completes. None may be armed.
    fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>);

    /// Watches for an error of the connection and, with `fin`, for the peer's FIN, until one is reported or the
    /// connection is closed. No watch may be in progress.
    fn watch_end(&mut self, key: ConnKey, fin: bool);

    /// Starts a send.
    fn send(&mut self, key: ConnKey, batch: SendBatch);
    /// Sends FIN after the bytes sent so far, unless it has left with them ([`SendBatch::fin_follows`]).
    fn shutdown_write(&mut self, key: ConnKey);
    /// Closes the socket. An armed receive ends without an event. With `reset` a send in flight ends too, and the peer
    /// gets a reset.
    fn close(&mut self, key: ConnKey, reset: bool);

    /// Reads a part of a file and answers, now or later. Never waits for a disk.
    fn read_file(&mut self, read: FileRead) {
        file_pool::run(move || read.run());
    }

    /// Runs a task on a connection's socket.
    fn with_socket(&mut self, key: ConnKey, task: SocketTask);

    /// Asks how many bytes of a connection its peer has acknowledged. The answer arrives on this thread: `None` if the
    /// system cannot report it.
    fn ask_acknowledged(&mut self, key: ConnKey, answer: Box<dyn FnOnce(Option<u64>) + Send>) {
        let ask: SocketTask = Box::new(|socket| {
            answer(socket.and_then(|socket| tcp_info::read(&socket)).ok().map(|info| info.acknowledged_bytes_total));
        });
        self.with_socket(key, ask);
    }

    /// Returns the received bytes, which can be changed in place.
    fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8];
    /// Takes the bytes over, by lease if enough buffers are free, otherwise by copy.
    fn lease(&mut self, received: Received) -> Chunk;
    /// Gives the buffer of received bytes back.
    fn recycle(&mut self, received: Received);
    /// Returns the number of free receive buffers. If there are none, the signal is raised once one is returned.
    fn buffers_free_or_notify(&mut self) -> usize;

    /// Gives back what a burst has left: the memory of lists, and of receive buffers that were not needed since the
    /// last call. Returns whether a later call can give back more.
    fn trim(&mut self) -> bool {
        false
    }

    /// Submits the queued operations, waits until something completes, the signal is raised or `timeout` passes (`None`
    /// has no limit, zero does not wait), and appends the completed events.
    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Returns the number of operations that have not ended. A worker ends only when there are none.
    fn in_flight(&self) -> usize;
}
