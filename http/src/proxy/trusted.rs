//! The proxies that are believed, and the handler that makes a server's requests ask them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proxy_header::ProxyHeader;
use tidegate_engine::{Address, ConfigError};

use crate::message::head::RequestHead;

/// The fields that trusted proxies set. A proxy passes on the fields that it does not know, so a field that the proxy
/// does not set is the client's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardedFields {
    /// `X-Forwarded-*` or `Forwarded`, whichever a request has. A request with both whose addresses differ has no
    /// client address: one of them is not the proxy's.
    #[default]
    Either,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` alone.
    XForwarded,
    /// `Forwarded` alone (RFC 7239).
    Forwarded,
}

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
    pub(crate) fields: ForwardedFields,
}

impl TrustedProxies {
    /// Adds a network such as `10.0.0.0/8`, an address, or `unix` for all Unix-domain sockets.
    pub(crate) fn add(&mut self, proxy: &str) -> Result<(), ConfigError> {
        if proxy == "unix" {
            self.unix = true;
            return Ok(());
        }
        let network = proxy.parse().or_else(|_| proxy.parse::<IpAddr>().map(IpNet::from));
        let rule = "a network such as 10.0.0.0/8, an address, or unix";
        self.networks.push(network.map_err(|_| ConfigError::new("trusted_proxies", proxy, rule))?);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns whether an address is that of a trusted proxy.
    pub(crate) fn contains(&self, address: Address) -> bool {
        match address {
            Address::Ip(address) => self.contains_ip(address.ip()),
            Address::Unix => self.unix,
            _ => false,
        }
    }

    pub(crate) fn contains_ip(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// What a connection through a proxy adds to each of its requests, as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Proxied {
    pub(crate) trusted: Arc<TrustedProxies>,
    /// The header of the PROXY protocol, if the connection began with one.
    pub(crate) header: Option<Arc<ProxyHeader<'static>>>,
}

/// # The PROXY protocol
impl RequestHead {
    /// Returns the header of the PROXY protocol that the connection began with: its addresses, and what else the proxy
    /// tells in version 2, such as the TLS version, the server name or the id of a cloud endpoint. `None` unless the
    /// listener expects it, see [`ServerBuilder::proxy_protocol`](crate::ServerBuilder::proxy_protocol).
    ///
    /// ```
    /// use tidegate_http::Request;
    /// use tidegate_http::proxy_header::Tlv;
    ///
    /// /// Returns the id of the VPC endpoint, which AWS sends in a field of its own.
    /// fn vpc_endpoint(request: &Request) -> Option<String> {
    ///     let mut tlvs = request.proxy_header()?.tlvs();
    ///     tlvs.find_map(|tlv| match tlv {
    ///         Ok(Tlv::Custom(0xEA, value)) => Some(String::from_utf8_lossy(value.strip_prefix(&[1])?).into_owned()),
    ///         _ => None,
    ///     })
    /// }
    /// ```
    pub fn proxy_header(&self) -> Option<&ProxyHeader<'static>> {
        self.extensions().get::<Proxied>()?.header.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_unix_sockets() {
        let mut trusted = TrustedProxies::default();
        assert!(trusted.is_empty());
        for proxy in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            trusted.add(proxy).unwrap();
        }
        for (address, expected) in [
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(trusted.contains_ip(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!trusted.contains(Address::Unix));
        trusted.add("unix").unwrap();
        assert!(trusted.contains(Address::Unix));
        for proxy in ["", "10.0.0.0/33", "example.com", "10.0.0.1:80"] {
            let error = trusted.add(proxy).unwrap_err();
            assert!(error.to_string().starts_with("invalid trusted_proxies "), "{error}");
        }
    }
}
