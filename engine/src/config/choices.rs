//! Settings that are one of a few, and how they read as text.

use std::str::FromStr;

use crate::error::ConfigError;

/// What moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// io_uring where it can be had, std sockets otherwise (with one log line that says why).
    #[default]
    Auto,
    /// io_uring, or an error at start.
    Uring,
    /// Blocking std sockets, two threads a connection: portable, for development and for containers that forbid
    /// io_uring.
    Std,
}

/// From `auto`, `uring` or `std`, as programs take it as an option.
///
/// ```
/// use tidegate_engine::EngineKind;
/// assert_eq!("std".parse(), Ok(EngineKind::Std));
/// ```
impl FromStr for EngineKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "std" => Ok(Self::Std),
            _ => Err(ConfigError { setting: "engine", value: text.to_owned(), rule: "auto, uring or std" }),
        }
    }
}

/// Where handlers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandlerPlacement {
    /// One handler thread beside each worker, on the worker's core: a handler that computes for long delays its
    /// neighbours but never the ring.
    #[default]
    SameCore,
    /// On the worker's own thread: the lowest latency and cost, for handlers that never block and never compute long.
    Inline,
    /// On this many threads of their own (1 to 1024), shared by all workers: for handlers that compute or block.
    Threads(usize),
}

/// From `same-core`, `inline` or `threads:N`, as programs take it as an option.
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
        let rule = "same-core, inline or threads:N";
        threads.or(named).ok_or_else(|| ConfigError { setting: "placement", value: text.to_owned(), rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_and_placements_are_read_from_text() {
        let engines = ["auto", "uring", "std"].map(|text| text.parse::<EngineKind>().unwrap());
        assert_eq!(engines, [EngineKind::Auto, EngineKind::Uring, EngineKind::Std]);
        let placements = ["same-core", "inline", "threads:2"].map(|text| text.parse::<HandlerPlacement>().unwrap());
        assert_eq!(placements, [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(2)]);
        assert_eq!("epoll".parse::<EngineKind>().unwrap_err().to_string(), "engine is epoll: auto, uring or std");
        for text in ["", "threads", "threads:", "threads:-1", "Inline"] {
            assert_eq!(text.parse::<HandlerPlacement>().unwrap_err().value, text);
        }
    }
}
