//! The head of one request: method, target, version and fields, in an owned copy of what was received.
//!
//! Owns the bytes and the positions of the parts in them, and the accessors. `parse` fills it, the router adds path
//! parameters, handlers read it. It never validates: what `parse` let through is valid. A head is `Send` and `Sync`
//! and does not depend on its connection, so it can be kept as long as it is of use.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use http::uri::InvalidUri;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use tidegate_engine::Address;

use crate::protocol::framing::Conclusion;
use crate::protocol::limits::Limits;

/// Heads whose memory is kept for the next ones, per thread: as many as one batch of pipelined requests needs.
const POOL_HEADS_MAX: usize = 16;

/// Memory above this is not kept: a few large heads should not occupy a thread's memory for good.
const POOL_HEAD_BYTES_MAX: usize = 4096;

/// The method, request-target, version and fields of a request, and its path parameters once it is routed.
///
/// As large as a pointer; its memory comes from a small pool of the thread it is made on.
pub struct RequestHead(Option<Box<HeadMemory>>);

/// What a head consists of. The positions of the target, its parts and the parameters are in `text`, those of the fields
/// in `bytes`.
#[derive(Default)]
pub(crate) struct HeadMemory {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) target: Span,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) upgrade: bool,
    pub(crate) fields: Vec<Field>,
    /// The target, and what was added to it: valid text, so that the router need not look whether it is.
    text: String,
    /// Where the target and what the parser added to it ends; what follows came with the use.
    text_bytes: usize,
    /// The whole head.
    bytes: Vec<u8>,
    /// What the head means; `None` until it is whole.
    conclusion: Option<Conclusion>,
    /// The limits it was judged by. They stay for the next head, which nearly always has the same.
    limits: Option<Arc<Limits>>,
    params: Vec<Param>,
    addresses: Option<Addresses>,
    map: OnceLock<Box<HeaderMap>>,
    extensions: Extensions,
}

impl RequestHead {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.memory().method
    }

    /// `HTTP/1.0` or `HTTP/1.1`.
    pub fn version(&self) -> Version {
        self.memory().version
    }

    /// The request-target as it was received (RFC 9112, section 3.2).
    pub fn target(&self) -> &str {
        self.text(self.memory().target)
    }

    /// The path of the target, still percent-encoded. `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        self.text(self.memory().path)
    }

    /// The query of the target without its question mark, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.memory().query.map(|span| self.text(span))
    }

    /// The target as an [`http::Uri`], parsed at each call.
    ///
    /// # Errors
    /// Never for a target that arrived over a connection; the parser refuses what a `Uri` cannot hold.
    pub fn uri(&self) -> Result<Uri, InvalidUri> {
        Uri::try_from(self.target())
    }

    /// The value of the first field of this name, if it is UTF-8. Names are compared without case.
    ///
    /// `Host` is the authority of the target where the target has one (RFC 9112, section 3.2.2).
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        std::str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// The value of the first field of this name as bytes.
    pub fn header_bytes(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let name = name.as_ref().as_bytes();
        let memory = self.memory();
        let field = memory.fields.iter().find(|field| memory.slice(field.name).eq_ignore_ascii_case(name))?;
        Some(memory.slice(field.value))
    }

    /// The values of all fields of this name in the order of their arrival. Names are compared without case.
    ///
    /// ```
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\naccept: c\r\n\r\n";
    /// let request = tidegate_http::Request::parse(head, "")?;
    /// assert!(request.values("ACCEPT").eq([b"b", b"c"]));
    /// # Ok::<(), tidegate_http::RequestError>(())
    /// ```
    pub fn values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        let (memory, name) = (self.memory(), name.as_bytes());
        let alike = move |field: &&Field| memory.slice(field.name).eq_ignore_ascii_case(name);
        memory.fields.iter().filter(alike).map(|field| memory.slice(field.value))
    }

    /// All fields in the order of their arrival: the name as it was written, and the value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let memory = self.memory();
        // Names are tokens, and so text; the fallback is never taken.
        let name = |field: &Field| std::str::from_utf8(memory.slice(field.name)).unwrap_or_default();
        memory.fields.iter().map(move |field| (name(field), memory.slice(field.value)))
    }

    /// All fields as an [`http::HeaderMap`], built at the first call. [`header`](RequestHead::header) is cheaper for
    /// single fields.
    pub fn headers(&self) -> &HeaderMap {
        self.memory().map.get_or_init(|| Box::new(self.build_map()))
    }

    /// The value of a path parameter of the route, percent-decoded: `room` for the route `/ws/:room`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|param| param.0 == name).map(|param| param.1)
    }

    /// All path parameters of the route in their order, percent-decoded.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.memory().params.iter().map(|param| (self.text(param.name), self.text(param.value)))
    }

    /// Whether the peer asks for another protocol: an HTTP/1.1 request with an Upgrade field and the connection option
    /// `upgrade` (RFC 9110, section 7.8).
    pub fn wants_upgrade(&self) -> bool {
        self.memory().upgrade
    }

    /// The peer's address; `None` if the request came over no connection.
    pub fn peer_addr(&self) -> Option<Address> {
        self.memory().addresses.map(|addresses| addresses.peer)
    }

    /// The address the peer connected to; `None` if the request came over no connection.
    pub fn local_addr(&self) -> Option<Address> {
        self.memory().addresses.map(|addresses| addresses.local)
    }

    /// Values that middleware and the server attached.
    pub fn extensions(&self) -> &Extensions {
        &self.memory().extensions
    }

    /// Values that middleware and the server attached, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.memory_mut().extensions
    }

    pub(crate) fn set_addresses(&mut self, addresses: Addresses) {
        self.memory_mut().addresses = Some(addresses);
    }

    /// Adds a path parameter. The bytes join those of the head, which saves an allocation per parameter.
    pub(crate) fn push_param(&mut self, name: &str, value: &str) {
        let memory = self.memory_mut();
        let name = memory.append_text(name);
        let value = memory.append_text(value);
        memory.params.push(Param { name, value });
    }

    /// Adds a path parameter whose value is this part of the path.
    pub(crate) fn push_param_of_path(&mut self, name: &str, start: usize, length: usize) {
        let memory = self.memory_mut();
        let name = memory.append_text(name);
        let value = Span::new(memory.path.start as usize + start, length);
        memory.params.push(Param { name, value });
    }

    /// The memory is there until the head is dropped; the empty one only spares a panic.
    fn memory(&self) -> &HeadMemory {
        static EMPTY: LazyLock<HeadMemory> = LazyLock::new(HeadMemory::default);
        self.0.as_deref().unwrap_or_else(|| &EMPTY)
    }

    fn memory_mut(&mut self) -> &mut HeadMemory {
        self.0.get_or_insert_default()
    }

    fn text(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.memory().text.get(start..start + span.length as usize).unwrap_or_default()
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

/// Both ends of the connection a request came over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

/// A stretch of a head's bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Positions are below [`HEAD_BYTES_CEILING`](crate::protocol::limits::HEAD_BYTES_CEILING), or a small multiple of it once
    /// path parameters are added, and fit in 32 bits.
    pub(crate) fn new(start: usize, length: usize) -> Span {
        Span { start: start as u32, length: length as u32 }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.length)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

#[derive(Debug, Clone, Copy)]
struct Param {
    name: Span,
    value: Span,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "heads own their memory by a pointer")]
    static POOL: RefCell<Vec<Box<HeadMemory>>> = const { RefCell::new(Vec::new()) };
}

