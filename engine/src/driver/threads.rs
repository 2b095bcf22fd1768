//! The std driver: blocking sockets, with a reading and a writing thread per connection and an accepting thread per
//! listener. It is portable.
//!
//! The threads play the role of a ring's kernel side: they take operations from channels and post [`Event`]s to the
//! worker's mailbox. Shutting the socket down ends a blocked read or write, so a receive cannot be cancelled alone; it
//! always has a budget instead.

use std::io::{self, IoSlice, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockRef, Socket, Type};

use super::{Accepted, Capabilities, Driver, Event, Received};
use crate::address::Address;
use crate::driver::listener::Listener;
use crate::shared::chunk::Chunk;
use crate::shared::command::SocketTask;
use crate::shared::key::ConnKey;
use crate::shared::mailbox::Mailbox;
use crate::shared::send_batch::SendBatch;
use crate::shared::signal::Signal;
use crate::util::contained::contain;

mod read;

use read::{ReadOp, read_loop};

/// Interval at which a blocked write checks whether the connection is to be reset. Shutting the socket down would end
/// the write at once, but with a FIN, and the peer would take truncated data for complete.
const BLOCKED_WRITE_LOOK: Duration = Duration::from_millis(100);
/// Maximum attempts to end a blocked accept, 5 ms apart. The first succeeds unless the listener is unreachable.
const UNBLOCK_ATTEMPTS_MAX: usize = 200;
/// A wait that takes this much longer than asked for means that the whole process stood still.
const STANDSTILL_MIN: Duration = Duration::from_millis(100);
/// Time after a standstill for the reading threads to post what had arrived.
const CATCH_UP_TIME: Duration = Duration::from_millis(20);
/// Stack size of the threads, which only move bytes between a socket and the heap.
const STACK_BYTES: usize = 128 * 1024;

/// A message from a thread to its worker.
enum Post {
    Event(Event),
    Accepted(usize, Socket, SockAddr),
    AcceptExited,
    /// One of a connection's two threads has ended.
    Exited(ConnKey),
}

/// An operation for the writing thread.
enum WriteOp {
    Send(SendBatch),
    Shutdown,
}

struct Slot {
    generation: u32,
    connection: Option<Io>,
}

/// The socket and the channels to its threads.
struct Io {
    socket: Arc<Socket>,
    /// `None` once the connection is closing. The threads end with their channels.
    channels: Option<(Sender<ReadOp>, Sender<WriteOp>)>,
    threads: usize,
    /// Set to end a blocked write.
    reset: Arc<AtomicBool>,
}

struct Acceptor {
    /// `None` once closed.
    permits: Option<Sender<()>>,
    armed: bool,
    exited: Arc<AtomicBool>,
    address: Option<SockAddr>,
}

pub(crate) struct ThreadsDriver {
    capabilities: Capabilities,
    epoch: Instant,
    posts: Arc<Mailbox<Post>>,
    taken: Vec<Post>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    used: usize,
    acceptors: Vec<Acceptor>,
    in_flight: usize,
}

impl ThreadsDriver {
    /// Creates a driver for the current thread.
    pub(crate) fn new(connections_max: usize, listeners: Vec<Listener>, epoch: Instant) -> io::Result<Self> {
        let worker = thread::current();
        let posts = Arc::new(Mailbox::new(Signal::new(move || worker.unpark())));
        let summary = "std sockets".to_owned();
        let mut driver = Self {
            capabilities: Capabilities { summary, receive_budget: true, connections_max },
            epoch,
            posts,
            taken: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            used: 0,
            acceptors: Vec::new(),
            in_flight: 0,
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            driver.spawn_acceptor(index, listener)?;
        }
        Ok(driver)
    }

