//! The target of a connection: a name and a port, addresses, or the path of a Unix-domain socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;

use socket2::SockAddr;

use super::error::ConnectError;
use super::resolve;

/// What to connect to. [`connect`](crate::connect()) takes whatever converts into it: `"host:port"`, `(host, port)`, a
/// `SocketAddr`, or a list of them, which are raced as if a name had resolved to them.
///
/// ```
/// use std::net::SocketAddr;
/// use tidegate_engine::ConnectTarget;
///
/// let targets: [ConnectTarget; 3] = [
///     "example.org:443".into(),
///     ("::1", 7000).into(),
///     SocketAddr::from(([127, 0, 0, 1], 7000)).into(),
/// ];
/// assert_eq!(targets.map(|target| target.to_string()), ["example.org:443", "[::1]:7000", "127.0.0.1:7000"]);
/// ```
#[derive(Clone, Debug)]
pub struct ConnectTarget(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// A host and its port, as one text.
    Text(String),
    Host(String, u16),
    Addresses(Vec<SocketAddr>),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl ConnectTarget {
    #[cfg(unix)]
    pub(super) fn unix(path: PathBuf) -> Self {
        Self(Kind::Unix(path))
    }

    /// Returns the host, if there is one: a name, or an address.
    #[cfg(feature = "tls")]
    pub(super) fn host(&self) -> Option<String> {
        match &self.0 {
            Kind::Text(text) => match text.parse::<SocketAddr>() {
                Ok(address) => Some(address.ip().to_string()),
                Err(_) => split(text).ok().map(|(host, _)| host.to_owned()),
            },
            Kind::Host(host, _) => Some(host.clone()),
            Kind::Addresses(addresses) => match &addresses[..] {
                [address] => Some(address.ip().to_string()),
                _ => None,
            },
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
    }

    /// Returns the addresses, in the order in which they are tried.
    pub(super) async fn addresses(&self) -> Result<Vec<SockAddr>, ConnectError> {
        let failed = |error| ConnectError::Resolve { name: self.to_string(), error };
        let addresses = match &self.0 {
            Kind::Addresses(addresses) => addresses.clone(),
            Kind::Host(host, port) => look_up(host, *port).await.map_err(failed)?,
            Kind::Text(text) => match text.parse() {
                Ok(address) => vec![address],
                Err(_) => {
                    let (host, port) = split(text).map_err(failed)?;
                    look_up(host, port).await.map_err(failed)?
                }
            },
            #[cfg(unix)]
            Kind::Unix(path) => {
                return crate::driver::unix_socket::address(path).map(|address| vec![address]).map_err(failed);
            }
        };
        if addresses.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no address belongs to the name")));
        }
        Ok(interleave(addresses).into_iter().map(SockAddr::from).collect())
    }
}

fn split(text: &str) -> io::Result<(&str, u16)> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the target must be `host:port`"))
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => resolve::look_up(host, port).await,
    }
}

/// Lets the families take turns, beginning with that of the first address (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let starts_with = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == starts_with);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0);
        mixed.extend(pair.1);
    }
}

impl fmt::Display for ConnectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Text(text) => f.write_str(text),
            Kind::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Kind::Host(host, port) => write!(f, "{host}:{port}"),
            Kind::Addresses(addresses) => {
                for (number, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if number > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            #[cfg(unix)]
            Kind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<&str> for ConnectTarget {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.to_owned()))
    }
}

impl From<String> for ConnectTarget {
    fn from(text: String) -> Self {
        Self(Kind::Text(text))
    }
}

impl From<&String> for ConnectTarget {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<(&str, u16)> for ConnectTarget {
    fn from((host, port): (&str, u16)) -> Self {
        Self(Kind::Host(host.to_owned(), port))
    }
}

impl From<(String, u16)> for ConnectTarget {
    fn from((host, port): (String, u16)) -> Self {
        Self(Kind::Host(host, port))
    }
}

impl From<(IpAddr, u16)> for ConnectTarget {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<SocketAddr> for ConnectTarget {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Addresses(vec![address]))
    }
}

impl From<Vec<SocketAddr>> for ConnectTarget {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Kind::Addresses(addresses))
    }
}

impl From<&[SocketAddr]> for ConnectTarget {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::from(addresses.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> { list.iter().map(|text| text.parse().unwrap()).collect() };
        let resolved = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let expected = parse(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleave(resolved), expected);
        let resolved = parse(&["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"]);
        assert_eq!(interleave(resolved), parse(&["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]));
        assert_eq!(interleave(Vec::new()), Vec::new());
    }

    #[test]
    fn a_text_is_split_at_its_last_colon() {
        assert_eq!(split("example.org:443").unwrap(), ("example.org", 443));
        for text in ["example.org", "example.org:", "example.org:65536", "example.org:http", ""] {
            assert_eq!(split(text).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{text:?}");
        }
    }
}
