//! The client of a request: its address, and the scheme and host that it used.

use http::uri::Scheme;
use tidegate_engine::Address;

use crate::message::head::RequestHead;

/// # The client behind proxies
///
/// These answer for the client itself if the request came through trusted proxies, which
/// [`ServerBuilder::trusted_proxies`](crate::ServerBuilder::trusted_proxies) names. Otherwise they answer for the peer,
/// and the fields of proxies are ignored: anybody can send them.
impl RequestHead {
    /// Returns the address of the client: that of the peer, or behind trusted proxies the last one that they do not
    /// vouch for. `None` if a trusted proxy does not know it, if its fields are malformed or contradict each other, and
    /// for a request that was not received over a connection. The port is 0 if no proxy reported it.
    ///
    /// ```
    /// use tidegate_http::{Request, Server};
    ///
    /// # fn example() -> Result<(), tidegate_engine::Error> {
    /// let server = Server::builder(async |request: Request| match request.client_addr() {
    ///     Some(address) => format!("You are {address}\n"),
    ///     None => "Who are you?\n".to_owned(),
    /// });
    /// # #[cfg(feature = "proxy")]
    /// let server = server.trusted_proxies(["10.0.0.0/8", "unix"])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_addr(&self) -> Option<Address> {
        #[cfg(feature = "proxy")]
        if let Some(client) = self.proxied_client() {
            return client.address;
        }
        self.peer_addr()
    }

    /// Returns the scheme by which the client reached the outermost trusted proxy, or this server if there is none.
    /// Default: that of the connection, [`scheme`](RequestHead::scheme).
    pub fn client_scheme(&self) -> Scheme {
        #[cfg(feature = "proxy")]
        if let Some(scheme) = self.proxied_client().and_then(|client| client.scheme) {
            return scheme;
        }
        self.scheme()
    }

    /// Returns the host, with its port unless that is the default one, that the client asked for at the outermost
    /// trusted proxy. Default: the value of Host.
    pub fn client_host(&self) -> Option<&str> {
        #[cfg(feature = "proxy")]
        if let Some(host) = self.proxied_client().and_then(|client| client.host) {
            return Some(host);
        }
        self.header("host")
    }
}
