//! `serve`, in the place of `axum::serve`.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use ::axum::body::Body;
use tower_service::Service;

use super::app::server;
use super::incoming::IncomingStream;
use super::listener::Listener;
use crate::engine::{RunningHandle, Shutdown};
use crate::http;

/// Serves an axum application on a listener. It takes the place of `axum::serve`: with a tokio or std `TcpListener` or
/// `UnixListener`, and a `Router`, a `MethodRouter`, a handler's service, or what `into_make_service` and
/// `into_make_service_with_connect_info` return.
///
/// The engine has its default settings: a worker for each core, io_uring if it is available. [`server`] has all
/// settings. Dropping the future shuts the server down gracefully, without waiting for it.
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use axum::extract::ConnectInfo;
/// use axum::{Router, routing::get};
///
/// # async fn example() -> std::io::Result<()> {
/// let address = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
/// let app = Router::new().route("/", get(address));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// tidegate::axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
///     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap() })
///     .await
/// # }
/// ```
pub fn serve<L, M, S>(listener: L, app: M) -> Serve<L, M, S>
where
    L: Listener,
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    Serve { listener, app, service: PhantomData }
}

/// A server of an axum application; await it to serve. See [`serve`].
#[must_use = "futures must be awaited or polled"]
pub struct Serve<L, M, S> {
    listener: L,
    app: M,
    service: PhantomData<fn() -> S>,
}

impl<L: Listener, M, S> Serve<L, M, S> {
    /// Shuts the server down gracefully when `signal` completes. Requests in flight have 30 s to complete, see
    /// [`drain_timeout`](WithGracefulShutdown::drain_timeout). WebSockets of axum's extractor see the end of their
    /// stream at once, those of this crate's are told to close.
    pub fn with_graceful_shutdown<F>(self, signal: F) -> WithGracefulShutdown<L, M, S, F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        WithGracefulShutdown { serve: self, signal, shutdown: Shutdown::default() }
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// Of getsockname(2).
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

impl<L, M, S> fmt::Debug for Serve<L, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").finish_non_exhaustive()
    }
}

impl<L, M, S> IntoFuture for Serve<L, M, S>
where
    L: Listener,
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(run(self, std::future::pending(), Shutdown::default())))
    }
}

/// A server that shuts down gracefully; await it to serve. See [`Serve::with_graceful_shutdown`].
#[must_use = "futures must be awaited or polled"]
pub struct WithGracefulShutdown<L, M, S, F> {
    serve: Serve<L, M, S>,
    signal: F,
    shutdown: Shutdown,
}

impl<L: Listener, M, S, F> WithGracefulShutdown<L, M, S, F> {
    /// Sets the time that requests in flight have to complete after the signal. Default: 30 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown = self.shutdown.drain_timeout(timeout);
        self
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// Of getsockname(2).
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.serve.local_addr()
    }
}

impl<L, M, S, F> fmt::Debug for WithGracefulShutdown<L, M, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithGracefulShutdown").field("shutdown", &self.shutdown).finish_non_exhaustive()
    }
}

impl<L, M, S, F> IntoFuture for WithGracefulShutdown<L, M, S, F>
where
    L: Listener,
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(run(self.serve, self.signal, self.shutdown)))
    }
}

/// The future of [`Serve`] and [`WithGracefulShutdown`]. It completes when the server has shut down.
#[must_use = "futures must be awaited or polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

impl Future for ServeFuture {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}

async fn run<L, M, S>(
    serve: Serve<L, M, S>,
    signal: impl Future<Output = ()> + Send,
    shutdown: Shutdown,
) -> io::Result<()>
where
    L: Listener,
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    let socket = serve.listener.into_socket()?;
    let running = server(serve.app).bind_inherited(socket).start().map_err(io::Error::other)?;
    let end = EndOnDrop(running.handle());
    let mut stopped = running.stopped();
    let mut signal = pin!(signal);
    let mut signalled = false;
    let report = std::future::poll_fn(|cx| {
        if !signalled && signal.as_mut().poll(cx).is_ready() {
            signalled = true;
            end.0.begin_shutdown(shutdown);
        }
        Pin::new(&mut stopped).poll(cx)
    })
    .await;
    match report.failed_workers {
        0 => Ok(()),
        failed => Err(io::Error::other(format!("{failed} workers of the server have failed; the log has the reasons"))),
    }
}

/// Shuts the server down when its future is dropped.
struct EndOnDrop(RunningHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.begin_shutdown(Shutdown::default());
    }
}
