//! The io_uring driver: one ring that owns its listeners, its connections' sockets and its receive buffers. Needs Linux
//! 6.1.
//!
//! Sockets are direct descriptors where the kernel allows it (6.8): the slot in the ring's file table is the
//! connection's index. A slot is closed only when none of its operations is in flight, and reused only by a later
//! accept or socket, so the generation always distinguishes a completion from one of the slot's former connection.
//!
//! This module dispatches completions and closes slots. `ring` submits and reaps, `op` packs identities, `raw` builds
//! entries that the io-uring crate cannot, `slot` tracks the operations in flight, `buffers` owns the receive buffers,
//! `probe` tries the kernel's features; `accept`, `connect`, `receive`, `fill`, `watch`, `send`, `fd_install` and
//! `file` hold those operations.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockRef;

use super::{Capabilities, Driver, Event, Received};
use crate::config::UringConfig;
use crate::driver::listener::Listener;
use crate::driver::open_files;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::file_part::FileRead;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;
use crate::util::pieces::Pieces;

mod accept;
mod buffer_size_hint;
mod buffers;
mod connect;
mod fd_install;
mod file;
mod fill;
mod op;
mod probe;
mod raw;
mod receive;
mod ring;
mod send;
mod slot;
#[cfg(all(test, not(loom), not(miri)))]
mod tests;
mod watch;

use accept::Acceptor;
use buffers::BufferGroups;
use connect::Connects;
use file::Reads;
use op::{Op, Token, next_generation};
use probe::Features;

use ring::{Ring, WakeFd};
use send::Sends;
use slot::{Colds, NO_SEND, Slot, SlotState, WATCHING};

pub(crate) struct UringDriver {
    /// First, because fields are dropped in order: the ring ends before the memory that its operations name, which is
    /// in the fields below. `drop` leaks that memory where an operation may outlive the ring.
    ring: Ring,
    features: Features,
    capabilities: Capabilities,
    epoch: Instant,
    signal: Arc<Signal>,
    wake: Arc<WakeFd>,
    buffers: BufferGroups,
    slots: Pieces<Slot>,
    /// The descriptors of the slots, with regular descriptors only.
    sockets: Pieces<OwnedFd>,
    colds: Colds,
    /// Number of slots that are not `Free`.
    used: usize,
    acceptors: Vec<Acceptor>,
    connects: Connects,
    /// Free slot numbers, with regular descriptors only.
    free: Vec<u32>,
    sends: Sends,
    reads: Reads,
    /// Operations of connections and listeners that have not ended.
    in_flight: usize,
    completions: Vec<cqueue::Entry>,
}

/// Completions for which memory is kept after a burst.
const COMPLETIONS_KEPT: usize = 256;

/// The value of SO_LINGER that makes a close reset the connection.
static LINGER_RESET: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// Checks that io_uring works here, with a ring of this size and every needed feature.
///
/// # Errors
/// The reason why it does not.
pub(crate) fn check(config: &UringConfig) -> Result<(), String> {
    let config = config.clone();
    // On a separate thread, because the kernel interrupts the system calls of the owner when a ring ends.
    let thread = std::thread::Builder::new().spawn(move || try_ring(&config));
    let thread = thread.map_err(|error| format!("no thread to try a ring on: {error}"))?;
    thread.join().unwrap_or_else(|_| Err("the thread that tried a ring panicked".to_owned()))
}

fn try_ring(config: &UringConfig) -> Result<(), String> {
    let mut ring = Ring::new(config).map_err(|error| explain("io_uring_setup", &error))?;
    probe::probe(&mut ring, config, &Signal::new(|| {})).map(drop).map_err(|error| explain(FEATURES, &error))
}

/// The step at which each needed feature is tried.
const FEATURES: &str = "probing the required features";

/// Says why a step of setting up a ring failed, with the limit to raise.
fn explain(step: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            format!("io_uring: {step} is forbidden here (seccomp profile or sysctl): {error}")
        }
        Some(libc::ENOMEM) => {
            format!("io_uring: the locked-memory limit (ulimit -l) is too low for the rings: {step} failed: {error}")
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            format!("io_uring: the open-file limit (ulimit -n) is too low for the rings: {step} failed: {error}")
        }
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) if step == FEATURES => {
            format!("io_uring lacks a required feature here; Linux 6.1 has all of them: {error}")
        }
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => {
            format!("io_uring is missing or too old here; Linux 6.1 or later is required: {step} failed: {error}")
        }
        _ => format!("io_uring: {step} failed: {error}"),
    }
}

