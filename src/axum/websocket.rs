//! The extractor of this crate's WebSockets.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use ::axum::body::Body;
use ::axum::extract::FromRequestParts;
use ::axum::response::{IntoResponse, Response};

use super::handshake::{Upgradable, Upgrading};
use crate::http::request::Parts;
use crate::http::{HeaderValue, StatusCode};
use crate::web::RequestHead;
use crate::websocket::handshake::{Offer, UpgradeRequestError};
use crate::websocket::{self, HandlerError, OriginAllowList, Upgrade, WebSocket, WebSocketConfig};

/// An extractor like axum's of this name, which gives a [`WebSocket`] of this crate: one import of an application
/// changes, and the messages that its callback sends and receives.
///
/// The callback's future runs on the connection's thread and need not be `Send`. Pages of other origins are refused, as
/// by [`websocket::upgrade`]; see [`any_origin`](Self::any_origin).
///
/// ```
/// use axum::response::IntoResponse;
/// use axum::{Router, routing::any};
/// use tidegate::axum::WebSocketUpgrade;
/// use tidegate::websocket::{self, WebSocket};
///
/// async fn echo(ws: WebSocketUpgrade) -> impl IntoResponse {
///     ws.on_upgrade(async |mut socket: WebSocket| -> websocket::Result {
///         while let Some(message) = socket.recv().await? {
///             socket.send(message).await?;
///         }
///         Ok(())
///     })
/// }
///
/// let app: Router = Router::new().route("/ws", any(echo));
/// ```
#[must_use = "nothing is upgraded unless `on_upgrade` is called"]
pub struct WebSocketUpgrade {
    config: WebSocketConfig,
    requested: Vec<HeaderValue>,
    protocols: Vec<String>,
    settings: Vec<Setting>,
}

/// A change of an `Upgrade` whose handler is not known yet.
type Setting = Box<dyn FnOnce(Upgrade) -> Upgrade + Send + Sync>;

impl WebSocketUpgrade {
    /// Sets the largest message that is received, in bytes; a larger one closes the connection with 1009.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config = self.config.message_bytes_max(bytes as u64);
        self
    }

    /// Sets all settings of the connection.
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the subprotocols that the server speaks, the preferred one first. The first that the client has requested
    /// is selected.
    ///
    /// # Panics
    /// In [`on_upgrade`](Self::on_upgrade), if a name is not a token.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator<Item: Into<std::borrow::Cow<'static, str>>>,
    {
        self.protocols = protocols.into_iter().map(|name| name.into().into_owned()).collect();
        self
    }

    /// Returns the subprotocols that the client has requested, in its order.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.requested.iter()
    }

    /// Returns the subprotocol that is selected, if one is.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.protocols.iter().find_map(|name| self.requested.iter().find(|requested| *requested == name.as_str()))
    }

    /// Accepts pages of any origin, as axum's extractor does. Default: of the origin of the request only.
    pub fn any_origin(self) -> Self {
        self.with(|upgrade| upgrade.check_origin(|_: &RequestHead| true))
    }

    /// Accepts pages of these origins only.
    pub fn allow_origins(self, origins: OriginAllowList) -> Self {
        self.with(|upgrade| upgrade.allow_origins(origins))
    }

    /// Changes the [`Upgrade`] below, which has all other settings, such as compression and hooks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use axum::response::IntoResponse;
    /// # use tidegate::axum::WebSocketUpgrade;
    /// async fn handler(ws: WebSocketUpgrade) -> impl IntoResponse {
    ///     let ws = ws.with(|upgrade| upgrade.on_disconnect(|ended| println!("{} has left", ended.peer_addr())));
    ///     ws.on_upgrade(async |_socket| ())
    /// }
    /// ```
    pub fn with(mut self, setting: impl FnOnce(Upgrade) -> Upgrade + Send + Sync + 'static) -> Self {
        self.settings.push(Box::new(setting));
        self
    }

    /// Completes the upgrade and runs `callback` on the WebSocket, on the connection's thread. Return the response from
    /// the axum handler.
    ///
    /// The callback's output is `()`, or a [`websocket::Result`] that decides on the close code.
    pub fn on_upgrade<C, Fut>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + 'static,
    {
        let callback = Mutex::new(Some(callback));
        let upgrade = websocket::upgrade(async move |socket: WebSocket| {
            let callback = callback.lock().unwrap_or_else(PoisonError::into_inner).take();
            match callback {
                Some(callback) => callback(socket).await.into_result(),
                None => Ok(()),
            }
        });
        let upgrade = upgrade.config(self.config).subprotocols(self.protocols);
        let upgrade = self.settings.into_iter().fold(upgrade, |upgrade, setting| setting(upgrade));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.extensions_mut().insert(Upgrading::new(upgrade));
        response
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("config", &self.config)
            .field("requested", &self.requested)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = UpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, UpgradeRejection> {
        let offer = Offer::parse(&parts.method, parts.version, &parts.headers).map_err(UpgradeRejection::Request)?;
        let requested = offer.subprotocols().iter().filter_map(|name| HeaderValue::from_str(name).ok()).collect();
        if parts.extensions.remove::<Upgradable>().is_none() {
            return Err(UpgradeRejection::Server);
        }
        Ok(Self { config: WebSocketConfig::default(), requested, protocols: Vec::new(), settings: Vec::new() })
    }
}

/// The reason why a request is no [`WebSocketUpgrade`].
#[derive(Debug)]
#[non_exhaustive]
pub enum UpgradeRejection {
    /// It is not an opening handshake (RFC 6455 section 4.2.1). Answered with the error's status.
    Request(UpgradeRequestError),
    /// It was not received by this crate's server. Answered with 500.
    Server,
}

impl fmt::Display for UpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Server => f.write_str("cannot upgrade: the request did not come from `tidegate::axum`"),
        }
    }
}

impl std::error::Error for UpgradeRejection {}

impl IntoResponse for UpgradeRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Request(error) => error.response().into_response(),
            Self::Server => (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response(),
        }
    }
}

/// What the callback of [`WebSocketUpgrade::on_upgrade`] can return: `()` or a [`websocket::Result`].
pub trait Outcome {
    /// Returns the result that decides on the close code.
    ///
    /// # Errors
    /// The error of the callback.
    fn into_result(self) -> Result<(), HandlerError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl Outcome for Result<(), HandlerError> {
    fn into_result(self) -> Result<(), HandlerError> {
        self
    }
}