    fn spawn_acceptor(&mut self, index: usize, listener: Listener) -> io::Result<()> {
        let (permits, permitted) = channel();
        let exited = Arc::new(AtomicBool::new(false));
        let address = listener.socket().local_addr().ok();
        let (posts, gone) = (Arc::clone(&self.posts), Arc::clone(&exited));
        spawn("tidegate-accept", move || {
            accept_loop(index, &listener, &permitted, &posts);
            // The port is free before the worker can end.
            drop(listener);
            if !gone.swap(true, Ordering::AcqRel) {
                posts.post(Post::AcceptExited);
            }
        })?;
        self.in_flight += 1;
        self.acceptors.push(Acceptor { permits: Some(permits), armed: false, exited, address });
        Ok(())
    }

    fn io(&mut self, key: ConnKey) -> Option<&mut Io> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.connection.as_mut() } else { None }
    }

    fn channels(&mut self, key: ConnKey) -> Option<&(Sender<ReadOp>, Sender<WriteOp>)> {
        self.io(key)?.channels.as_ref()
    }

    fn process(&mut self, post: Post, events: &mut Vec<Event>) {
        match post {
            Post::Event(event) => {
                let open = match &event {
                    Event::Sent { key, .. }
                    | Event::Received { key, .. }
                    | Event::ReceiveEnded { key, .. }
                    | Event::PeerEnded { key, .. } => self.channels(*key).is_some(),
                    Event::AcceptEnded { listener, .. } => {
                        self.acceptors[*listener].armed = false;
                        true
                    }
                    Event::Accepted(_) | Event::Closed { .. } => true,
                };
                if open {
                    events.push(event);
                }
            }
            Post::Accepted(listener, socket, peer) => {
                self.acceptors[listener].armed = false;
                if self.acceptors[listener].permits.is_none() {
                    // The listener has closed. Most likely this is the connection from `unblock_accept`.
                    return;
                }
                match self.open(listener, socket, &peer) {
                    Ok(accepted) => {
                        events.push(accepted);
                        events.push(Event::AcceptEnded { listener, error: None });
                    }
                    // EINVAL concerns this socket alone: its peer has gone. The listener is fine.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        events.push(Event::AcceptEnded { listener, error: None });
                    }
                    Err(error) => events.push(Event::AcceptEnded { listener, error: Some(error) }),
                }
            }
            Post::AcceptExited => self.in_flight -= 1,
            Post::Exited(key) => self.on_thread_exit(key, events),
        }
    }

    /// Gives an accepted socket a slot and its two threads.
    fn open(&mut self, listener: usize, socket: Socket, peer: &SockAddr) -> io::Result<Event> {
        socket.set_write_timeout(Some(BLOCKED_WRITE_LOOK))?;
        let peer = Address::from_name(peer);
        let local = socket.local_addr().map_or(peer, |local| Address::from_name(&local));
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None });
            (self.slots.len() - 1) as u32
        });
        let key = ConnKey { index, generation: self.slots[index as usize].generation };
        let (socket, reset) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let ((reads, read_ops), (writes, write_ops)) = (channel(), channel());
        let started =
            self.spawn_reader(key, &socket, read_ops).and_then(|()| self.spawn_writer(key, &socket, &reset, write_ops));
        if let Err(error) = started {
            // Dropping the channels ends a thread that did start. Its posts name an unused generation.
            self.slots[index as usize].generation += 1;
            self.free.push(index);
            return Err(error);
        }
        self.slots[index as usize].connection = Some(Io { socket, channels: Some((reads, writes)), threads: 2, reset });
        self.used += 1;
        self.in_flight += 2;
        Ok(Event::Accepted(Box::new(Accepted { key, listener, peer, local })))
    }

    fn spawn_reader(&self, key: ConnKey, socket: &Arc<Socket>, ops: Receiver<ReadOp>) -> io::Result<()> {
        let (posts, socket) = (Arc::clone(&self.posts), Arc::clone(socket));
        spawn("tidegate-read", move || {
            contain(|| read_loop(key, socket, &ops, &posts));
            posts.post(Post::Exited(key));
        })
    }

    fn spawn_writer(
        &self,
        key: ConnKey,
        socket: &Arc<Socket>,
        reset: &Arc<AtomicBool>,
        ops: Receiver<WriteOp>,
    ) -> io::Result<()> {
        let (posts, socket, reset) = (Arc::clone(&self.posts), Arc::clone(socket), Arc::clone(reset));
        spawn("tidegate-write", move || {
            contain(|| write_loop(key, socket, &reset, &ops, &posts));
            posts.post(Post::Exited(key));
        })
    }

    fn on_thread_exit(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let Some(io) = self.io(key) else { return };
        io.threads -= 1;
        let last = io.threads == 0;
        self.in_flight -= 1;
        if last {
            let slot = &mut self.slots[key.index as usize];
            // This is the last reference, so dropping it closes the socket.
            slot.connection = None;
            slot.generation += 1;
            self.free.push(key.index);
            self.used -= 1;
            events.push(Event::Closed { key });
        }
    }
}

