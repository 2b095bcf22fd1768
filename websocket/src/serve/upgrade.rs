//! The opening handshake as an HTTP handler: checks the request, answers 101, and runs the WebSocket handler.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, StatusCode};
use tidegate_http::{Handler, IntoResponse, Reply, Request, RequestHead, Response};

use crate::config::WebSocketConfig;
use crate::conn::WebSocket;
use crate::conn::compressor::Compression;
use crate::conn::context::{ConnContext, with_context};
use crate::deflate::DeflateConfig;
use crate::error::Error;
use crate::handshake::{
    AcceptKey, Offer, OriginAllowList, OriginError, Scheme, UpgradeRequestError, check_same_origin,
    is_websocket_request,
};
use crate::serve::hooks::{Authorized, Disconnected, Hooks, Refusal, authorize_in_time};
use crate::serve::task::{serve, serve_hooked};

/// An HTTP handler that upgrades requests to WebSockets and runs `handler` on each.
///
/// Refused requests get the status and the text of their [`UpgradeRequestError`]; pages of other origins get 403 (change that
/// with [`check_origin`](Upgrade::check_origin)). The handler's future stays on its thread and need not be `Send`.
///
/// When the handler is done and no close frame was sent, its result says which is:
///
/// | The handler | Close code |
/// |---|---|
/// | returned `Ok` | 1000 |
/// | returned [`Error::Application`] or [`Error::Usage`], or panicked | 1011 |
/// | returned [`Error::Full`] or [`Error::SendDeadline`] | 1013 |
/// | returned `Error::Json` (feature `json`) | 1007 |
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
        agreed: Vec::new(),
        deflate: None,
        origin: OriginPolicy::SameOrigin,
        scheme: Scheme::Http,
        hooks: Arc::default(),
        skip: Skip::default(),
        next: None,
    }
}

/// See [`upgrade`].
pub struct Upgrade<F> {
    handler: Arc<F>,
    config: Arc<WebSocketConfig>,
    subprotocols: Vec<String>,
    /// The settings with each of the subprotocols.
    agreed: Vec<Arc<WebSocketConfig>>,
    deflate: Option<DeflateConfig>,
    origin: OriginPolicy,
    scheme: Scheme,
    hooks: Arc<Hooks>,
    skip: Skip,
    next: Option<Box<dyn Handler>>,
}

type Check = dyn Fn(&RequestHead) -> bool + Send + Sync;

/// Requests that are none of ours.
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

