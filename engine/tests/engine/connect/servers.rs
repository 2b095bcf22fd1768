//! Servers of the standard library for tests of outbound connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::PATIENCE;

/// An address at which nothing listens. The port is below those of clients, so no client can connect to itself.
pub fn dead_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

/// Serves each connection on a thread, for the rest of the process.
pub fn serve(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(4096).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Echoes until the end of the stream.
pub fn echo_stream(mut stream: impl Read + Write) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

/// Serves echoes, for the rest of the process.
pub fn echo_server() -> SocketAddr {
    serve(echo_stream)
}

/// A listener whose queue of connections is full: further clients get no answer.
pub struct FullListener {
    pub address: SocketAddr,
    _listener: Socket,
    _clients: Vec<Socket>,
}

impl FullListener {
    pub fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let client = |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = client.connect(&address);
            client
        };
        // The first is established within the call and fills the queue.
        let clients = (0..4).map(client).collect();
        Self { address: address.as_socket().unwrap(), _listener: listener, _clients: clients }
    }
}

/// A path for a socket, removed at the end.
pub struct SocketPath(PathBuf);

impl SocketPath {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl std::ops::Deref for SocketPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves echoes on a Unix-domain socket, for the rest of the process.
pub fn unix_echo_server(address: &SockAddr) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(address).unwrap();
    listener.listen(64).unwrap();
    let listener = UnixListener::from(listener);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || echo_stream(stream));
        }
    });
}

/// A Unix-domain socket whose queue of connections is full.
pub struct FullUnixListener {
    listener: Socket,
    clients: Vec<Socket>,
}

impl FullUnixListener {
    pub fn new(path: &Path) -> Self {
        let address = SockAddr::unix(path).unwrap();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(1).unwrap();
        let mut clients = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            match client.connect(&address) {
                Ok(()) => clients.push(client),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Self { listener, clients },
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Accepts the clients in the queue, and all that come, for the rest of the process.
    pub fn drain(self) {
        thread::spawn(move || {
            let _clients = self.clients;
            while self.listener.accept().is_ok() {}
        });
    }
}
