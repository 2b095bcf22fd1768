//! Outbound connections: [`connect`] and its settings.
//!
//! `target` is what to connect to, `resolve` looks names up on a few threads, `race` tries the addresses on a worker
//! until one connects, `error` says why none did. The worker makes each attempt ([`Attempt`](crate::shared::attempt)).

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use crate::connection::Connection;
use crate::executor::{self, RunQueue, label, lasting};
use crate::shared::worker_shared::WorkerShared;
use crate::time::{self, Timer};
use crate::util::contained::catch;

pub(crate) mod error;
mod race;
mod resolve;
#[cfg(feature = "tls")]
mod secure;
pub(crate) mod target;

use error::ConnectError;
use race::{Race, Settings};
use target::ConnectTarget;

/// Timeout of connecting unless another is set.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Connects to a TCP server. Await the returned [`Connect`], after changing its settings where needed.
///
/// The result is a [`Connection`] like an accepted one: it belongs to the worker of the calling handler, has the same
/// buffers and deadlines, and counts towards [`Config::connections_max`](crate::Config::connections_max). Dropping the
/// future ends the attempt.
///
/// A name is resolved on a thread that may block. If it has several addresses, they are tried one after the other, each
/// 250 ms after the one before it or as soon as that has failed, and the first that connects is taken (Happy Eyeballs,
/// RFC 8305). IPv4 and IPv6 take turns.
///
/// This works wherever a future runs on a thread of handlers: in a handler, in a task of
/// [`spawn_local`](crate::spawn_local) or [`Running::spawn`](crate::Running::spawn). Elsewhere use
/// [`Running::connect`](crate::Running::connect).
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{Connection, connect};
///
/// /// Sends everything that the client sends on to another server, and its answers back.
/// async fn forward(mut client: Connection) {
///     let server = connect("127.0.0.1:7001").timeout(Duration::from_secs(5)).await;
///     let mut server = match server {
///         Ok(server) => server,
///         Err(error) => return eprintln!("{error}"),
///     };
///     while let Ok(Some(chunk)) = client.receive().await {
///         if server.sender().send(chunk.into_vec()).await.is_err() {
///             return;
///         }
///         let Ok(Some(answer)) = server.receive().await else { return };
///         if client.sender().send(answer.into_vec()).await.is_err() {
///             return;
///         }
///     }
/// }
/// ```
pub fn connect(target: impl Into<ConnectTarget>) -> Connect {
    Connect::new(target.into())
}

/// Connects to a Unix-domain socket (unix(7)): a path, or an abstract name after an `@`. See [`connect`].
///
/// ```no_run
/// # async fn example() -> Result<(), tidegate_engine::ConnectError> {
/// let connection = tidegate_engine::connect_unix("/run/backend.sock").await?;
/// # Ok(())
/// # }
/// ```
#[cfg(unix)]
pub fn connect_unix(path: impl Into<PathBuf>) -> Connect {
    Connect::new(ConnectTarget::unix(path.into()))
}

/// An outbound connection before it is made: its target and settings. [`connect`], [`connect_unix`] and
/// [`Running::connect`](crate::Running::connect) create it.
///
/// Awaiting it gives the [`Connection`]; the future is `Send`. [`start`](Self::start) connects in the background
/// instead and runs a handler.
///
/// | At the limit | Result |
/// |---|---|
/// | the name does not resolve | [`ConnectError::Resolve`] |
/// | the TLS handshake fails (feature `tls`) | [`ConnectError::Tls`] |
/// | [`timeout`](Self::timeout) passes | [`ConnectError::TimedOut`] |
/// | the worker has [`connections_max`](crate::Config::connections_max) connections | [`ConnectError::LimitReached`], at once |
/// | the engine shuts down | [`ConnectError::Draining`], at once, unless [`while_draining`](Self::while_draining) |
#[must_use = "a connection is made only when this is awaited or started"]
#[derive(Clone)]
pub struct Connect {
    target: ConnectTarget,
    timeout: Option<Duration>,
    settings: Settings,
    /// The worker to use in place of the calling handler's.
    worker: Option<Arc<WorkerShared>>,
    /// The queue of the thread on which [`start`](Self::start) runs the handler, in place of the calling one.
    queue: Option<Arc<RunQueue>>,
    #[cfg(feature = "tls")]
    secure: Option<secure::Secure>,
}

