//! A WebSocket that opens again when it is lost.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_engine::time::{Timer, sleep_until};
use tidegate_engine::{RunningHandle, instant_after};
use tidegate_http::LocalBoxFuture;

use super::builder::Connect;
use super::error::ConnectError;
use crate::close_code::CloseCode;
use crate::conn::encoding::random_u64;
use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::Message;
use crate::sync::lock;
use crate::usage_error::UsageError;

tidegate_engine::__settings! {
    /// The waits between the attempts of a [`Reconnecting`].
    ///
    /// Each wait is twice as long as the one before, up to a maximum, and shortened by up to half at random: clients of
    /// a server that has restarted do not all come back at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_websocket::Backoff;
    ///
    /// let backoff = Backoff::default().first(Duration::from_millis(100)).max(Duration::from_secs(10));
    /// let backoff = backoff.attempts_max(20);
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Backoff {
        /// The wait after the first failure. Default: 250 ms.
        pub first: Duration,
        /// The longest wait. Default: 30 s.
        pub max: Duration,
        /// Maximum attempts in a row that fail; the error of the last one is returned. Default: none, it tries for
        /// good.
        pub attempts_max: Option<u32>,
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), max: Duration::from_secs(30), attempts_max: None }
    }
}

impl Backoff {
    /// Returns the wait after this many failures in a row, at least one. `random` chooses the part that is left out.
    fn delay(&self, failures: u32, random: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = doubled.min(self.max);
        let part = (random >> 11) as f64 / (1_u64 << 53) as f64;
        longest - longest.mul_f64(part / 2.0)
    }
}

/// A connection that has lasted this long was no failure: the waits begin from the first again.
const STABLE_TIME: Duration = Duration::from_secs(10);

/// Bytes that are queued while there is no connection, unless [`Reconnecting::queue_bytes_max`] says otherwise.
const QUEUE_BYTES_MAX_DEFAULT: usize = 1 << 20;

/// A client that opens its WebSocket again when it is lost, with growing waits.
///
/// [`recv`](Self::recv) drives it: it connects, waits between attempts, and returns the messages of one connection
/// after the other. Messages that are sent while there is no connection are queued, up to a bound, and follow the
/// messages of [`on_open`](Self::on_open).
///
/// It is no guarantee of delivery: messages that were handed to a connection before it was lost can be lost with it,
/// and so can those that the server sent meanwhile. Ask for them in `on_open` if the server can repeat them.
///
/// ```no_run
/// use tidegate_websocket::{self as websocket, ConnectError, Reconnecting};
///
/// /// Prints prices for as long as the server wants it to.
/// async fn prices() -> Result<(), ConnectError> {
///     let mut prices = Reconnecting::new(websocket::connect("ws://prices.example/stream"))
///         .on_open(async |ws| ws.send("subscribe EURUSD").await);
///     while let Some(message) = prices.recv().await? {
///         println!("{message:?}");
///     }
///     Ok(())
/// }
/// ```
pub struct Reconnecting {
    connect: Connect,
    backoff: Backoff,
    on_open: Option<Box<dyn OnOpen>>,
    retries_after: Box<dyn Fn(CloseCode) -> bool>,
    outbox: Arc<Mutex<Outbox>>,
    state: State,
    /// Failures in a row.
    failures: u32,
}

enum State {
    /// There is no connection; the next attempt is due at this time.
    Away {
        attempt_at: Option<Instant>,
    },
    Open {
        ws: WebSocket,
        since: Instant,
    },
    Over,
}

/// A hook for new connections, without its type.
trait OnOpen {
    fn call<'a>(&'a self, ws: &'a mut WebSocket) -> LocalBoxFuture<'a, Result<(), Error>>;
}

impl<F: AsyncFn(&mut WebSocket) -> Result<(), Error>> OnOpen for F {
    fn call<'a>(&'a self, ws: &'a mut WebSocket) -> LocalBoxFuture<'a, Result<(), Error>> {
        Box::pin(self(ws))
    }
}

impl Reconnecting {
    /// Returns a client that will connect in this way. Nothing happens before [`recv`](Self::recv) or
    /// [`open`](Self::open).
    pub fn new(connect: impl Into<Connect>) -> Self {
        let queue = VecDeque::new();
        let outbox = Outbox { sender: None, queue, bytes: 0, bytes_max: QUEUE_BYTES_MAX_DEFAULT, is_over: false };
        Self {
            connect: connect.into(),
            backoff: Backoff::default(),
            on_open: None,
            retries_after: Box::new(retries_after),
            outbox: Arc::new(Mutex::new(outbox)),
            state: State::Away { attempt_at: None },
            failures: 0,
        }
    }

    /// Sets the waits between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Runs `on_open` on each new connection before anything else is sent: to log in, to subscribe again, to ask for
    /// what was missed. If it fails, the attempt has failed.
    #[must_use]
    pub fn on_open(mut self, on_open: impl AsyncFn(&mut WebSocket) -> Result<(), Error> + 'static) -> Self {
        self.on_open = Some(Box::new(on_open));
        self
    }

