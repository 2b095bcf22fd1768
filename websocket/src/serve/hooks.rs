//! What an application hangs around its WebSockets: before the 101, after it, and at the end.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tidegate_engine::Address;
use tidegate_engine::time::Timer;
use tidegate_http::{IntoResponse, RequestHead, Response};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::WebSocket;
use crate::conn::context::ConnContext;
use crate::conn::extensions::Extensions;
use crate::protocol_error::UsageError;

/// See [`Upgrade::handshake_timeout`](crate::Upgrade::handshake_timeout): longer than a look into a slow database, shorter
/// than the patience of a browser.
const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The hooks of one upgrade.
pub(crate) struct Hooks {
    pub(crate) keep_request: bool,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) connect: Option<Box<dyn Connect>>,
    pub(crate) disconnect: Option<Box<Disconnect>>,
}

type Disconnect = dyn Fn(&Disconnected<'_>) + Send + Sync;

impl Hooks {
    /// Whether connections need nothing of this.
    pub(crate) fn is_empty(&self) -> bool {
        !self.keep_request && self.authorize.is_none() && !self.is_lasting()
    }

    /// Whether there is something to do after the handshake.
    pub(crate) fn is_lasting(&self) -> bool {
        self.connect.is_some() || self.disconnect.is_some()
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            keep_request: false,
            authorize: None,
            handshake_timeout: HANDSHAKE_TIMEOUT_DEFAULT,
            connect: None,
            disconnect: None,
        }
    }
}

/// Answers a request, or attaches to the connection what it found out.
pub(crate) trait Authorize: Send + Sync {
    fn authorize<'a>(
        &'a self,
        head: &'a RequestHead,
        extensions: &'a Extensions,
    ) -> LocalFuture<'a, Result<(), Response>>;
}

/// A future that stays on its thread, and borrows.
type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An application's function that authorizes, and the type of what it gives.
pub(crate) struct Authorized<A, T, E> {
    authorize: A,
    gives: PhantomData<fn() -> Result<T, E>>,
}

impl<A, T, E> Authorized<A, T, E> {
    pub(crate) fn new(authorize: A) -> Self {
        Self { authorize, gives: PhantomData }
    }
}

impl<A, T, E> Authorize for Authorized<A, T, E>
where
    A: AsyncFn(&RequestHead) -> Result<T, E> + Send + Sync,
    T: Any + Send + Sync,
    E: IntoResponse,
{
    fn authorize<'a>(
        &'a self,
        head: &'a RequestHead,
        extensions: &'a Extensions,
    ) -> LocalFuture<'a, Result<(), Response>> {
        Box::pin(async move {
            let given = (self.authorize)(head).await.map_err(IntoResponse::into_response)?;
            extensions.insert(given);
            Ok(())
        })
    }
}

/// Asks, and answers 503 in place of one who takes too long.
pub(crate) async fn authorize_in_time(
    authorize: &dyn Authorize,
    head: &RequestHead,
    extensions: &Extensions,
    timeout: Duration,
) -> Result<(), Response> {
    let mut asked = authorize.authorize(head, extensions);
    // Outside of the engine, as in tests of handlers, there are no timers.
    let mut late = pin!(Timer::current().map(|timer| timer.sleep(timeout)));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if late.as_mut().as_pin_mut().is_some_and(|late| late.poll(cx).is_ready()) {
            let text = "websocket: the handshake took too long\n";
            return Poll::Ready(Err(Response::text(text).with_status(StatusCode::SERVICE_UNAVAILABLE)));
        }
        Poll::Pending
    })
    .await
}

/// What [`on_connect`](crate::Upgrade::on_connect) does, without its type.
pub(crate) trait Connect: Send + Sync {
    fn connect<'a>(&'a self, ws: &'a mut WebSocket) -> LocalFuture<'a, Result<(), Refusal>>;
}

impl<C: AsyncFn(&mut WebSocket) -> Result<(), Refusal> + Send + Sync> Connect for C {
    fn connect<'a>(&'a self, ws: &'a mut WebSocket) -> LocalFuture<'a, Result<(), Refusal>> {
        Box::pin(self(ws))
    }
}

/// Why a WebSocket is closed before its handler has seen it: the close frame the peer gets.
///
/// Every error can become one: the peer is then told 1008 (policy violation) without the error's text.
#[derive(Debug)]
pub struct Refusal {
    frame: Option<CloseFrame>,
}

impl Refusal {
    /// A close frame with this code and reason, of at most 123 bytes. One that must not be sent becomes a 1008 without
    /// reason.
    pub fn new(code: CloseCode, reason: &str) -> Self {
        Self::of(CloseFrame::new(code, reason))
    }

    pub(crate) fn frame(&self) -> Option<&CloseFrame> {
        self.frame.as_ref()
    }

    fn of(frame: Result<CloseFrame, UsageError>) -> Self {
        let frame = frame.inspect_err(|error| log::warn!("a refusal that must not be sent: {error}"));
        Self { frame: frame.or_else(|_| CloseFrame::new(CloseCode::POLICY_VIOLATION, "")).ok() }
    }
}

impl From<CloseFrame> for Refusal {
    fn from(frame: CloseFrame) -> Self {
        Self { frame: Some(frame) }
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        log::info!("a websocket is refused: {error}");
        Self::of(CloseFrame::new(CloseCode::POLICY_VIOLATION, ""))
    }
}

/// How a connection ended, and what it had: for [`on_disconnect`](crate::Upgrade::on_disconnect).
pub struct Disconnected<'a> {
    peer: Address,
    code: CloseCode,
    panicked: bool,
    context: &'a ConnContext,
}

impl<'a> Disconnected<'a> {
    pub(crate) fn new(peer: Address, code: CloseCode, panicked: bool, context: &'a ConnContext) -> Self {
        Self { peer, code, panicked, context }
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> Address {
        self.peer
    }

    /// The code of the peer's close frame; 1005 if that had none, 1006 if none came, because the connection was lost,
    /// aborted or ended by us before.
    pub fn close_code(&self) -> CloseCode {
        self.code
    }

    /// Whether the handler panicked.
    pub fn panicked(&self) -> bool {
        self.panicked
    }

    /// The head of the request, where [`keep_request`](crate::Upgrade::keep_request) asked for it.
    pub fn request(&self) -> Option<&'a RequestHead> {
        self.context.request.as_ref()
    }

    /// What was kept with the connection.
    pub fn extensions(&self) -> &'a Extensions {
        &self.context.extensions
    }
}

impl fmt::Debug for Disconnected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnected")
            .field("peer", &self.peer)
            .field("close_code", &self.code)
            .field("panicked", &self.panicked)
            .finish_non_exhaustive()
    }
}
