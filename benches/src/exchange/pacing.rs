//! The pacing of a load: when messages are sent.

/// The most messages outstanding on a connection in an open loop. Later ones wait, and their wait counts.
const OPEN_WINDOW_MESSAGES_MAX: u32 = 64;

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// Closed loop: the next window leaves when the last one is answered.
    Windows {
        /// Messages in a window, at least 1.
        depth: u32,
    },
    /// Closed loop: each reply releases one message.
    Sliding {
        /// Messages outstanding, at least 1.
        depth: u32,
    },
    /// Open loop: messages leave at equal intervals from the start, on each connection in turn.
    Rate {
        /// Messages per second over all connections.
        messages_per_s: f64,
    },
}

impl Pacing {
    /// Returns the most messages outstanding on a connection, and so the most in one send.
    #[must_use]
    pub fn window_messages_max(self) -> u32 {
        match self {
            Self::Windows { depth } | Self::Sliding { depth } => depth,
            Self::Rate { .. } => OPEN_WINDOW_MESSAGES_MAX,
        }
    }

    /// Returns whether successful sends need no completion. With whole windows the replies prove that the send
    /// completed, so the ring only has to report failures.
    #[must_use]
    pub fn sends_quietly(self) -> bool {
        matches!(self, Self::Windows { .. })
    }
}

/// The schedule of an open loop.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Time between two messages over all connections.
    pub interval_nanos: f64,
    /// First message that has not been staged.
    pub next: u64,
}

impl Schedule {
    /// Returns the schedule of an open loop, or `None` for a closed loop.
    #[must_use]
    pub fn new(pacing: Pacing) -> Option<Self> {
        let Pacing::Rate { messages_per_s } = pacing else { return None };
        Some(Self { interval_nanos: 1e9 / messages_per_s, next: 0 })
    }

    /// Returns when message `number` is due, in nanoseconds since the start.
    #[must_use]
    pub fn due(&self, number: u64) -> u64 {
        (number as f64 * self.interval_nanos) as u64
    }

    /// Returns the number of messages due by `now`.
    #[must_use]
    pub fn due_by(&self, now: u64) -> u64 {
        (now as f64 / self.interval_nanos) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        let schedule = Schedule::new(Pacing::Rate { messages_per_s: 300_000.0 }).unwrap();
        assert_eq!(schedule.due(0), 0);
        for seconds in [1, 3_600] {
            let exact = seconds * 1_000_000_000;
            assert!(schedule.due(seconds * 300_000).abs_diff(exact) <= 1);
            assert!(schedule.due_by(exact).abs_diff(seconds * 300_000) <= 1);
        }
    }

    #[test]
    fn closed_loops_have_no_schedule() {
        assert!(Schedule::new(Pacing::Windows { depth: 3 }).is_none());
        assert_eq!(Pacing::Sliding { depth: 3 }.window_messages_max(), 3);
        assert_eq!(Pacing::Rate { messages_per_s: 1.0 }.window_messages_max(), OPEN_WINDOW_MESSAGES_MAX);
    }
}