    /// Sets the bound on the payload of the messages that are queued while there is no connection; later ones are
    /// refused with [`Error::Full`]. Default: 1 MiB.
    #[must_use]
    pub fn queue_bytes_max(self, bytes: usize) -> Self {
        lock(&self.outbox).bytes_max = bytes;
        self
    }

    /// Decides after which close codes of the server it connects again. Default: all but 1000 and those that say that
    /// this client does something wrong (1002, 1003, 1007 to 1010). A close frame without a code is 1005.
    #[must_use]
    pub fn retry_after(mut self, retries_after: impl Fn(CloseCode) -> bool + 'static) -> Self {
        self.retries_after = Box::new(retries_after);
        self
    }

    /// Waits for the next message, and connects as often as that takes. `None` once the server has closed for good, or
    /// after [`close`](Self::close).
    ///
    /// Cancel-safe: a call that is dropped loses nothing, except an attempt to connect that was in progress.
    ///
    /// # Errors
    /// The error of an attempt that is not [temporary](ConnectError::is_temporary), or of the last of
    /// [`attempts_max`](Backoff::attempts_max). Another call tries again.
    pub async fn recv(&mut self) -> Result<Option<Message>, ConnectError> {
        loop {
            self.open().await?;
            let State::Open { ws, since } = &mut self.state else { return Ok(None) };
            let ended = match ws.recv().await {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => Ok(ws.close_frame().map_or(CloseCode::NO_STATUS, |frame| frame.code())),
                Err(error) => Err(error),
            };
            if since.elapsed() >= STABLE_TIME {
                self.failures = 0;
            }
            match ended {
                Ok(code) if !(self.retries_after)(code) => self.end(),
                Ok(code) => {
                    log::info!("the server closed the WebSocket with {code}: connecting again");
                    self.leave();
                }
                Err(error) => {
                    log::info!("the WebSocket was lost: {error}; connecting again");
                    self.leave();
                }
            }
        }
    }

    /// Connects if there is no connection, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn open(&mut self) -> Result<(), ConnectError> {
        while let State::Away { attempt_at } = self.state {
            if let Some(time) = attempt_at {
                sleep_on(self.connect.engine(), time).await;
            }
            match self.attempt().await {
                Ok(ws) => self.state = State::Open { ws, since: Instant::now() },
                Err(Attempt::Hook(error)) => {
                    log::info!("`on_open` failed: {error}; connecting again");
                    self.leave();
                }
                Err(Attempt::Connect(error)) => {
                    self.leave();
                    let is_last = self.backoff.attempts_max.is_some_and(|attempts_max| self.failures >= attempts_max);
                    if is_last || !error.is_temporary() {
                        self.failures = 0;
                        return Err(error);
                    }
                    log::debug!("no WebSocket was opened: {error}; trying again");
                }
            }
        }
        Ok(())
    }

    /// Makes one attempt.
    async fn attempt(&mut self) -> Result<WebSocket, Attempt> {
        let (mut ws, _response) = self.connect.clone().await.map_err(Attempt::Connect)?;
        if let Some(on_open) = &self.on_open {
            on_open.call(&mut ws).await.map_err(Attempt::Hook)?;
        }
        send_queued(&self.outbox, ws.sender()).await.map_err(Attempt::Hook)?;
        Ok(ws)
    }

    /// Notes that there is no connection, and when to try again.
    fn leave(&mut self) {
        lock(&self.outbox).sender = None;
        self.failures = self.failures.saturating_add(1);
        let delay = self.backoff.delay(self.failures, random_u64());
        self.state = State::Away { attempt_at: Some(instant_after(Instant::now(), delay)) };
    }

    fn end(&mut self) {
        self.state = State::Over;
        let mut outbox = lock(&self.outbox);
        outbox.sender = None;
        outbox.is_over = true;
    }

    /// Returns a sending half, for other tasks and threads.
    #[must_use]
    pub fn sender(&self) -> ReconnectingSender {
        ReconnectingSender { outbox: Arc::clone(&self.outbox) }
    }

    /// Returns the WebSocket while there is one.
    pub fn websocket(&mut self) -> Option<&mut WebSocket> {
        match &mut self.state {
            State::Open { ws, .. } => Some(ws),
            State::Away { .. } | State::Over => None,
        }
    }

    /// Closes the connection, if there is one, as [`WebSocket::close`] does, and connects no more. Queued messages are
    /// dropped.
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let closed = match &mut self.state {
            State::Open { ws, .. } => ws.close(code, reason).await,
            State::Away { .. } | State::Over => Ok(()),
        };
        self.end();
        closed
    }
}

/// Why an attempt failed.
enum Attempt {
    Connect(ConnectError),
    /// The hook failed, or the connection was lost before the queued messages were sent.
    Hook(Error),
}

