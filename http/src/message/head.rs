//! The head of one request: method, target, version and fields, in an owned copy of the received bytes.
//!
//! Owns the accessors; the bytes are in `head_memory`. `protocol::parse` makes heads, the router adds path parameters,
//! handlers read them. It never validates: `parse` has. A head is `Send` and `Sync`, does not depend on its connection,
//! and can outlive it.

use std::fmt;
use std::sync::LazyLock;

use http::uri::{InvalidUri, Scheme};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use tidegate_engine::Address;
#[cfg(feature = "tls")]
use tidegate_engine::TlsInfo;

use crate::message::head_memory::{Addresses, Field, HeadMemory, Span};

/// The method, request-target, version and fields of a request, and its path parameters once it is routed.
///
/// A [`Request`](crate::Request) dereferences to it. It is one pointer wide; its memory comes from a small pool of its
/// thread.
///
/// ```
/// let head = b"GET /rooms/7?page=2 HTTP/1.1\r\nHost: example.com\r\n\r\n";
/// let request = tidegate_http::Request::parse(head, "")?;
/// assert_eq!((request.path(), request.raw_query()), ("/rooms/7", Some("page=2")));
/// assert_eq!(request.query("page").as_deref(), Some("2"));
/// assert_eq!(request.header("host"), Some("example.com"));
/// # Ok::<(), tidegate_http::protocol::RequestError>(())
/// ```
pub struct RequestHead(Option<Box<HeadMemory>>);

