//! Which receive buffers suit a connection: small ones, or large ones.

/// Chunks after which the older ones count half: long enough that one odd chunk decides nothing, short enough that a
/// connection follows its peer within a few messages.
const REMEMBERED_CHUNKS_MAX: u8 = 64;
/// A connection leaves the large buffers when so many chunks that fit a small one come for each that does not.
const SHORT_CHUNKS_PER_FULL: u8 = 4;

/// How the receives of late filled their buffers, and so which ones the next receive draws from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BufferSizeHint {
    /// The receive that was armed last draws from the large buffers.
    pub(super) large: bool,
    /// Chunks that filled a small buffer, or would have.
    full: u8,
    /// Chunks that did not.
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

    /// Decides for the next receive.
    pub(super) fn choose(&mut self) {
        if self.is_misfit() {
            *self = Self { large: !self.large, full: 0, short: 0 };
        }
    }

    /// Whether the other buffers would serve better.
    fn is_misfit(&self) -> bool {
        match self.large {
            false => self.full > self.short,
            true => self.short > self.full.saturating_mul(SHORT_CHUNKS_PER_FULL),
        }
    }

    /// Whether the receive in flight, which does not end by itself, is to be ended for the sake of other buffers.
    pub(super) fn is_overdue(&self) -> bool {
        self.full.max(self.short) >= REMEMBERED_CHUNKS_MAX / 2 && self.is_misfit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `chunks` of one kind received in one receive, then what the next one draws from.
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
        assert!(!receive(&mut size_hint, 3, 1), "one larger message is none yet");
        while !receive(&mut size_hint, 16, 4) {}
        assert!(receive(&mut size_hint, 4, 4), "messages of both sizes stay");
        assert!(receive(&mut size_hint, 0, 4), "one small one decides nothing");
        while receive(&mut size_hint, 0, 200) {}
        assert!(!receive(&mut size_hint, 0, 200));
    }

    #[test]
    fn the_past_counts_less_and_less() {
        let mut size_hint = BufferSizeHint::default();
        for _ in 0..1000 {
            assert!(!receive(&mut size_hint, 0, 255));
        }
        let receives = (1..).find(|_| receive(&mut size_hint, 16, 4)).unwrap();
        assert!(receives < 10, "followed after {receives} receives of a budget each");
    }

    #[test]
    fn a_receive_that_does_not_end_is_ended_for_other_buffers() {
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
