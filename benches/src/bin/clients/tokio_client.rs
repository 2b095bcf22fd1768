//! The parts shared by the clients on tokio: the runtime, the handshake, the measurement.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

use tidegate_benches::handshake::Upgrade;
use tidegate_benches::measure::Measured;

use crate::{Load, Outcome, Span};

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
    let upgrade = Upgrade::new("localhost", "/ws", 0);
    stream.write_all(upgrade.request()).await?;
    let mut head = Vec::new();
    // Byte by byte, because what follows the head belongs to the client.
    while upgrade.read(&head)?.is_none() {
        head.push(stream.read_u8().await?);
    }
    Ok(stream)
}
