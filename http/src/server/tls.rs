//! Listeners with TLS, and the field that binds browsers to it.

use std::fmt;
use std::net::ToSocketAddrs;
use std::time::Duration;

use http::{HeaderValue, header};
use tidegate_engine::{Error, Tls};

use crate::message::response::Response;
use crate::server::builder::ServerBuilder;
use crate::server::handler::Handler;
use crate::server::on_response::{OnResponse, RequestInfo};

/// The answer to a request of plain HTTP on a listener with TLS.
const PLAINTEXT_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 58\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks TLS: use https:// or wss:// to reach it.\n";

/// # TLS
impl<H: Handler> ServerBuilder<H> {
    /// As [`bind`](ServerBuilder::bind), with TLS: `https` and `wss`. Needs the feature `tls`.
    ///
    /// [`RequestHead::scheme`](crate::RequestHead::scheme) of its requests is `https`, and
    /// [`RequestHead::tls`](crate::RequestHead::tls) is what the handshake agreed on, with the client's certificate for
    /// mutual TLS. A request of plain HTTP is answered with 400.
    ///
    /// ```no_run
    /// use tidegate_engine::Tls;
    /// use tidegate_http::{Request, Router, Server};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let app = Router::new().get("/", async |request: Request| format!("{}\n", request.scheme()));
    /// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// Server::builder(app).bind_tls("0.0.0.0:443", tls)?.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`bind`](ServerBuilder::bind).
    pub fn bind_tls(self, address: impl ToSocketAddrs + fmt::Debug, tls: Tls) -> Result<Self, Error> {
        Ok(self.bind(address)?.tls(tls))
    }

    /// Gives the listeners that the last `bind` call added TLS, as [`bind_tls`](ServerBuilder::bind_tls) does: for
    /// Unix-domain sockets and for sockets that systemd or a parent process passed.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.engine = self.engine.tls(tls).plaintext_answer(PLAINTEXT_ANSWER.as_bytes());
        self
    }

    /// Adds a Strict-Transport-Security field (RFC 6797) to every response of a handler on a connection with TLS, if it
    /// has none: browsers then use `https` and `wss` for this host, whatever a link says. Default: none.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use tidegate_engine::Tls;
    /// use tidegate_http::{Hsts, Request, Router, Server};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let app = Router::new().get("/", async |_request: Request| "Hello");
    /// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// let hsts = Hsts::new(Duration::from_secs(365 * 24 * 3600)).include_subdomains();
    /// Server::builder(app).bind_tls("0.0.0.0:443", tls)?.hsts(hsts).run()
    /// # }
    /// ```
    pub fn hsts(mut self, hsts: Hsts) -> Self {
        self.hsts = Some(hsts);
        self
    }
}

/// The value of Strict-Transport-Security (RFC 6797): [`ServerBuilder::hsts`].
#[derive(Debug, Clone)]
#[must_use = "it has no effect until it is given to a server"]
pub struct Hsts {
    max_age: Duration,
    subdomains: bool,
    preload: bool,
}

impl Hsts {
    /// Binds browsers for this time, in whole seconds, from the last response on. Zero releases them.
    pub fn new(max_age: Duration) -> Hsts {
        Hsts { max_age, subdomains: false, preload: false }
    }

    /// Includes all subdomains of the host.
    pub fn include_subdomains(mut self) -> Hsts {
        self.subdomains = true;
        self
    }

    /// Asks for the host to be built into browsers, whose lists need [`include_subdomains`](Hsts::include_subdomains)
    /// and at least a year.
    pub fn preload(mut self) -> Hsts {
        self.preload = true;
        self
    }

    /// Returns the value of the field.
    pub fn value(&self) -> HeaderValue {
        let subdomains = if self.subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        let value = format!("max-age={}{subdomains}{preload}", self.max_age.as_secs());
        HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("max-age=0"))
    }

    /// Returns a function that adds the field to responses, and then calls `next`.
    pub(super) fn before(&self, next: Option<OnResponse>) -> OnResponse {
        let value = self.value();
        OnResponse::new(move |request: &RequestInfo, response: &mut Response| {
            let encrypted = request.head().is_some_and(|head| head.tls().is_some());
            if encrypted && response.header(&header::STRICT_TRANSPORT_SECURITY).is_none() {
                response.set_header(header::STRICT_TRANSPORT_SECURITY, value.clone());
            }
            if let Some(next) = &next {
                next.observe(request, response);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_its_length() {
        let (head, content) = PLAINTEXT_ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", content.len())), "{} bytes", content.len());
    }

    #[test]
    fn the_value_of_hsts() {
        let day = Hsts::new(Duration::from_secs(86_400));
        assert_eq!(day.value(), "max-age=86400");
        assert_eq!(day.include_subdomains().preload().value(), "max-age=86400; includeSubDomains; preload");
    }
}
