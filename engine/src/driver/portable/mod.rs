//! The portable driver: non-blocking sockets and readiness, by epoll on Linux and kqueue on macOS and the BSDs.
//!
//! Each socket is registered once, edge-triggered: an event tells that it became readable or writable, and a slot
//! remembers it until a read or a write shows otherwise. A read that does not fill its room has taken everything,
//! unless it stopped at urgent data (tcp(7)). So a message costs one read, one write and a share of a wait. An
//! operation that completes at once leaves its event in `pending`, which the next `enter` delivers.
//!
//! This module waits and hands readiness to the slots. `slot` records the state of a connection, `buffers` owns the
//! memory of reads, `wake` ends a wait from other threads; `accept`, `connect`, `receive`, `fill`, `watch` and
//! `send` hold those operations, and `system` what differs between systems.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use socket2::SockRef;

use super::{Capabilities, Driver, Event, LIST_ENTRIES_KEPT, Received};
use crate::driver::listener::Listener;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;
use crate::util::pieces::Pieces;

mod accept;
mod buffers;
mod connect;
mod fill;
mod receive;
mod send;
mod slot;
mod system;
#[cfg(all(test, not(loom), not(miri)))]
mod tests;
mod wake;
mod watch;

use accept::Acceptor;
use buffers::ReceiveBuffers;
use connect::Connects;
use send::Unsent;
use slot::Slot;
use wake::Wake;

/// Sockets whose readiness one wait returns.
const EVENTS_MAX: usize = 1024;
/// Maximum waits of one `enter`: further ones follow while each returns as many sockets as it can, so that whatever
/// had arrived is looked at before timers expire.
const WAITS_MAX: usize = 16;

pub(crate) struct PortableDriver {
    capabilities: Capabilities,
    epoch: Instant,
    poll: Poll,
    polled: Events,
    wake: Arc<Wake>,
    signal: Arc<Signal>,
    slots: Pieces<Slot>,
    /// Free slot numbers.
    free: Vec<u32>,
    /// Number of slots with a socket.
    used: usize,
    acceptors: Vec<Acceptor>,
    connects: Connects,
    buffers: ReceiveBuffers,
    /// Readable connections with an armed receive that have not been read from since, or not to the end.
    ready: VecDeque<u32>,
    /// Bytes received since the driver was entered.
    received_bytes: usize,
    unsent: Unsent,
    /// Memory of readers that wait for bytes, by slot.
    fills: HashMap<u32, Box<MemoryFill>>,
    /// Events for the next `enter`.
    pending: Vec<Event>,
}

impl PortableDriver {
    /// Creates a driver for the current thread.
    pub(crate) fn new(connections_max: usize, listeners: Vec<Listener>, epoch: Instant) -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake = Arc::new(Wake::new(poll.registry(), WAKE)?);
        let waker = Arc::clone(&wake);
        let signal = Signal::new(move || waker.wake());
        let mut acceptors = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let token = listener_token(acceptors.len());
            acceptors.push(Acceptor::new(listener, poll.registry(), token)?);
        }
        let summary = format!("portable ({})", system::READINESS);
        Ok(Self {
            capabilities: Capabilities { summary, receive_budget: true, unarmed_is_quiet: false, connections_max },
            epoch,
            poll,
            polled: Events::with_capacity(EVENTS_MAX),
            wake,
            buffers: ReceiveBuffers::new(&signal)?,
            signal,
            slots: Pieces::default(),
            free: Vec::new(),
            used: 0,
            acceptors,
            connects: Connects::default(),
            ready: VecDeque::new(),
            received_bytes: 0,
            unsent: Unsent::default(),
            fills: HashMap::new(),
            pending: Vec::new(),
        })
    }

    /// Returns whether no further connection has room.
    fn is_full(&self) -> bool {
        self.used + self.connects.count >= self.capabilities.connections_max
    }

    /// Takes a free slot for a new socket. It counts as used once it has the socket.
    fn reserve_slot(&mut self) -> ConnKey {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.bound();
            drop(self.slots.put(index, Slot::free()));
            index
        });
        ConnKey { index, generation: self.slots[index].generation }
    }

    /// Returns the slot of `key`, if it still belongs to that connection.
    fn slot(&mut self, key: ConnKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index)?;
        (slot.generation == key.generation && slot.socket.is_some()).then_some(slot)
    }

    /// Waits once and acts on what became ready. Returns the number of sockets; more can be ready after [`EVENTS_MAX`].
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<usize> {
        match self.poll.poll(&mut self.polled, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        }
        let polled = std::mem::replace(&mut self.polled, Events::with_capacity(0));
        let mut count = 0;
        for event in &polled {
            count += 1;
            let index = event.token().0 & INDEX_MASK;
            if index < LISTENERS {
                self.on_ready(index as u32, event, events);
            } else if event.token() == WAKE {
                self.wake.clear();
            } else if let Some(acceptor) = self.acceptors.get_mut(index - LISTENERS) {
                acceptor.has_clients = true;
            } else {
                self.on_connect_ready(index, events);
            }
        }
        self.polled = polled;
        Ok(count)
    }

    /// Goes on after a wait that has returned many sockets.
    #[cold]
    fn wait_on(&mut self, mut count: usize, events: &mut Vec<Event>) -> io::Result<()> {
        events.push(Event::Burst);
        for _ in 1..WAITS_MAX {
            if count < EVENTS_MAX {
                break;
            }
            count = self.wait(Some(Duration::ZERO), events)?;
        }
        Ok(())
    }

    /// Delivers the events of operations that completed at once.
    #[inline]
    fn take_pending(&mut self, events: &mut Vec<Event>) {
        if events.is_empty() {
            // No event is moved.
            std::mem::swap(events, &mut self.pending);
        } else {
            events.append(&mut self.pending);
        }
        if events.len() > LIST_ENTRIES_KEPT {
            events.push(Event::Burst);
        }
    }

    fn on_ready(&mut self, index: u32, event: &mio::event::Event, events: &mut Vec<Event>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let key = ConnKey { index, generation: slot.generation };
        // A handler can have duplicated the descriptor of a connection that has ended.
        if slot.socket.is_none() || event.token() != token(key) {
            return;
        }
        let (closed, failed) = (event.is_read_closed(), event.is_error());
        slot.readable |= event.is_readable() || closed || failed;
        slot.urgent |= system::has_urgent_data(event);
        if closed {
            slot.note_end(failed);
            self.report_end(key, events);
        }
        if event.is_writable() || closed || failed {
            self.send_unsent(key, events);
        }
        self.receive(index, events);
    }
}