/// Returns whether another attempt makes sense after this close code.
fn retries_after(code: CloseCode) -> bool {
    !matches!(
        code,
        CloseCode::NORMAL
            | CloseCode::PROTOCOL_ERROR
            | CloseCode::UNSUPPORTED_DATA
            | CloseCode::INVALID_PAYLOAD
            | CloseCode::POLICY_VIOLATION
            | CloseCode::MESSAGE_TOO_BIG
            | CloseCode::MANDATORY_EXTENSION
    )
}

/// Sleeps on the worker of this thread, or else on one of the engine.
async fn sleep_on(engine: Option<&RunningHandle>, time: Instant) {
    match (Timer::current(), engine) {
        (Some(timer), _) => timer.sleep_until(time).await,
        (None, Some(engine)) => {
            let _ = engine.spawn(move || sleep_until(time)).await;
        }
        // Connecting will fail: there is no engine.
        (None, None) => {}
    }
}

/// The messages that wait for a connection, and the way to it.
struct Outbox {
    /// `None` while there is no connection, and until the queue has been sent.
    sender: Option<Sender>,
    queue: VecDeque<Message>,
    /// Payload of the queued messages.
    bytes: usize,
    bytes_max: usize,
    is_over: bool,
}

impl Outbox {
    fn push(&mut self, message: Message) -> Result<(), Error> {
        if self.is_over {
            return Err(UsageError::CloseSent.into());
        }
        if self.bytes + message.len() > self.bytes_max {
            return Err(Error::Full);
        }
        self.bytes += message.len();
        self.queue.push_back(message);
        Ok(())
    }
}

/// Sends what is queued, then makes `sender` the way for later messages.
async fn send_queued(outbox: &Mutex<Outbox>, sender: Sender) -> Result<(), Error> {
    loop {
        let message = {
            let mut outbox = lock(outbox);
            let Some(message) = outbox.queue.front().cloned() else {
                outbox.sender = Some(sender);
                return Ok(());
            };
            message
        };
        let len = message.len();
        sender.send(message).await?;
        // Only this task removes messages.
        let mut outbox = lock(outbox);
        outbox.queue.pop_front();
        outbox.bytes -= len;
    }
}

/// The sending half of a [`Reconnecting`]: cloneable, usable from any thread.
///
/// While there is a connection, a message goes to its outbound queue. Otherwise it is queued until there is one.
#[derive(Clone)]
pub struct ReconnectingSender {
    outbox: Arc<Mutex<Outbox>>,
}

impl ReconnectingSender {
    /// Queues a message; with a connection, waits for space in its outbound queue.
    ///
    /// # Errors
    /// [`Error::Full`] without a connection, if more is queued than
    /// [`queue_bytes_max`](Reconnecting::queue_bytes_max); [`UsageError::CloseSent`] once the client has ended for
    /// good.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        loop {
            let sender = {
                let mut outbox = lock(&self.outbox);
                match &outbox.sender {
                    Some(sender) if !sender.is_finished() => sender.clone(),
                    _ => return outbox.push(message),
                }
            };
            match sender.send(message.clone()).await {
                // There can be another connection by now, and then nothing takes messages out of the queue.
                Err(error) if is_away(&error) => {}
                sent => return sent,
            }
        }
    }

    /// Queues a message if there is space.
    ///
    /// # Errors
    /// [`Error::Full`] if the outbound queue of the connection is full, too; otherwise as [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        let mut outbox = lock(&self.outbox);
        match &outbox.sender {
            Some(sender) => match sender.try_send(message.clone()) {
                Err(error) if is_away(&error) => outbox.push(message),
                sent => sent,
            },
            None => outbox.push(message),
        }
    }

    /// Returns the payload bytes of the messages that wait for a connection.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        lock(&self.outbox).bytes
    }
}

/// Returns whether a send failed because its connection has ended.
fn is_away(error: &Error) -> bool {
    matches!(error, Error::Closed(_)) || error.is_close_sent()
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = matches!(self.state, State::Open { .. });
        f.debug_struct("Reconnecting")
            .field("connect", &self.connect)
            .field("is_open", &is_open)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReconnectingSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingSender").field("queued_bytes", &self.queued_bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_shortened_by_at_most_half() {
        let backoff = Backoff::default().first(Duration::from_millis(100)).max(Duration::from_secs(1));
        for (failures, longest_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000), (u32::MAX, 1000)] {
            let longest = Duration::from_millis(longest_ms);
            assert_eq!(backoff.delay(failures, 0), longest);
            let shortest = backoff.delay(failures, u64::MAX);
            assert!(shortest >= longest / 2 && shortest < longest / 2 + Duration::from_millis(1), "{shortest:?}");
            for _ in 0..100 {
                assert!((longest / 2..=longest).contains(&backoff.delay(failures, random_u64())));
            }
        }
    }

    #[test]
    fn a_server_that_has_enough_is_left_alone() {
        for (code, again) in [(1000, false), (1001, true), (1005, true), (1008, false), (1011, true), (1013, true)] {
            assert_eq!(retries_after(CloseCode::new(code)), again, "{code}");
        }
    }
}
