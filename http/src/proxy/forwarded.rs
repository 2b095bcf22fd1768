//! The fields that proxies add: `Forwarded` (RFC 7239), `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
//!
//! Each proxy appends the address of its own peer, so only the end of a list is trustworthy: from the right, the first
//! address that is not a trusted proxy's is the client's. What stands before it can be the client's invention.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::uri::Scheme;
use tidegate_engine::Address;

use super::trusted::{ForwardedFields, Proxied, TrustedProxies};
use crate::message::head::RequestHead;
use crate::protocol::target::is_host;

/// The client of a request, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client<'h> {
    pub(crate) address: Option<Address>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) host: Option<&'h str>,
}

/// What one proxy said about the request that it received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hop<'h> {
    peer: Option<&'h str>,
    scheme: Option<&'h str>,
    host: Option<&'h str>,
}

impl RequestHead {
    /// Returns the client of a request of a server that has trusted proxies.
    pub(super) fn proxied_client(&self) -> Option<Client<'_>> {
        let proxied = self.extensions().get::<Proxied>()?;
        let header = proxied.header.as_deref();
        // A header without addresses is the proxy's own connection, such as a health check.
        let source = header.and_then(|header| header.proxied_address()).map(|address| Address::Ip(address.source));
        let mut client = resolve(self, &proxied.trusted, source.or(self.peer_addr())?);
        if client.scheme.is_none() && header.and_then(|header| header.ssl()).is_some_and(|ssl| ssl.client_ssl()) {
            client.scheme = Some(Scheme::HTTPS);
        }
        Some(client)
    }
}

fn resolve<'h>(head: &'h RequestHead, trusted: &TrustedProxies, peer: Address) -> Client<'h> {
    let nothing_said = Client { address: Some(peer), scheme: None, host: None };
    if !trusted.contains(peer) {
        return nothing_said;
    }
    let x_forwarded = || x_forwarded_hops(head).map(|hops| client_of(hops.as_deref(), trusted, peer));
    let forwarded = || forwarded_hops(head).map(|hops| client_of(hops.as_deref(), trusted, peer));
    let client = match trusted.fields {
        ForwardedFields::XForwarded => x_forwarded(),
        ForwardedFields::Forwarded => forwarded(),
        ForwardedFields::Either => match (x_forwarded(), forwarded()) {
            (Some(one), Some(other)) if one.address.map(ip_of) == other.address.map(ip_of) => Some(other),
            (Some(_), Some(_)) => Some(Client { address: None, scheme: None, host: None }),
            (one, other) => one.or(other),
        },
    };
    client.unwrap_or(nothing_said)
}

/// Finds the client among the hops, the nearest last. `None`: the field is malformed.
fn client_of<'h>(hops: Option<&[Hop<'h>]>, trusted: &TrustedProxies, peer: Address) -> Client<'h> {
    let mut client = Client { address: Some(peer), scheme: None, host: None };
    let Some(hops) = hops else {
        client.address = None;
        return client;
    };
    for hop in hops.iter().rev() {
        client.scheme = hop.scheme.and_then(scheme_of).or(client.scheme);
        client.host = hop.host.filter(|host| is_host(host.as_bytes()) && !host.is_empty()).or(client.host);
        let Some(address) = hop.peer else { continue };
        client.address = parse_address(address).map(Address::Ip);
        match client.address {
            Some(address) if trusted.contains(address) => {}
            _ => break,
        }
    }
    client
}

/// Returns the hops of `X-Forwarded-*`, the nearest last; the outer `None` if the request has none of them, the inner
/// one if a field is not text.
fn x_forwarded_hops(head: &RequestHead) -> Option<Option<Vec<Hop<'_>>>> {
    let list = |name: &'static str| -> Result<Vec<&str>, std::str::Utf8Error> {
        let lines: Result<Vec<_>, _> = head.values(name).map(std::str::from_utf8).collect();
        Ok(lines?.into_iter().flat_map(|line| line.split(',')).map(str::trim_ascii).collect())
    };
    let (Ok(peers), Ok(schemes), Ok(hosts)) =
        (list("x-forwarded-for"), list("x-forwarded-proto"), list("x-forwarded-host"))
    else {
        return Some(None);
    };
    if peers.is_empty() && schemes.is_empty() && hosts.is_empty() {
        return None;
    }
    // A list that is as long as that of the addresses has one value for each hop. Any other has the value of the
    // nearest proxy last.
    let mut hops: Vec<_> = peers.iter().map(|peer| Hop { peer: Some(*peer), ..Hop::default() }).collect();
    if hops.is_empty() {
        hops.push(Hop::default());
    }
    let last = hops.len() - 1;
    match schemes.len() == hops.len() {
        true => hops.iter_mut().zip(schemes).for_each(|(hop, scheme)| hop.scheme = Some(scheme)),
        false => hops[last].scheme = schemes.last().copied(),
    }
    match hosts.len() == hops.len() {
        true => hops.iter_mut().zip(hosts).for_each(|(hop, host)| hop.host = Some(host)),
        false => hops[last].host = hosts.last().copied(),
    }
    Some(Some(hops))
}

