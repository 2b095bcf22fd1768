//! The limit: a TCP echo server on io_uring, with no protocol and no handler, on one thread.
//!
//! Set up like the Tidegate engine: multishot accept into direct descriptors, multishot receive into a provided-buffer
//! ring, one send in flight per connection, straight from the receive buffers. Bytes that arrive during a send leave
//! together in the next one. A buffer returns to the ring when its send completes, so a client that does not read keeps
//! its buffers, and a shortage of buffers stops the receives until some return. There is no other backpressure.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::{io, mem, ptr};

use io_uring::{opcode, types};
use tidegate_benches::args::{Args, Opt};
use tidegate_benches::buffers::{BUFFERS_MAX, BufferRing, Chunk};
use tidegate_benches::errln;
use tidegate_benches::ring::{Completion, Ring, user_data};
use tidegate_benches::{cpu, socket};

const OPTIONS: &[Opt] = &[
    Opt::value("addr", "HOST:PORT", "listening address (default 127.0.0.1:9000)"),
    Opt::value("core", "C", "pin to this core (default not pinned)"),
    Opt::value("buffers", "N", "number of receive buffers, a power of two (default 1024)"),
    Opt::value("buffer-bytes", "BYTES", "size of a receive buffer (default 4096)"),
];

/// Slots for accepted connections. More connections wait in the listener's backlog or are refused.
const CONNECTIONS_MAX: u32 = 16_384;

/// The most received chunks in one send. Later ones wait for the next send.
const CHUNKS_PER_SEND_MAX: usize = 16;

const GROUP: u16 = 1;
const ACCEPT: u8 = 1;
const RECEIVE: u8 = 2;
const SEND: u8 = 3;
const SHUTDOWN: u8 = 4;
const CLOSE: u8 = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("raw-uring: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    let address: SocketAddr = args.optional("addr")?.unwrap_or(([127, 0, 0, 1], 9000).into());
    if let Some(core) = args.optional("core")? {
        cpu::pin(core)?;
    }
    let buffers = args.within("buffers", 1024, [1, BUFFERS_MAX])?;
    let buffer_bytes = args.within("buffer-bytes", 4096, [1, 1 << 20])?;
    let files = socket::raise_file_limit()?;
    let mut server = Server::new(socket::listen(address)?, files, buffers, buffer_bytes)?;
    errln!("raw-uring: listening on {address}");
    server.run()?;
    Ok(())
}

/// One connection and its chunks.
#[derive(Default)]
struct Connection {
    /// Chunks received but not sent, in order.
    queued: VecDeque<Chunk>,
    /// Chunks of the send in flight, in order; empty when there is none.
    sending: VecDeque<Chunk>,
    /// Bytes of the first chunk in `sending` that an earlier, short send took.
    sent_of_first: usize,
    /// The list that the send in flight reads. The kernel can read it until the send completes.
    vector: Option<Box<Vector>>,
    life: Life,
}

/// State of a slot, from accept to close.
///
/// ```text
/// Free ─ accepted ─▶ Open ─ end of input ─▶ Draining ─ all sent ─▶ closed, Free
///                     └──── send failed ───▶ Failed ── receive ended ──▲
/// ```
#[derive(Default, Clone, Copy, PartialEq)]
enum Life {
    #[default]
    Free,
    /// A receive is armed, or will be when a buffer returns.
    Open,
    /// No receive is armed and none will be.
    Draining,
    /// Shut down. The receive that is still armed will end.
    Failed,
}

/// A message header and the pieces that it points to.
struct Vector {
    header: libc::msghdr,
    pieces: [libc::iovec; CHUNKS_PER_SEND_MAX],
}

struct Server {
    ring: Ring,
    buffers: BufferRing,
    listener: TcpListener,
    connections: Vec<Connection>,
    /// Connections with bytes to send in this turn.
    staged: Vec<u32>,
    /// Connections whose receive ended for lack of a buffer, the longest waiting first.
    starved: VecDeque<u32>,
    /// Number of buffers, and of those that hold received bytes.
    buffers_total: usize,
    buffers_held: usize,
}

