//! The simulated driver: a kernel, a network and peers in memory, for tests of a whole worker.
//!
//! Everything runs on the test's thread, in the test's own time, and one seed decides every choice: how bytes are cut,
//! when and in which order completions appear, which receives end early or find no buffer, how cancellations race with
//! data. Waiting costs nothing: if nothing can happen before the worker's timeout, the clock jumps to it. If nothing
//! can ever happen, the test fails, because the worker has lost a wake.
//!
//! The driver checks the worker's half of the [`Driver`] contract as it goes: one receive and one send at a time, no
//! operation on a closed connection, nothing after FIN, each buffer given back once, each connection closed once.
//!
//! [`Net`] is the test's side; `slot` holds a ring's work for one connection, `peer` its far end and the socket buffers
//! in between, `pool` the receive buffers, `accept` and `connect` the ways in which connections come about.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Capabilities, Driver, Event, HELD_BYTES, Received};
use crate::address::Address;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;

mod accept;
mod connect;
mod peer;
mod pool;
mod slot;

use accept::Accepting;
pub(crate) use connect::Answer;
use connect::Attempts;
pub(crate) use peer::{Ending, Peer, Saw, Script};
use pool::Pool;
use slot::{Slot, SlotState};

/// The simulated kernel.
#[derive(Clone, Debug)]
pub(crate) struct SimConfig {
    pub(crate) seed: u64,
    /// Nothing is delayed, cut or fails by chance; for tests of exact times.
    pub(crate) calm: bool,
    /// Memory is short now and then: entering the driver fails, and so does taking on a connection.
    pub(crate) short_of_memory: bool,
    pub(crate) receive_budget: bool,
    pub(crate) unarmed_is_quiet: bool,
    /// The kernel reports how much a peer has acknowledged.
    pub(crate) acknowledges: bool,
    pub(crate) buffers: u16,
    pub(crate) buffer_bytes: usize,
    pub(crate) connections_max: usize,
}

/// The seeded choices of a run.
pub(crate) struct Luck {
    random: fastrand::Rng,
    calm: bool,
}

impl Luck {
    /// Returns whether a possible event happens in this step.
    fn now(&mut self, force: bool) -> bool {
        force || self.calm || self.random.bool()
    }

    /// Returns whether a fault happens, once in `times`.
    fn fault(&mut self, times: u32) -> bool {
        !self.calm && self.random.u32(..times) == 0
    }

    /// Returns how many of `most` bytes (at least one) move together.
    fn piece(&mut self, most: usize) -> usize {
        if self.calm || most == 1 { most } else { self.random.usize(1..=most) }
    }

    fn pause(&mut self, longest: Duration) -> Duration {
        if self.calm { longest } else { longest.mul_f64(self.random.f64()) }
    }
}

/// The network and the clock, shared by the driver and the test.
pub(crate) struct Net {
    luck: Luck,
    now: Duration,
    /// The same time for handlers, which must be `Send`; in nanoseconds.
    clock: Arc<AtomicU64>,
    pub(crate) peers: Vec<Peer>,
    /// Peers that have not been accepted, in order.
    backlog: VecDeque<usize>,
    /// The answers of the peers that are servers, by peer.
    answers: HashMap<usize, Answer>,
    /// Errors of the next calls of [`Driver::enter`].
    pub(crate) enter_errors: VecDeque<i32>,
    /// The number of calls of [`Driver::enter`] after which every further one fails for good.
    pub(crate) enters_left: usize,
    /// Clients that were accepted and then closed, because nothing could be set up for them.
    pub(crate) refused: u64,
}

impl Net {
    pub(crate) fn new(config: &SimConfig) -> Rc<RefCell<Self>> {
        let luck = Luck { random: fastrand::Rng::with_seed(config.seed), calm: config.calm };
        let clock = Arc::new(AtomicU64::new(0));
        Rc::new(RefCell::new(Self {
            luck,
            now: Duration::ZERO,
            clock,
            peers: Vec::new(),
            backlog: VecDeque::new(),
            answers: HashMap::new(),
            enter_errors: VecDeque::new(),
            enters_left: usize::MAX,
            refused: 0,
        }))
    }

