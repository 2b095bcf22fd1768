//! The choice between small and large receive buffers for a connection.

/// Number of chunks after which older ones count half: large enough that one unusual chunk decides nothing, small
/// enough that a connection follows its peer within a few messages.
const REMEMBERED_CHUNKS_MAX: u8 = 64;
/// A connection leaves the large buffers when this many chunks fit a small one for each that does not.
const SHORT_CHUNKS_PER_FULL: u8 = 4;

/// How well recent chunks filled their buffers, and so which buffers the next receive draws from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BufferSizeHint {
    /// The last armed receive draws from the large buffers.
    pub(super) large: bool,
    /// Recent chunks that filled, or would have filled, a small buffer.
    full: u8,
    /// Recent chunks that did not.
    short: u8,
}

impl BufferSizeHint {
    pub(super) fn note(&mut self, full: bool) {
        let count = if full { &mut self.full } else { &mut self.short };
        *count += 1;
        if *count == REMEMBERED_CHUNKS_MAX {
            (self.full, self.short) = (self.full / 2, self.short / 2);
        }
    }

    /// Chooses the buffers of the next receive.
    pub(super) fn choose(&mut self) {
        if self.is_misfit() {
            *self = Self { large: !self.large, full: 0, short: 0 };
        }
    }

    /// Returns whether the other buffers would fit better.
    fn is_misfit(&self) -> bool {
        match self.large {
            false => self.full > self.short,
            true => self.short > self.full.saturating_mul(SHORT_CHUNKS_PER_FULL),
        }
    }

    /// Returns whether the receive in flight, which does not end by itself, should be cancelled to change buffers.
    pub(super) fn is_overdue(&self) -> bool {
        self.full.max(self.short) >= REMEMBERED_CHUNKS_MAX / 2 && self.is_misfit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the chunks of one receive and chooses for the next. Returns whether that uses large buffers.
    fn receive(size_hint: &mut BufferSizeHint, full: usize, short: usize) -> bool {
        (0..full).for_each(|_| size_hint.note(true));
        (0..short).for_each(|_| size_hint.note(false));
        size_hint.choose();
        size_hint.large
    }

    #[test]
    fn a_connection_follows_the_size_of_its_messages() {
        let mut size_hint = BufferSizeHint::default();
        assert!(!receive(&mut size_hint, 0, 100), "small messages");
        assert!(!receive(&mut size_hint, 3, 1), "one larger message decides nothing");
        while !receive(&mut size_hint, 16, 4) {}
        assert!(receive(&mut size_hint, 4, 4), "messages of both sizes stay");
        assert!(receive(&mut size_hint, 0, 4), "one small one decides nothing");
        while receive(&mut size_hint, 0, 200) {}
        assert!(!receive(&mut size_hint, 0, 200));
    }

    #[test]
    fn older_chunks_count_less() {
        let mut size_hint = BufferSizeHint::default();
        // Each note takes microseconds under miri.
        for _ in 0..if cfg!(miri) { 10 } else { 1000 } {
            assert!(!receive(&mut size_hint, 0, 255));
        }
        let receives = (1..).find(|_| receive(&mut size_hint, 16, 4)).unwrap();
        assert!(receives < 10, "followed after {receives} receives of a budget each");
    }

    #[test]
    fn an_endless_receive_is_ended_to_change_buffers() {
        let mut size_hint = BufferSizeHint::default();
        assert!(!(0..1000).any(|_| {
            size_hint.note(false);
            size_hint.is_overdue()
        }));
        let mut size_hint = BufferSizeHint::default();
        assert!((0..100).any(|_| {
            size_hint.note(true);
            size_hint.is_overdue()
        }));
    }
}
