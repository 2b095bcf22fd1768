//! What an application hangs around its WebSockets: before the 101, after it, and at the end.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tidegate_engine::time::Timer;
use tidegate_http::{IntoResponse, RequestHead, Response};

use crate::conn::disconnected::OnDisconnect;
use crate::conn::extensions::Extensions;
use crate::conn::websocket::WebSocket;
use crate::serve::refusal::Refusal;

/// See [`Upgrade::handshake_timeout`](crate::Upgrade::handshake_timeout): longer than a look into a slow database, shorter
/// than the patience of a browser.
const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The hooks of one upgrade.
pub(crate) struct Hooks {
    pub(crate) keep_request: bool,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) connect: Option<Box<dyn Connect>>,
    pub(crate) disconnect: Option<Arc<OnDisconnect>>,
}

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
