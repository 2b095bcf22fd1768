//! The time limit of a read.

/// The limit of a read that finds nothing.
///
/// ```text
///   IdleTimeout ◀─ set_idle_timeout, set_read_deadline ─▶ Deadline
///        │                                                   │
///        │            our close frame has been sent          │
///        └───────────────────▶ CloseTimeout ◀────────────────┘
///
///   any ── end of stream, failure, the peer did not answer in time ──▶ Over
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    /// The idle timeout, which all received bytes renew.
    IdleTimeout,
    /// The deadline that the application has set; none at first.
    Deadline,
    /// The time for the peer to answer our close frame.
    CloseTimeout,
    /// A final error has been reported: nothing more is read.
    Over,
}

impl ReadState {
    /// Returns the state while neither side has sent a close frame.
    pub(super) const fn open(has_idle_timeout: bool) -> Self {
        if has_idle_timeout { Self::IdleTimeout } else { Self::Deadline }
    }

    /// Notes that our close frame has been sent.
    pub(super) fn await_close(&mut self) {
        if *self != Self::Over {
            *self = Self::CloseTimeout;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_final_error() {
        for mut state in [ReadState::open(true), ReadState::open(false), ReadState::CloseTimeout] {
            state.await_close();
            assert_eq!(state, ReadState::CloseTimeout);
        }
        let mut over = ReadState::Over;
        over.await_close();
        assert_eq!(over, ReadState::Over);
    }
}