/// Returns the hops of `Forwarded`, the nearest last; the outer `None` if the request has no such field, the inner one
/// if it is malformed.
fn forwarded_hops(head: &RequestHead) -> Option<Option<Vec<Hop<'_>>>> {
    let mut lines = head.values("forwarded").peekable();
    lines.peek()?;
    let mut hops = Vec::new();
    for line in lines {
        let Some(()) = std::str::from_utf8(line).ok().and_then(|line| parse_forwarded(line, &mut hops)) else {
            return Some(None);
        };
    }
    Some(Some(hops))
}

/// Parses one line of `Forwarded` (RFC 7239 section 4). Escapes in quoted strings are refused: no address, scheme or
/// host needs one.
fn parse_forwarded<'h>(line: &'h str, hops: &mut Vec<Hop<'h>>) -> Option<()> {
    let mut rest = line;
    loop {
        let mut hop = Hop::default();
        loop {
            let name_end = rest.find(['=', ',', ';']).unwrap_or(rest.len());
            let name = rest[..name_end].trim_ascii();
            let Some(after) = rest[name_end..].strip_prefix('=') else {
                // An empty pair or an empty element.
                if !name.is_empty() {
                    return None;
                }
                rest = &rest[name_end..];
                match rest.strip_prefix(';') {
                    Some(after) => rest = after,
                    None => break,
                }
                continue;
            };
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let (value, rest) = quoted.split_once('"')?;
                    (value, rest.trim_ascii_start())
                }
                None => {
                    let end = after.find([',', ';']).unwrap_or(after.len());
                    (after[..end].trim_ascii(), &after[end..])
                }
            };
            if value.contains(['\\', '"']) {
                return None;
            }
            let slot = match () {
                () if name.eq_ignore_ascii_case("for") => Some(&mut hop.peer),
                () if name.eq_ignore_ascii_case("proto") => Some(&mut hop.scheme),
                () if name.eq_ignore_ascii_case("host") => Some(&mut hop.host),
                () => None,
            };
            // Each name stands at most once in an element.
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return None;
            }
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
        }
        if hop != Hop::default() {
            hops.push(hop);
        }
        rest = match rest.strip_prefix(',') {
            Some(after) => after,
            None => return rest.is_empty().then_some(()),
        };
    }
}

/// Parses `address`, `address:port`, `[address]` and `[address]:port`; `None` for a name such as `unknown`.
fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let address: Ipv6Addr = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(SocketAddr::new(address.to_canonical(), 0))
}

/// The schemes of WebSockets are those of their opening handshake.
fn scheme_of(text: &str) -> Option<Scheme> {
    let is = |scheme: &str| text.eq_ignore_ascii_case(scheme);
    match () {
        () if is("https") || is("wss") => Some(Scheme::HTTPS),
        () if is("http") || is("ws") => Some(Scheme::HTTP),
        () => None,
    }
}

