//! The state that the worker and the test share: the connections, the clock, and their waits for each other.
//!
//! ```text
//!   test                                   worker
//!   changes something, asks ──────────────▶ leaves its rest, works
//!   waits until it is answered ◀─────────── rests: everything is done up to the time allowed
//! ```
//!
//! Threads besides these two, such as those of a runtime, can wake the worker while the test does not wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{Ended, Wire};
use crate::address::Address;
use crate::clock::Clock;
use crate::clock::simulated::SimulatedTime;

pub(crate) struct Network {
    state: Mutex<State>,
    changed: Condvar,
    time: SimulatedTime,
}

/// The state of both sides. A worker that rests has looked at all of it.
pub(crate) struct State {
    pub(super) window_bytes: usize,
    pub(super) receive_bytes_max: usize,
    wires: HashMap<u64, Wire>,
    next_wire: u64,
    /// Connections that wait to be accepted.
    backlog: VecDeque<u64>,
    /// Connections that handlers have opened and the test has not taken, with their targets. `None` if the test plays
    /// no servers.
    outgoing: Option<VecDeque<(Address, u64)>>,
    /// The time up to which the worker lets the clock run.
    pub(super) until: Duration,
    /// Something was queued for the worker while it slept.
    pub(super) woken: bool,
    /// Number of times that the worker has left its rest.
    pub(super) turns: u64,
    /// Number of questions whether the worker rests, and of the last one that it has answered.
    asked: u64,
    answered: u64,
    listens: bool,
    ended: bool,
}

/// The worker has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Until something wakes it. It has left its rest this number of times.
    Resting(u64),
    /// It has ended.
    Ended,
}

/// The worker did not rest in time: a handler holds its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotIdle;

impl Network {
    pub(crate) fn new(window_bytes: usize, receive_bytes_max: usize, outgoing: bool) -> Arc<Self> {
        let state = State {
            window_bytes,
            receive_bytes_max,
            wires: HashMap::new(),
            next_wire: 0,
            backlog: VecDeque::new(),
            outgoing: outgoing.then(VecDeque::new),
            until: Duration::ZERO,
            woken: false,
            turns: 0,
            asked: 0,
            answered: 0,
            listens: true,
            ended: false,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), time: SimulatedTime::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn time(&self) -> SimulatedTime {
        self.time.clone()
    }

    /// Ends the worker's rest, because something is queued for it.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.notify();
    }

    /// Lets the worker rest until something has changed, and answers the questions whether it does.
    pub(super) fn rest<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.answered = state.asked;
        self.notify();
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The test's side.
impl Network {
    /// Waits until the worker rests, in real time for at most `timeout`.
    pub(crate) fn run(&self, timeout: Duration) -> Result<Idle, NotIdle> {
        let mut state = self.lock();
        state.asked += 1;
        let asked = state.asked;
        self.notify();
        let busy = |state: &mut State| state.answered < asked && !state.ended;
        let (state, wait) =
            self.changed.wait_timeout_while(state, timeout, busy).unwrap_or_else(PoisonError::into_inner);
        match &*state {
            state if state.ended => Ok(Idle::Ended),
            _ if wait.timed_out() => Err(NotIdle),
            state => Ok(Idle::Resting(state.turns)),
        }
    }