impl UringDriver {
    /// Sets up the ring of the current thread, the only one that may use it. `regular_max` bounds the connections that
    /// take a descriptor of the process.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub(crate) fn new(
        config: &UringConfig,
        connections_max: usize,
        regular_max: usize,
        listeners: Vec<Listener>,
        epoch: Instant,
    ) -> Result<Self, String> {
        let failed = |step| move |error| explain(step, &error);
        let wake = Arc::new(WakeFd::new().map_err(failed("eventfd"))?);
        let waker = Arc::clone(&wake);
        let signal = Signal::new(move || waker.wake());
        // Before the ring, so that an error below drops them after it.
        let buffers = BufferGroups::new(config, &signal).map_err(failed("mapping receive buffers"))?;
        let mut ring = Ring::new(config).map_err(failed("io_uring_setup"))?;
        // SAFETY: the ring is dropped first, here and in the driver. Receives are in flight only in the driver, whose
        // `drop` leaks the buffers if they still are.
        unsafe { buffers.register(&ring).map_err(failed("registering receive buffers"))? };
        let features = probe::probe(&mut ring, config, &signal).map_err(failed(FEATURES))?;
        let connections_max = match features.direct_descriptors {
            true => register_files(&ring, connections_max).map_err(failed("registering a file table"))?,
            false => connections_max.min(regular_max),
        };
        let names = features.names();
        let summary = if names.is_empty() { "io_uring".to_owned() } else { format!("io_uring ({})", names.join(", ")) };
        let mut driver = Self {
            ring,
            features,
            capabilities: Capabilities {
                summary,
                receive_budget: features.receive_budget,
                unarmed_is_quiet: true,
                connections_max,
            },
            epoch,
            signal,
            wake,
            buffers,
            slots: Pieces::default(),
            sockets: Pieces::default(),
            colds: Colds::default(),
            used: 0,
            acceptors: listeners.into_iter().map(Acceptor::new).collect(),
            connects: Connects::default(),
            free: Vec::new(),
            sends: Sends::default(),
            reads: Reads::default(),
            in_flight: 0,
            completions: Vec::new(),
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn arm_wake(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.wake.raw()), libc::POLLIN as u32).multi(true).build();
        // SAFETY: the eventfd is owned by `self.wake`, which outlives the ring: fields are dropped in order, the ring
        // first.
        unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Wake, 0).pack())) };
    }

    /// Queues an operation of `key`'s socket.
    ///
    /// # Safety
    /// As [`Ring::push`]; the descriptor itself is kept open by the slot, which is closed only when nothing is in
    /// flight.
    unsafe fn push(&mut self, token: Token, entry: squeue::Entry) {
        let entry = raw::fixed(entry, self.features.direct_descriptors).user_data(token.pack());
        // SAFETY: guaranteed by the caller.
        unsafe { self.ring.push(&entry) };
        self.in_flight += 1;
    }

    /// Queues a receive into provided buffers, without end or with a budget of bytes, or of one buffer where the kernel
    /// has no budgets.
    fn push_receive(&mut self, token: Token, fd: i32, large: bool, budget: Option<u32>) {
        let (fd, group) = (types::Fd(fd), BufferGroups::group_id(large));
        let entry = match budget {
            Some(budget) if self.features.receive_budget => raw::receive_multi_with_budget(fd, group, budget),
            // One buffer.
            Some(_) => opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            None => opcode::RecvMulti::new(fd, group).build(),
        };
        // SAFETY: names no memory but the group's buffers, which `self.buffers` keeps as long as the ring. `raw::fixed`
        // keeps the flags already set.
        unsafe { self.push(token, entry) };
    }

    fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.pack()).build();
        // SAFETY: a cancellation names no memory.
        unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Ignore, 0).pack())) };
    }

    fn dispatch(&mut self, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let Some(token) = Token::unpack(completion.user_data()) else {
            debug_assert!(false, "a completion with an unknown token: {:#x}", completion.user_data());
            return;
        };
        match token.op {
            Op::Ignore => return,
            Op::Wake => {
                if !cqueue::more(completion.flags()) {
                    self.arm_wake();
                }
                return;
            }
            _ => {}
        }
        if !cqueue::more(completion.flags()) {
            self.in_flight -= 1;
        }
        match token.op {
            Op::Accept => self.on_accept(token, completion, events),
            Op::PeerName => self.on_peer_name(token.key, completion.result(), events),
            Op::Receive | Op::ReceiveLarge => self.on_receive(token, completion, events),
            Op::MemoryFill => self.on_fill(token, completion.result(), events),
            Op::Watch => self.on_watch(token.key, completion, events),
            Op::Send => self.on_send(token.key, completion.result(), events),
            Op::SendFile => self.on_send_file(token, completion.result(), events),
            Op::ReadFile => self.on_read_file(token.key, completion.result()),
            Op::Install => self.on_install(token.key, completion.result(), events),
            Op::Shutdown => self.on_shutdown(token.key),
            Op::InstallToShutDown => self.on_install_to_shut_down(token.key, completion.result()),
            Op::Close => self.on_close(token.key, events),
            Op::Connect => self.on_connect(token.key.index, completion.result(), events),
            Op::Ignore | Op::Wake => {}
        }
    }

    /// Submits the close of an ending slot once none of its operations is in flight.
    fn advance_close(&mut self, key: ConnKey) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key) else { return };
        if slot.state != SlotState::Ending || slot.is_busy() {
            return;
        }
        slot.state = SlotState::Closing;
        let entry = match (direct, self.sockets.take(key.index)) {
            (true, _) => opcode::Close::new(types::Fixed(key.index)).build(),
            (false, Some(socket)) => opcode::Close::new(types::Fd(socket.into_raw_fd())).build(),
            (false, None) => opcode::Nop::new().build(),
        };
        // SAFETY: the slot owned the descriptor, and nothing else of it is in flight or will be.
        unsafe { self.ring.push(&entry.user_data(Token::new(Op::Close, key).pack())) };
        self.in_flight += 1;
    }

    /// Ends what the slots of an ended ring still hold: tasks are answered, regular descriptors closed.
    fn close_slots(&mut self) {
        for task in self.colds.take_all_fd_tasks() {
            task(Err(io::ErrorKind::NotConnected.into()));
        }
        drop(std::mem::take(&mut self.sockets));
    }

    fn on_close(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key) else { return };
        slot.release(next_generation(key.generation));
        let attempt = self.colds.remove(key.index);
        self.used -= 1;
        if !direct {
            self.free.push(key.index);
        }
        events.push(match attempt {
            None => Event::Closed { key },
            Some(attempt) => self.connects.fail(attempt),
        });
    }
}

