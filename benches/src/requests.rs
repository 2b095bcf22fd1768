//! The requests of all connections, prepared once: a cycle of requests laid end to end, so any window of them is one
//! slice that can be sent as it is.

use std::ops::Range;

/// The largest prepared stream, in bytes. Bounds the size and the window together.
pub const STREAM_BYTES_MAX: usize = 1 << 30;

/// A prepared cycle of requests.
#[derive(Debug)]
pub struct Requests {
    /// The cycle, followed by its beginning again for windows that start near the end.
    stream: Vec<u8>,
    /// Where each request of the stream begins, and where the last one ends.
    starts: Vec<usize>,
    count: usize,
}

impl Requests {
    /// Returns a cycle of `count` requests of the same size, laid end to end, for windows of up to `window_max`
    /// requests.
    ///
    /// # Panics
    /// If the cycle is empty, not a multiple of `count`, or shorter than the window.
    #[must_use]
    pub fn new(cycle: Vec<u8>, count: usize, window_max: usize) -> Self {
        assert!(count > 0 && cycle.len().is_multiple_of(count) && !cycle.is_empty());
        let size = cycle.len() / count;
        Self::of_sizes(cycle, &vec![size; count], window_max)
    }

    /// Returns a cycle of requests of these sizes, laid end to end, for windows of up to `window_max` requests.
    ///
    /// # Panics
    /// If the cycle is not of these sizes, or shorter than the window.
    #[must_use]
    pub fn of_sizes(cycle: Vec<u8>, sizes: &[usize], window_max: usize) -> Self {
        assert!(sizes.iter().sum::<usize>() == cycle.len() && window_max <= sizes.len());
        let ends = sizes.iter().chain(&sizes[..window_max]).scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let starts: Vec<usize> = [0].into_iter().chain(ends).collect();
        let mut stream = cycle;
        stream.extend_from_within(..starts[window_max]);
        Self { stream, starts, count: sizes.len() }
    }

    /// Returns the same request over and over, for windows of up to `window_max`, or `None` if that would take more
    /// than 1 GiB.
    #[must_use]
    pub fn repeat(request: &[u8], window_max: usize) -> Option<Self> {
        (request.len().checked_mul(window_max)?.checked_mul(2)? <= STREAM_BYTES_MAX)
            .then(|| Self::new(request.repeat(window_max), window_max, window_max))
    }

    /// Returns the number of requests in the cycle.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns `count` requests from request `first` on. `count` is at most the window this was made for.
    #[must_use]
    pub fn window(&self, first: usize, count: usize) -> &[u8] {
        &self.stream[self.range(first, count)]
    }

    /// Returns where the window of `count` requests from request `first` on lies in the stream.
    #[must_use]
    pub fn range(&self, first: usize, count: usize) -> Range<usize> {
        self.starts[first]..self.starts[first + count]
    }

    /// Returns the cycle and the window behind it as one stream.
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
        assert_eq!((requests.count(), requests.window(0, 2), requests.window(2, 2)), (3, &b"aabb"[..], &b"ccaa"[..]));
        let requests = Requests::of_sizes(b"abbccc".to_vec(), &[1, 2, 3], 2);
        assert_eq!(
            (requests.window(1, 2), requests.window(2, 2), requests.range(2, 1)),
            (&b"bbccc"[..], &b"ccca"[..], 3..6)
        );
    }

    #[test]
    fn one_request_is_repeated_within_bounds() {
        let requests = Requests::repeat(b"xyz", 4).unwrap();
        assert_eq!(requests.window(3, 4), b"xyzxyzxyzxyz");
        assert!(Requests::repeat(&[0; 1 << 20], 1 << 20).is_none());
        assert!(Requests::repeat(b"xyz", usize::MAX).is_none());
    }
}
