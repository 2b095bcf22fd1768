//! The parts shared by the peers on tokio: the accept loop, the batched echo and the hub.
//!
//! All of them run on tokio's current-thread runtime, one task per connection.

use std::future::Future;
use std::net::SocketAddr;

use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use tidegate_benches::errln;
use tidegate_benches::socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::Outcome;

/// Messages the hub keeps for its slowest connection. The matrix publishes bursts of at most 16, each after all
/// connections have received the one before, so none lags by this many.
const HUB_MESSAGES_MAX: usize = 1024;

/// Read buffer of a tungstenite connection, in bytes, as its documentation recommends for many connections. tungstenite
/// clears the buffer before each read; with the default of 128 KiB that is most of the work of a short message.
pub const TUNGSTENITE_READ_BUFFER_BYTES: usize = 4 * 1024;

/// Returns a hub for messages that are cheap to clone, as in the chat examples of tokio and axum.
pub fn hub<M: Clone>() -> broadcast::Sender<M> {
    broadcast::Sender::new(HUB_MESSAGES_MAX)
}

/// Runs `server` on a current-thread runtime.
fn run(server: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(server)
}

/// Returns a listener on the current runtime.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = socket::listen(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Passes each accepted socket to `connection`, in its own task.
pub fn serve<F, C>(address: SocketAddr, connection: F) -> Outcome
where
    F: Fn(TcpStream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    run(async {
        let listener = listen(address)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(stream));
        }
    })
}

/// Echoes messages that `is_data` accepts. Feeds the replies to all available messages and flushes before it waits.
pub async fn echo<W, M, E>(mut ws: W, is_data: fn(&M) -> bool) -> Result<(), E>
where
    W: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    while let Some(first) = ws.next().await {
        let mut message = first?;
        loop {
            if is_data(&message) {
                ws.feed(message).await?;
            }
            match ws.next().now_or_never() {
                Some(Some(next)) => message = next?,
                Some(None) => return Ok(()),
                None => break,
            }
        }
        ws.flush().await?;
    }
    Ok(())
}

/// Sends messages from any connection to all of them. Messages queued for this one leave in one flush.
pub async fn attend<W, M, E>(mut ws: W, hub: broadcast::Sender<M>, is_data: fn(&M) -> bool) -> Result<(), E>
where
    W: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Clone,
{
    let mut published = hub.subscribe();
    loop {
        let event = match select(ws.next(), std::pin::pin!(published.recv())).await {
            Either::Left((arrived, _)) => Either::Left(arrived),
            Either::Right((message, _)) => Either::Right(message),
        };
        match event {
            Either::Left(Some(Ok(message))) if is_data(&message) => {
                // There is a receiver: this connection.
                let _ = hub.send(message);
            }
            Either::Left(Some(Ok(_))) => {}
            Either::Left(Some(Err(error))) => return Err(error),
            Either::Left(None) | Either::Right(Err(broadcast::error::RecvError::Closed)) => return Ok(()),
            Either::Right(Err(broadcast::error::RecvError::Lagged(lost))) => {
                errln!("peers: a connection of the hub lost {lost} messages");
                return Ok(());
            }
            Either::Right(Ok(message)) => {
                ws.feed(message).await?;
                while let Ok(message) = published.try_recv() {
                    ws.feed(message).await?;
                }
                ws.flush().await?;
            }
        }
    }
}
