//! Settings chosen from a few values, and their text forms.

use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// The I/O backend. Handlers run unchanged on each.
///
/// ```
/// use tidegate_engine::{Config, EngineKind};
///
/// // A container that forbids io_uring, without the warning that `Auto` logs there.
/// let config = Config::default().engine(EngineKind::Portable);
/// # assert_eq!(config.engine, EngineKind::Portable);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// io_uring where it works, otherwise `Portable`, with one log line that gives the reason.
    #[default]
    Auto,
    /// io_uring (Linux 6.1 or later), or [`Error::UringUnavailable`](crate::Error::UringUnavailable) at start.
    Uring,
    /// Non-blocking sockets with readiness from epoll(7) or kqueue(2), one thread per worker: for macOS, for kernels
    /// before Linux 6.1 and for containers that forbid io_uring.
    Portable,
}

/// Parses `auto`, `uring` or `portable`, for command-line options. `std` is an older name of `portable`.
///
/// ```
/// use tidegate_engine::EngineKind;
/// assert_eq!("portable".parse(), Ok(EngineKind::Portable));
/// ```
impl FromStr for EngineKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "portable" | "std" => Ok(Self::Portable),
            _ => Err(ConfigError::new("engine", text, "auto, uring or portable")),
        }
    }
}

/// Prints the form that [`FromStr`] parses.
impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Portable => "portable",
        })
    }
}

/// The threads that run handlers.
///
/// Start with the default. Choose `Inline` if every handler returns to its await points within microseconds, and
/// `Threads` if handlers compute for milliseconds or block.
///
/// ```
/// use tidegate_engine::{Config, HandlerPlacement};
///
/// let config = Config::default().workers(2).placement(HandlerPlacement::Threads(8));
/// # assert_eq!(config.workers, 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerPlacement {
    /// One handler thread per worker, on the worker's core. A handler that computes for long delays other handlers but
    /// never the ring.
    #[default]
    SameCore,
    /// The worker's own thread. Lowest latency and cost, for handlers that never block and never compute for long:
    /// while one does, the ring and all its connections wait.
    Inline,
    /// This many separate threads (1 to 1024), shared by all workers. For handlers that compute or block.
    Threads(usize),
}

/// Parses `same-core`, `inline` or `threads:N`, for command-line options.
///
/// ```
/// use tidegate_engine::HandlerPlacement;
/// assert_eq!("threads:4".parse(), Ok(HandlerPlacement::Threads(4)));
/// ```
impl FromStr for HandlerPlacement {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let threads = text.strip_prefix("threads:").and_then(|count| count.parse().ok()).map(Self::Threads);
        let named = match text {
            "same-core" => Some(Self::SameCore),
            "inline" => Some(Self::Inline),
            _ => None,
        };
        threads.or(named).ok_or_else(|| ConfigError::new("placement", text, "same-core, inline or threads:N"))
    }
}

/// Prints the form that [`FromStr`] parses.
impl fmt::Display for HandlerPlacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameCore => f.pad("same-core"),
            Self::Inline => f.pad("inline"),
            Self::Threads(threads) => write!(f, "threads:{threads}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_and_placements_are_read_from_their_text_form() {
        let engines = ["auto", "uring", "portable"].map(|text| text.parse::<EngineKind>().unwrap());
        assert_eq!(engines, [EngineKind::Auto, EngineKind::Uring, EngineKind::Portable]);
        assert_eq!("std".parse(), Ok(EngineKind::Portable), "the older name");
        let placements = ["same-core", "inline", "threads:2"].map(|text| text.parse::<HandlerPlacement>().unwrap());
        assert_eq!(placements, [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(2)]);
        assert_eq!(engines.map(|engine| engine.to_string()), ["auto", "uring", "portable"]);
        assert_eq!(placements.map(|placement| placement.to_string()), ["same-core", "inline", "threads:2"]);
        assert_eq!(
            "epoll".parse::<EngineKind>().unwrap_err().to_string(),
            "invalid engine \"epoll\": must be auto, uring or portable"
        );
        for text in ["", "threads", "threads:", "threads:-1", "Inline"] {
            assert_eq!(text.parse::<HandlerPlacement>().unwrap_err().value, text);
        }
    }
}
