//! The origin check: which pages may connect (RFC 6455 sections 4.2.2 and 10.2; RFC 6454).
//!
//! Browsers let any page open a WebSocket to any server, with the server's cookies. Only `Origin` names the page, so
//! the server must check it.

use std::net::Ipv6Addr;

use http::HeaderName;
use http::header::{HOST, ORIGIN};
use thiserror::Error;

use super::field::{self, Fields, Once, split_host};

/// The scheme by which browsers reach the server: behind a proxy that terminates TLS, HTTPS. There are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS; port 80 unless given.
    Http,
    /// Over TLS; port 443 unless given.
    Https,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why an origin must not connect. All variants are answered alike; they differ for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OriginError {
    /// There is no `Origin`, and the request came over HTTPS or the check needs one.
    #[error("the request has no Origin")]
    Missing,
    /// `Origin` occurs more than once.
    #[error("the request has more than one Origin")]
    Repeated,
    /// `Origin` is not `scheme://host[:port]` of http or https; `null` is one such value.
    #[error("the request's Origin is not a web origin")]
    Invalid,
    /// `Host` is missing, repeated or not `host[:port]`, so there is nothing to compare with.
    #[error("the request's Host is missing or not a host and port")]
    InvalidHost,
    /// `Origin` is not one of the origins that may connect.
    #[error("the request's Origin is not allowed")]
    NotAllowed,
}

/// A web origin: scheme, host and port.
///
/// ```
/// use tidegate_websocket::handshake::Origin;
/// assert_eq!(Origin::parse("https://Example.com"), Origin::parse("https://example.com:443"));
/// assert_ne!(Origin::parse("http://[::1]:80"), Origin::parse("http://[::1]:81"));
/// assert_eq!(Origin::parse("null"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    /// A name or an IPv4 address, in lower case.
    Name(String),
    Ipv6(Ipv6Addr),
}

impl Origin {
    /// Parses `scheme://host[:port]`; `None` for anything else.
    #[must_use]
    pub fn parse(origin: &str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let scheme = if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else {
            return None;
        };
        Self::of_authority(scheme, authority)
    }

    /// Returns the origin of the pages at `host[:port]`.
    fn of_authority(scheme: Scheme, authority: &str) -> Option<Self> {
        let (host, port) = split_host(authority.as_bytes())?;
        let host = match host {
            field::Host::Name(b"") => return None,
            field::Host::Name(name) => Host::Name(std::str::from_utf8(name).ok()?.to_ascii_lowercase()),
            field::Host::Ipv6(address) => Host::Ipv6(address),
        };
        let port = match port {
            b"" => scheme.default_port(),
            // No sign, no spaces: `parse` alone would take a `+`.
            digits if digits.iter().all(u8::is_ascii_digit) => std::str::from_utf8(digits).ok()?.parse().ok()?,
            _ => return None,
        };
        Some(Self { scheme, host, port })
    }
}

/// Allows pages of the server itself: `Origin` and `Host` agree in host and port, and the scheme of the origin is
/// `scheme`. A request without `Origin` does not come from a browser: it is allowed on plain HTTP and refused over
/// HTTPS.
///
/// # Errors
/// [`OriginError`].
pub fn check_same_origin(headers: &impl Fields, scheme: Scheme) -> Result<(), OriginError> {
    let host = match once_str(headers, &HOST) {
        Ok(Some(host)) => host,
        // Matters only if there is an origin to compare with it.
        Ok(None) | Err(_) => "",
    };
    check_same_origin_at(headers, scheme, host)
}

/// As [`check_same_origin`], for a server that browsers reach under another host than `Host` has.
pub(crate) fn check_same_origin_at(headers: &impl Fields, scheme: Scheme, host: &str) -> Result<(), OriginError> {
    let Some(origin) = origin_of(headers)? else {
        return match scheme {
            Scheme::Http => Ok(()),
            Scheme::Https => Err(OriginError::Missing),
        };
    };
    let own = Origin::of_authority(scheme, host).ok_or(OriginError::InvalidHost)?;
    if origin == own { Ok(()) } else { Err(OriginError::NotAllowed) }
}

/// An element of an [`OriginAllowList`] is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid origin {origin:?}: must be http or https with a host and no path, such as https://app.example.com")]
pub struct InvalidOrigin {
    origin: String,
}

/// A list of origins that may connect.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use tidegate_websocket::OriginAllowList;
/// let allowed = OriginAllowList::parse(["https://app.example.com"])?;
/// let mut headers = HeaderMap::new();
/// headers.insert("Origin", HeaderValue::from_static("https://app.example.com"));
/// assert!(allowed.check(&headers).is_ok());
/// headers.insert("Origin", HeaderValue::from_static("https://evil.example.com"));
/// assert!(allowed.check(&headers).is_err());
/// # Ok::<(), tidegate_websocket::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginAllowList {
    origins: Vec<Origin>,
}

