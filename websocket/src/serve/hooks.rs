//! The application's hooks around its WebSockets: before the 101, after it, and at the end.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tidegate_engine::time::Timer;
use tidegate_http::{IntoResponse, LocalBoxFuture, RequestHead, Response, SharedAcrossThreads};

use crate::conn::disconnected::OnDisconnect;
use crate::conn::extensions::Extensions;
use crate::conn::websocket::WebSocket;
use crate::serve::handler_error::HandlerError;

/// The default of [`Upgrade::handshake_timeout`](crate::Upgrade::handshake_timeout): longer than a query of a slow
/// database, shorter than a browser waits.
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
    /// Returns whether there are no hooks.
    pub(crate) fn is_empty(&self) -> bool {
        !self.keep_request && self.authorize.is_none() && !self.is_lasting()
    }

    /// Returns whether there is something to do after the handshake.
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

/// An `authorize` function without its type: attaches a value to the connection, or answers the request.
pub(crate) trait Authorize: Send + Sync {
    fn authorize<'a>(
        &'a self,
        head: &'a RequestHead,
        extensions: &'a Extensions,
    ) -> LocalBoxFuture<'a, Result<(), Response>>;
}

/// An application's `authorize` function with the types of its result.
pub(crate) struct Authorized<A, T, E> {
    authorize: A,
    result: PhantomData<fn() -> Result<T, E>>,
}

impl<A, T, E> Authorized<A, T, E> {
    pub(crate) fn new(authorize: A) -> Self {
        Self { authorize, result: PhantomData }
    }
}

impl<A, T, E> Authorize for Authorized<A, T, E>
where
    A: AsyncFn(&RequestHead) -> Result<T, E> + SharedAcrossThreads,
    T: Any + Send + Sync,
    E: IntoResponse,
{
    fn authorize<'a>(
        &'a self,
        head: &'a RequestHead,
        extensions: &'a Extensions,
    ) -> LocalBoxFuture<'a, Result<(), Response>> {
        Box::pin(async move {
            let value = (self.authorize)(head).await.map_err(IntoResponse::into_response)?;
            extensions.insert(value);
            Ok(())
        })
    }
}

/// Runs `authorize`, and answers 503 if it takes too long.
pub(crate) async fn authorize_in_time(
    authorize: &dyn Authorize,
    head: &RequestHead,
    extensions: &Extensions,
    timeout: Duration,
) -> Result<(), Response> {
    let mut authorized = authorize.authorize(head, extensions);
    // Outside of the engine, as in tests of handlers, there are no timers and so no limit.
    let mut late = pin!(Timer::current().map(|timer| timer.sleep(timeout)));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = authorized.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if late.as_mut().as_pin_mut().is_some_and(|late| late.poll(cx).is_ready()) {
            log::warn!(
                "`authorize` took longer than {timeout:?}, answered with 503: speed it up, or raise `handshake_timeout`"
            );
            let text = "websocket: the handshake took too long\n";
            return Poll::Ready(Err(Response::text(text).with_status(StatusCode::SERVICE_UNAVAILABLE)));
        }
        Poll::Pending
    })
    .await
}

/// A hook of [`on_connect`](crate::Upgrade::on_connect), without its type.
pub(crate) trait Connect: Send + Sync {
    fn connect<'a>(&'a self, ws: &'a mut WebSocket) -> LocalBoxFuture<'a, Result<(), HandlerError>>;
}

impl<C: AsyncFn(&mut WebSocket) -> Result<(), HandlerError> + SharedAcrossThreads> Connect for C {
    fn connect<'a>(&'a self, ws: &'a mut WebSocket) -> LocalBoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(self(ws))
    }
}
