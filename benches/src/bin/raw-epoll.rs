//! The second limit: a TCP echo server on epoll, with no protocol and no handler, on one thread.
//!
//! Level-triggered, one read and one write per readiness event. The bytes that a write does not take are kept, and the
//! connection stops reading until they are written.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::process::ExitCode;

use tidegate_benches::args::{Args, Opt};
use tidegate_benches::errln;
use tidegate_benches::{cpu, socket};

const OPTIONS: &[Opt] = &[
    Opt::value("addr", "HOST:PORT", "listening address (default 127.0.0.1:9000)"),
    Opt::value("core", "C", "pin to this core (default not pinned)"),
];

/// The most events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;

/// The most bytes read at a time.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Token of the listener. Tokens of connections are their descriptors, which are far below.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("raw-epoll: {error}");
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
    socket::raise_file_limit()?;
    let listener = socket::listen(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.control(libc::EPOLL_CTL_ADD, &listener, libc::EPOLLIN, LISTENER)?;
    let mut server = Server { epoll, listener, connections: Vec::new(), block: vec![0; READ_BYTES_MAX] };
    errln!("raw-epoll: listening on {address}");
    server.run()?;
    Ok(())
}

/// One epoll instance.
struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just created and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    fn control(&self, operation: i32, file: &impl AsRawFd, interest: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: the kernel reads one live event; both descriptors are open.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, file.as_raw_fd(), &mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for at least one event.
    fn wait<'a>(&self, events: &'a mut [libc::epoll_event]) -> io::Result<&'a [libc::epoll_event]> {
        let most = events.len() as i32;
        // SAFETY: the kernel writes at most `most` events into the slice.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, -1) };
        match usize::try_from(count) {
            Ok(count) => Ok(&events[..count]),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => Ok(&[]),
                error => Err(error),
            },
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// Bytes read but not written; empty while the connection waits for input.
    unwritten: Vec<u8>,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// Connections, indexed by descriptor.
    connections: Vec<Option<Connection>>,
    block: Vec<u8>,
}

impl Server {
    /// Serves until epoll fails.
    fn run(&mut self) -> io::Result<()> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        loop {
            for event in self.epoll.wait(&mut events)? {
                let token = event.u64;
                match token {
                    LISTENER => self.accept()?,
                    _ => self.serve(token as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let index = stream.as_raw_fd() as usize;
        self.epoll.control(libc::EPOLL_CTL_ADD, &stream, libc::EPOLLIN, index as u64)?;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(Connection { stream, unwritten: Vec::new() });
        Ok(())
    }

    /// Moves bytes on one connection. Drops the connection when it has ended or failed.
    fn serve(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        let waited = !connection.unwritten.is_empty();
        let goes_on = if waited { connection.write_rest() } else { connection.echo(&mut self.block) };
        let waits = !connection.unwritten.is_empty();
        let changed = match (waited, waits) {
            (false, true) => Some(libc::EPOLLOUT),
            (true, false) => Some(libc::EPOLLIN),
            _ => None,
        };
        let registered = changed.map_or(Ok(()), |interest| {
            self.epoll.control(libc::EPOLL_CTL_MOD, &connection.stream, interest, index as u64)
        });
        if !matches!(goes_on, Ok(true)) || registered.is_err() {
            self.connections[index] = None;
        }
    }
}

impl Connection {
    /// Reads once and writes once. Returns `false` at the end of input.
    fn echo(&mut self, block: &mut [u8]) -> io::Result<bool> {
        let Some(length) = ready(self.stream.read(block))? else {
            return Ok(true);
        };
        if length == 0 {
            return Ok(false);
        }
        let written = ready(self.stream.write(&block[..length]))?.unwrap_or(0);
        if written < length {
            self.unwritten.extend_from_slice(&block[written..length]);
        }
        Ok(true)
    }

    fn write_rest(&mut self) -> io::Result<bool> {
        let written = ready(self.stream.write(&self.unwritten))?.unwrap_or(0);
        self.unwritten.drain(..written);
        Ok(true)
    }
}

/// Turns "not ready" into `None`.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