/// Ends the threads of a worker that has ended, and cuts the clients that it left.
impl Drop for ThreadsDriver {
    fn drop(&mut self) {
        self.close_listeners();
        for io in self.slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            io.reset.store(true, Ordering::Relaxed);
            let _ = io.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Driver for ThreadsDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(self.posts.signal())
    }

    fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn arm_accept(&mut self, listener: usize) -> bool {
        let full = self.used >= self.capabilities.connections_max;
        let acceptor = &mut self.acceptors[listener];
        let Some(permits) = acceptor.permits.as_ref().filter(|_| !acceptor.armed) else { return true };
        if full {
            return false;
        }
        acceptor.armed = permits.send(()).is_ok();
        true
    }

    fn close_listeners(&mut self) {
        for acceptor in &mut self.acceptors {
            if acceptor.permits.take().is_none() || !acceptor.armed {
                continue;
            }
            let (exited, address) = (Arc::clone(&acceptor.exited), acceptor.address.clone());
            let posts = Arc::clone(&self.posts);
            let ended = spawn("tidegate-unblock", move || unblock_accept(&exited, address.as_ref(), &posts));
            if let Err(error) = ended {
                log::error!("cannot stop a listener's thread: {error}");
            }
        }
    }

    fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        if let Some((reads, _)) = self.channels(key) {
            // Cannot fail: the thread runs until this sender is dropped.
            let _ = reads.send(ReadOp::Receive(budget.map_or(u64::MAX, u64::from)));
        }
    }

    fn cancel_receive(&mut self, _key: ConnKey) {
        // Not needed: the receive ends at its budget.
    }

    fn watch_end(&mut self, key: ConnKey, fin: bool) {
        if let Some((reads, _)) = self.channels(key) {
            let _ = reads.send(ReadOp::Watch { fin });
        }
    }

    fn send(&mut self, key: ConnKey, batch: SendBatch) {
        if let Some((_, writes)) = self.channels(key) {
            let _ = writes.send(WriteOp::Send(batch));
        }
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        if let Some((_, writes)) = self.channels(key) {
            let _ = writes.send(WriteOp::Shutdown);
        }
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let Some(io) = self.io(key) else { return };
        if io.channels.take().is_none() {
            return;
        }
        if reset {
            // Fails on Unix-domain sockets, which have no reset.
            let _ = io.socket.set_linger(Some(Duration::ZERO));
            io.reset.store(true, Ordering::Relaxed);
        }
        // Ends a blocked read; an error means that the peer has already ended it. A blocked write sees `reset`.
        let half = if reset { Shutdown::Read } else { Shutdown::Both };
        let _ = io.socket.shutdown(half);
    }

    fn with_socket(&mut self, key: ConnKey, task: SocketTask) {
        match self.io(key) {
            Some(io) if io.channels.is_some() => task(Ok(SockRef::from(&*io.socket))),
            _ => task(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn view<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        match received {
            Received::Owned(bytes) => bytes,
            Received::Buffer { .. } => &[],
        }
    }

    fn lease(&mut self, received: Received) -> Chunk {
        match received {
            Received::Owned(bytes) => Chunk::from(bytes),
            Received::Buffer { .. } => Chunk::from(Vec::new()),
        }
    }

    fn recycle(&mut self, _received: Received) {}

    fn buffers_free_or_notify(&mut self) -> usize {
        usize::MAX
    }

    fn enter(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut taken = std::mem::take(&mut self.taken);
        self.posts.take(&mut taken);
        // The worker announced its sleep before this call, so a post after the check above unparks it.
        if taken.is_empty() && timeout != Some(Duration::ZERO) {
            match timeout {
                None => thread::park(),
                Some(timeout) => park_timeout(timeout),
            }
            self.posts.take(&mut taken);
        }
        for post in taken.drain(..) {
            self.process(post, events);
        }
        self.taken = taken;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// Waits for a post, at most for `timeout`. After a standstill of the whole process it lets the reading threads catch
/// up, because the worker is about to act on its timers.
fn park_timeout(timeout: Duration) {
    let began = Instant::now();
    thread::park_timeout(timeout);
    if began.elapsed() >= timeout.saturating_add(STANDSTILL_MIN) {
        thread::sleep(CATCH_UP_TIME);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body).map(drop)
}

fn accept_loop(index: usize, listener: &Listener, permitted: &Receiver<()>, posts: &Mailbox<Post>) {
    while permitted.recv().is_ok() {
        let post = match listener.socket().accept() {
            Ok((socket, peer)) => Post::Accepted(index, socket, peer),
            Err(error) => Post::Event(Event::AcceptEnded { listener: index, error: Some(error) }),
        };
        posts.post(post);
    }
}

/// Connects to the listener until its thread has noticed, because an accept cannot be interrupted portably. Gives up on
/// an unreachable listener (its path was removed) and leaves its thread behind.
fn unblock_accept(exited: &AtomicBool, address: Option<&SockAddr>, posts: &Mailbox<Post>) {
    let target = address.map(reachable);
    for _ in 0..UNBLOCK_ATTEMPTS_MAX {
        if exited.load(Ordering::Acquire) {
            return;
        }
        if let Some(target) = &target
            && let Ok(socket) = Socket::new(target.domain(), Type::STREAM, None)
        {
            let _ = socket.connect_timeout(target, Duration::from_millis(100));
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    if !exited.swap(true, Ordering::AcqRel) {
        log::warn!("a listener is unreachable, so its thread cannot be stopped and is left behind");
        posts.post(Post::AcceptExited);
    }
}

/// Returns an address under which a listener bound to `address` is reachable from this host.
fn reachable(address: &SockAddr) -> SockAddr {
    match address.as_socket() {
        Some(bound) if bound.ip().is_unspecified() => {
            let ip = match bound.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            SockAddr::from(SocketAddr::new(ip, bound.port()))
        }
        _ => address.clone(),
    }
}

fn write_loop(key: ConnKey, socket: Arc<Socket>, reset: &AtomicBool, ops: &Receiver<WriteOp>, posts: &Mailbox<Post>) {
    while let Ok(op) = ops.recv() {
        match op {
            WriteOp::Send(batch) => {
                let result = write_batch(&socket, reset, batch).map_err(|error| errno(&error));
                posts.post(Post::Event(Event::Sent { key, result }));
            }
            WriteOp::Shutdown => drop(socket.shutdown(Shutdown::Write)),
        }
    }
}

fn write_batch(mut socket: &Socket, reset: &AtomicBool, mut batch: SendBatch) -> io::Result<()> {
    loop {
        let slices: Vec<IoSlice<'_>> = batch.slices().map(IoSlice::new).collect();
        match socket.write_vectored(&slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                drop(slices);
                if batch.advance(sent) {
                    return Ok(());
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if !reset.load(Ordering::Relaxed) => {}
                _ => return Err(error),
            },
        }
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}