/// Registers a file table of `wanted` slots, or of as many as the open-file limit allows.
fn register_files(ring: &Ring, wanted: usize) -> io::Result<usize> {
    let slots = wanted.min(op::INDEX_MAX as usize).min(open_files::limit());
    ring.submitter().register_files_sparse(slots as u32)?;
    Ok(slots)
}

/// Most operations are inherent methods of the same name, in the file of their kind.
impl Driver for UringDriver {
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
        self.connect(attempt, request)
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
        self.shutdown_write(key);
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let direct = self.features.direct_descriptors;
        if reset && !direct {
            // At once, because the ring's operation is newer (Linux 6.7) than rings with regular descriptors.
            let set = |socket: io::Result<SockRef<'_>>| drop(socket.map(|s| s.set_linger(Some(Duration::ZERO))));
            self.with_socket(key, Box::new(set));
        }
        let fd = self.fd(key);
        let Some(slot) = self.slot(key).filter(|slot| slot.state == SlotState::Open) else { return };
        slot.state = SlotState::Ending;
        let (send, receive, receiving) = (slot.send, slot.receive_token(key), slot.receiving);
        let watching = slot.flags.has(WATCHING);
        if reset && direct {
            let value = std::ptr::from_ref(&LINGER_RESET).cast();
            let (level, option) = (libc::SOL_SOCKET as u32, libc::SO_LINGER as u32);
            let entry = opcode::SetSockOpt::new(types::Fd(fd), level, option, value, size_of::<libc::linger>() as u32);
            let entry = raw::fixed(entry.build(), direct);
            // SAFETY: the option's value is static.
            unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Ignore, 0).pack())) };
        }
        if reset && send != NO_SEND {
            self.cancel(Token::new(Op::Send, key));
            self.cancel(file::writable_token(key));
        }
        if receiving {
            self.cancel(receive);
        }
        if watching {
            self.cancel(Token::new(Op::Watch, key));
        }
        self.advance_close(key);
    }

    fn read_file(&mut self, read: FileRead) {
        self.read_file(read);
    }

    fn with_socket(&mut self, key: ConnKey, task: SocketTask) {
        self.with_socket(key, task);
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
        self.buffers.buffers_free_or_notify()
    }

    fn trim(&mut self) -> bool {
        self.completions.shrink_to(COMPLETIONS_KEPT);
        if !self.ring.is_reaped() {
            return true;
        }
        // SAFETY: every completion has been reaped. The kernel processes the ring's operations only while this thread
        // enters it (DEFER_TASKRUN): sockets are polled, so no receive is handed to a kernel thread.
        unsafe { self.buffers.trim() }
    }

    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.buffers.publish();
        self.ring.enter(timeout)?;
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        for completion in &completions {
            self.dispatch(completion, events);
        }
        completions.clear();
        self.completions = completions;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        self.close_slots();
        if self.in_flight == 0 {
            return;
        }
        // A worker ends its operations before it ends, so this happens only after a panic or a failed start. The kernel
        // can still write to receive buffers and read from batches, so both stay allocated.
        log::error!("a ring was dropped with {} operations in flight; their memory is leaked", self.in_flight);
        self.buffers.leak();
        self.sends.leak();
        self.reads.leak();
        self.connects.leak();
        self.colds.leak();
        for acceptor in &mut self.acceptors {
            acceptor.leak();
        }
    }
}
