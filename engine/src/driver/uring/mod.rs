//! The io_uring driver: one ring that owns its listener, its connections' sockets and its receive buffers.
//!
//! Accepted sockets are direct descriptors: the slot the kernel chose in the ring's file table is the connection's
//! index. A slot is closed only when none of its operations is in flight, and reused only by the kernel's next accept,
//! so a completion can always be told from one of the slot's former connection by its generation.
//!
//! This module decides which operations run; `ring` submits and reaps, `op` packs identities, `raw` builds what the
//! io-uring crate cannot, `buffers` owns the receive buffers, `receive` draws from them, `slot` says what is in flight, `accept`, `send` and `lend`
//! hold those operations.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};

use super::{Capabilities, Driver, Event, Received};
use crate::config::UringConfig;
use crate::driver::listener::Listener;
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;

mod accept;
mod buffer_size_hint;
mod buffers;
mod fd_install;
mod op;
mod probe;
mod raw;
mod receive;
mod ring;
mod send;
mod slot;

use accept::Acceptor;
use buffers::BufferGroups;
use op::{Op, Token, next_generation};
use probe::Features;

use ring::{Ring, WakeFd};
use send::Sends;
use slot::{NO_SEND, Slot, SlotState};

pub(crate) struct UringDriver {
    ring: Ring,
    features: Features,
    capabilities: Capabilities,
    epoch: Instant,
    signal: Arc<Signal>,
    wake: Arc<WakeFd>,
    buffers: BufferGroups,
    slots: Vec<Slot>,
    /// Slots in use, that is not `Free`.
    used: usize,
    acceptors: Vec<Acceptor>,
    /// Free slot numbers, where the kernel does not choose them.
    free: Vec<u32>,
    sends: Sends,
    /// Operations of connections and listeners that have not ended.
    in_flight: usize,
    completions: Vec<cqueue::Entry>,
    linger_reset: Box<libc::linger>,
}

/// Whether io_uring serves here: a ring of this size with everything that Linux 6.1 has.
///
/// # Errors
/// The reason, for people, if it does not.
pub(crate) fn check(config: &UringConfig) -> Result<(), String> {
    let config = config.clone();
    // On a thread of its own: when the kernel ends a ring it interrupts the system calls of the thread that owned it.
    let checked = std::thread::Builder::new().spawn(move || try_ring(&config));
    let checked =
        checked.map(|thread| thread.join().unwrap_or_else(|_| Err("the thread that tried a ring panicked".into())));
    checked.unwrap_or_else(|error| Err(format!("no thread to try a ring on: {error}")))
}

fn try_ring(config: &UringConfig) -> Result<(), String> {
    let mut ring = Ring::new(config).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => format!("io_uring_setup is forbidden here (seccomp profile or sysctl): {error}"),
        Some(libc::ENOMEM) => format!("the locked-memory limit (ulimit -l) is too low for a ring: {error}"),
        Some(libc::ENOSYS | libc::EINVAL) => format!("this kernel's io_uring is too old, Linux 6.1 is needed: {error}"),
        _ => format!("io_uring_setup failed: {error}"),
    })?;
    probe::probe(&mut ring, config, &Signal::new(|| {}))
        .map(drop)
        .map_err(|error| format!("an io_uring feature of Linux 6.1 is refused here: {error}"))
}

