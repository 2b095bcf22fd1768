//! The seam between a worker and what moves its bytes.
//!
//! A [`Driver`] is completion-based and single-threaded: the worker starts operations, waits, and reaps [`Event`]s into
//! a list that it then processes. There are three: `uring` (a ring per worker), `threads` (std sockets, two blocking
//! threads a connection; portable) and, in tests, `sim` (scripted peers, seeded faults, fake time).
//!
//! Contract, the same for all:
//! - at most one receive and one send are outstanding per connection; the driver owns a send's bytes until it completes;
//! - a receive armed with a budget ends by itself with the buffer in which that many bytes are reached; every armed
//!   receive ends with exactly one event that says so (`more == false`, or `ReceiveEnded`);
//! - events of a connection carry its key; after `Closed` no event carries it again, and only then is its index reused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;

pub(crate) mod listener;
#[cfg(all(test, not(loom)))]
pub(crate) mod sim;
pub(crate) mod tcp_info;
pub(crate) mod threads;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

/// What happened, in the order in which the driver saw it.
pub(crate) enum Event {
    /// A connection was accepted into slot `index`; its addresses are known.
    Accepted(Box<Accepted>),
    /// Accepting failed or ended; the worker decides when to arm it again.
    AcceptEnded { listener: usize, error: Option<io::Error> },
    /// Bytes were received. Without `more` the receive is over, because of its budget or the driver's habits.
    Received { key: ConnKey, data: Received, more: bool },
    /// The receive is over without bytes.
    ReceiveEnded { key: ConnKey, end: ReceiveEnd },
    /// The send is over: all of its batch has left, or the connection failed.
    Sent { key: ConnKey, result: Result<(), i32> },
    /// The connection's socket is closed and its index free.
    Closed { key: ConnKey },
}

/// A new connection.
pub(crate) struct Accepted {
    pub(crate) key: ConnKey,
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

/// Received bytes, still with the driver where that is a ring.
#[derive(Debug)]
pub(crate) enum Received {
    /// `len` bytes in receive buffer `buffer`; the worker passes it back through [`Driver::view`] and one of
    /// [`Driver::lease`] and [`Driver::recycle`].
    #[cfg_attr(not(any(test, target_os = "linux")), expect(dead_code, reason = "only rings lend buffers"))]
    Buffer {
        buffer: u16,
        /// It is one of the large ones.
        large: bool,
        len: u32,
    },
    Owned(Vec<u8>),
}

/// Why a receive ended without bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveEnd {
    Eof,
    /// No receive buffer was free. More bytes, or the end of stream, may be waiting.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings lend buffers"))]
    Starved,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings cancel"))]
    Cancelled,
    Failed(i32),
}

/// What a driver can do, found by probing.
#[derive(Clone, Debug)]
pub(crate) struct Capabilities {
    /// What runs, for people: "io_uring" and the features in use, or "std sockets".
    pub(crate) summary: String,
    /// A receive may be armed with a byte budget; else it is cancelled at the high mark.
    pub(crate) receive_budget: bool,
    /// Connections it can hold.
    pub(crate) connections_max: usize,
}

/// Moves the bytes of one worker's connections. See the module for the contract.
pub(crate) trait Driver {
    fn capabilities(&self) -> &Capabilities;

    /// Ends the worker's sleep from other threads.
    fn signal(&self) -> Arc<Signal>;

    /// Time since the worker's epoch.
    fn elapsed(&self) -> Duration;

    /// Accepts on a listener, unless it does already; false if there is no slot for another connection now.
    fn arm_accept(&mut self, listener: usize) -> bool;
    /// Stops accepting on every listener and closes them; each armed accept ends with an event.
    fn close_listeners(&mut self);

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>);
    fn cancel_receive(&mut self, key: ConnKey);

    fn send(&mut self, key: ConnKey, batch: SendBatch);
    fn shutdown_write(&mut self, key: ConnKey);
    /// Closes the socket, ending an armed receive without an event; with `reset`, at once and ending the send in flight.
    fn close(&mut self, key: ConnKey, reset: bool);

    fn with_socket(&mut self, key: ConnKey, task: SocketTask);

    fn view<'a>(&'a self, received: &'a Received) -> &'a [u8];
    /// Takes the bytes over by reference if enough buffers are free, by copy otherwise.
    fn lease(&mut self, received: Received) -> Chunk;
    fn recycle(&mut self, received: Received);
    /// Receive buffers that are free for starved connections; when none is, the signal is raised once one comes back.
    fn buffers_free_or_notify(&mut self) -> usize;

    /// Starts what was asked for and waits until something completes, the signal is raised or `timeout` passes
    /// (`None`: for ever; zero: does not wait), then appends what has completed.
    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Operations that have not ended; a worker ends only when there are none.
    fn in_flight(&self) -> usize;
}
