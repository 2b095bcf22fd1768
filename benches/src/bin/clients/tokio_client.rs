//! The parts shared by the clients on tokio: the runtime, the handshake, the measurement.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

use crate::{Load, Outcome, Span};
use tidegate_benches::measure::Measured;

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Runs `echo` on each connection, in a task of a current-thread runtime. It counts the echoes.
pub fn run<F>(load: &Load, echo: impl Fn(TcpStream, Load, Rc<Cell<u64>>) -> F) -> Outcome<Measured>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let messages = Rc::new(Cell::new(0));
        for _ in 0..load.connections {
            let stream = open(load).await?;
            spawn_local(echo(stream, load.clone(), Rc::clone(&messages)));
        }
        tokio::time::sleep(load.warmup).await;
        let span = Span::begin(load, std::process::id(), messages.get())?;
        tokio::time::sleep(load.time).await;
        span.end(messages.get())
    })
}

/// Connects and performs the opening handshake.
async fn open(load: &Load) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(HANDSHAKE).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(stream) } else { Err("the server refused the handshake".into()) }
}
