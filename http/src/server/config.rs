//! The settings of HTTP: timeouts, the Server field, and the [`Limits`]. The engine has its own configuration.

use std::time::Duration;

use http::HeaderValue;
use tidegate_engine::ConfigError;

use crate::limits::Limits;

tidegate_engine::__settings! {
    /// The settings of HTTP, for [`ServerBuilder::http`](crate::ServerBuilder::http). Each has a default and a setter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_http::{HttpConfig, Limits};
    ///
    /// let config = HttpConfig::default()
    ///     .header_timeout(Duration::from_secs(5))
    ///     .handler_timeout(Duration::from_secs(10))
    ///     .limits(Limits::default().body_bytes_max(1024 * 1024))
    ///     .server(None);
    /// ```
    #[derive(Debug, Clone)]
    pub struct HttpConfig {
        /// The limits of requests.
        pub limits: Limits,
        /// The time from the first byte of a head, or the start of the connection, to the end of the head. Beyond: 408,
        /// or no answer if no byte has arrived. Default 10 s.
        pub header_timeout: Duration,
        /// The time that a persistent connection can wait for its next request. Beyond: closed. Default 75 s: longer
        /// than the 60 s of common proxies, which then close first.
        pub keep_alive_timeout: Duration,
        /// The time that a handler can wait for the next piece of content. Beyond: a [`BodyError`](crate::BodyError),
        /// which converts into 408. Default 30 s.
        pub content_timeout: Duration,
        /// The time that the peer can take nothing of what is sent to it. Beyond: closed. A slow peer is not affected,
        /// see [`Connection::set_write_timeout`](tidegate_engine::Connection::set_write_timeout); not applied after an
        /// upgrade. `None` is unlimited. Default 30 s.
        pub write_timeout: Option<Duration>,
        /// The time that a handler can take to return its response, without the response's content. Beyond: 503, and
        /// the handler's future is dropped. `None` is unlimited, the default.
        pub handler_timeout: Option<Duration>,
        /// Whether a client that has ended its side of the connection (FIN) still gets the response to a request that a
        /// handler is working on. By default the handler, or the response's content that it produces, is dropped while
        /// it waits for anything: most clients that send FIN have gone. A client that has reset the connection is gone
        /// in any case. Default `false`.
        pub half_close: bool,
        /// The value of the Server field in every response; `None` sends none. Default `tidegate`.
        pub server: Option<HeaderValue>,
    }
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            limits: Limits::default(),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            content_timeout: Duration::from_secs(30),
            write_timeout: Some(Duration::from_secs(30)),
            handler_timeout: None,
            half_close: false,
            server: Some(HeaderValue::from_static("tidegate")),
        }
    }
}

impl HttpConfig {
    /// Checks the timeouts. [`ServerBuilder::start`](crate::ServerBuilder::start) calls it, and checks the limits too.
    ///
    /// # Errors
    /// The first timeout that is zero.
    pub fn check_timeouts(&self) -> Result<(), ConfigError> {
        for (setting, time) in [
            ("header_timeout", Some(self.header_timeout)),
            ("keep_alive_timeout", Some(self.keep_alive_timeout)),
            ("content_timeout", Some(self.content_timeout)),
            ("write_timeout", self.write_timeout),
            ("handler_timeout", self.handler_timeout),
        ] {
            ConfigError::check_time(setting, time)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_zero_is_refused_by_name() {
        type Change = fn(HttpConfig) -> HttpConfig;
        let table: [(&str, Change); 5] = [
            ("header_timeout", |config| config.header_timeout(Duration::ZERO)),
            ("keep_alive_timeout", |config| config.keep_alive_timeout(Duration::ZERO)),
            ("content_timeout", |config| config.content_timeout(Duration::ZERO)),
            ("write_timeout", |config| config.write_timeout(Duration::ZERO)),
            ("handler_timeout", |config| config.handler_timeout(Duration::ZERO)),
        ];
        assert_eq!(HttpConfig::default().check_timeouts(), Ok(()));
        for (setting, change) in table {
            let error = change(HttpConfig::default()).check_timeouts().expect_err(setting);
            assert_eq!(error.to_string(), format!("invalid {setting} \"0s\": must be above zero"));
        }
    }
}