fn ip_of(address: Address) -> Option<IpAddr> {
    address.ip().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::request::Request;

    fn client(fields: &str, which: ForwardedFields, peer: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes(), "").expect(fields);
        let mut trusted = TrustedProxies::default();
        trusted.fields = which;
        trusted.add("10.0.0.0/8").unwrap();
        trusted.add("2001:db8::/32").unwrap();
        let client = resolve(&request, &trusted, Address::Ip(SocketAddr::new(peer.parse().unwrap(), 1)));
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let address = text(client.address.map(|address| address.to_string()));
        format!("{address} {} {}", text(client.scheme.map(|scheme| scheme.to_string())), client.host.unwrap_or("-"))
    }

    fn either(fields: &str) -> String {
        client(fields, ForwardedFields::Either, "10.0.0.1")
    }

    #[test]
    fn x_forwarded_fields() {
        for (fields, expected) in [
            ("", "10.0.0.1:1 - -"),
            ("X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0 - -"),
            ("X-Forwarded-For: 192.0.2.7:443\r\nX-Forwarded-Proto: HTTPS\r\n", "192.0.2.7:443 https -"),
            ("X-Forwarded-For: 203.0.113.9, 192.0.2.7, 10.9.9.9\r\n", "192.0.2.7:0 - -"),
            ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0 - -"),
            ("X-Forwarded-For: 10.2.2.2, 10.1.1.1\r\n", "10.2.2.2:0 - -"),
            ("X-Forwarded-For: [2001:db9::1]:7\r\n", "[2001:db9::1]:7 - -"),
            ("X-Forwarded-For: 2001:db9::1, [2001:db8::1]\r\n", "[2001:db9::1]:0 - -"),
            ("X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7:0 - -"),
            ("X-Forwarded-For: 192.0.2.7, unknown\r\n", "- - -"),
            ("X-Forwarded-For: 192.0.2.7,\r\n", "- - -"),
            ("X-Forwarded-For: \u{e9}\r\n", "- - -"),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Host: a:8443\r\n", "10.0.0.1:1 https a:8443"),
            ("X-Forwarded-Proto: wss, ws\r\nX-Forwarded-For: 192.0.2.7, 10.1.1.1\r\n", "192.0.2.7:0 https -"),
            ("X-Forwarded-Proto: https, http\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.7\r\n", "192.0.2.7:0 http -"),
            ("X-Forwarded-Proto: https, http\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0 http -"),
            ("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\n", "10.0.0.1:1 - -"),
            ("X-Forwarded-Host: evil, a.example\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0 - a.example"),
        ] {
            assert_eq!(either(fields), expected, "{fields}");
        }
    }

    #[test]
    fn the_field_of_rfc_7239() {
        for (fields, expected) in [
            ("Forwarded: for=192.0.2.7;proto=https;by=10.0.0.1;host=a.example\r\n", "192.0.2.7:0 https a.example"),
            ("Forwarded: For=\"[2001:db9::1]:47\" ; Proto=http\r\n", "[2001:db9::1]:47 http -"),
            (
                "Forwarded: for=203.0.113.9, for=192.0.2.7;proto=https, for=10.1.1.1;proto=http\r\n",
                "192.0.2.7:0 https -",
            ),
            ("Forwarded: for=203.0.113.9\r\nForwarded: for=192.0.2.7;host=\"a:1\"\r\n", "192.0.2.7:0 - a:1"),
            ("Forwarded: for=unknown\r\n", "- - -"),
            ("Forwarded: for=_hidden;proto=https\r\n", "- https -"),
            ("Forwarded: , for=192.0.2.7;;proto=http,\r\n", "192.0.2.7:0 http -"),
            ("Forwarded: for=\", for=192.0.2.7\r\n", "- - -"),
            ("Forwarded: for=192.0.2.7;for=192.0.2.8\r\n", "- - -"),
            ("Forwarded: for\r\n", "- - -"),
            ("Forwarded: for=\"a\\\"b\"\r\n", "- - -"),
            ("Forwarded: for=\"192.0.2.7\"x\r\n", "- - -"),
            ("Forwarded: proto=https\r\n", "10.0.0.1:1 https -"),
            ("Forwarded: \r\n", "10.0.0.1:1 - -"),
        ] {
            assert_eq!(either(fields), expected, "{fields}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: host=a\r\n";
        assert_eq!(client(fields, ForwardedFields::Either, "192.0.2.1"), "192.0.2.1:1 - -");
    }

    #[test]
    fn fields_that_contradict_each_other_tell_nothing() {
        let both =
            "Forwarded: for=203.0.113.9;proto=https\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n";
        assert_eq!(either(both), "- - -");
        assert_eq!(client(both, ForwardedFields::XForwarded, "10.0.0.1"), "192.0.2.7:0 http -");
        assert_eq!(client(both, ForwardedFields::Forwarded, "10.0.0.1"), "203.0.113.9:0 https -");
        let same = "Forwarded: for=\"192.0.2.7:5\";proto=https\r\nX-Forwarded-For: 192.0.2.7\r\n";
        assert_eq!(either(same), "192.0.2.7:5 https -");
    }
}