impl HeadMemory {
    /// Empty memory, from the pool if it has some.
    pub(crate) fn take() -> Box<HeadMemory> {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop());
        let mut memory = pooled.ok().flatten().unwrap_or_default();
        memory.clear();
        memory
    }

    /// The memory used last on this thread, if the head in it is the one that `input` begins with, byte for byte, and
    /// was judged by the same limits: parsing it again would give nothing else.
    pub(crate) fn reuse_last(input: &[u8], limits: &Arc<Limits>) -> Option<(Box<HeadMemory>, Conclusion)> {
        let taken = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            let last = pool.last()?;
            let conclusion = last.conclusion?;
            if last.is_judged_by(limits) && input.starts_with(&last.bytes) {
                Some((pool.pop()?, conclusion))
            } else {
                None
            }
        });
        taken.ok().flatten()
    }

    /// The memory holds a whole head, which means this.
    pub(crate) fn complete(&mut self, conclusion: Conclusion, limits: &Arc<Limits>) {
        self.text_bytes = self.text.len();
        self.conclusion = Some(conclusion);
        if !self.is_judged_by(limits) {
            self.limits = Some(Arc::clone(limits));
        }
    }

    fn is_judged_by(&self, limits: &Arc<Limits>) -> bool {
        self.limits.as_ref().is_some_and(|own| Arc::ptr_eq(own, limits))
    }

    /// The length of the head in bytes.
    pub(crate) fn head_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of the whole head.
    pub(crate) fn set_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends text beside the target, or the target itself, and says where it is.
    pub(crate) fn append_text(&mut self, text: &str) -> Span {
        let span = Span::new(self.text.len(), text.len());
        self.text.push_str(text);
        span
    }

    fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes.get(start..start + span.length as usize).unwrap_or_default()
    }

    /// Forgets the head and keeps the capacity.
    fn clear(&mut self) {
        self.method = Method::GET;
        self.conclusion = None;
        self.bytes.clear();
        self.text.clear();
        self.fields.clear();
    }

    /// Forgets what the router, the server and the handler added: the head alone is left.
    fn end_use(&mut self) {
        self.addresses = None;
        if self.text.len() > self.text_bytes {
            self.text.truncate(self.text_bytes);
        }
        self.params.clear();
        if self.map.get().is_some() {
            self.map.take();
        }
        if !self.extensions.is_empty() {
            self.extensions.clear();
        }
    }
}

impl From<Box<HeadMemory>> for RequestHead {
    fn from(memory: Box<HeadMemory>) -> RequestHead {
        RequestHead(Some(memory))
    }
}

impl Drop for RequestHead {
    fn drop(&mut self) {
        let Some(mut memory) = self.0.take() else {
            return;
        };
        if memory.bytes.capacity() + memory.text.capacity() > POOL_HEAD_BYTES_MAX {
            return;
        }
        memory.end_use();
        // Fails only while the thread is ending, and then the memory is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_HEADS_MAX {
                pool.push(memory);
            }
        });
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