/// # Settings
impl Connect {
    fn new(target: ConnectTarget) -> Self {
        let settings = Settings::default();
        Self {
            target,
            timeout: Some(TIMEOUT_DEFAULT),
            settings,
            worker: None,
            queue: None,
            #[cfg(feature = "tls")]
            secure: None,
        }
    }

    /// Uses this worker, and for a handler the thread of this queue.
    pub(crate) fn on(mut self, worker: Arc<WorkerShared>, queue: Arc<RunQueue>) -> Self {
        self.worker = Some(worker);
        self.queue = Some(queue);
        self
    }

    /// Limits the time from the call to the open connection: resolving the name and all attempts together. `None`
    /// leaves it to the kernel, which gives up after about two minutes (`tcp_syn_retries` of tcp(7)). Default: 30 s.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Connects from this address. With port 0 the kernel chooses the port when it connects, so the pair of addresses
    /// must be unique and not the port: each local address has about 28,000 connections to one server
    /// (`ip_local_port_range` of ip(7)), and several addresses have as many each. Linux finds the first half of them
    /// quickly, and then searches longer with each, so use another local address for each 14,000. Addresses of the
    /// target that are of another family fail. Has no effect on Unix-domain sockets. Default: the kernel's choice.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tidegate_engine::ConnectError> {
    /// let local = ([127, 0, 0, 2], 0).into();
    /// let connection = tidegate_engine::connect("127.0.0.1:7000").local_address(local).await?;
    /// assert_eq!(connection.local_addr().ip().map(|address| address.ip()), Some(local.ip()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_address(mut self, address: SocketAddr) -> Self {
        self.settings.local = Some(address.into());
        self
    }

    /// Sets `TCP_NODELAY` (tcp(7)). Default: [`Config::nodelay`](crate::Config::nodelay).
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.settings.options.nodelay = Some(nodelay);
        self
    }

    /// Sets the size of the kernel's receive buffer (`SO_RCVBUF` of socket(7)), 1 to 2,147,483,647 bytes, before
    /// connecting. Default: [`Config::socket_receive_buffer_bytes`](crate::Config::socket_receive_buffer_bytes).
    pub fn receive_buffer_bytes(mut self, bytes: u32) -> Self {
        self.settings.options.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Sets the size of the kernel's send buffer (`SO_SNDBUF`), with the same bounds. Default:
    /// [`Config::socket_send_buffer_bytes`](crate::Config::socket_send_buffer_bytes).
    pub fn send_buffer_bytes(mut self, bytes: u32) -> Self {
        self.settings.options.send_buffer_bytes = Some(bytes);
        self
    }

    /// Runs `options` on the socket of each attempt before it connects, on the worker's thread, for options that this
    /// type lacks. It must not block. An error fails the attempt. Options of an open connection are set with
    /// [`Connection::with_socket`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tidegate_engine::ConnectError> {
    /// let connect = tidegate_engine::connect("10.0.0.7:7000").socket_options(|socket| socket.set_mark(7));
    /// let connection = connect.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn socket_options(mut self, options: impl Fn(SockRef<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.settings.options.prepare = Some(Arc::new(options));
        self
    }

    /// Connects also while the engine shuts down, until the deadline of the shutdown: for what a handler needs to
    /// finish the work in progress. The connection is then one of those that the shutdown waits for. Default: false, a
    /// shutdown fails the attempt.
    pub fn while_draining(mut self, allowed: bool) -> Self {
        self.settings.while_draining = allowed;
        self
    }

    /// Uses the worker of `connection` in place of the calling handler's. Also for threads without a worker, such as
    /// those of [`blocking`](crate::blocking) handlers:
    ///
    /// ```no_run
    /// use tidegate_engine::{BlockingConnection, block_on, connect};
    ///
    /// fn handler(client: BlockingConnection) {
    ///     let server = block_on(connect("127.0.0.1:7001").on_worker_of(client.connection()).into_future());
    ///     # drop(server);
    /// }
    /// ```
    pub fn on_worker_of(mut self, connection: &Connection) -> Self {
        self.worker = Some(Arc::clone(connection.sender().shared.worker()));
        self
    }
}

