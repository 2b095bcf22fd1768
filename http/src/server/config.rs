//! The settings of HTTP: timeouts, the Server field, and the [`Limits`]. The engine has its own configuration.

use std::time::Duration;

use http::HeaderValue;
use tidegate_engine::ConfigError;

use crate::limits::Limits;
use crate::message::access_record::AccessLog;
use crate::server::on_response::OnResponse;

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
        /// Longest time from the first byte of a head, or from the start of the connection, to the end of the head. A
        /// later head is answered with 408, or not at all if no byte has arrived. Not zero. Default 10 s.
        pub header_timeout: Duration,
        /// Longest wait of a persistent connection for its next request. The connection is then closed. Not zero.
        /// Default 75 s: longer than the 60 s of common proxies, which then close first.
        pub keep_alive_timeout: Duration,
        /// Longest wait of a handler for the next piece of content. Reading then fails with a
        /// [`BodyError`](crate::BodyError), which converts into 408. Each piece renews it, so it does not bound a whole
        /// upload: [`handler_timeout`](field@HttpConfig::handler_timeout) does. It bounds the discarding of unread
        /// content as a whole. Not zero. Default 30 s.
        pub content_timeout: Duration,
        /// Longest time that the peer takes nothing of what is sent to it. The connection is then closed. A slow peer
        /// is not affected, see [`Connection::set_write_timeout`](tidegate_engine::Connection::set_write_timeout); not
        /// applied after an upgrade. `None` is unlimited. Not zero. Default 30 s.
        pub write_timeout: Option<Duration>,
        /// Longest time for a handler to return its response, from the first time that it waits; the content of the
        /// response is not included. Its future is then dropped, the request is answered with 503, and the connection
        /// is closed. `None` is unlimited, the default. Not zero.
        pub handler_timeout: Option<Duration>,
        /// Whether a client that has ended its side of the connection (FIN) still gets the response to a request that a
        /// handler is working on. By default the handler, or the producer of the response's content, is dropped at its
        /// next await: most clients that send FIN have gone. A client that has reset the connection is gone in any
        /// case. Default `false`.
        pub half_close: bool,
        /// The log of requests and their answers, those of the server itself included;
        /// [`ServerBuilder::access_log`](crate::ServerBuilder::access_log) sets it too. Only servers of a
        /// [`ServerBuilder`](crate::ServerBuilder) write it. Default `None`.
        pub access_log: Option<AccessLog>,
        /// The value of the Server field in every response; `None` sends none. Default `tidegate`.
        pub server: Option<HeaderValue>,
        on_response: Option<OnResponse>,
    }
}

impl HttpConfig {
    pub(crate) fn with_on_response(mut self, on_response: Option<OnResponse>) -> HttpConfig {
        self.on_response = on_response;
        self
    }

    /// Returns the function that sees responses, if one is set.
    pub(crate) fn observer(&self) -> Option<&OnResponse> {
        self.on_response.as_ref()
    }

    /// Checks each setting. [`ServerBuilder::start`](crate::ServerBuilder::start) calls it.
    ///
    /// # Errors
    /// The first timeout that is zero, or limit that [`Limits::check`] refuses.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        for (name, timeout) in [
            ("header_timeout", Some(self.header_timeout)),
            ("keep_alive_timeout", Some(self.keep_alive_timeout)),
            ("content_timeout", Some(self.content_timeout)),
            ("write_timeout", self.write_timeout),
            ("handler_timeout", self.handler_timeout),
        ] {
            ConfigError::check_time(name, timeout)?;
        }
        Ok(())
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
            access_log: None,
            server: Some(HeaderValue::from_static("tidegate")),
            on_response: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_timeouts_are_refused_by_name() {
        let zero = Duration::ZERO;
        let config = HttpConfig::default;
        assert_eq!(config().check().err().map(|error| error.to_string()), None);
        for (name, config) in [
            ("header_timeout", config().header_timeout(zero)),
            ("keep_alive_timeout", config().keep_alive_timeout(zero)),
            ("content_timeout", config().content_timeout(zero)),
            ("write_timeout", config().write_timeout(zero)),
            ("handler_timeout", config().handler_timeout(zero)),
        ] {
            let error = config.check().expect_err("refused").to_string();
            assert_eq!(error, format!("invalid {name} \"0s\": must be above zero"));
        }
        let limits = Limits::default().head_bytes_max(100);
        let error = config().limits(limits).check().expect_err("refused").to_string();
        assert_eq!(error, "invalid target_bytes_max \"8192\": must be below head_bytes_max");
    }
}