impl<F> Upgrade<F> {
    /// Settings of the connections.
    #[must_use]
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Arc::new(config);
        self.prepare_agreements();
        self
    }

    /// Subprotocols the application speaks, in its order of preference; the first that the client speaks too is
    /// agreed on ([`WebSocket::subprotocol`]), or none.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self.prepare_agreements();
        self
    }

    /// Compresses messages, and takes compressed ones, where the client offers it (permessage-deflate, RFC 7692). Default:
    /// every offer is declined. Requests whose `Sec-WebSocket-Extensions` break the grammar are then refused with 400.
    ///
    /// The limit of a message holds for what it is inflated to. [`WebSocket::compression`] tells what was agreed on, and
    /// [`WebSocket::set_compression_level`] changes the level of a connection. Messages sent in pieces
    /// ([`Sender::send_stream`](crate::Sender::send_stream)) go as they are, and so do those of more than 256 KiB that must
    /// not wait ([`Sender::try_send`](crate::Sender::try_send)).
    ///
    /// The length of a compressed message tells of its content: do not compress secrets beside what a stranger chooses.
    ///
    /// ```
    /// use tidegate_websocket::{CompressionLevel, DeflateConfig, WebSocket, upgrade};
    ///
    /// # fn main() -> Result<(), tidegate_websocket::UsageError> {
    /// let mut deflate = DeflateConfig::default();
    /// deflate.level = CompressionLevel::new(6)?;
    /// let echo = upgrade(|mut ws: WebSocket| async move {
    ///     while let Some(message) = ws.recv().await? {
    ///         ws.send(message).await?;
    ///     }
    ///     Ok(())
    /// })
    /// .compression(deflate);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn compression(mut self, deflate: DeflateConfig) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// One copy of the settings for each subprotocol, so that knowing it costs no connection anything.
    fn prepare_agreements(&mut self) {
        let agree = |name: &String| {
            let mut config = WebSocketConfig::clone(&self.config);
            config.subprotocol = Some(name.as_str().into());
            Arc::new(config)
        };
        self.agreed = self.subprotocols.iter().map(agree).collect();
    }

    /// The settings of a connection that has agreed on this.
    fn config_of(&self, subprotocol: Option<&str>) -> &Arc<WebSocketConfig> {
        let agreed = self.agreed.iter().find(|config| config.subprotocol.as_deref() == subprotocol);
        agreed.unwrap_or(&self.config)
    }

    /// How clients reach the server, as browsers see it: [`Scheme::Https`] behind a proxy that ends TLS. The same-origin rule
    /// then compares with that scheme and its default port, and refuses requests without an origin. Default: plain.
    #[must_use]
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
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

    /// Keeps the head of the request, with its path parameters, query and fields, for the connection's whole life: see
    /// [`WebSocket::request`]. It costs its size and about 500 bytes a connection; without this nothing of it is kept.
    ///
    /// ```
    /// use tidegate_websocket::{WebSocket, upgrade};
    ///
    /// let room = upgrade(|mut ws: WebSocket| async move {
    ///     let room = ws.request().and_then(|head| head.param("room")).unwrap_or("lobby").to_owned();
    ///     ws.send(format!("you are in {room}")).await
    /// })
    /// .keep_request();
    /// ```
    #[must_use]
    pub fn keep_request(mut self) -> Self {
        self.hooks_mut().keep_request = true;
        self
    }

    /// Asks `authorize` about every request that passed all other checks, before the 101. It sees the whole head and may
    /// take its time, up to [`handshake_timeout`](Self::handshake_timeout). What it gives is kept with the connection, to
    /// be read with [`WebSocket::extension`]; an error is the response, whatever it is, and no WebSocket is opened.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate_http::RequestHead;
    /// use tidegate_websocket::{WebSocket, upgrade};
    ///
    /// struct User(String);
    ///
    /// let chat = upgrade(|mut ws: WebSocket| async move {
    ///     let user = ws.extension::<User>().map_or_else(String::new, |user| user.0.clone());
    ///     ws.send(format!("Hello, {user}")).await
    /// })
    /// .authorize(async |head: &RequestHead| match head.header("authorization") {
    ///     Some(token) => Ok(User(token.to_owned())),
    ///     None => Err((StatusCode::UNAUTHORIZED, "who are you?\n")),
    /// });
    /// ```
    #[must_use]
    pub fn authorize<A, T, E>(mut self, authorize: A) -> Self
    where
        A: AsyncFn(&RequestHead) -> Result<T, E> + Send + Sync + 'static,
        T: Any + Send + Sync,
        E: IntoResponse + 'static,
    {
        self.hooks_mut().authorize = Some(Arc::new(Authorized::new(authorize)));
        self
    }

    /// How long [`authorize`](Self::authorize) may take; a request it does not answer in time gets 503. Default: 10 s.
    /// (How long the request's head may take to arrive is `HttpConfig::header_timeout`.)
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.hooks_mut().handshake_timeout = timeout;
        self
    }

    /// Runs `connect` on every WebSocket after the 101, before its handler. With an error the WebSocket is closed, with
    /// the error's code, and has not connected: the handler does not run.
    ///
    /// ```
    /// use tidegate_websocket::{CloseCode, Refusal, WebSocket, upgrade};
    ///
    /// let chat = upgrade(|mut ws: WebSocket| async move { ws.send("welcome").await }).on_connect(async |ws| {
    ///     match ws.peer_addr().ip() {
    ///         Some(address) if address.ip().is_loopback() => Ok(()),
    ///         _ => Err(Refusal::new(CloseCode::new(4001), "not from here")),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_connect<C>(mut self, connect: C) -> Self
    where
        C: AsyncFn(&mut WebSocket) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        self.hooks_mut().connect = Some(Box::new(connect));
        self
    }

    /// Runs `disconnect` exactly once for every WebSocket that connected, after its handler and its closing handshake:
    /// also after a panic, an abort, the loss of the peer, and a shutdown. It runs on the handler's thread, or where else the
    /// WebSocket is dropped if the handler gave it away, and must not block; if it panics, that is logged and all.
    ///
    /// ```
    /// use tidegate_websocket::{Disconnected, WebSocket, upgrade};
    ///
    /// let chat = upgrade(|mut ws: WebSocket| async move { ws.send("welcome").await })
    ///     .on_disconnect(|ended: &Disconnected<'_>| println!("{} has left: {}", ended.peer_addr(), ended.close_code()));
    /// ```
    #[must_use]
    pub fn on_disconnect(mut self, disconnect: impl Fn(&Disconnected<'_>) + Send + Sync + 'static) -> Self {
        self.hooks_mut().disconnect = Some(Box::new(disconnect));
        self
    }

    /// Answers what is no request for a WebSocket, and what is [skipped](Self::skip): a page, mostly. Without it the
    /// former is refused as a bad handshake, and the latter with 404.
    ///
    /// ```
    /// use tidegate_http::{Request, Response, Router};
    /// use tidegate_websocket::{WebSocket, upgrade};
    ///
    /// let echo = upgrade(|mut ws: WebSocket| async move { ws.send("hello").await });
    /// let page = |_request: Request| async { Response::text("open a WebSocket here") };
    /// let app = Router::new().get("/", echo.or_else(page));
    /// ```
    #[must_use]
    pub fn or_else(mut self, next: impl Handler) -> Self {
        self.next = Some(Box::new(next));
        self
    }

    /// Leaves requests for which `skip` is true to the [next handler](Self::or_else).
    #[must_use]
    pub fn skip(mut self, skip: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        self.skip.check = Some(Box::new(skip));
        self
    }

    /// Leaves requests for these paths, as they are written in the request, to the [next handler](Self::or_else).
    #[must_use]
    pub fn skip_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.skip.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    fn hooks_mut(&mut self) -> &mut Hooks {
        Arc::get_mut(&mut self.hooks).expect("hooks are shared only while serving")
    }

    /// Answers a request that is none of ours.
    fn pass_on(&self, request: Request) -> Reply<'_> {
        match &self.next {
            Some(next) => next.handle(request),
            None => Reply::Ready(Response::text("not found\n").with_status(StatusCode::NOT_FOUND)),
        }
    }

    fn check_origin_of(&self, head: &RequestHead) -> Result<(), OriginError> {
        match &self.origin {
            OriginPolicy::SameOrigin => check_same_origin(head, self.scheme),
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
    fn handle(&self, request: Request) -> Reply<'_> {
        let head = request.head();
        if self.skip.skips(head) || (self.next.is_some() && !is_websocket_request(head)) {
            return self.pass_on(request);
        }
        let offer = Offer::parse(head.method(), head.version(), head)
            .and_then(|offer| self.check_origin_of(head).map(|()| offer).map_err(UpgradeRequestError::from));
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return Reply::Ready(refuse(error)),
        };
        let agreement = match self.deflate.as_ref().map(|deflate| deflate.accept(offer.extensions())).transpose() {
            Ok(agreement) => agreement.flatten(),
            Err(error) => return Reply::Ready(refuse(error)),
        };
        let acceptance = offer.accept(&self.subprotocols);
        let mut opening = Opening {
            accept_key: acceptance.accept_key(),
            extension: None,
            handler: Arc::clone(&self.handler),
            config: Arc::clone(self.config_of(acceptance.subprotocol())),
        };
        if let (Some(agreement), Some(deflate)) = (agreement, &self.deflate) {
            opening.config = opening.config.with_compression(Compression::new(deflate, agreement.params));
            opening.extension = Some(agreement.response);
        }
        if self.hooks.is_empty() {
            return Reply::Ready(opening.plain());
        }
        let (head, hooks) = (request.into_parts().0, Arc::clone(&self.hooks));
        let Some(authorize) = hooks.authorize.clone() else {
            return Reply::Ready(opening.hooked(hooks, head, ConnContext::default()));
        };
        Reply::Pending(Box::pin(async move {
            let context = ConnContext::default();
            match authorize_in_time(&*authorize, &head, &context.extensions, hooks.handshake_timeout).await {
                Ok(()) => opening.hooked(hooks, head, context),
                Err(response) => response,
            }
        }))
    }
}

