//! The driver in memory: clients in this process and a clock that stands still, for tests of applications.
//!
//! The worker, its timers and its handlers are those of every other driver, on a thread of their own. A test's thread
//! holds the clients' ends. It writes and reads bytes, moves the clock, and waits until the worker has nothing left to
//! do; meanwhile it does nothing itself, so the order of events is the same in each run. Both directions of a
//! connection have a bounded window, as sockets have.
//!
//! [`Network`](network::Network) is what the two threads share, `wire` one connection in it, `slot` the worker's
//! operations on a connection.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Accepted, Capabilities, Connected, Driver, Event, Received};
use crate::address::Address;
use crate::clock::Clock;
use crate::clock::simulated::SimulatedTime;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::file_part::FileRead;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;

pub(crate) mod network;
mod slot;
mod wire;

use network::State;
pub(crate) use network::{Idle, Network, NotIdle};
use slot::Slot;
pub(crate) use wire::Ended;

pub(crate) struct MemoryDriver {
    network: Arc<Network>,
    time: SimulatedTime,
    capabilities: Capabilities,
    signal: Arc<Signal>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    accepting: Accepting,
    /// Batches that have been sent or given up. Dropping one can run code of the application, so it happens without the
    /// network's lock.
    done: Vec<SendBatch>,
    /// Events for the next `enter`.
    pending: Vec<Event>,
}

/// ```text
///   Idle ── arm ──▶ Armed ── close_listeners ──▶ Ending ──▶ Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Idle,
    Armed,
    Ending,
    Closed,
}

impl MemoryDriver {
    pub(crate) fn new(network: Arc<Network>, connections_max: usize) -> Self {
        let wakes = Arc::clone(&network);
        Self {
            time: network.time(),
            network,
            capabilities: Capabilities {
                summary: "memory".to_owned(),
                receive_budget: true,
                unarmed_is_quiet: false,
                connections_max,
            },
            signal: Signal::new(move || wakes.wake()),
            slots: Vec::new(),
            free: Vec::new(),
            accepting: Accepting::Idle,
            done: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Moves what can be moved. Returns whether that was anything.
    fn step(&mut self, state: &mut State, events: &mut Vec<Event>) -> bool {
        let mut moved = self.step_accept(state, events);
        for slot in &mut self.slots {
            moved |= slot.step(state, &mut self.done, events);
            if slot.has_closed() {
                self.free.push(slot.release());
            }
        }
        moved
    }

    fn step_accept(&mut self, state: &mut State, events: &mut Vec<Event>) -> bool {
        let mut moved = false;
        while self.accepting == Accepting::Armed
            && self.has_slot()
            && let Some((wire, peer, local)) = state.accept()
        {
            let key = self.open_slot(wire);
            events.push(Event::Accepted(Box::new(Accepted { key, listener: 0, peer, local })));
            moved = true;
        }
        if self.accepting == Accepting::Ending || (self.accepting == Accepting::Armed && !self.has_slot()) {
            let closed = self.accepting == Accepting::Ending;
            self.accepting = if closed { Accepting::Closed } else { Accepting::Idle };
            events.push(Event::AcceptEnded { listener: 0, error: None });
            moved = true;
        }
        moved
    }

    fn has_slot(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.capabilities.connections_max
    }

    fn open_slot(&mut self, wire: u64) -> ConnKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::new(self.slots.len() as u32));
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize].open(wire)
    }

    fn slot(&mut self, key: ConnKey) -> &mut Slot {
        let slot = &mut self.slots[key.index as usize];
        debug_assert_eq!(slot.key(), key, "an operation on the slot's former connection");
        slot
    }
}