impl Server {
    fn new(listener: TcpListener, files: usize, buffers: u16, buffer_bytes: u32) -> io::Result<Self> {
        let ring = Ring::new()?;
        let slots = CONNECTIONS_MAX.min(u32::try_from(files).unwrap_or(u32::MAX));
        ring.submitter().register_files_sparse(slots)?;
        let buffers_total = usize::from(buffers);
        let buffers = BufferRing::register(&ring, GROUP, buffers, buffer_bytes)?;
        let connections = (0..slots).map(|_| Connection::default()).collect();
        let (staged, starved) = (Vec::new(), VecDeque::new());
        Ok(Self { ring, buffers, listener, connections, staged, starved, buffers_total, buffers_held: 0 })
    }

    /// Serves until the ring fails.
    fn run(&mut self) -> io::Result<()> {
        let mut completions = Vec::new();
        self.arm_accept()?;
        loop {
            self.ring.enter(None)?;
            self.ring.reap(&mut completions);
            for completion in &completions {
                self.complete(completion)?;
            }
            self.send_staged()?;
        }
    }

    #[inline]
    fn complete(&mut self, completion: &Completion) -> io::Result<()> {
        let index = completion.index();
        match completion.operation() {
            RECEIVE => self.received(index, completion),
            SEND => self.sent(index, completion),
            ACCEPT => self.accepted(completion),
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        if let Ok(slot) = u32::try_from(completion.result) {
            self.connections[slot as usize].life = Life::Open;
            self.arm_receive(slot)?;
        }
        if completion.more() { Ok(()) } else { self.arm_accept() }
    }

    #[inline]
    fn received(&mut self, index: usize, completion: &Completion) -> io::Result<()> {
        // SAFETY: receives are the only operations that use the group, and each completion is seen once.
        let chunk = unsafe { self.buffers.take(completion) };
        let got_none = chunk.is_none();
        self.buffers_held += usize::from(!got_none);
        let connection = &mut self.connections[index];
        match chunk {
            Some(chunk) if chunk.length() > 0 && connection.life == Life::Open => {
                if connection.queued.is_empty() && connection.sending.is_empty() {
                    self.staged.push(index as u32);
                }
                connection.queued.push_back(chunk);
            }
            Some(chunk) => self.give_back(chunk)?,
            None => {}
        }
        if completion.more() {
            return Ok(());
        }
        let starved = completion.result == -libc::ENOBUFS;
        let connection = &mut self.connections[index];
        match connection.life {
            // With every buffer held, a later send completion arms the receive again. Otherwise buffers are free
            // already and nothing else would, so it is armed now.
            Life::Open if starved && self.buffers_held == self.buffers_total => self.starved.push_back(index as u32),
            Life::Open if starved => self.arm_receive(index as u32)?,
            Life::Open if completion.result > 0 => self.arm_receive(index as u32)?,
            Life::Open => {
                debug_assert!(got_none || completion.result == 0);
                connection.life = Life::Draining;
                self.close_when_sent(index)?;
            }
            Life::Failed => self.close(index)?,
            Life::Free | Life::Draining => {}
        }
        Ok(())
    }

    fn sent(&mut self, index: usize, completion: &Completion) -> io::Result<()> {
        let Ok(mut bytes) = usize::try_from(completion.result) else {
            return self.send_failed(index);
        };
        let connection = &mut self.connections[index];
        bytes += mem::take(&mut connection.sent_of_first);
        while let Some(chunk) = connection.sending.pop_front() {
            if bytes < chunk.length() {
                connection.sent_of_first = bytes;
                connection.sending.push_front(chunk);
                return self.send(index);
            }
            bytes -= chunk.length();
            self.buffers_held -= 1;
            self.buffers.recycle(chunk);
        }
        if !connection.queued.is_empty() {
            self.staged.push(index as u32);
        }
        self.buffers.publish();
        self.feed_starved()?;
        self.close_when_sent(index)
    }

    /// Handles a peer that accepts no more bytes: drops its chunks and ends the receive if one is armed.
    fn send_failed(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let mut lost = mem::take(&mut connection.sending);
        lost.append(&mut connection.queued);
        for chunk in lost {
            self.give_back(chunk)?;
        }
        let waiting = self.starved.iter().position(|starved| *starved == index as u32);
        if let Some(position) = waiting {
            self.starved.remove(position);
        }
        let connection = &mut self.connections[index];
        if connection.life != Life::Open || waiting.is_some() {
            return self.close(index);
        }
        connection.life = Life::Failed;
        let entry = opcode::Shutdown::new(types::Fixed(index as u32), libc::SHUT_RDWR).build();
        // SAFETY: a shutdown points to no memory.
        unsafe { self.ring.push(&entry.user_data(user_data(SHUTDOWN, index))) }
    }

    /// Sends for every staged connection.
    fn send_staged(&mut self) -> io::Result<()> {
        let mut staged = mem::take(&mut self.staged);
        for index in staged.drain(..).map(|index| index as usize) {
            let connection = &mut self.connections[index];
            if connection.queued.is_empty() || !connection.sending.is_empty() {
                continue;
            }
            let most = connection.queued.len().min(CHUNKS_PER_SEND_MAX);
            connection.sending.extend(connection.queued.drain(..most));
            self.send(index)?;
        }
        self.staged = staged;
        Ok(())
    }

    /// Sends the chunks in `sending`, from where the last send stopped.
    #[inline]
    fn send(&mut self, index: usize) -> io::Result<()> {
        const FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let connection = &mut self.connections[index];
        let file = types::Fixed(index as u32);
        let entry = match connection.sending.front() {
            None => return Ok(()),
            Some(chunk) if connection.sending.len() == 1 => {
                let bytes = &self.buffers.bytes(chunk)[connection.sent_of_first..];
                opcode::Send::new(file, bytes.as_ptr(), bytes.len() as u32).flags(FLAGS).build()
            }
            Some(_) => {
                let header = connection.point_at_chunks(&self.buffers);
                opcode::SendMsg::new(file, header).flags(FLAGS as u32).build()
            }
        };
        // SAFETY: the kernel only reads. The buffers stay with the chunks in `sending` until the send completes. The
        // vector is boxed, never freed while a send is in flight, and not changed before the send completes.
        unsafe { self.ring.push(&entry.user_data(user_data(SEND, index))) }
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let listener = types::Fd(self.listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(listener).allocate_file_index(true).build();
        // SAFETY: this accept requests no address and points to no memory.
        unsafe { self.ring.push(&entry.user_data(user_data(ACCEPT, 0))) }
    }

    fn arm_receive(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(types::Fixed(slot), GROUP).build();
        // SAFETY: the receive writes only into the provided buffers, which live as long as the ring.
        unsafe { self.ring.push(&entry.user_data(user_data(RECEIVE, slot as usize))) }
    }

    /// Gives back a buffer outside a send's completion.
    fn give_back(&mut self, chunk: Chunk) -> io::Result<()> {
        self.buffers_held -= 1;
        self.buffers.recycle(chunk);
        self.buffers.publish();
        self.feed_starved()
    }

    /// Arms the connection that has waited longest, now that a buffer is free.
    #[inline]
    fn feed_starved(&mut self) -> io::Result<()> {
        match self.starved.pop_front() {
            Some(slot) => self.arm_receive(slot),
            None => Ok(()),
        }
    }

    fn close_when_sent(&mut self, index: usize) -> io::Result<()> {
        let connection = &self.connections[index];
        let idle = connection.queued.is_empty() && connection.sending.is_empty();
        if connection.life == Life::Draining && idle { self.close(index) } else { Ok(()) }
    }

    /// Closes the descriptor, with nothing in flight on it. The slot is free at once: the kernel cannot accept into it
    /// before the close completes.
    fn close(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = Connection::default();
        let entry = opcode::Close::new(types::Fixed(index as u32)).build();
        // SAFETY: a close points to no memory.
        unsafe { self.ring.push(&entry.user_data(user_data(CLOSE, index))) }
    }
}

impl Connection {
    /// Writes the chunks in `sending` into the vector and returns its header. No send may be in flight.
    fn point_at_chunks(&mut self, buffers: &BufferRing) -> *const libc::msghdr {
        let vector = self.vector.get_or_insert_with(Vector::new);
        let mut skipped = self.sent_of_first;
        for (piece, chunk) in vector.pieces.iter_mut().zip(&self.sending) {
            let bytes = &buffers.bytes(chunk)[mem::take(&mut skipped)..];
            *piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        vector.header.msg_iov = vector.pieces.as_mut_ptr();
        vector.header.msg_iovlen = self.sending.len();
        &raw const vector.header
    }
}

impl Vector {
    fn new() -> Box<Self> {
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self { header, pieces: [empty; CHUNKS_PER_SEND_MAX] })
    }
}
