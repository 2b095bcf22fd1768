//! When messages leave.

use crate::config::Config;

/// When messages are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pacing {
    /// The next window leaves when the last one is answered.
    Windows {
        /// Messages in a window.
        depth: u32,
    },
    /// Each answer lets one message go.
    Sliding {
        /// Messages outstanding.
        depth: u32,
    },
    /// Message `next` of all leaves at `next` intervals from the start, on each connection in turn.
    Schedule {
        /// Between two messages, over all connections.
        interval_nanos: f64,
        /// The first message not yet allowed to leave.
        next: u64,
    },
}

impl Pacing {
    /// The pacing a run asks for.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        match (config.rate, config.sliding) {
            (Some(rate), _) => Self::Schedule { interval_nanos: 1e9 / rate, next: 0 },
            (None, true) => Self::Sliding { depth: config.depth },
            (None, false) => Self::Windows { depth: config.depth },
        }
    }

    /// In whole windows the replies themselves prove that the send is complete: the ring needs to tell only of failures.
    #[must_use]
    pub fn sends_quietly(self) -> bool {
        matches!(self, Self::Windows { .. })
    }
}

/// When message `number` of the schedule is due, in nanoseconds since the start.
#[must_use]
pub fn due(interval_nanos: f64, number: u64) -> u64 {
    (number as f64 * interval_nanos) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        let interval_nanos = 1e9 / 300_000.0;
        assert_eq!(due(interval_nanos, 0), 0);
        for seconds in [1, 3_600] {
            let exact = seconds * 1_000_000_000;
            assert!(due(interval_nanos, seconds * 300_000).abs_diff(exact) <= 1);
        }
    }
}