impl Driver for MemoryDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    fn elapsed(&self) -> Duration {
        self.time.elapsed()
    }

    fn clock(&self, epoch: Instant) -> Clock {
        Clock::simulated(epoch, self.time.clone())
    }

    fn arm_accept(&mut self, _listener: usize) -> bool {
        if !self.has_slot() {
            return false;
        }
        self.accepting = Accepting::Armed;
        true
    }

    fn close_listeners(&mut self) {
        self.accepting = if self.accepting == Accepting::Armed { Accepting::Ending } else { Accepting::Closed };
        self.network.lock().close_listener();
    }

    /// Connects to the test, if that plays the servers of its handlers.
    fn connect(&mut self, attempt: u32, request: Box<ConnectRequest>) -> Result<(), ConnectFailure> {
        let peer = Address::from_name(&request.address);
        if !self.has_slot() {
            return Err(ConnectFailure::Full);
        }
        let wire = self.network.lock().connect_out(peer).ok_or(ConnectFailure::Errno(libc::EOPNOTSUPP))?;
        let connected = Connected { key: self.open_slot(wire), peer, local: peer.unspecified() };
        self.pending.push(Event::Connected { attempt, result: Ok(Box::new(connected)) });
        Ok(())
    }

    fn cancel_connect(&mut self, _attempt: u32) {}

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        self.slot(key).arm_receive(budget);
    }

    fn cancel_receive(&mut self, key: ConnKey) {
        self.slot(key).cancel_receive();
    }

    fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        self.slot(key).fill(fill);
    }

    fn watch_end(&mut self, key: ConnKey, fin: bool) {
        self.slot(key).watch_end(fin);
    }

    fn send(&mut self, key: ConnKey, mut batch: SendBatch) {
        match batch.load_file() {
            Ok(()) => self.slot(key).send(batch),
            Err(error) => self.pending.push(Event::FileFailed { key, error }),
        }
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        self.slot(key).shutdown_write();
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        drop(self.slot(key).close(reset));
    }

    /// Reads at once: the worker would seem to have nothing to do while another thread reads.
    fn read_file(&mut self, read: FileRead) {
        read.run();
    }

    fn with_socket(&mut self, _key: ConnKey, task: SocketTask) {
        task(Err(io::Error::new(io::ErrorKind::Unsupported, "a connection of a test has no socket")));
    }

    fn ask_acknowledged(&mut self, key: ConnKey, answer: Box<dyn FnOnce(Option<u64>) + Send>) {
        answer(Some(self.slot(key).sent_bytes()));
    }

    fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8] {
        match received {
            Received::Owned(bytes) => bytes,
            Received::Buffer { .. } => &mut [],
        }
    }

    fn lease(&mut self, received: Received) -> Chunk {
        match received {
            Received::Owned(bytes) => Chunk::from(bytes),
            Received::Buffer { .. } => Chunk::from(Vec::new()),
        }
    }

    fn recycle(&mut self, received: Received) {
        drop(received);
    }

    fn buffers_free_or_notify(&mut self) -> usize {
        1
    }

    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.done.clear();
        events.append(&mut self.pending);
        let network = Arc::clone(&self.network);
        let mut state = network.lock();
        let limit = timeout.map(|timeout| self.time.elapsed().saturating_add(timeout));
        loop {
            while self.step(&mut state, events) {}
            let woken = mem::take(&mut state.woken);
            if !events.is_empty() || woken || timeout == Some(Duration::ZERO) {
                state.turns += 1;
                return Ok(());
            }
            match limit {
                Some(limit) if limit <= state.until => {
                    self.time.set(limit);
                    state.turns += 1;
                    return Ok(());
                }
                _ => self.time.set(self.time.elapsed().max(state.until)),
            }
            state = network.rest(state);
            if !self.done.is_empty() {
                drop(state);
                self.done.clear();
                state = network.lock();
            }
        }
    }

    fn in_flight(&self) -> usize {
        let accepting = usize::from(matches!(self.accepting, Accepting::Armed | Accepting::Ending));
        accepting + self.pending.len() + self.slots.iter().map(Slot::in_flight).sum::<usize>()
    }
}

impl Drop for MemoryDriver {
    fn drop(&mut self) {
        self.network.lock().end();
        self.network.notify();
    }
}
