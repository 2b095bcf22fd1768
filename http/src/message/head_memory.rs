//! The memory behind a [`RequestHead`](super::head::RequestHead), and the pool of the thread that it comes from.
//!
//! Owns the bytes of a head and the positions of its parts in them. `protocol::parse` fills it, `head` reads it and
//! returns it when a head is dropped. It checks nothing. A head that equals the last one on its thread is not parsed
//! again: see [`HeadMemory::reuse_last`].

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use http::{Extensions, HeaderMap, Method, Version};
use tidegate_engine::Address;
#[cfg(feature = "tls")]
use tidegate_engine::TlsInfo;

use crate::limits::Limits;
use crate::message::conclusion::Conclusion;

/// Heads whose memory a thread keeps for the next ones: as many as one batch of pipelined requests needs.
const POOL_HEADS_MAX: usize = 16;

/// Memory above this is freed, not kept, so that a few large heads do not occupy a thread's memory for good.
const POOL_HEAD_BYTES_MAX: usize = 4096;

/// The parts of a head. The positions of the target, its parts and the parameters are in `text`, those of the fields in
/// `bytes`.
#[derive(Default)]
pub(crate) struct HeadMemory {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) target: Span,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) upgrade: bool,
    pub(crate) fields: Vec<Field>,
    /// The target and the additions to it. Valid UTF-8, which the router need not check.
    text: String,
    /// Where the target and the parser's additions to it end; the router's parameters follow.
    text_bytes: usize,
    /// The whole head.
    bytes: Vec<u8>,
    /// The meaning of the head; `None` until it is complete.
    conclusion: Option<Conclusion>,
    /// The limits the head was checked against. Kept for the next head, which nearly always has the same.
    limits: Option<Arc<Limits>>,
    pub(super) params: Vec<Param>,
    pub(super) addresses: Option<Addresses>,
    /// What the TLS of the connection agreed on.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsInfo>,
    pub(super) map: OnceLock<Box<HeaderMap>>,
    pub(super) extensions: Extensions,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "heads own their memory by a pointer")]
    static POOL: RefCell<Vec<Box<HeadMemory>>> = const { RefCell::new(Vec::new()) };
}

