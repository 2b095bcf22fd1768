//! Why no WebSocket was opened.

use std::fmt;
use std::io;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use thiserror::Error;
use tidegate_engine::{CloseCause, ConfigError, ReceiveError, SendError};
use tidegate_http::client::InvalidResponse;

use super::proxy::InvalidProxy;
use crate::handshake::{UpgradeResponseError, UriError};

/// An error of [`connect`](crate::connect()): no WebSocket was opened, and the connection, if there was one, is closed.
///
/// ```no_run
/// use tidegate_websocket::{self as websocket, ConnectError};
///
/// # async fn example() {
/// match websocket::connect("ws://chat.example/room/7").await {
///     Ok((_ws, _response)) => {}
///     Err(ConnectError::Refused(response)) => {
///         println!("{}: {}", response.status(), String::from_utf8_lossy(response.content()));
///     }
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or a subprotocol is invalid.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The name or the value of a header is invalid; the text is its name.
    #[error("invalid header {0:?}: must be a token and a value without control characters")]
    Header(String),
    /// A setting of the WebSocket is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The URL of the proxy is invalid.
    #[error(transparent)]
    InvalidProxy(#[from] InvalidProxy),
    /// The name was not resolved, or the connection to the server or the proxy was not made.
    #[error(transparent)]
    Connection(#[from] tidegate_engine::ConnectError),
    /// The proxy refused the tunnel: an HTTP proxy, with its response.
    #[error("the proxy refused the tunnel: {0}")]
    ProxyRefused(Box<RefusedResponse>),
    /// The SOCKS5 proxy refused the tunnel or broke its protocol.
    #[error("the SOCKS5 proxy failed: {0}")]
    Socks(String),
    /// The handshake was not completed within [`handshake_timeout`](super::Connect::handshake_timeout).
    #[error("the opening handshake took too long: raise `handshake_timeout`, or try again later")]
    Timeout,
    /// The connection was lost during the handshake.
    #[error("the connection was lost during the opening handshake: {0}")]
    Lost(CloseCause),
    /// The peer does not speak HTTP/1.1, or ended its stream within the response.
    #[error(transparent)]
    Response(#[from] InvalidResponse),
    /// The server answered with something other than a valid acceptance: a status other than 101, or a 101 that does
    /// not match the request.
    #[error("{0}")]
    Refused(Box<RefusedResponse>),
    /// The server redirected more often than [`max_redirects`](super::Connect::max_redirects), which is above zero.
    #[error("too many redirects, the last one to {location:?}: raise `max_redirects`")]
    TooManyRedirects {
        /// The last location.
        location: String,
    },
    /// A redirect leads to an invalid URL, or from `wss` to `ws`.
    #[error("the server redirected to {location:?}: {reason}")]
    Redirect {
        /// The location.
        location: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The URL is `wss`, and this crate was built without the feature `tls`.
    #[error("wss needs TLS, which this program was built without: enable the feature `tls`, or use ws")]
    TlsUnavailable,
    /// The engine of [`blocking`](super::blocking) could not be started, or the system's certificates could not be
    /// read.
    #[error("{0}")]
    Engine(String),
}

impl ConnectError {
    /// Returns the response of the server, or of the proxy, if there was one.
    pub fn response(&self) -> Option<&RefusedResponse> {
        match self {
            Self::Refused(response) | Self::ProxyRefused(response) => Some(response),
            _ => None,
        }
    }

    /// Returns whether another attempt can succeed without a change of the request: the server was not reached, was
    /// lost, or answered with a status that says so (408, 425, 429, 5xx except 501 and 505). A failed TLS handshake is
    /// not temporary.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connection(error) => !matches!(
                error,
                tidegate_engine::ConnectError::Tls { .. }
                    | tidegate_engine::ConnectError::EngineEnded
                    | tidegate_engine::ConnectError::Draining
                    | tidegate_engine::ConnectError::NotOnHandlerThread
            ),
            Self::Timeout | Self::Lost(_) | Self::Socks(_) => true,
            Self::Response(error) => matches!(error, InvalidResponse::Incomplete),
            Self::Refused(response) | Self::ProxyRefused(response) => match response.status() {
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
                StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
                status => status.is_server_error(),
            },
            _ => false,
        }
    }
}

impl From<ReceiveError> for ConnectError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Closed(cause) => Self::Lost(cause),
            _ => Self::Timeout,
        }
    }
}

impl From<SendError> for ConnectError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed(cause) => Self::Lost(cause),
            // Nothing else is sent on the connection, so only a shutdown has ended its sending side.
            _ => Self::Lost(CloseCause::Shutdown),
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connection(error) => error.into(),
            ConnectError::Timeout => Self::new(io::ErrorKind::TimedOut, error),
            ConnectError::Lost(_) => Self::new(io::ErrorKind::ConnectionReset, error),
            error => Self::other(error),
        }
    }
}

/// A response that refuses a WebSocket or a tunnel.
#[derive(Clone)]
pub struct RefusedResponse {
    reason: Option<UpgradeResponseError>,
    response: Response<Bytes>,
}

impl RefusedResponse {
    /// The most bytes of content that are kept: enough for a text, not for a page.
    pub const CONTENT_BYTES_MAX: usize = 4096;

    pub(super) fn new(reason: Option<UpgradeResponseError>, response: Response<Bytes>) -> Self {
        Self { reason, response }
    }

    /// Returns the rule that the server's acceptance broke, [`UpgradeResponseError::Status`] for a status other than
    /// 101; `None` for a proxy.
    pub fn reason(&self) -> Option<UpgradeResponseError> {
        self.reason
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the first bytes of the content, at most [`CONTENT_BYTES_MAX`](Self::CONTENT_BYTES_MAX).
    pub fn content(&self) -> &Bytes {
        self.response.body()
    }

    /// Returns the response, whose body is the [`content`](Self::content).
    pub fn response(&self) -> &Response<Bytes> {
        &self.response
    }
}

impl fmt::Display for RefusedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{reason}")?,
            None => write!(f, "status {}", self.status())?,
        }
        let text = String::from_utf8_lossy(self.content());
        let line = text.lines().next().unwrap_or_default().trim();
        let is_readable = !line.is_empty() && line.len() <= 200 && !line.starts_with('<');
        if is_readable { write!(f, ": {}", line.escape_debug()) } else { Ok(()) }
    }
}

impl fmt::Debug for RefusedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedResponse")
            .field("reason", &self.reason)
            .field("status", &self.status())
            .field("headers", self.headers())
            .field("content_bytes", &self.content().len())
            .finish()
    }
}