impl RequestHead {
    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.memory().method
    }

    /// Returns the version: `HTTP/1.0` or `HTTP/1.1`.
    pub fn version(&self) -> Version {
        self.memory().version
    }

    /// Returns the request-target as it was received (RFC 9112 section 3.2).
    pub fn target(&self) -> &str {
        self.text(self.memory().target)
    }

    /// Returns the path of the target, percent-encoded as it was received. `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        self.text(self.memory().path)
    }

    /// Returns the query of the target without its question mark, percent-encoded as it was received.
    /// [`query`](RequestHead::query) decodes it.
    pub fn raw_query(&self) -> Option<&str> {
        self.memory().query.map(|span| self.text(span))
    }

    /// Returns the target as an [`http::Uri`], parsed again by each call.
    ///
    /// # Errors
    /// Never for a request that was received or parsed: the parser refuses every target that `Uri` does.
    pub fn uri(&self) -> Result<Uri, InvalidUri> {
        Uri::try_from(self.target())
    }

    /// Returns the value of the first field of this name, if it is UTF-8. Names are compared ignoring case.
    ///
    /// The value of `Host` is the authority of the target if the target has one (RFC 9112 section 3.2.2).
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        std::str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// Returns the value of the first field of this name, as bytes.
    pub fn header_bytes(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let name = name.as_ref().as_bytes();
        let memory = self.memory();
        let field = memory.fields.iter().find(|field| memory.slice(field.name).eq_ignore_ascii_case(name))?;
        Some(memory.slice(field.value))
    }

    /// Returns the values of all fields of this name in the order of arrival. Names are compared ignoring case.
    ///
    /// ```
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\naccept: c\r\n\r\n";
    /// let request = tidegate_http::Request::parse(head, "")?;
    /// assert!(request.values("ACCEPT").eq([b"b", b"c"]));
    /// # Ok::<(), tidegate_http::protocol::RequestError>(())
    /// ```
    pub fn values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        let (memory, name) = (self.memory(), name.as_bytes());
        let has_name = move |field: &&Field| memory.slice(field.name).eq_ignore_ascii_case(name);
        memory.fields.iter().filter(has_name).map(|field| memory.slice(field.value))
    }

    /// Returns all fields in the order of arrival: the name as it was received, and the value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let memory = self.memory();
        // Names are tokens, and so ASCII; the default is never used.
        let name = |field: &Field| std::str::from_utf8(memory.slice(field.name)).unwrap_or_default();
        memory.fields.iter().map(move |field| (name(field), memory.slice(field.value)))
    }

    /// Returns all fields as an [`http::HeaderMap`], built by the first call. [`header`](RequestHead::header) is
    /// cheaper for single fields.
    pub fn headers(&self) -> &HeaderMap {
        self.memory().map.get_or_init(|| Box::new(self.build_map()))
    }

    /// Returns the value of a path parameter of the route, percent-decoded: `room` for the route `/ws/:room` or
    /// `/ws/{room}`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|param| param.0 == name).map(|param| param.1)
    }

    /// Returns all path parameters in the order of the route, percent-decoded.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.memory().params.iter().map(|param| (self.text(param.name), self.text(param.value)))
    }

    /// Returns whether the peer asks for another protocol: an HTTP/1.1 request with an Upgrade field and the connection
    /// option `upgrade` (RFC 9110 section 7.8).
    pub fn wants_upgrade(&self) -> bool {
        self.memory().upgrade
    }

    /// Returns the peer's address; `None` if the request was not received over a connection.
    pub fn peer_addr(&self) -> Option<Address> {
        self.memory().addresses.map(|addresses| addresses.peer)
    }

    /// Returns the address the peer connected to; `None` if the request was not received over a connection.
    pub fn local_addr(&self) -> Option<Address> {
        self.memory().addresses.map(|addresses| addresses.local)
    }

    /// Returns what the TLS handshake of the request's connection agreed on, with the client's certificate for mutual
    /// TLS; `None` without TLS. Behind a proxy that terminates TLS it is about the proxy's connection to this server.
    ///
    /// ```
    /// use tidegate_http::{HandlerError, Request};
    ///
    /// async fn whoami(request: Request) -> String {
    ///     let names = request.tls().map(|tls| tls.peer_names()).unwrap_or_default();
    ///     format!("your certificate is for {names:?}\n")
    /// }
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.memory().tls.as_ref()
    }

    /// Returns the scheme of the request's connection: `https` with TLS, otherwise `http`. Behind a proxy that
    /// terminates TLS, [`client_scheme`](RequestHead::client_scheme) is that of the client.
    pub fn scheme(&self) -> Scheme {
        #[cfg(feature = "tls")]
        if self.tls().is_some() {
            return Scheme::HTTPS;
        }
        Scheme::HTTP
    }

    /// Returns the values that middleware attached: the `http` crate's, by type. A WebSocket keeps them with the
    /// request, apart from its own extensions.
    pub fn extensions(&self) -> &Extensions {
        &self.memory().extensions
    }

    /// Returns the values that middleware attached, to change them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.memory_mut().extensions
    }

    /// Makes a head of the parts of an `http::Request`.
    #[cfg(feature = "tower")]
    pub(crate) fn of_parts(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap, upgrade: bool) -> Self {
        let mut memory = HeadMemory::take();
        memory.set_parts(method, uri, version, upgrade);
        headers.iter().for_each(|(name, value)| memory.push_field(name.as_str().as_bytes(), value.as_bytes()));
        RequestHead(Some(memory))
    }

    /// Returns all fields, and leaves those of [`headers`](RequestHead::headers) to be built again.
    #[cfg(feature = "tower")]
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        match self.memory_mut().map.take() {
            Some(map) => *map,
            None => self.build_map(),
        }
    }

    /// Returns a copy without path parameters and extensions.
    pub(crate) fn copy(&self) -> RequestHead {
        RequestHead(Some(self.memory().copy()))
    }

    pub(crate) fn set_addresses(&mut self, addresses: Addresses) {
        self.memory_mut().addresses = Some(addresses);
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: TlsInfo) {
        self.memory_mut().tls = Some(tls);
    }

    /// Adds a path parameter whose value was decoded. The bytes join those of the head: no allocation per parameter.
    pub(crate) fn push_param(&mut self, name: &str, value: &str) {
        self.memory_mut().push_param(name, value);
    }

    /// Adds a path parameter whose value is this part of the path.
    pub(crate) fn push_param_of_path(&mut self, name: &str, value: Span) {
        self.memory_mut().push_param_of_path(name, value);
    }

    /// Returns the memory, which a head has until it is dropped; the empty one replaces a panic.
    fn memory(&self) -> &HeadMemory {
        static EMPTY: LazyLock<HeadMemory> = LazyLock::new(HeadMemory::default);
        self.0.as_deref().unwrap_or_else(|| &EMPTY)
    }

    fn memory_mut(&mut self) -> &mut HeadMemory {
        self.0.get_or_insert_default()
    }

    fn text(&self, span: Span) -> &str {
        self.memory().text(span)
    }

    fn build_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.memory().fields.len());
        for (name, value) in self.fields() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
        map
    }
}

impl From<Box<HeadMemory>> for RequestHead {
    fn from(memory: Box<HeadMemory>) -> RequestHead {
        RequestHead(Some(memory))
    }
}

impl Drop for RequestHead {
    fn drop(&mut self) {
        if let Some(memory) = self.0.take() {
            HeadMemory::give_back(memory);
        }
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
