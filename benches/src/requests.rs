//! What connections send, prepared once: a cycle of requests laid end to end, so that any window of them is one slice
//! that can be sent as it is.

/// The largest prepared stream: a bound on what the size and the window can ask for together.
pub const STREAM_BYTES_MAX: usize = 1 << 30;

/// The prepared cycle.
#[derive(Debug)]
pub struct Requests {
    /// The cycle, and its beginning again for a window that starts near the end.
    stream: Vec<u8>,
    request_bytes: usize,
    count: usize,
}

impl Requests {
    /// A cycle of `count` requests of the same size, given end to end, for windows of up to `window_max` of them.
    ///
    /// # Panics
    /// When the cycle is empty, not a multiple of `count`, or shorter than the window.
    #[must_use]
    pub fn new(cycle: Vec<u8>, count: usize, window_max: usize) -> Self {
        assert!(count > 0 && cycle.len().is_multiple_of(count) && !cycle.is_empty() && window_max <= count);
        let request_bytes = cycle.len() / count;
        let mut stream = cycle;
        stream.extend_from_within(..window_max * request_bytes);
        Self { stream, request_bytes, count }
    }

    /// The same request over and over, for windows of up to `window_max`; `None` when that would take more than a
    /// gigabyte.
    #[must_use]
    pub fn repeat(request: &[u8], window_max: usize) -> Option<Self> {
        (request.len().checked_mul(window_max)?.checked_mul(2)? <= STREAM_BYTES_MAX)
            .then(|| Self::new(request.repeat(window_max), window_max, window_max))
    }

    /// How many requests the cycle has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of one request on the wire.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// `count` requests from the request `first` on, at most the window this was made for.
    #[must_use]
    pub fn window(&self, first: usize, count: usize) -> &[u8] {
        &self.stream[first * self.request_bytes..][..count * self.request_bytes]
    }

    /// The cycle and the window behind it, as one stream.
    #[must_use]
    pub fn stream(&self) -> &[u8] {
        &self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_wrap() {
        let requests = Requests::new(b"aabbcc".to_vec(), 3, 2);
        assert_eq!((requests.count(), requests.request_bytes()), (3, 2));
        assert_eq!(requests.window(0, 2), b"aabb");
        assert_eq!(requests.window(2, 2), b"ccaa");
    }

    #[test]
    fn one_request_is_repeated_within_bounds() {
        let requests = Requests::repeat(b"xyz", 4).unwrap();
        assert_eq!(requests.window(3, 4), b"xyzxyzxyzxyz");
        assert!(Requests::repeat(&[0; 1 << 20], 1 << 20).is_none());
        assert!(Requests::repeat(b"xyz", usize::MAX).is_none());
    }
}