impl HeadMemory {
    /// Returns empty memory, from the pool if it has some.
    pub(crate) fn take() -> Box<HeadMemory> {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop());
        let mut memory = pooled.ok().flatten().unwrap_or_default();
        memory.clear();
        memory
    }

    /// Returns the memory used last on this thread if `input` begins with the head in it, byte for byte, and that head
    /// was checked against the same limits: parsing it again would give the same.
    #[inline]
    pub(crate) fn reuse_last(input: &[u8], limits: &Arc<Limits>) -> Option<(Box<HeadMemory>, Conclusion)> {
        let taken = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            let last = pool.last()?;
            let conclusion = last.conclusion?;
            if last.is_checked_by(limits) && input.starts_with(&last.bytes) {
                Some((pool.pop()?, conclusion))
            } else {
                None
            }
        });
        taken.ok().flatten()
    }

    /// Returns the memory of a dropped head to the pool, or frees it if the pool is full or the memory large.
    pub(super) fn give_back(mut memory: Box<HeadMemory>) {
        if memory.bytes.capacity() + memory.text.capacity() > POOL_HEAD_BYTES_MAX {
            return;
        }
        memory.end_use();
        // Fails only while the thread is ending; the memory is freed then.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_HEADS_MAX {
                pool.push(memory);
            }
        });
    }

    /// Marks the head as complete, with its meaning and the limits it was checked against.
    pub(crate) fn complete(&mut self, conclusion: Conclusion, limits: &Arc<Limits>) {
        self.text_bytes = self.text.len();
        self.conclusion = Some(conclusion);
        if !self.is_checked_by(limits) {
            self.limits = Some(Arc::clone(limits));
        }
    }

    fn is_checked_by(&self, limits: &Arc<Limits>) -> bool {
        self.limits.as_ref().is_some_and(|own| Arc::ptr_eq(own, limits))
    }

    /// Sets everything but the fields. The head has no conclusion, so it is not reused.
    #[cfg(feature = "tower")]
    pub(super) fn set_parts(&mut self, method: &Method, uri: &http::Uri, version: Version, upgrade: bool) {
        self.method = method.clone();
        self.version = version;
        self.upgrade = upgrade;
        let target = uri.to_string();
        self.target = self.append_text(&target);
        // The path and the query end the target.
        let (path, query) = (uri.path().len(), uri.query().map(str::len));
        let start = target.len().saturating_sub(path + query.map_or(0, |length| length + 1));
        self.path = Span::new(start, path);
        self.query = query.map(|length| Span::new(target.len() - length, length));
        self.text_bytes = self.text.len();
    }

    /// Adds a field.
    #[cfg(feature = "tower")]
    pub(super) fn push_field(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        let field = Field { name: Span::new(start, name.len()), value: Span::new(start + name.len(), value.len()) };
        self.fields.push(field);
    }

    /// Adds a field Host with this part of the head as its value. The head is not reused for an equal one: it has bytes
    /// that were not received.
    pub(crate) fn push_host(&mut self, value: Span) {
        self.conclusion = None;
        let name = Span::new(self.bytes.len(), b"Host".len());
        self.bytes.extend_from_slice(b"Host");
        self.fields.push(Field { name, value });
    }

    /// Returns a copy of the head and its addresses. It is not reused for an equal head.
    pub(super) fn copy(&self) -> Box<HeadMemory> {
        let mut copy = HeadMemory::take();
        copy.method = self.method.clone();
        copy.version = self.version;
        (copy.target, copy.path, copy.query, copy.upgrade) = (self.target, self.path, self.query, self.upgrade);
        copy.fields.extend_from_slice(&self.fields);
        copy.text.push_str(self.text.get(..self.text_bytes).unwrap_or_default());
        copy.text_bytes = self.text_bytes;
        copy.bytes.extend_from_slice(&self.bytes);
        copy.addresses = self.addresses;
        #[cfg(feature = "tls")]
        copy.tls.clone_from(&self.tls);
        copy
    }

    /// Returns the length of the head in bytes.
    pub(crate) fn head_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Stores the bytes of the whole head.
    pub(crate) fn set_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends text and returns its position: the target first, additions to it after that.
    pub(crate) fn append_text(&mut self, text: &str) -> Span {
        let span = Span::new(self.text.len(), text.len());
        self.text.push_str(text);
        span
    }

    /// Adds a path parameter with a decoded value.
    pub(super) fn push_param(&mut self, name: &str, value: &str) {
        let name = self.append_text(name);
        let value = self.append_text(value);
        self.params.push(Param { name, value });
    }

    /// Adds a path parameter whose value is this part of the path.
    pub(super) fn push_param_of_path(&mut self, name: &str, value: Span) {
        let name = self.append_text(name);
        let value = Span { start: self.path.start + value.start, ..value };
        self.params.push(Param { name, value });
    }

    /// Returns the part of the target or of its additions at this position.
    pub(super) fn text(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// Returns the part of the head at this position.
    pub(super) fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    /// Removes the head and keeps the capacity.
    fn clear(&mut self) {
        self.method = Method::GET;
        self.conclusion = None;
        self.bytes.clear();
        self.text.clear();
        self.fields.clear();
    }

    /// Removes the additions of the router, the server and the handler. The head stays.
    fn end_use(&mut self) {
        self.addresses = None;
        if self.text.len() > self.text_bytes {
            self.text.truncate(self.text_bytes);
        }
        self.params.clear();
        if self.map.get().is_some() || !self.extensions.is_empty() {
            self.end_rare_use();
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            self.tls = None;
        }
    }

    /// Removes the additions that few requests have. Apart from the others, because freeing them takes much code.
    #[inline(never)]
    fn end_rare_use(&mut self) {
        self.map.take();
        self.extensions.clear();
    }
}

/// The two ends of the connection a request came over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

/// A range of a head's bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Positions are below [`HEAD_BYTES_CEILING`](crate::Limits::HEAD_BYTES_CEILING), or a small multiple of it once
    /// path parameters are added, and so fit in 32 bits.
    pub(crate) fn new(start: usize, length: usize) -> Span {
        Span { start: start as u32, length: length as u32 }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.length)
    }
}

