//! WebSockets for scripts and tests: calls that block the current thread.
//!
//! [`connect`](connect()) needs no engine and no async code. All of these connections share one engine with one worker,
//! which the first call starts and which ends with the process. Any thread can use it, except those of an engine: they
//! would stop their other connections, and the call panics.
//!
//! ```no_run
//! use tidegate_websocket::{CloseCode, blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut ws, _response) = blocking::connect("ws://127.0.0.1:9001/ws")?;
//! ws.send("hello")?;
//! println!("{:?}", ws.recv()?);
//! ws.close(CloseCode::NORMAL, "")?;
//! # Ok(())
//! # }
//! ```

use std::future::IntoFuture;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::Response;
use tidegate_engine::{Config, Engine, RunningHandle, block_on, instant_after};

use super::builder::Connect;
use super::error::ConnectError;
use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::sender::Sender;
use crate::conn::websocket;
use crate::error::Error;
use crate::message::Message;

/// Opens a WebSocket to the server of a URL, or of a [`Connect`] with settings, and waits for it.
///
/// ```no_run
/// use tidegate_websocket::{self as websocket, blocking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ws, _response) = blocking::connect(websocket::connect("ws://127.0.0.1:9001/ws").bearer("secret"))?;
/// for message in ws {
///     println!("{:?}", message?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As awaiting a [`Connect`]; [`ConnectError::Engine`] if the shared engine cannot be started.
///
/// # Panics
/// On one of an engine's threads.
pub fn connect(target: impl Into<Connect>) -> Result<(WebSocket, Response<()>), ConnectError> {
    let mut connect = target.into();
    if connect.engine().is_none() {
        connect = connect.on_engine(shared_engine()?);
    }
    let (ws, response) = block_on(connect.into_future())?;
    Ok((WebSocket { ws }, response))
}

/// Returns the engine of all blocking connections of the process.
fn shared_engine() -> Result<&'static RunningHandle, ConnectError> {
    static ENGINE: OnceLock<Result<RunningHandle, String>> = OnceLock::new();
    let start = || Engine::client(Config::default().workers(1).pin(false)).map(|running| running.handle());
    let engine = ENGINE.get_or_init(|| start().map_err(|error| error.to_string()));
    engine.as_ref().map_err(|error| ConnectError::Engine(error.clone()))
}

/// A [`WebSocket`](crate::WebSocket) whose methods block the current thread instead of returning futures. As an
/// iterator it gives the messages of [`recv`](Self::recv).
///
/// Dropping it sends close 1000 and waits for nothing.
#[derive(Debug)]
pub struct WebSocket {
    ws: websocket::WebSocket,
}

impl WebSocket {
    /// Waits for the next message; `None` after the server's close frame. See
    /// [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Errors
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        block_on(self.ws.recv())
    }

    /// Waits for the next message, for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::ReadDeadline`] when it has passed; the WebSocket stays usable. Otherwise as [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.ws.set_read_deadline(Some(instant_after(Instant::now(), timeout)));
        let received = self.recv();
        self.ws.set_read_deadline(None);
        received
    }

    /// Waits for space in the outbound queue, then queues a message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        block_on(self.ws.send(message))
    }

    /// Queues a ping of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.ws.ping(payload)
    }

    /// Sends a close frame and waits for the server's, as [`WebSocket::close`](crate::WebSocket::close) does.
    ///
    /// # Errors
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        block_on(self.ws.close(code, reason))
    }

    /// Ends the connection without a close frame, as [`WebSocket::quit`](crate::WebSocket::quit) does.
    pub fn quit(self) {
        self.ws.quit();
    }

    /// Returns the server's close frame, once it has come.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.ws.close_frame()
    }

    /// Returns the agreed subprotocol.
    pub fn subprotocol(&self) -> Option<&str> {
        self.ws.subprotocol()
    }

    /// Returns a sending half for other threads. Its `try_send`, `ping` and `close` do not wait; use
    /// [`block_on`](tidegate_engine::block_on) for its `send`.
    pub fn sender(&self) -> Sender {
        self.ws.sender()
    }

    /// Returns the WebSocket with all of its methods, for [`block_on`](tidegate_engine::block_on).
    pub fn websocket(&mut self) -> &mut websocket::WebSocket {
        &mut self.ws
    }

    /// Returns the WebSocket.
    pub fn into_inner(self) -> websocket::WebSocket {
        self.ws
    }
}

impl Iterator for WebSocket {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv().transpose()
    }
}
