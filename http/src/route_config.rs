//! The settings of single routes, in place of the server's.

use std::time::Duration;

tidegate_engine::__settings! {
    /// The settings of a route, where they differ from the server's [`HttpConfig`](crate::HttpConfig). `None` is the
    /// server's setting, for each the default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_http::{Request, RouteConfig, Router};
    ///
    /// async fn search(_request: Request) -> &'static str {
    ///     "results"
    /// }
    ///
    /// async fn upload(mut request: Request) -> Result<String, tidegate_http::BodyError> {
    ///     Ok(format!("{} bytes", request.bytes().await?.len()))
    /// }
    ///
    /// let quick = RouteConfig::default().handler_timeout(Duration::from_secs(2)).body_bytes_max(0);
    /// let slow = RouteConfig::default().content_timeout(Duration::from_secs(300));
    /// let app = Router::new().get("/search", quick.wrap(search)).post("/upload", slow.wrap(upload));
    /// ```
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct RouteConfig {
        /// In place of [`HttpConfig::handler_timeout`](field@crate::HttpConfig::handler_timeout). [`Duration::MAX`] is
        /// unlimited.
        pub handler_timeout: Option<Duration>,
        /// In place of [`HttpConfig::content_timeout`](field@crate::HttpConfig::content_timeout).
        pub content_timeout: Option<Duration>,
        /// In place of [`HttpConfig::keep_alive_timeout`](field@crate::HttpConfig::keep_alive_timeout), for the wait
        /// after a request of this route. After content that the handler left unread, the server's applies.
        pub keep_alive_timeout: Option<Duration>,
        /// In place of [`Limits::body_bytes_max`](field@crate::Limits::body_bytes_max), if that is larger: a request
        /// with more content than the server's limit is refused before it is routed.
        pub body_bytes_max: Option<u64>,
    }
}