    /// Adds a peer that connects at its script's time. Returns its number, which is the port of its address.
    pub(crate) fn connect(&mut self, script: Script) -> usize {
        let number = self.add(script);
        self.backlog.push_back(number);
        number
    }

    fn add(&mut self, script: Script) -> usize {
        self.peers.push(Peer::new(script));
        self.peers.len() - 1
    }

    /// Makes a peer send further bytes at the given time.
    pub(crate) fn say(&mut self, peer: usize, bytes: &[u8], at: Duration) {
        self.peers[peer].say(bytes, at);
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn advance_to(&mut self, now: Duration) {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
        self.clock.store(now.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Lets time pass in which only the peers run: our process stands still.
    pub(crate) fn stand_still(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.next_act().filter(|&at| at <= end) {
            self.advance_to(at);
            for peer in &mut self.peers {
                peer.step(self.now, &mut self.luck, true);
            }
        }
        self.advance_to(end);
    }

    /// Returns the error of this call of [`Driver::enter`].
    fn take_enter_error(&mut self, short_of_memory: bool) -> io::Result<()> {
        let planned = self.enter_errors.pop_front();
        let errno = if self.enters_left == 0 {
            Some(EPERM)
        } else {
            self.enters_left -= 1;
            planned.or_else(|| (short_of_memory && self.luck.fault(10)).then_some(ENOMEM))
        };
        errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Lets a random time pass.
    fn pass(&mut self, most: Duration) {
        if !self.luck.calm {
            let pause = self.luck.pause(most);
            self.advance_to(self.now + pause);
        }
    }

    /// Returns the number of the peer with a reported address.
    pub(crate) fn peer_of(address: Address) -> usize {
        usize::from(address.ip().expect("simulated peers have socket addresses").port())
    }

    /// Lets the peers act until none has anything left to do, so that everything in transit arrives.
    pub(crate) fn settle(&mut self) {
        while let Some(at) = self.peers.iter().filter_map(|peer| peer.next_act(self.now)).min() {
            self.advance_to(at.max(self.now));
            for peer in &mut self.peers {
                peer.step(self.now, &mut self.luck, true);
            }
        }
    }

    /// Returns the next time at which a peer acts by itself.
    fn next_act(&self) -> Option<Duration> {
        let arriving = self.backlog.front().map(|&number| self.peers[number].starts_at());
        self.peers.iter().filter_map(|peer| peer.next_act(self.now)).chain(arriving).filter(|&at| at > self.now).min()
    }
}

/// Another simulated thread, which runs while the worker waits.
pub(crate) trait Neighbour {
    /// Does a step of work. Returns false if it sleeps.
    fn step(&mut self) -> bool;
}

pub(crate) struct SimDriver {
    net: Rc<RefCell<Net>>,
    capabilities: Capabilities,
    signal: Arc<Signal>,
    woken: Arc<AtomicBool>,
    neighbour: Option<Box<dyn Neighbour>>,
    slots: Vec<Slot>,
    /// Free slots. The last freed is used next, so that late completions of its former connection would show.
    free: Vec<u32>,
    pool: Pool,
    accepting: Accepting,
    attempts: Attempts,
    acknowledges: bool,
    short_of_memory: bool,
}

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOMEM: i32 = 12;

/// Number of steps without effect after which the next step does everything possible.
const LAZY_STEPS_MAX: usize = 4;

/// Maximum duration of a worker's tick, outside calm runs.
const BUSY_MAX: Duration = Duration::from_micros(500);

/// Maximum steps of one wait, far more than any scenario needs.
const STEPS_MAX: usize = 1_000_000;

impl SimDriver {
    pub(crate) fn new(config: &SimConfig, net: Rc<RefCell<Net>>) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&woken);
        let signal = Signal::new(move || wake.store(true, Ordering::SeqCst));
        Self {
            net,
            capabilities: Capabilities {
                summary: "simulation".to_owned(),
                receive_budget: config.receive_budget,
                unarmed_is_quiet: config.unarmed_is_quiet,
                connections_max: config.connections_max,
            },
            pool: Pool::new(config.buffers, config.buffer_bytes, Arc::clone(&signal)),
            signal,
            woken,
            neighbour: None,
            slots: Vec::new(),
            free: (0..config.connections_max as u32).rev().collect(),
            accepting: Accepting::Idle,
            attempts: Attempts::default(),
            acknowledges: config.acknowledges,
            short_of_memory: config.short_of_memory,
        }
    }

    /// Adds another thread (that of the handlers), which runs while the worker waits.
    pub(crate) fn set_neighbour(&mut self, neighbour: impl Neighbour + 'static) {
        self.neighbour = Some(Box::new(neighbour));
    }

    /// Lets the neighbour do a step while the worker does not wait. Returns false if it sleeps.
    pub(crate) fn step_neighbour(&mut self) -> bool {
        self.neighbour.as_mut().is_some_and(|neighbour| neighbour.step())
    }

    /// Checks that an ended worker left nothing behind.
    pub(crate) fn assert_idle(&self) {
        assert!(self.slots.iter().all(|slot| slot.state == SlotState::Free), "a slot is still open");
        assert_eq!(self.in_flight(), 0, "operations in flight");
    }

    /// Returns whether a slot is free that no attempt to connect will take.
    fn has_room(&self) -> bool {
        self.free.len() > self.attempts.count()
    }

    /// Opens a free slot for a connection with a peer.
    fn open(&mut self, net: &mut Net, peer: usize) -> ConnKey {
        let index = self.free.pop().expect("a slot is free");
        while self.slots.len() <= index as usize {
            self.slots.push(Slot::new(self.slots.len() as u32));
        }
        net.peers[peer].connected(net.now);
        self.slots[index as usize].open(peer)
    }

    fn open_slot(&mut self, key: ConnKey, call: &str) -> &mut Slot {
        let slot = &mut self.slots[key.index as usize];
        assert_eq!(slot.key(), key, "{call} on a slot's former connection");
        assert_eq!(slot.state, SlotState::Open, "{call} on a closed connection");
        slot
    }

    /// Lets everything do a step, or with `force` everything possible. Returns whether anything happened.
    fn step(&mut self, force: bool, events: &mut Vec<Event>) -> bool {
        let net = Rc::clone(&self.net);
        // The neighbour's code also borrows the net, so it runs while that is not borrowed.
        let runs = net.borrow_mut().luck.now(force);
        let mut moved = runs && self.neighbour.as_mut().is_some_and(|neighbour| neighbour.step());
        let net = &mut *net.borrow_mut();
        moved |= self.step_accept(net, force, events);
        moved |= self.step_connects(net, force, events);
        moved |= self.pool.step(&mut net.luck, force);
        let count = self.slots.len();
        let start = if net.luck.calm { 0 } else { net.luck.random.usize(..=count) };
        for number in start..start + count {
            let slot = &mut self.slots[number % count];
            let Some(peer) = slot.peer().map(|number| &mut net.peers[number]) else { continue };
            moved |= slot.step(peer, &mut self.pool, &mut net.luck, net.now, force, events);
            if slot.state == SlotState::Free {
                self.free.push(slot.key().index);
            }
        }
        for peer in &mut net.peers {
            moved |= peer.step(net.now, &mut net.luck, force);
        }
        moved
    }
}

impl Driver for SimDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    fn elapsed(&self) -> Duration {
        self.net.borrow().now
    }

    fn arm_accept(&mut self, _listener: usize) -> bool {
        assert!(!matches!(self.accepting, Accepting::Ending | Accepting::Closed), "accepting on a closed listener");
        if !self.has_room() {
            return false;
        }
        self.accepting = Accepting::Armed;
        true
    }

    fn close_listeners(&mut self) {
        self.accepting = match self.accepting {
            Accepting::Armed => Accepting::Ending,
            Accepting::Idle => Accepting::Closed,
            Accepting::Ending | Accepting::Closed => panic!("listeners are closed once"),
        };
    }

    fn connect(&mut self, attempt: u32, request: Box<ConnectRequest>) -> Result<(), ConnectFailure> {
        self.connect(attempt, &request)
    }

    fn cancel_connect(&mut self, attempt: u32) {
        self.attempts.cancel(attempt);
    }

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        let is_known = self.capabilities.receive_budget || budget.is_none_or(|budget| budget <= HELD_BYTES);
        assert!(is_known, "a budget that this kernel does not support");
        assert_ne!(budget, Some(0), "a budget of nothing would never end");
        self.open_slot(key, "arm_receive").arm_receive(budget);
    }