/// Resets the clients that a worker left that has ended: they must not take truncated data for complete.
impl Drop for PortableDriver {
    fn drop(&mut self) {
        for socket in self.slots.iter().filter_map(|slot| slot.socket.as_ref()) {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

/// Some operations are inherent methods of the same name, in the file of their kind.
impl Driver for PortableDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn arm_accept(&mut self, listener: usize) -> bool {
        self.arm_accept(listener)
    }

    fn close_listeners(&mut self) {
        self.close_listeners();
    }

    fn connect(&mut self, attempt: u32, request: Box<ConnectRequest>) -> Result<(), ConnectFailure> {
        self.connect(attempt, &request)
    }

    fn cancel_connect(&mut self, attempt: u32) {
        self.cancel_connect(attempt);
    }

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        self.arm_receive(key, budget);
    }

    fn cancel_receive(&mut self, key: ConnKey) {
        self.cancel_receive(key);
    }

    fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        self.fill(key, fill);
    }

    fn watch_end(&mut self, key: ConnKey, fin: bool) {
        self.watch_end(key, fin);
    }

    fn send(&mut self, key: ConnKey, batch: SendBatch) {
        self.send(key, batch);
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        if let Some(socket) = self.slot(key).and_then(|slot| slot.socket.as_ref()) {
            // Fails if the peer has reset the connection.
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let Some(slot) = self.slot(key) else { return };
        let (unsent, filling) = (slot.unsent, slot.is_filling());
        let Some(socket) = slot.release() else { return };
        if reset {
            // Fails on Unix-domain sockets, which have no reset.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        drop(socket);
        self.unsent.remove(unsent);
        if filling {
            self.fills.remove(&key.index);
        }
        self.free.push(key.index);
        self.used -= 1;
        self.pending.push(Event::Closed { key });
    }

    fn with_socket(&mut self, key: ConnKey, task: SocketTask) {
        match self.slot(key).and_then(|slot| slot.socket.as_ref()) {
            Some(socket) => task(Ok(SockRef::from(socket))),
            None => task(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8] {
        self.buffers.view(received)
    }

    fn lease(&mut self, received: Received) -> Chunk {
        self.buffers.lease(received)
    }

    fn recycle(&mut self, received: Received) {
        self.buffers.recycle(received);
    }

    fn buffers_free_or_notify(&mut self) -> usize {
        // A read always finds memory, so no receive starves.
        usize::MAX
    }

    fn trim(&mut self) -> bool {
        self.pending.shrink_to(LIST_ENTRIES_KEPT);
        self.ready.shrink_to(LIST_ENTRIES_KEPT);
        self.fills.shrink_to(LIST_ENTRIES_KEPT);
        self.unsent.trim()
    }

    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.buffers.begin_tick();
        self.received_bytes = 0;
        self.take_pending(events);
        let busy = !events.is_empty() || !self.ready.is_empty() || self.can_accept();
        let unfinished = self.ready.len();
        let count = self.wait(if busy { Some(Duration::ZERO) } else { timeout }, events)?;
        if count > LIST_ENTRIES_KEPT {
            self.wait_on(count, events)?;
        }
        self.receive_unfinished(unfinished, events);
        self.accept(events);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        // Every operation ends with the socket.
        0
    }
}

/// The bits of a token that hold a slot number, or the number of a listener, of an attempt to connect or of the wake.
/// The rest is as much of the slot's generation as fits.
const INDEX_BITS: u32 = 25;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// The number of the first listener. Slots have smaller ones, because a worker has at most 2^24 connections.
const LISTENERS: usize = 1 << 24;
const WAKE: Token = Token(INDEX_MASK);

fn token(key: ConnKey) -> Token {
    Token((key.generation as usize) << INDEX_BITS | key.index as usize)
}

fn listener_token(listener: usize) -> Token {
    Token(LISTENERS + listener)
}

/// Registers a descriptor, once and for as long as it is open.
fn register(poll: &Poll, socket: &socket2::Socket, token: Token) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, system::RECEIVES)
}