impl OriginAllowList {
    /// Parses a list of `scheme://host[:port]`. Without a port, an origin has the default one of its scheme.
    ///
    /// # Errors
    /// [`InvalidOrigin`] names the first element that is anything else, such as one with a path or a final slash.
    pub fn parse<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, InvalidOrigin> {
        let parse = |origin: S| {
            let origin = origin.as_ref();
            Origin::parse(origin).ok_or_else(|| InvalidOrigin { origin: origin.to_owned() })
        };
        Ok(Self { origins: origins.into_iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Allows requests whose `Origin` is on the list.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn check(&self, headers: &impl Fields) -> Result<(), OriginError> {
        let origin = origin_of(headers)?.ok_or(OriginError::Missing)?;
        if self.origins.contains(&origin) { Ok(()) } else { Err(OriginError::NotAllowed) }
    }
}

fn origin_of(headers: &impl Fields) -> Result<Option<Origin>, OriginError> {
    match once_str(headers, &ORIGIN)? {
        None => Ok(None),
        Some(value) => Origin::parse(value).map(Some).ok_or(OriginError::Invalid),
    }
}

fn once_str<'h>(headers: &'h impl Fields, name: &'h HeaderName) -> Result<Option<&'h str>, OriginError> {
    match field::once(headers, name) {
        Once::Missing => Ok(None),
        Once::Repeated => Err(OriginError::Repeated),
        Once::Value(value) => {
            let value = std::str::from_utf8(value).map_err(|_| OriginError::Invalid)?;
            Ok(Some(value.trim_ascii()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_same_scheme_host_and_port_is_the_same_origin() {
        for (scheme, host, origin) in [
            (Scheme::Http, "example.com", "http://example.com"),
            (Scheme::Http, "example.com:80", "http://EXAMPLE.com"),
            (Scheme::Http, "example.com", "HTTP://example.com:80"),
            (Scheme::Http, "example.com:8080", "http://example.com:8080"),
            (Scheme::Https, "example.com", "https://example.com:443"),
            (Scheme::Https, "example.com:", "https://example.com"),
            (Scheme::Http, "127.0.0.1:9000", "http://127.0.0.1:9000"),
            (Scheme::Http, "[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000"),
            (Scheme::Http, "[2001:DB8::1]", "http://[2001:db8::1]:80"),
        ] {
            assert_eq!(check_same_origin(&headers(host, Some(origin)), scheme), Ok(()), "{origin}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        for (scheme, host, origin, error) in [
            (Scheme::Http, "example.com", "http://example.org", OriginError::NotAllowed),
            (Scheme::Http, "example.com", "http://example.com:81", OriginError::NotAllowed),
            (Scheme::Http, "example.com:443", "https://example.com", OriginError::NotAllowed),
            (Scheme::Https, "example.com", "http://example.com:443", OriginError::NotAllowed),
            (Scheme::Http, "[::1]", "http://[::2]", OriginError::NotAllowed),
            (Scheme::Http, "example.com", "http://example.com.evil.org", OriginError::NotAllowed),
            (Scheme::Http, "example.com", "null", OriginError::Invalid),
            (Scheme::Http, "example.com", "", OriginError::Invalid),
            (Scheme::Http, "example.com", "file://", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://a@example.com", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://example.com/", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://example.com:+80", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://example.com:65536", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://[::1", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://[::1]80", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://a%20b", OriginError::Invalid),
            (Scheme::Http, "example.com", "http://m\u{fc}ller.example", OriginError::Invalid),
            (Scheme::Http, "a b", "http://example.com", OriginError::InvalidHost),
            (Scheme::Http, "a%20b", "http://example.com", OriginError::InvalidHost),
        ] {
            let checked = check_same_origin(&headers(host, Some(origin)), scheme);
            assert_eq!(checked, Err(error), "{origin} at {host}");
        }
    }

    #[test]
    fn a_missing_origin_passes_only_over_http_and_a_repeated_one_never() {
        let mut headers = headers("example.com", None);
        assert_eq!(check_same_origin(&headers, Scheme::Http), Ok(()));
        assert_eq!(check_same_origin(&headers, Scheme::Https), Err(OriginError::Missing));
        let allowed = OriginAllowList::parse(["http://example.com"]).unwrap();
        assert_eq!(allowed.check(&headers), Err(OriginError::Missing));
        headers.append(ORIGIN, HeaderValue::from_static("http://example.com"));
        assert_eq!(allowed.check(&headers), Ok(()));
        headers.append(ORIGIN, HeaderValue::from_static("http://example.com"));
        assert_eq!(check_same_origin(&headers, Scheme::Http), Err(OriginError::Repeated));
        assert_eq!(allowed.check(&headers), Err(OriginError::Repeated));
    }

    #[test]
    fn an_allow_list_names_its_invalid_origin() {
        for origin in ["example.com", "https://example.com/", "null", "ws://example.com"] {
            let error = OriginAllowList::parse(["http://example.com", origin]).unwrap_err();
            assert_eq!(error, InvalidOrigin { origin: origin.to_owned() });
            assert!(error.to_string().starts_with(&format!("invalid origin {origin:?}: ")), "{error}");
        }
    }
}
