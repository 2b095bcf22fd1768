//! The opening handshake as an HTTP handler: checks the request, answers 101, and runs the WebSocket handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderValue;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use tidegate_engine::Connection;
use tidegate_http::{Handler, Reply, Request, RequestHead, Response};

use crate::attend::attend;
use crate::close::{CloseCode, CloseFrame};
use crate::config::WebSocketConfig;
use crate::connection::WebSocket;
use crate::failure::Error;
use crate::handshake::{Offer, OriginAllowList, OriginError, RequestError, Scheme, check_same_origin};
use crate::session::Session;

/// An HTTP handler that upgrades requests to WebSockets and runs `handler` on each.
///
/// Refused requests get the status and the text of their [`RequestError`]; pages of other origins get 403 (change that
/// with [`check_origin`](Upgrade::check_origin)). The handler's future stays on its thread and need not be `Send`.
///
/// When the handler is done and no close frame was sent, its result says which is:
///
/// | The handler | Close code |
/// |---|---|
/// | returned `Ok` | 1000 |
/// | returned [`Error::Application`] or [`Error::Usage`], or panicked | 1011 |
/// | returned [`Error::Full`] | 1013 |
/// | returned another error: the peer's doing, or the connection's | 1000 |
///
/// ```no_run
/// use tidegate_http::{Router, Server};
/// use tidegate_websocket::{WebSocket, upgrade};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let app = Router::new().get(
///     "/ws",
///     upgrade(|mut ws: WebSocket| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     }),
/// );
/// Server::builder(app).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
pub fn upgrade<F, Fut>(handler: F) -> Upgrade<F>
where
    F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + 'static,
{
    Upgrade {
        handler: Arc::new(handler),
        config: Arc::new(WebSocketConfig::default()),
        subprotocols: Vec::new(),
        origin: OriginPolicy::SameOrigin,
    }
}

/// See [`upgrade`].
pub struct Upgrade<F> {
    handler: Arc<F>,
    config: Arc<WebSocketConfig>,
    subprotocols: Vec<String>,
    origin: OriginPolicy,
}

type OriginCheck = dyn Fn(&RequestHead) -> bool + Send + Sync;

enum OriginPolicy {
    SameOrigin,
    AllowList(OriginAllowList),
    Check(Box<OriginCheck>),
}

impl<F> Upgrade<F> {
    /// Settings of the connections.
    #[must_use]
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Subprotocols the application speaks, in its order of preference; the first that the client speaks too is
    /// agreed on.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the same-origin rule wholly: `true` lets the request pass.
    #[must_use]
    pub fn check_origin(mut self, check: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        self.origin = OriginPolicy::Check(Box::new(check));
        self
    }

    /// Replaces the same-origin rule by a list of origins.
    #[must_use]
    pub fn allow_origins(mut self, origins: OriginAllowList) -> Self {
        self.origin = OriginPolicy::AllowList(origins);
        self
    }

    fn check_origin_of(&self, head: &RequestHead) -> Result<(), OriginError> {
        match &self.origin {
            OriginPolicy::SameOrigin => check_same_origin(head, Scheme::Http),
            OriginPolicy::AllowList(origins) => origins.check(head),
            OriginPolicy::Check(check) if check(head) => Ok(()),
            OriginPolicy::Check(_) => Err(OriginError::NotAllowed),
        }
    }
}

impl<F, Fut> Handler for Upgrade<F>
where
    F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + 'static,
{
    fn handle(&self, request: Request) -> Reply {
        let head = request.head();
        let offer = Offer::parse(head.method(), head.version(), head)
            .and_then(|offer| self.check_origin_of(head).map(|()| offer).map_err(RequestError::from));
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return Reply::Ready(refuse(error)),
        };
        let acceptance = offer.accept(&self.subprotocols);
        let (handler, config) = (Arc::clone(&self.handler), Arc::clone(&self.config));
        let mut response = Response::upgrade(HeaderValue::from_static("websocket"), move |connection| {
            serve(connection, config, &*handler)
        });
        response.set_header(SEC_WEBSOCKET_ACCEPT, acceptance.accept_key().into());
        if let Some(value) = acceptance.subprotocol().and_then(|name| HeaderValue::from_str(name).ok()) {
            response.set_header(SEC_WEBSOCKET_PROTOCOL, value);
        }
        Reply::Ready(response)
    }
}

