//! Tunnels through proxies: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928).

use std::fmt;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use thiserror::Error;
use tidegate_engine::Connection;
use tidegate_http::client::ResponseReader;
use tidegate_http::{Limits, percent_decode};

use super::error::{ConnectError, RefusedResponse};
use super::opening::read_response;
use super::target::{Target, host_of};

/// The URL of a proxy is not one that [`Connect::proxy`](super::Connect::proxy) understands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid proxy {url:?}: {rule}")]
pub struct InvalidProxy {
    /// The URL without its password.
    url: String,
    rule: &'static str,
}

/// A proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone)]
struct Credentials {
    user: String,
    password: String,
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]`, or the same with `socks5` or `socks5h`.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidProxy> {
        let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
        let invalid = |rule| InvalidProxy { url: shown.to_owned(), rule };
        let uri: Uri = url.parse().map_err(|_| invalid("must be http://host:port or socks5://host:port"))?;
        let (kind, default_port) = match uri.scheme_str() {
            Some("http") => (Kind::Http, 3128),
            // The proxy resolves the name in either case: nothing is gained by asking for it here.
            Some("socks5" | "socks5h") if cfg!(feature = "socks") => (Kind::Socks5, 1080),
            Some("socks5" | "socks5h") => return Err(invalid("SOCKS5 needs the feature `socks`")),
            _ => return Err(invalid("must be http://host:port or socks5://host:port")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("the host is missing"))?;
        let credentials = match authority.as_str().rsplit_once('@') {
            Some((user_information, _)) => {
                let (user, password) = user_information.split_once(':').unwrap_or((user_information, ""));
                let decoded = percent_decode(user).zip(percent_decode(password));
                let (user, password) = decoded.ok_or_else(|| invalid("the user must be percent-encoded UTF-8"))?;
                Some(Credentials { user, password })
            }
            None => None,
        };
        let host = host_of(authority).to_owned();
        Ok(Self { kind, host, port: authority.port_u16().unwrap_or(default_port), credentials })
    }

    /// Opens a tunnel to the target over a connection to this proxy.
    pub(super) async fn tunnel(
        &self,
        connection: Connection,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        connection.set_read_deadline(Some(deadline));
        match self.kind {
            Kind::Http => self.connect(connection, target, deadline).await,
            Kind::Socks5 => self.socks(connection, target).await,
        }
    }

    async fn connect(
        &self,
        mut connection: Connection,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let authority = target.authority();
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(Credentials { user, password }) = &self.credentials {
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            head += &format!("Proxy-Authorization: Basic {encoded}\r\n");
        }
        head += "\r\n";
        connection.sender().send(head.into_bytes()).await?;
        let response = read_response(&mut connection, ResponseReader::for_connect(Limits::default()), deadline).await?;
        if response.status().is_success() {
            return Ok(connection);
        }
        Err(ConnectError::ProxyRefused(Box::new(RefusedResponse::new(None, response))))
    }

    #[cfg(feature = "socks")]
    async fn socks(&self, connection: Connection, target: &Target) -> Result<Connection, ConnectError> {
        use tokio_socks::io::Compat;
        use tokio_socks::tcp::Socks5Stream;

        let address = (target.host.as_str(), target.port);
        let socket = Compat::new(connection);
        let stream = match &self.credentials {
            None => Socks5Stream::connect_with_socket(socket, address).await,
            Some(Credentials { user, password }) => {
                Socks5Stream::connect_with_password_and_socket(socket, address, user, password).await
            }
        };
        match stream {
            Ok(stream) => Ok(stream.into_inner().into_inner()),
            Err(tokio_socks::Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(ConnectError::Timeout)
            }
            Err(error) => Err(ConnectError::Socks(error.to_string())),
        }
    }

    /// Without the feature no such proxy exists.
    #[cfg(not(feature = "socks"))]
    async fn socks(&self, _connection: Connection, _target: &Target) -> Result<Connection, ConnectError> {
        Err(ConnectError::Socks("the feature `socks` is off".to_owned()))
    }
}

/// Without the credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_found() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example").unwrap();
        let credentials = proxy.credentials.as_ref().unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("me", "p@ss"));
        assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (Kind::Http, "proxy.example", 3128));
        assert!(!format!("{proxy:?}").contains("p@ss"));
        let proxy = Proxy::parse("http://[::1]:8080").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port, proxy.credentials.is_none()), ("::1", 8080, true));
    }

    #[cfg(feature = "socks")]
    #[test]
    fn socks_has_its_own_port() {
        for url in ["socks5://proxy.example", "socks5h://proxy.example"] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!((proxy.kind, proxy.port), (Kind::Socks5, 1080));
        }
    }

    #[test]
    fn other_urls_are_refused_without_their_passwords() {
        for url in ["ftp://me:secret@proxy.example", "proxy.example:3128", "http://", "socks4://me:secret@x", ""] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            assert!(error.starts_with("invalid proxy") && !error.contains("secret"), "{error}");
        }
    }
}
