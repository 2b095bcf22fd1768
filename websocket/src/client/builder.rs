//! What an application asks for when it opens a WebSocket.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderName, HeaderValue, Response};
use tidegate_engine::{ConfigError, RunningHandle};

use super::error::ConnectError;
use super::opening;
use super::proxy::{InvalidProxy, Proxy};
use super::settings::Settings;
use crate::config::{KeepaliveConfig, WebSocketConfig};
use crate::conn::websocket::WebSocket;

/// A WebSocket to be opened: the server, and settings. [`connect`](crate::connect()) makes it, awaiting it opens the
/// WebSocket. A clone asks for another one.
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_websocket::{ConnectError, KeepaliveConfig, connect};
///
/// # async fn example() -> Result<(), ConnectError> {
/// let (ws, response) = connect("ws://chat.example/room/7")
///     .header("User-Agent", "harbour/1.0")
///     .subprotocols(["chat.v2", "chat.v1"])
///     .origin("https://chat.example")
///     .bearer("secret")
///     .handshake_timeout(Duration::from_secs(5))
///     .keepalive(KeepaliveConfig::default().interval(Duration::from_secs(30)))
///     .max_redirects(3)
///     .proxy("http://proxy.example:3128")
///     .await?;
/// println!("{:?} speaks {:?}", response.headers().get("Server"), ws.subprotocol());
/// # Ok(())
/// # }
/// ```
///
/// A mistake in a setting is reported when it is awaited.
#[derive(Clone)]
#[must_use = "nothing is opened until it is awaited"]
pub struct Connect {
    url: String,
    pub(super) settings: Settings,
    /// The first invalid setting.
    invalid: Option<Invalid>,
}

#[derive(Clone)]
enum Invalid {
    Header(String),
    Proxy(InvalidProxy),
    Config(ConfigError),
}

impl From<Invalid> for ConnectError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Header(name) => Self::Header(name),
            Invalid::Proxy(error) => error.into(),
            Invalid::Config(error) => error.into(),
        }
    }
}

/// # The request
impl Connect {
    pub(super) fn new(url: String) -> Self {
        Self { url, settings: Settings::default(), invalid: None }
    }

    /// Adds a header to the request, after earlier ones of the same name. Headers that the handshake sets itself are
    /// ignored: `Host`, `Upgrade`, `Connection`, those that begin with `Sec-WebSocket-`, and those of a body.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName> + fmt::Debug + Clone,
        V: TryInto<HeaderValue>,
    {
        match (name.clone().try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => self.settings.headers.push((name, value)),
            _ => self.refuse(Invalid::Header(format!("{name:?}").trim_matches('"').to_owned())),
        }
        self
    }

    /// Offers subprotocols, the preferred one first. [`WebSocket::subprotocol`] returns the server's choice. Replaces
    /// those of an earlier call.
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sends an `Origin`, as a browser does for the page that connects. Default: none, which servers accept from
    /// programs.
    pub fn origin(self, origin: &str) -> Self {
        self.replace_header(ORIGIN, HeaderValue::from_str(origin).ok())
    }

    /// Authorizes with a bearer token (RFC 6750). It goes to the server of the URL, and not to another one that this
    /// redirects to.
    pub fn bearer(self, token: &str) -> Self {
        self.authorization(format!("Bearer {token}"))
    }

    /// Authorizes with a user and a password (RFC 7617), as [`bearer`](Self::bearer) does.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.authorization(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    fn authorization(self, value: String) -> Self {
        let mut value = HeaderValue::try_from(value).ok();
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        self.replace_header(AUTHORIZATION, value)
    }

    fn replace_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.settings.headers.retain(|(known, _)| *known != name);
        match value {
            Some(value) => self.settings.headers.push((name, value)),
            None => self.refuse(Invalid::Header(name.to_string())),
        }
        self
    }

    /// Keeps the first mistake.
    fn refuse(&mut self, invalid: Invalid) {
        self.invalid.get_or_insert(invalid);
    }
}

/// # The connection
impl Connect {
    /// Limits the time from the call to the open WebSocket: resolving the name, connecting, the proxy, redirects, and
    /// the handshake. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        if let Err(error) = ConfigError::check_time("handshake_timeout", Some(timeout)) {
            self.refuse(Invalid::Config(error));
        }
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Follows up to this many redirects (301, 302, 303, 307, 308) to `ws`, `wss`, `http` and `https` URLs, but not
    /// from `wss` to `ws`. Another server gets neither `Authorization` nor `Cookie`. Default: 0, a redirect is a
    /// refusal.
    pub fn max_redirects(mut self, count: u32) -> Self {
        self.settings.redirects_max = count;
        self
    }

    /// Connects through a proxy: `http://[user:password@]host[:port]` for one that understands CONNECT, or `socks5://`
    /// (feature `socks`). The proxy resolves the server's name. Default: none; the environment is not looked at.
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.settings.proxy = Some(proxy),
            Err(error) => self.refuse(Invalid::Proxy(error)),
        }
        self
    }

    /// Connects from a local address. Port 0 is any free port.
    pub fn local_address(mut self, address: SocketAddr) -> Self {
        self.settings.local_address = Some(address);
        self
    }

    /// Connects to a Unix-domain socket (unix(7)) in place of the URL's host, or to the abstract name after an `@`. The
    /// host is still sent in the request. Ignored with a [`proxy`](Self::proxy).
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.unix_path = Some(path.into());
        self
    }

    /// Connects on a worker of this engine, whatever thread awaits it: `running.handle()`. Without it, the connection
    /// belongs to the worker of the handler's thread on which it is awaited; elsewhere it fails.
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, block_on};
    /// use tidegate_websocket::connect;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // A program that is only a client.
    /// let running = Engine::client(Config::default().workers(1))?;
    /// block_on(async {
    ///     let (mut ws, _response) = connect("ws://127.0.0.1:9001/ws").on_engine(&running.handle()).await?;
    ///     ws.send("hello").await?;
    ///     println!("{:?}", ws.recv().await?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn on_engine(mut self, engine: &RunningHandle) -> Self {
        self.settings.engine = Some(engine.clone());
        self
    }

    pub(super) fn engine(&self) -> Option<&RunningHandle> {
        self.settings.engine.as_ref()
    }
}

/// # The WebSocket
impl Connect {
    /// Sets the settings of the WebSocket. Default: [`WebSocketConfig::client`].
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.settings.config = config;
        self
    }

    /// Sets the regular pings, which [`config`](Self::config) sets too; `None` for none. Default: one every 10 s, each
    /// of which must be answered within 20 s.
    pub fn keepalive(mut self, keepalive: impl Into<Option<KeepaliveConfig>>) -> Self {
        self.settings.config.keepalive = keepalive.into();
        self
    }
}

impl IntoFuture for Connect {
    type Output = Result<(WebSocket, Response<()>), ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.invalid {
                Some(invalid) => Err(invalid.into()),
                None => opening::open(self.url, self.settings).await,
            }
        })
    }
}

impl From<&str> for Connect {
    fn from(url: &str) -> Self {
        Self::new(url.to_owned())
    }
}

impl From<String> for Connect {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

/// Without the values of headers, which can be secrets.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("url", &self.url)
            .field("headers", &self.settings.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("subprotocols", &self.settings.subprotocols)
            .field("proxy", &self.settings.proxy)
            .finish_non_exhaustive()
    }
}
