//! The server that a URL names.

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::handshake::UriError;

/// A parsed `ws` or `wss` URL.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) uri: Uri,
    /// The host without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_secure: bool,
}

impl Target {
    /// Parses a URL. `http` and `https` stand for `ws` and `wss`, as they do in redirects. A fragment is ignored.
    pub(super) fn parse(url: &str) -> Result<Self, UriError> {
        let without_fragment = url.split('#').next().unwrap_or(url);
        let uri: Uri = without_fragment.parse().map_err(|_| UriError::Malformed)?;
        let is_secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(UriError::Scheme),
        };
        let authority = uri.authority().ok_or(UriError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UriError::UserInformation);
        }
        let host = host_of(authority).to_owned();
        if host.is_empty() {
            return Err(UriError::Host);
        }
        let port = match authority.port() {
            Some(port) => Some(port.as_u16()).filter(|port| *port != 0).ok_or(UriError::Malformed)?,
            None if has_invalid_port(authority) => return Err(UriError::Malformed),
            None if is_secure => 443,
            None => 80,
        };
        let mut parts = uri.clone().into_parts();
        let scheme = if is_secure { "wss" } else { "ws" };
        parts.scheme = Scheme::try_from(scheme).ok();
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        let uri = Uri::from_parts(parts).map_err(|_| UriError::Malformed)?;
        Ok(Self { uri, host, port, is_secure })
    }

    /// Returns `host:port`, as in the target of a CONNECT request.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns whether both are the same server, by name.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.is_secure == other.is_secure && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

/// Returns the host without the brackets of an IPv6 address.
pub(super) fn host_of(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns whether there is a port that is no number of 16 bits. After a colon alone there is none.
fn has_invalid_port(authority: &Authority) -> bool {
    authority.as_str().len() > authority.host().len() && !authority.as_str().ends_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_a_port() {
        for (url, host, port, is_secure, path) in [
            ("ws://example.com", "example.com", 80, false, "/"),
            ("ws://example.com:9001/chat?room=1", "example.com", 9001, false, "/chat?room=1"),
            ("WSS://Example.com?x", "Example.com", 443, true, "/?x"),
            ("https://example.com/a#fragment", "example.com", 443, true, "/a"),
            ("ws://[::1]:81/", "::1", 81, false, "/"),
            ("ws://example.com:/", "example.com", 80, false, "/"),
            ("ws://127.0.0.1", "127.0.0.1", 80, false, "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.host.as_str(), target.port, target.is_secure), (host, port, is_secure), "{url}");
            let query = target.uri.query().map_or_else(String::new, |query| format!("?{query}"));
            assert_eq!(format!("{}{query}", target.uri.path()), path, "{url}");
        }
        assert_eq!(Target::parse("ws://[::1]").unwrap().authority(), "[::1]:80");
    }

    #[test]
    fn other_urls_are_refused() {
        for (url, error) in [
            ("example.com", UriError::Scheme),
            ("/path", UriError::Scheme),
            ("ftp://example.com", UriError::Scheme),
            ("ws://user@example.com", UriError::UserInformation),
            ("ws://example.com:99999", UriError::Malformed),
            ("ws://example.com:0", UriError::Malformed),
            ("ws://a b", UriError::Malformed),
            ("", UriError::Malformed),
        ] {
            assert_eq!(Target::parse(url).unwrap_err(), error, "{url:?}");
        }
    }
}