    /// Waits in real time until the worker leaves the rest of this number. Returns false if it has not by `deadline`.
    pub(crate) fn await_turn(&self, turns: u64, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let rests = |state: &mut State| state.turns == turns && !state.ended;
        let waited = self.changed.wait_timeout_while(self.lock(), left, rests);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Allows the clock to run on for `duration`, rounded up to whole ticks and one more: a timeout of a connection
    /// counts from the tick after its start.
    pub(crate) fn advance(&self, duration: Duration) {
        let mut state = self.lock();
        let ticks = Clock::ticks_in(duration).saturating_add(1);
        let whole = Clock::since_epoch(ticks.min(u64::from(u32::MAX) << 8));
        state.until = state.until.max(self.time.elapsed()).saturating_add(whole);
        self.notify();
    }

    /// Adds a client that connects.
    pub(crate) fn connect(&self, peer: Address) -> u64 {
        let mut state = self.lock();
        let number = state.add_wire(peer);
        if state.listens {
            state.backlog.push_back(number);
        } else {
            state.close_server(number, true);
        }
        self.notify();
        number
    }

    /// Takes the next connection that a handler has opened, with its target.
    pub(crate) fn take_outgoing(&self) -> Option<(Address, u64)> {
        self.lock().outgoing.as_mut()?.pop_front()
    }

    /// Writes the client's bytes. Returns how many there was room for.
    pub(crate) fn write(&self, number: u64, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let window_bytes = state.window_bytes;
        let count = state.wire(number).map_or(0, |wire| wire.write(bytes, window_bytes));
        self.notify();
        count
    }

    /// Moves the bytes that have arrived at the client into `into`. Returns their number.
    pub(crate) fn read(&self, number: u64, into: &mut Vec<u8>) -> usize {
        let count = self.lock().wire(number).map_or(0, |wire| wire.read(into));
        self.notify();
        count
    }

    /// Returns the end of the connection, if everything before it is read.
    pub(crate) fn ended(&self, number: u64) -> Option<Ended> {
        self.lock().wire(number).map_or(Some(Ended::Reset), |wire| wire.ended())
    }

    /// Sends the client's FIN.
    pub(crate) fn finish(&self, number: u64) {
        if let Some(wire) = self.lock().wire(number) {
            wire.to_server.fin = true;
        }
        self.notify();
    }

    /// Resets the connection from the client's side.
    pub(crate) fn reset(&self, number: u64) {
        if let Some(wire) = self.lock().wire(number) {
            wire.client_reset = true;
        }
        self.notify();
    }

    /// Closes the client's socket.
    pub(crate) fn close(&self, number: u64) {
        let mut state = self.lock();
        if let Some(wire) = state.wire(number) {
            wire.close_client();
        }
        state.forget_if_over(number);
        self.notify();
    }

    /// Lets the clock run without a limit, for the end of the worker.
    pub(crate) fn let_run(&self) {
        self.lock().until = Duration::from_secs(1 << 32);
        self.notify();
    }
}

/// The worker's side.
impl State {
    pub(super) fn wire(&mut self, number: u64) -> Option<&mut Wire> {
        self.wires.get_mut(&number)
    }

    fn add_wire(&mut self, peer: Address) -> u64 {
        let number = self.next_wire;
        self.next_wire += 1;
        self.wires.insert(number, Wire::new(peer));
        number
    }

    /// Opens a connection from the worker's side; `None` if the test plays no servers.
    pub(super) fn connect_out(&mut self, target: Address) -> Option<u64> {
        self.outgoing.as_ref()?;
        let number = self.add_wire(target);
        self.outgoing.as_mut()?.push_back((target, number));
        Some(number)
    }

    /// Takes the next client that waits to be accepted, with the addresses of both ends.
    pub(super) fn accept(&mut self) -> Option<(u64, Address, Address)> {
        let number = self.backlog.pop_front()?;
        let peer = self.wires.get(&number)?.peer;
        Some((number, peer, local_address()))
    }

    pub(super) fn close_server(&mut self, number: u64, reset: bool) {
        if let Some(wire) = self.wire(number) {
            wire.close_server(reset);
        }
        self.forget_if_over(number);
    }

    /// Refuses the clients that wait, and those to come.
    pub(super) fn close_listener(&mut self) {
        self.listens = false;
        for number in std::mem::take(&mut self.backlog) {
            self.close_server(number, true);
        }
    }

    /// Resets what is left, because the worker ends.
    pub(super) fn end(&mut self) {
        self.close_listener();
        self.wires.values_mut().filter(|wire| !wire.server_closed).for_each(|wire| wire.close_server(true));
        self.ended = true;
    }

    fn forget_if_over(&mut self, number: u64) {
        if self.wires.get(&number).is_some_and(Wire::is_over) {
            self.wires.remove(&number);
        }
    }
}

/// The address that the server seems to listen on.
fn local_address() -> Address {
    Address::Ip(([127, 0, 0, 1], 80).into())
}