impl UringDriver {
    /// Sets up the ring of the present thread, which must be the only one to use it.
    pub(crate) fn new(
        config: &UringConfig,
        connections_max: usize,
        listeners: Vec<Listener>,
        epoch: Instant,
    ) -> io::Result<Self> {
        let mut ring = Ring::new(config)?;
        let wake = Arc::new(WakeFd::new()?);
        let waker = Arc::clone(&wake);
        let signal = Signal::new(move || waker.wake());
        let buffers = BufferGroups::new(&ring, config, &signal)?;
        let features = probe::probe(&mut ring, config, &signal)?;
        let connections_max =
            if features.direct_descriptors { register_files(&ring, connections_max)? } else { connections_max };
        let names = features.names();
        let summary = if names.is_empty() { "io_uring".to_owned() } else { format!("io_uring ({})", names.join(", ")) };
        let mut driver = Self {
            ring,
            features,
            capabilities: Capabilities { summary, receive_budget: features.receive_budget, connections_max },
            epoch,
            signal,
            wake,
            buffers,
            slots: Vec::new(),
            used: 0,
            acceptors: listeners.into_iter().map(Acceptor::new).collect(),
            free: Vec::new(),
            sends: Sends::default(),
            in_flight: 0,
            completions: Vec::new(),
            linger_reset: Box::new(libc::linger { l_onoff: 1, l_linger: 0 }),
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn arm_wake(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.wake.raw()), libc::POLLIN as u32).multi(true).build();
        // SAFETY: the eventfd is owned by `self.wake`, which outlives the ring (see `drop`).
        unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Wake, 0).pack())) };
    }

    /// Queues an operation of `key`'s socket.
    ///
    /// # Safety
    /// As [`Ring::push`]; the descriptor itself is kept open by the slot, which is closed only when nothing is in flight.
    unsafe fn push(&mut self, token: Token, entry: squeue::Entry) {
        let entry = raw::fixed(entry, self.features.direct_descriptors).user_data(token.pack());
        // SAFETY: passed on to the caller.
        unsafe { self.ring.push(&entry) };
        self.in_flight += 1;
    }

    /// Queues a receive into provided buffers, with a budget of bytes or without end.
    fn push_receive(&mut self, token: Token, fd: i32, large: bool, budget: Option<u32>) {
        let (fd, group) = (types::Fd(fd), BufferGroups::group_id(large));
        let entry = match budget {
            Some(budget) => raw::receive_multi_with_budget(fd, group, budget),
            None => opcode::RecvMulti::new(fd, group).build(),
        };
        // SAFETY: names no memory but the group's buffers, which `self.buffers` keeps as long as the ring. `raw::fixed` keeps
        // the flags already set.
        unsafe { self.push(token, entry) };
    }

    /// The slot that `key` names, if it is still that connection's.
    fn slot(&mut self, key: ConnKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && slot.state != SlotState::Free).then_some(slot)
    }

    fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.pack()).build();
        // SAFETY: a cancellation names no memory.
        unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Ignore, 0).pack())) };
    }

    fn dispatch(&mut self, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let Some(token) = Token::unpack(completion.user_data()) else {
            debug_assert!(false, "a completion with a token of no one: {:#x}", completion.user_data());
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
            Op::Send => self.on_send(token.key, completion.result(), events),
            Op::Install => self.on_install(token.key, completion.result(), events),
            Op::Shutdown => self.on_shutdown(token.key),
            Op::InstallToShutDown => self.on_install_to_shut_down(token.key, completion.result()),
            Op::Close => self.on_close(token.key, events),
            Op::Ignore | Op::Wake => {}
        }
    }

    /// Submits the close of a slot that is ending once nothing of it is in flight.
    fn advance_close(&mut self, key: ConnKey) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key) else { return };
        if slot.state != SlotState::Ending || slot.is_busy() {
            return;
        }
        slot.state = SlotState::Closing;
        let fd = slot.fd;
        let entry = match direct {
            true => opcode::Close::new(types::Fixed(fd as u32)).build(),
            false => opcode::Close::new(types::Fd(fd)).build(),
        };
        // SAFETY: the slot owns the descriptor, and nothing else of it is in flight or will be.
        unsafe { self.ring.push(&entry.user_data(Token::new(Op::Close, key).pack())) };
        self.in_flight += 1;
    }

    fn on_close(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key) else { return };
        slot.release(next_generation(key.generation));
        self.used -= 1;
        if !direct {
            self.free.push(key.index);
        }
        events.push(Event::Closed { key });
    }
}

/// Makes a file table of `wanted` slots, or of as many as the open-file limit allows.
fn register_files(ring: &Ring, wanted: usize) -> io::Result<usize> {
    let slots = wanted.min(op::INDEX_MAX as usize).min(open_files_max());
    ring.submitter().register_files_sparse(slots as u32)?;
    Ok(slots)
}

/// The process's open-file limit (RLIMIT_NOFILE).
pub(crate) fn open_files_max() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one `rlimit` to a valid place.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur.min(1 << 24) as usize,
        _ => 1024,
    }
}

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

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        self.arm_receive(key, budget);
    }

    fn cancel_receive(&mut self, key: ConnKey) {
        self.cancel_receive(key);
    }

    fn send(&mut self, key: ConnKey, batch: SendBatch) {
        self.send(key, batch);
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        self.shutdown_write(key);
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let linger: *const libc::linger = &*self.linger_reset;
        let Some(slot) = self.slot(key).filter(|slot| slot.state == SlotState::Open) else { return };
        slot.state = SlotState::Ending;
        let (fd, send, receive, receiving) = (slot.fd, slot.send, slot.receive_token(key), slot.receiving);
        if reset {
            let len = size_of::<libc::linger>() as u32;
            let entry = opcode::SetSockOpt::new(
                types::Fd(fd),
                libc::SOL_SOCKET as u32,
                libc::SO_LINGER as u32,
                linger.cast(),
                len,
            )
            .build();
            let entry = raw::fixed(entry, self.features.direct_descriptors);
            // SAFETY: the option's value is boxed in `self` and lives as long as the ring; where the kernel does not
            // know the operation (before 6.7) it fails and the close sends FIN, or RST over unread input.
            unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Ignore, 0).pack())) };
            if send != NO_SEND {
                self.cancel(Token::new(Op::Send, key));
            }
        }
        if receiving {
            self.cancel(receive);
        }
        self.advance_close(key);
    }

    fn with_socket(&mut self, key: ConnKey, task: SocketTask) {
        self.with_socket(key, task);
    }

    fn view<'a>(&'a self, received: &'a Received) -> &'a [u8] {
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
        if self.in_flight == 0 {
            return;
        }
        // A worker ends its operations before it ends; this is the way out of a panic or a failed start. The kernel may
        // still write to receive buffers and read from batches, so both stay allocated.
        log::error!("a ring was dropped with {} operations in flight; their memory is leaked", self.in_flight);
        self.buffers.leak();
        self.sends.leak();
        for slot in &mut self.slots {
            slot.leak();
        }
        for acceptor in &mut self.acceptors {
            acceptor.leak();
        }
    }
}
