//! The servers under test, whose applications answer with what they saw.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown as Direction, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate::engine::Running;
use tidegate::http::HeaderValue;
use tidegate::prelude::*;
use tidegate::web::BodyError;

use crate::nginx::Nginx;
use crate::seen::{FIELD, Seen};

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection to a server.
pub enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Address {
    /// Connects. A read fails after `timeout`.
    pub fn connect(&self, timeout: Duration) -> Connection {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).expect("the server listens");
                stream.set_read_timeout(Some(timeout)).expect("a timeout above zero");
                stream.set_nodelay(true).expect("a TCP socket");
                Connection::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).expect("the server listens");
                stream.set_read_timeout(Some(timeout)).expect("a timeout above zero");
                Connection::Unix(stream)
            }
        }
    }
}

impl Connection {
    /// Ends the stream to the server. The server can still answer.
    pub fn end_stream(&self) {
        // Fails if the server has closed the connection already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Direction::Write),
            Self::Unix(stream) => stream.shutdown(Direction::Write),
        };
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The peers, which run until this is dropped.
pub struct Servers {
    pub addresses: Addresses,
    _nginx: Nginx,
}

pub struct Addresses {
    pub nginx: Address,
    pub hyper: Address,
}

impl Servers {
    pub fn start() -> Self {
        let nginx = Nginx::start();
        Self { addresses: Addresses { nginx: nginx.address.clone(), hyper: start_hyper() }, _nginx: nginx }
    }
}

/// A server of Tidegate, which shuts down when it is dropped.
pub struct Tidegate {
    pub address: Address,
    running: Option<Running>,
}

impl Tidegate {
    pub fn start(engine: EngineKind) -> Self {
        let config = Config::default().engine(engine).workers(1).pin(false);
        let builder = Server::builder(describe).bind("127.0.0.1:0").expect("loopback resolves").config(config);
        let running = builder.http(HttpConfig::default().half_close(true)).start().expect("the server starts");
        let address = Address::Tcp(running.local_addr().expect("a TCP address"));
        Self { address, running: Some(running) }
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown(Shutdown::default());
        }
    }
}

async fn describe(mut request: Request) -> Result<Response, BodyError> {
    let content = request.bytes().await?;
    let path = match request.raw_query() {
        Some(query) => format!("{}?{query}", request.path()),
        None => request.path().to_owned(),
    };
    let host = request.header_bytes("host").unwrap_or_default();
    let fields = request.fields().map(|(name, value)| (name.to_owned(), value.to_vec()));
    let seen = Seen::new(request.method().as_str(), &path, host, &content, fields).encode();
    let seen = HeaderValue::try_from(seen).expect("digits");
    Ok(Response::text("seen\n").with_header(tidegate::http::HeaderName::from_static(FIELD), seen))
}

/// Starts hyper on a thread that ends with the process.
fn start_hyper() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("a socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let service = service_fn(describe_by_hyper);
                let mut builder = http1::Builder::new();
                builder.half_close(true).header_read_timeout(None);
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    Address::Tcp(address)
}

async fn describe_by_hyper(request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, content) = request.into_parts();
    let Ok(content) = content.collect().await else {
        let refusal = hyper::Response::builder().status(400).body(Full::default());
        return Ok(refusal.expect("a valid status"));
    };
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let host = match head.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => head.headers.get("host").map_or(&[][..], |host| host.as_bytes()),
    };
    let seen = Seen::from_map(head.method.as_str(), path, host, &content.to_bytes(), &head.headers);
    let response = hyper::Response::builder().header(FIELD, seen.encode()).body(Full::from("seen\n"));
    Ok(response.expect("digits are a valid value"))
}
