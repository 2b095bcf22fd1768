//! The settings of the HTTP layer.
//!
//! Owns the timeouts and the field Server, beside the [`Limits`]. The engine has its own configuration.

use std::time::Duration;

use http::HeaderValue;

use crate::limits::Limits;

/// How connections are served. All settings have defaults; override single ones with struct update syntax.
///
/// ```
/// use std::time::Duration;
/// use tidegate_http::HttpConfig;
/// let config = HttpConfig { header_timeout: Duration::from_secs(5), ..HttpConfig::default() };
/// ```
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The bounds of requests.
    pub limits: Limits,
    /// From the first byte of a head, or the start of the connection, to the end of the head. Beyond: 408, or nothing
    /// if no byte came. Default 10 s.
    pub header_timeout: Duration,
    /// How long a persistent connection may wait for its next request. Beyond: closed. Default 75 s, longer than the
    /// 60 s that common proxies keep theirs for, so that it is they who close.
    pub keep_alive_timeout: Duration,
    /// How long content that is being read may make no progress. Beyond: [`BodyError`](crate::BodyError), which is 408
    /// as a response. Default 30 s.
    pub content_timeout: Duration,
    /// How long the peer may take nothing of what is sent to it. Beyond: closed. It is renewed with every batch that
    /// has left (under 512 KiB), and does not hold for a protocol that took over. Default 30 s.
    pub write_timeout: Duration,
    /// How long a handler may take to give its response, not counting the response's content. Beyond: 503, and the
    /// handler's future is dropped. Default: for ever.
    pub handler_timeout: Option<Duration>,
    /// The value of Server in every response. Default `tidegate`; `None` sends none.
    pub server: Option<HeaderValue>,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            limits: Limits::default(),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            content_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            handler_timeout: None,
            server: Some(HeaderValue::from_static("tidegate")),
        }
    }
}
