//! The HTTP handler that upgrades requests to WebSockets, and its settings.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tidegate_engine::ConfigError;
use tidegate_http::{Handler, IntoResponse, Reply, Request, RequestHead, Response, SharedAcrossThreads};

use crate::config::WebSocketConfig;
use crate::conn::context::ConnContext;
use crate::conn::control_handlers::ControlHandlers;
use crate::conn::disconnected::Disconnected;
use crate::conn::websocket::WebSocket;
use crate::deflate::DeflateConfig;
use crate::handshake::field::token;
use crate::handshake::origin::{OriginAllowList, Scheme};
use crate::handshake::{OriginError, check_same_origin_at};
use crate::serve::handler_error::HandlerError;
use crate::serve::hooks::{Authorized, Hooks};
use crate::serve::task::Serve;

/// An HTTP handler that upgrades requests to WebSockets and runs `handler` on each.
///
/// A refused request gets the status and the text of its
/// [`UpgradeRequestError`](crate::handshake::UpgradeRequestError). Pages of other origins get 403; see
/// [`check_origin`](Upgrade::check_origin). The handler's future stays on its thread and need not be `Send`.
///
/// When the handler returns and no close frame has been sent, its result decides on the close code: `Ok` closes with
/// 1000, a [`HandlerError`] as its table says. A panic closes with 1011.
///
/// ```no_run
/// use tidegate_http::{Router, Server};
/// use tidegate_websocket::upgrade;
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let echo = upgrade(async |mut ws| {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// });
/// Server::builder(Router::new().get("/ws", echo)).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
///
/// An `async fn(WebSocket) -> websocket::Result` is a handler too. A closure can capture state: all workers share it,
/// and the handler's futures borrow from it, so nothing is cloned for a connection.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate_websocket::upgrade;
///
/// let visits = AtomicU64::new(0);
/// let counter = upgrade(async move |mut ws| {
///     ws.send(format!("visit {}", visits.fetch_add(1, Ordering::Relaxed))).await?;
///     Ok(())
/// });
/// ```
pub fn upgrade<F>(handler: F) -> Upgrade
where
    F: AsyncFn(WebSocket) -> Result<(), HandlerError> + SharedAcrossThreads,
{
    Upgrade::of(Arc::new(handler))
}

impl Upgrade {
    /// Creates an upgrade with the default settings.
    pub(crate) fn of(handler: Arc<dyn Serve>) -> Self {
        Self {
            handler,
            context: Arc::default(),
            subprotocols: Vec::new(),
            agreed: Vec::new(),
            deflate: None,
            origin: OriginPolicy::SameOrigin,
            scheme: Scheme::Http,
            hooks: Arc::default(),
            skip: Skip::default(),
            next: None,
        }
    }
}

/// An HTTP handler that upgrades requests to WebSockets, and its settings; see [`upgrade`].
///
/// ```
/// use std::time::Duration;
/// use tidegate_http::Router;
/// use tidegate_websocket::{Upgrade, WebSocketConfig, upgrade};
///
/// /// Sends the address of each peer to it.
/// fn addresses() -> Upgrade {
///     let config = WebSocketConfig::default().message_bytes_max(4096).idle_timeout(Duration::from_secs(60));
///     upgrade(async |mut ws| {
///         ws.send(ws.peer_addr().to_string()).await?;
///         Ok(())
///     })
///     .config(config)
///     .subprotocols(["addresses.v1"])
/// }
///
/// let app = Router::new().get("/address", addresses());
/// ```
#[must_use = "an upgrade answers requests only as a handler of a server or a route"]
pub struct Upgrade {
    pub(super) handler: Arc<dyn Serve>,
    /// The context of connections without a subprotocol.
    context: Arc<ConnContext>,
    pub(super) subprotocols: Vec<String>,
    /// A context for each subprotocol, so it costs no connection anything.
    agreed: Vec<Arc<ConnContext>>,
    pub(super) deflate: Option<DeflateConfig>,
    origin: OriginPolicy,
    scheme: Scheme,
    pub(super) hooks: Arc<Hooks>,
    skip: Skip,
    pub(super) next: Option<Box<dyn Handler>>,
}

type Check = dyn Fn(&RequestHead) -> bool + Send + Sync;

/// The requests that are left to the next handler.
#[derive(Default)]
struct Skip {
    paths: Vec<String>,
    check: Option<Box<Check>>,
}

impl Skip {
    fn skips(&self, head: &RequestHead) -> bool {
        self.paths.iter().any(|path| path == head.path()) || self.check.as_ref().is_some_and(|check| check(head))
    }
}

enum OriginPolicy {
    SameOrigin,
    AllowList(OriginAllowList),
    Check(Box<Check>),
}

impl Upgrade {
    /// Sets the settings of the connections. Default: [`WebSocketConfig::default`].
    ///
    /// # Panics
    /// If a setting cannot work; the text names it. See [`WebSocketConfig::check`].
    #[track_caller]
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        if let Err(error) = config.check() {
            panic!("{error}");
        }
        self.change_context(|context| context.config = config);
        self
    }

    /// Sets the subprotocols of the application, in its order of preference. The first that the client offers is agreed
    /// on ([`WebSocket::subprotocol`]). A client that offers none of them is accepted without one. Default: none.
    ///
    /// # Panics
    /// If a name is not a token (RFC 6455 section 4.1): no client could offer it.
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        for name in &self.subprotocols {
            assert!(token(name.as_bytes()).is_some(), "invalid subprotocol {name:?}: must be a token such as chat.v1");
        }
        self.change_context(|_| ());
        self
    }

    /// Changes the context of all connections, whatever their subprotocol.
    fn change_context(&mut self, change: impl FnOnce(&mut ConnContext)) {
        change(Arc::make_mut(&mut self.context));
        self.agreed = self.subprotocols.iter().map(|name| self.context.with_subprotocol(name)).collect();
    }

    pub(super) fn with_control(mut self, change: impl FnOnce(&mut ControlHandlers)) -> Self {
        self.change_context(|context| change(&mut context.control));
        self
    }

    /// Returns the context of connections that agreed on this subprotocol.
    pub(super) fn context_of(&self, subprotocol: Option<&str>) -> &Arc<ConnContext> {
        let agreed = self.agreed.iter().find(|context| context.subprotocol.as_deref() == subprotocol);
        agreed.unwrap_or(&self.context)
    }

    /// Sets the scheme by which browsers reach the server: [`Scheme::Https`] behind a proxy that terminates TLS. The
    /// same-origin check then compares with that scheme and its default port, and refuses requests without an origin.
    /// Default: [`Scheme::Http`], unless a [trusted proxy](tidegate_http::RequestHead::client_scheme) says that it was
    /// HTTPS. On a listener with TLS the check compares with HTTPS without this setting. It then accepts requests
    /// without an origin, as on a listener without TLS: they do not come from browsers.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Replaces the same-origin check entirely: `true` lets the request pass, `false` answers it with 403.
    pub fn check_origin(mut self, check: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        self.origin = OriginPolicy::Check(Box::new(check));
        self
    }

    /// Replaces the same-origin check by a list of origins: requests of others, or without an origin, get 403.
    pub fn allow_origins(mut self, origins: OriginAllowList) -> Self {
        self.origin = OriginPolicy::AllowList(origins);
        self
    }

    /// Keeps the head of the request, with its path parameters, query and fields, for the life of the connection: see
    /// [`WebSocket::request`]. A second call changes nothing. It costs its size and about 500 bytes for each
    /// connection. Default: it is dropped.
    ///
    /// ```
    /// use tidegate_websocket::upgrade;
    ///
    /// let room = upgrade(async |mut ws| {
    ///     let room = ws.request().and_then(|head| head.param("room")).unwrap_or("lobby").to_owned();
    ///     ws.send(format!("you are in {room}")).await?;
    ///     Ok(())
    /// })
    /// .keep_request();
    /// ```
    pub fn keep_request(mut self) -> Self {
        self.hooks_mut().keep_request = true;
        self
    }

    /// Runs `authorize` before the 101 on every request that has passed all other checks. It sees the whole head and
    /// can take up to [`handshake_timeout`](Self::handshake_timeout). Its value becomes an extension of the connection
    /// ([`WebSocket::extension`]); its error becomes the response, and no WebSocket is opened.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate_http::RequestHead;
    /// use tidegate_websocket::upgrade;
    ///
    /// struct User(String);
    ///
    /// let chat = upgrade(async |mut ws| {
    ///     if let Some(user) = ws.extension::<User>() {
    ///         ws.send(format!("Hello, {}", user.0)).await?;
    ///     }
    ///     Ok(())
    /// })
    /// .authorize(async |head: &RequestHead| match head.header("authorization") {
    ///     Some(token) => Ok(User(token.to_owned())),
    ///     None => Err((StatusCode::UNAUTHORIZED, "who are you?\n")),
    /// });
    /// ```
    pub fn authorize<A, T, E>(mut self, authorize: A) -> Self
    where
        A: AsyncFn(&RequestHead) -> Result<T, E> + SharedAcrossThreads,
        T: Any + Send + Sync,
        E: IntoResponse + 'static,
    {
        self.hooks_mut().authorize = Some(Arc::new(Authorized::new(authorize)));
        self
    }

    /// Sets the time for [`authorize`](Self::authorize); a request that it does not answer in time gets 503. Default:
    /// 10 s. (The time for the request's head to arrive is `HttpConfig::header_timeout`.)
    ///
    /// # Panics
    /// If it is zero: every request would be refused.
    #[track_caller]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        if let Err(error) = ConfigError::check_time("handshake_timeout", Some(timeout)) {
            panic!("{error}");
        }
        self.hooks_mut().handshake_timeout = timeout;
        self
    }

    /// Runs `connect` on every WebSocket after the 101, before its handler. An error closes the WebSocket as the table
    /// of [`HandlerError`] says, by default with 1008 (policy violation): it has not connected, and the handler does
    /// not run. No timeout applies: bound a wait for the peer with [`WebSocket::set_read_deadline`].
    ///
    /// ```
    /// use tidegate_websocket::{CloseCode, HandlerError, upgrade};
    ///
    /// let chat = upgrade(async |mut ws| Ok(ws.send("welcome").await?)).on_connect(async |ws| {
    ///     match ws.peer_addr().ip() {
    ///         Some(address) if address.ip().is_loopback() => Ok(()),
    ///         _ => Err(HandlerError::close(CloseCode::new(4001), "not from here")),
    ///     }
    /// });
    /// ```
    pub fn on_connect<C>(mut self, connect: C) -> Self
    where
        C: AsyncFn(&mut WebSocket) -> Result<(), HandlerError> + SharedAcrossThreads,
    {
        self.hooks_mut().connect = Some(Box::new(connect));
        self
    }

    /// Runs `disconnect` exactly once for every WebSocket that has connected, after its handler and its closing
    /// handshake, even after a panic, an abort, the loss of the peer, or a shutdown. It runs on the handler's thread,
    /// or where the WebSocket is dropped if the handler gave it away, and must not block. A panic is only logged.
    ///
    /// ```
    /// use tidegate_websocket::{Disconnected, upgrade};
    ///
    /// let chat = upgrade(async |mut ws| Ok(ws.send("welcome").await?))
    ///     .on_disconnect(|ended: &Disconnected<'_>| {
    ///         println!("{} has left: {}", ended.peer_addr(), ended.close_code());
    ///     });
    /// ```
    pub fn on_disconnect(mut self, disconnect: impl Fn(&Disconnected<'_>) + Send + Sync + 'static) -> Self {
        self.hooks_mut().disconnect = Some(Arc::new(disconnect));
        self
    }

    /// Sets the handler of requests that do not ask for a WebSocket, and of those that are [skipped](Self::skip):
    /// usually a page. A second call replaces it. Without it the former are refused as bad handshakes, the latter with
    /// 404.
    ///
    /// ```
    /// use tidegate_http::{Request, Router};
    /// use tidegate_websocket::upgrade;
    ///
    /// let echo = upgrade(async |mut ws| Ok(ws.send("hello").await?));
    /// let page = async |_request: Request| "open a WebSocket here";
    /// let app = Router::new().get("/", echo.or_else(page));
    /// ```
    pub fn or_else(mut self, next: impl Handler) -> Self {
        self.next = Some(Box::new(next));
        self
    }

    /// Leaves requests for which `skip` is true to the [next handler](Self::or_else). A second call replaces it.
    pub fn skip(mut self, skip: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        self.skip.check = Some(Box::new(skip));
        self
    }

    /// Leaves requests for these paths, compared as they are written in the request, to the [next
    /// handler](Self::or_else).
    pub fn skip_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.skip.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    fn hooks_mut(&mut self) -> &mut Hooks {
        Arc::get_mut(&mut self.hooks).expect("hooks are shared only while serving")
    }

    pub(super) fn skips(&self, head: &RequestHead) -> bool {
        self.skip.skips(head)
    }

    /// Passes a request on to the next handler.
    pub(super) fn pass_on(&self, request: Request) -> Reply<'_> {
        match &self.next {
            Some(next) => next.handle(request),
            None => Reply::Ready(Response::text("not found\n").with_status(StatusCode::NOT_FOUND)),
        }
    }

    /// Compares with the scheme and the host that the browser used, which trusted proxies report.
    fn check_same_origin(&self, head: &RequestHead) -> Result<(), OriginError> {
        let scheme = if head.client_scheme() == http::uri::Scheme::HTTPS { Scheme::Https } else { self.scheme };
        let has_own_tls = self.scheme == Scheme::Http && head.scheme() == http::uri::Scheme::HTTPS;
        if has_own_tls && head.header_bytes("origin").is_none() {
            // As without TLS: every browser sends one.
            return Ok(());
        }
        check_same_origin_at(head, scheme, head.client_host().unwrap_or_default())
    }

    pub(super) fn check_origin_of(&self, head: &RequestHead) -> Result<(), OriginError> {
        match &self.origin {
            OriginPolicy::SameOrigin => self.check_same_origin(head),
            OriginPolicy::AllowList(origins) => origins.check(head),
            OriginPolicy::Check(check) if check(head) => Ok(()),
            OriginPolicy::Check(_) => Err(OriginError::NotAllowed),
        }
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("config", &self.context.config)
            .field("subprotocols", &self.subprotocols)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "invalid handshake_timeout \"0s\": must be above zero")]
    fn a_handshake_timeout_of_zero_is_refused() {
        let _ = upgrade(async |_ws| Ok(())).handshake_timeout(Duration::ZERO);
    }

    #[test]
    #[should_panic(expected = "invalid subprotocol \"chat v1\": must be a token such as chat.v1")]
    fn subprotocols_are_tokens() {
        let _ = upgrade(async |_ws| Ok(())).subprotocols(["chat.v1", "chat v1"]);
    }
}
