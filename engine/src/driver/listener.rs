//! Listening sockets: one per worker for TCP where the system balances between them, otherwise one shared socket.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Address;
use crate::driver::share_port;
#[cfg(unix)]
use crate::driver::unix_socket::{self, SocketFile};
use crate::error::Error;

/// A listening socket. Accepted sockets inherit its options.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    address: Address,
    /// Other workers accept from the same socket.
    shared: bool,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings use it"))]
    backlog: usize,
    /// The file of a Unix-domain socket, shared by the workers' listeners.
    #[cfg(unix)]
    file: Option<Arc<SocketFile>>,
}

/// An address or socket to listen on, before the workers exist.
#[derive(Debug)]
pub(crate) enum Binding {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
    /// Bound elsewhere, by systemd or a parent process.
    Inherited(Socket),
}

/// The binding as the summary shows it, but for the port of a TCP address.
impl Binding {
    pub(crate) fn describe(&self, address: Address) -> String {
        match self {
            #[cfg(unix)]
            Self::Unix(path) => format!("unix:{}", path.display()),
            _ => address.to_string(),
        }
    }
}

/// Permissions, owner and group of the file of a Unix-domain socket.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(unix), expect(dead_code, reason = "there are no such files"))]
pub(crate) struct FileOptions {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// Options of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) backlog: usize,
    /// Other processes may share the port.
    pub(crate) reuse_port: bool,
    pub(crate) nodelay: bool,
    pub(crate) receive_buffer_bytes: Option<u32>,
    pub(crate) send_buffer_bytes: Option<u32>,
    /// Permissions of the files of Unix-domain sockets.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no such files"))]
    pub(crate) unix_file: FileOptions,
}

impl Options {
    /// Applies the options. Must precede `listen`, because the TCP window scale is agreed on during connection setup.
    fn apply(self, socket: &Socket, tcp: bool) -> io::Result<()> {
        if tcp {
            socket.set_tcp_nodelay(self.nodelay)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        Ok(())
    }
}

impl Listener {
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn backlog(&self) -> usize {
        self.backlog
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Returns whether other workers accept from the same socket.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    fn from_socket(socket: Socket, options: Options, shared: bool) -> io::Result<Self> {
        let address = socket.local_addr()?.as_socket().map_or(Address::Unix, Address::Ip);
        Ok(Self {
            socket,
            address,
            shared,
            backlog: options.backlog,
            #[cfg(unix)]
            file: None,
        })
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsRawFd for Listener {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// Returns the bindings that `addresses` resolves to.
pub(crate) fn resolve(addresses: impl ToSocketAddrs + std::fmt::Debug) -> Result<Vec<Binding>, Error> {
    let resolved = addresses.to_socket_addrs().map_err(|e| Error::bind(format!("{addresses:?}"), e))?;
    Ok(resolved.map(Binding::Tcp).collect())
}

/// Opens a listener on loopback for tests of drivers. Returns its address too.
#[cfg(all(test, not(loom), not(miri)))]
pub(crate) fn open_on_loopback(backlog: usize) -> (Vec<Listener>, SocketAddr) {
    let options = Options {
        backlog,
        reuse_port: false,
        nodelay: true,
        receive_buffer_bytes: None,
        send_buffer_bytes: None,
        unix_file: Default::default(),
    };
    let listeners = open(&Binding::Tcp(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0))), 1, options).unwrap();
    let address = listeners[0].address().ip().unwrap();
    (listeners, address)
}

/// Opens one listener per worker for the same binding.
pub(crate) fn open(binding: &Binding, workers: usize, options: Options) -> Result<Vec<Listener>, Error> {
    match binding {
        Binding::Tcp(address) => open_tcp(*address, workers, options).map_err(|e| Error::bind(address, e)),
        #[cfg(unix)]
        Binding::Unix(path) => open_unix(path, workers, options).map_err(|e| Error::bind(path.display(), e)),
        Binding::Inherited(listener) => listener
            .try_clone()
            .and_then(|listener| share(&listener, workers, options))
            .map_err(|e| Error::bind("the inherited socket", e)),
    }
}

/// Opens one listener per worker on a socket that is already bound.
fn share(socket: &Socket, workers: usize, options: Options) -> io::Result<Vec<Listener>> {
    let share = || {
        let socket = socket.try_clone()?;
        // Each driver then sets whether it blocks.
        socket.set_nonblocking(false)?;
        options.apply(&socket, socket.local_addr()?.as_socket().is_some())?;
        // It already listens; this sets the length of its queue.
        socket.listen(options.backlog as i32)?;
        Listener::from_socket(socket, options, workers > 1)
    };
    (0..workers).map(|_| share()).collect()
}

#[cfg(unix)]
fn open_unix(path: &Path, workers: usize, options: Options) -> io::Result<Vec<Listener>> {
    let (socket, file) = unix_socket::bind(path, options.unix_file)?;
    let file = file.map(Arc::new);
    let mut listeners = share(&socket, workers, options)?;
    listeners.iter_mut().for_each(|listener| listener.file.clone_from(&file));
    Ok(listeners)
}

fn open_tcp(address: SocketAddr, workers: usize, options: Options) -> io::Result<Vec<Listener>> {
    // Listens before the other sockets share its port. Two processes that did not ask to share cannot both get here,
    // even at the same moment.
    let first = bind(address, options, options.reuse_port)?;
    first.listen(options.backlog as i32)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    if workers == 1 {
        return Ok(vec![Listener::from_socket(first, options, false)?]);
    }
    if !share_port::is_balanced(&first, options.reuse_port)? {
        return (0..workers).map(|_| Listener::from_socket(first.try_clone()?, options, true)).collect();
    }
    let mut listeners = vec![Listener::from_socket(first, options, false)?];
    for _ in 1..workers {
        let socket = bind(bound, options, true)?;
        socket.listen(options.backlog as i32)?;
        listeners.push(Listener::from_socket(socket, options, false)?);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, options: Options, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        share_port::allow(&socket)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        // [::] takes IPv4 connections too, regardless of the system default.
        socket.set_only_v6(false)?;
    }
    options.apply(&socket, true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