/// # Connecting
impl Connect {
    /// Connects in the background and calls `handler` with the outcome, on the thread of a handler: the calling one, or
    /// with [`Running::connect`](crate::Running::connect) that of the connection's worker.
    ///
    /// The future that `handler` returns runs as that of an accepted connection: it stays on its thread and need not be
    /// `Send`, a panic ends only the connection, and the connection ends with it. So very many outbound connections
    /// cost what accepted ones do. If the engine ends first, `handler` is dropped.
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, Error, Shutdown};
    ///
    /// fn main() -> Result<(), Error> {
    ///     let running = Engine::client(Config::default())?;
    ///     for _ in 0..10_000 {
    ///         running.connect("127.0.0.1:7000").start(|connected| async move {
    ///             match connected {
    ///                 // Holds the connection until the server ends it.
    ///                 Ok(mut connection) => while let Ok(Some(_)) = connection.receive().await {},
    ///                 Err(error) => eprintln!("{error}"),
    ///             }
    ///         });
    ///     }
    ///     running.run_until_signal(Shutdown::default())?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    /// On a thread that runs no handlers, unless [`Running::connect`](crate::Running::connect) has created this.
    pub fn start<H, F>(mut self, handler: H)
    where
        H: FnOnce(Result<Connection, ConnectError>) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        match self.queue.take() {
            Some(queue) => queue.call(move || self.begin(handler)),
            None => self.begin(handler),
        }
    }

    /// Connects in a task of the current thread.
    fn begin<H, F>(self, handler: H)
    where
        H: FnOnce(Result<Connection, ConnectError>) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let queue = executor::current_queue();
        let queue =
            queue.expect("Connect::start: called on a thread that runs no handlers; use Running::connect there");
        // Now, because the task has no connection whose worker could be used.
        let worker = self.worker.clone().or_else(current_worker);
        let connect = Self { worker, ..self };
        let task = lasting::spawn(async move {
            match connect.await {
                Ok(connection) => serve(&queue, connection, handler),
                Err(error) => handler(Err(error)).await,
            }
        });
        task.into_iter().for_each(async_task::Task::detach);
    }
}

/// Runs the handler of an open connection as a task of the current thread, whose queue this is.
fn serve<H, F>(queue: &Arc<RunQueue>, connection: Connection, handler: H)
where
    H: FnOnce(Result<Connection, ConnectError>) -> F,
    F: Future<Output = ()> + 'static,
{
    let shared = Arc::clone(&connection.sender().shared);
    // A panic in the call drops the connection, like a panic in the future.
    match catch(|| handler(Ok(connection))) {
        Ok(future) => queue.spawn(shared, label::UNKNOWN, future),
        Err(message) => {
            log::error!("a handler panicked and its connection with {} is closed: {message}", shared.peer());
        }
    }
}

/// Returns the worker of the handler that runs on the current thread, or else the one that the thread serves.
fn current_worker() -> Option<Arc<WorkerShared>> {
    executor::current_worker().or_else(time::current_worker)
}

impl IntoFuture for Connect {
    type Output = Result<Connection, ConnectError>;
    type IntoFuture = Connecting;

    fn into_future(self) -> Connecting {
        Connecting(Box::pin(self.run()))
    }
}

impl Connect {
    async fn run(self) -> Result<Connection, ConnectError> {
        #[cfg(feature = "tls")]
        let secure = self.secure;
        let Self { target, timeout, settings, worker, .. } = self;
        let worker = worker.or_else(current_worker).ok_or(ConnectError::NotOnHandlerThread)?;
        let mut deadline = timeout.map(|timeout| Timer::new(Arc::clone(&worker)).timeout(timeout));
        let connecting = async {
            let addresses = target.addresses().await?;
            let connection = Race::new(worker, settings, addresses).await?;
            #[cfg(feature = "tls")]
            if let Some(secure) = secure {
                return secure.shake_hands(connection, &target).await;
            }
            Ok(connection)
        };
        let mut connecting = pin!(connecting);
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = connecting.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            match &mut deadline {
                Some(deadline) => {
                    let late = || Err(ConnectError::TimedOut { address: target.to_string() });
                    Pin::new(deadline).poll(cx).map(|()| late())
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("target", &self.target).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The future of a [`Connect`]. Dropping it ends the attempt, and leaves nothing behind.
#[must_use = "futures do nothing unless awaited"]
pub struct Connecting(Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>);

impl Future for Connecting {
    type Output = Result<Connection, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