/// A handshake that passed the checks.
struct Opening<F> {
    accept_key: AcceptKey,
    extension: Option<HeaderValue>,
    handler: Arc<F>,
    config: Arc<WebSocketConfig>,
}

impl<F, Fut> Opening<F>
where
    F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + 'static,
{
    /// The 101 of a connection that has nothing of its own.
    fn plain(self) -> Response {
        let Self { accept_key, extension, handler, config } = self;
        let subprotocol = config.subprotocol.clone();
        let response = Response::upgrade(HeaderValue::from_static("websocket"), move |connection| {
            serve(connection, config, &*handler)
        });
        with_acceptance(response, accept_key, subprotocol.as_deref(), extension)
    }

    /// The 101 of one that has.
    fn hooked(self, hooks: Arc<Hooks>, head: RequestHead, mut context: ConnContext) -> Response {
        let Self { accept_key, extension, handler, config } = self;
        let subprotocol = config.subprotocol.clone();
        context.request = hooks.keep_request.then_some(head);
        let context = Arc::new(context);
        let config = with_context(&config, Arc::clone(&context));
        let protocol = HeaderValue::from_static("websocket");
        let response = if hooks.is_lasting() {
            Response::upgrade(protocol, move |connection| serve_hooked(connection, config, context, handler, hooks))
        } else {
            Response::upgrade(protocol, move |connection| serve(connection, config, &*handler))
        };
        with_acceptance(response, accept_key, subprotocol.as_deref(), extension)
    }
}

fn with_acceptance(
    mut response: Response,
    accept_key: AcceptKey,
    subprotocol: Option<&str>,
    extension: Option<HeaderValue>,
) -> Response {
    response.set_header(SEC_WEBSOCKET_ACCEPT, accept_key.into());
    // The client sent it as a header's value.
    if let Some(value) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        response.set_header(SEC_WEBSOCKET_PROTOCOL, value);
    }
    if let Some(value) = extension {
        response.set_header(SEC_WEBSOCKET_EXTENSIONS, value);
    }
    response
}

/// The response that tells a client what is wrong with its request.
fn refuse(error: UpgradeRequestError) -> Response {
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

impl<F> fmt::Debug for Upgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("config", &self.config).field("subprotocols", &self.subprotocols).finish()
    }
}