    fn cancel_receive(&mut self, key: ConnKey) {
        self.open_slot(key, "cancel_receive").cancel_receive();
    }

    fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        self.open_slot(key, "fill").fill(fill);
    }

    fn watch_end(&mut self, key: ConnKey, fin: bool) {
        self.open_slot(key, "watch_end").watch_end(fin);
    }

    fn send(&mut self, key: ConnKey, batch: SendBatch) {
        self.open_slot(key, "send").send(batch);
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        let net = Rc::clone(&self.net);
        let slot = self.open_slot(key, "shutdown_write");
        slot.shutdown_write(&mut net.borrow_mut().peers);
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        self.open_slot(key, "close");
        self.slots[key.index as usize].close(reset, &mut self.pool);
    }

    fn with_socket(&mut self, _key: ConnKey, task: SocketTask) {
        task(Err(io::ErrorKind::Unsupported.into()));
    }

    fn ask_acknowledged(&mut self, key: ConnKey, answer: Box<dyn FnOnce(Option<u64>) + Send>) {
        let peer = self.open_slot(key, "ask_acknowledged").peer().filter(|_| self.acknowledges);
        answer(peer.map(|number| self.net.borrow().peers[number].acknowledged()));
    }

    fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8] {
        self.pool.view(received)
    }

    fn lease(&mut self, received: Received) -> Chunk {
        Chunk::from(self.pool.lease(received))
    }

    fn recycle(&mut self, received: Received) {
        self.pool.recycle(&received);
    }

    fn buffers_free_or_notify(&mut self) -> usize {
        self.pool.buffers_free_or_notify(&mut self.net.borrow_mut().luck)
    }

    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.net.borrow_mut().take_enter_error(self.short_of_memory)?;
        let limit = timeout.map(|timeout| self.net.borrow().now + timeout);
        self.net.borrow_mut().pass(BUSY_MAX);
        let mut lazy = 0;
        for _ in 0..STEPS_MAX {
            let moved = self.step(lazy >= LAZY_STEPS_MAX, events);
            let woken = self.woken.swap(false, Ordering::SeqCst);
            let mut net = self.net.borrow_mut();
            if timeout == Some(Duration::ZERO) || woken || (!events.is_empty() && net.luck.now(false)) {
                return Ok(());
            }
            if moved {
                lazy = 0;
            } else if lazy < LAZY_STEPS_MAX {
                lazy += 1;
            } else if !events.is_empty() {
                return Ok(());
            } else {
                // Nothing can happen at this time, so the clock jumps to the next time at which something does.
                let next = [net.next_act(), self.attempts.next_due(net.now), limit].into_iter().flatten().min();
                let Some(next) = next else { panic!("the worker would sleep for ever: a wake was lost") };
                let next = next.max(net.now);
                net.advance_to(next);
                if limit.is_some_and(|limit| limit <= next) {
                    return Ok(());
                }
            }
        }
        panic!("one wait took {STEPS_MAX} steps");
    }

    fn in_flight(&self) -> usize {
        let accepting = usize::from(matches!(self.accepting, Accepting::Armed | Accepting::Ending));
        accepting + self.attempts.count() + self.slots.iter().map(Slot::in_flight).sum::<usize>()
    }
}