/// The position of one field line's name and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// The position of one path parameter's name and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: Span,
    pub(super) value: Span,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::conclusion::RequestFraming;

    const INPUT: &[u8] = b"POST http://b/a/x?q HTTP/1.0\r\nHost:b\r\n\r\n";
    const TARGET: &str = "http://b/a/x?q";
    const CONCLUSION: Conclusion =
        Conclusion { framing: RequestFraming::None, persistent: true, expects_continue: false, upgrade: true };

    fn pooled() -> usize {
        POOL.with(|pool| pool.borrow().len())
    }

    /// Returns the memory of a complete head.
    fn complete(limits: &Arc<Limits>) -> Box<HeadMemory> {
        let mut memory = HeadMemory::take();
        memory.set_bytes(INPUT);
        memory.method = Method::POST;
        memory.version = Version::HTTP_10;
        memory.target = memory.append_text(TARGET);
        (memory.path, memory.query) = (Span::new(8, 4), Some(Span::new(13, 1)));
        memory.upgrade = true;
        memory.fields.push(Field { name: Span::new(30, 4), value: Span::new(35, 1) });
        memory.complete(CONCLUSION, limits);
        memory
    }

    fn addresses() -> Addresses {
        let address = Address::Ip(([127, 0, 0, 1], 80).into());
        Addresses { peer: address, local: address }
    }

    #[test]
    fn memory_is_kept_for_the_next_heads_within_bounds() {
        let memory = |bytes, text| {
            let (bytes, text) = (Vec::with_capacity(bytes), String::with_capacity(text));
            Box::new(HeadMemory { bytes, text, ..HeadMemory::default() })
        };
        POOL.with(|pool| pool.borrow_mut().clear());
        for (bytes, text, kept) in
            [(100, 20, 1), (POOL_HEAD_BYTES_MAX - 96, 96, 1), (POOL_HEAD_BYTES_MAX - 96, 97, 0), (97, 4000, 0)]
        {
            HeadMemory::give_back(memory(bytes, text));
            assert_eq!(pooled(), kept, "{bytes} and {text} bytes");
            let taken = HeadMemory::take();
            assert_eq!((taken.bytes.capacity(), taken.text.capacity()), (bytes * kept, text * kept));
            assert_eq!(pooled(), 0);
        }
        (0..POOL_HEADS_MAX + 3).for_each(|_| HeadMemory::give_back(memory(10, 10)));
        assert_eq!(pooled(), POOL_HEADS_MAX);
    }

    #[test]
    fn what_was_added_to_a_head_goes_with_its_use() {
        let limits = Arc::default();
        let additions: [fn(&mut HeadMemory); 5] = [
            |memory| memory.push_param("name", "value"),
            |memory| memory.push_param_of_path("rest", Span::new(3, 1)),
            |memory| _ = memory.extensions.insert(1_u8),
            |memory| _ = memory.map.set(Box::default()),
            |memory| memory.addresses = Some(addresses()),
        ];
        for (number, add) in additions.into_iter().enumerate() {
            let mut memory = complete(&limits);
            add(&mut memory);
            HeadMemory::give_back(memory);
            let (memory, _) = HeadMemory::reuse_last(INPUT, &limits).expect("the same head");
            assert_eq!((memory.params.len(), memory.extensions.len()), (0, 0), "addition {number}");
            assert!(memory.map.get().is_none() && memory.addresses.is_none(), "addition {number}");
            assert_eq!((memory.text.as_str(), memory.text(memory.path)), (TARGET, "/a/x"), "addition {number}");
        }
    }

    #[test]
    fn parameters_have_the_text_of_the_path_or_their_own() {
        let mut memory = complete(&Arc::default());
        memory.push_param("name", "value");
        memory.push_param_of_path("rest", Span::new(3, 1));
        let params: Vec<_> =
            memory.params.iter().map(|param| (memory.text(param.name), memory.text(param.value))).collect();
        assert_eq!(params, [("name", "value"), ("rest", "x")]);
    }

    #[test]
    fn a_copy_is_the_head_with_its_addresses_and_nothing_else() {
        let limits = Arc::default();
        let mut memory = complete(&limits);
        memory.addresses = Some(addresses());
        memory.push_param("name", "value");
        memory.extensions.insert(1_u8);
        let copy = memory.copy();
        assert_eq!((&copy.method, copy.version, copy.upgrade), (&Method::POST, Version::HTTP_10, true));
        assert_eq!(copy.text, TARGET);
        assert_eq!((copy.text(copy.target), copy.text(copy.path)), (TARGET, "/a/x"));
        assert_eq!(copy.query.map(|query| copy.text(query)), Some("q"));
        let fields: Vec<_> =
            copy.fields.iter().map(|field| (copy.slice(field.name), copy.slice(field.value))).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"b"[..])]);
        assert_eq!((copy.params.len(), copy.extensions.len(), copy.addresses.is_some()), (0, 0, true));
        HeadMemory::give_back(copy);
        assert!(HeadMemory::reuse_last(INPUT, &limits).is_none(), "a copy was not checked");
    }

    #[cfg(feature = "tower")]
    #[test]
    fn the_parts_of_a_uri_are_found_in_its_text() {
        for (uri, path, query) in [
            ("/", "/", None),
            ("/a/b?c=d", "/a/b", Some("c=d")),
            ("/a?", "/a", Some("")),
            ("http://a:80/b?c", "/b", Some("c")),
            ("http://a", "/", None),
            ("a:443", "", None),
            ("*", "*", None),
        ] {
            let mut memory = complete(&Arc::default());
            memory.clear();
            memory.set_parts(&Method::PUT, &uri.parse().expect("valid"), Version::HTTP_11, false);
            memory.push_field(b"first", b"1");
            memory.push_field(b"second", b"");
            assert_eq!((&memory.method, memory.version, memory.upgrade), (&Method::PUT, Version::HTTP_11, false));
            assert_eq!(
                (memory.text(memory.path), memory.query.map(|query| memory.text(query))),
                (path, query),
                "{uri}"
            );
            let fields: Vec<_> =
                memory.fields.iter().map(|field| (memory.slice(field.name), memory.slice(field.value))).collect();
            assert_eq!(fields, [(&b"first"[..], &b"1"[..]), (b"second", b"")]);
            // Parameters follow the text of the target.
            memory.push_param("name", "value");
            memory.end_use();
            assert!(memory.text.starts_with(uri) && !memory.text.contains("name"), "{}", memory.text);
        }
    }
}