/// The response that tells a client what is wrong with its request.
fn refuse(error: RequestError) -> Response {
    let (parts, body) = error.response().into_parts();
    let mut response = Response::text(body).with_status(parts.status);
    for (name, value) in &parts.headers {
        // The server writes Connection itself, from what becomes of the connection.
        if name == UPGRADE || name.as_str().starts_with("sec-websocket") {
            response.set_header(name.clone(), value.clone());
        }
    }
    response
}

/// Starts the handler on one WebSocket.
fn serve<F, Fut>(connection: Connection, config: Arc<WebSocketConfig>, handler: &F) -> Serving<Fut>
where
    F: Fn(WebSocket) -> Fut,
{
    // A handler may drop its WebSocket before it returns a future: then nobody is left to wait for.
    Serving::Running { handler: handler(WebSocket::new(connection, config)) }
}

pin_project_lite::pin_project! {
    /// The handler on one WebSocket, then the closing handshake. Written out because an async block would hold the
    /// handler's future twice, for each of very many idle connections.
    #[project = ServingProjection]
    enum Serving<Fut> {
        Running {
            #[pin]
            handler: Fut,
        },
        Closing { handshake: Pin<Box<dyn Future<Output = ()>>> },
        Ended,
    }
}

impl<Fut: Future<Output = Result<(), Error>>> Future for Serving<Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let ServingProjection::Running { .. } = self.as_mut().project() {
            let (polled, mut dropped) = attend(|| self.as_mut().poll_handler(cx));
            let Poll::Ready(result) = polled else {
                // Dropped in the middle of the handler's work: closed now, not when that is done.
                dropped.into_iter().for_each(|session| session.close_and_forget(CloseCode::NORMAL));
                return Poll::Pending;
            };
            let code = closing_code(&result);
            let Some(session) = dropped.pop() else { return Poll::Ready(()) };
            dropped.into_iter().for_each(|session| session.close_and_forget(code));
            self.set(Self::Closing { handshake: Box::pin(finish(session, code)) });
        }
        match self.project() {
            ServingProjection::Closing { handshake } => handshake.as_mut().poll(cx),
            ServingProjection::Running { .. } | ServingProjection::Ended => Poll::Ready(()),
        }
    }
}

impl<Fut: Future<Output = Result<(), Error>>> Serving<Fut> {
    /// Polls the handler, and drops it once it is done, with the WebSocket it may still hold.
    fn poll_handler(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ServingProjection::Running { handler } = self.as_mut().project() else { return Poll::Pending };
        let polled = handler.poll(cx);
        if polled.is_ready() {
            self.set(Self::Ended);
        }
        polled
    }
}

/// The close code for the handler's result.
fn closing_code(result: &Result<(), Error>) -> CloseCode {
    match result {
        // The close frame that this error tells of was the last.
        Err(error) if error.is_close_sent() => CloseCode::NORMAL,
        Err(error @ (Error::Application(_) | Error::Usage(_))) => {
            log::warn!("a websocket handler failed: {error}");
            CloseCode::INTERNAL_ERROR
        }
        Err(Error::Full) => CloseCode::TRY_AGAIN_LATER,
        _ => CloseCode::NORMAL,
    }
}

/// Sends the close frame, unless one was sent, and waits for the peer's.
async fn finish(mut session: Box<Session>, code: CloseCode) {
    if let Err(error) = session.close(CloseFrame::new(code, "").ok().as_ref()).await {
        log::debug!("closing handshake: {error}");
    }
}

impl<F> fmt::Debug for Upgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("config", &self.config).field("subprotocols", &self.subprotocols).finish()
    }
}
