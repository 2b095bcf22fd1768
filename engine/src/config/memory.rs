//! Settings of the memory that unfinished messages and bodies share.

use std::time::Duration;

use super::within;
use crate::error::ConfigError;

crate::__settings! {
    /// Bounds on the memory that all peers together can make the process hold with messages and bodies that have not
    /// arrived in full, and on the time that they take.
    ///
    /// A protocol that gathers a message draws on the budget in steps of 64 KiB, from the second step on: smaller
    /// messages never wait for it. When the budget is spent, a message that needs more waits, and its connection is not
    /// read. It is refused at once if it already holds its share (the budget divided by the number of such messages),
    /// and after `wait_timeout` otherwise: a WebSocket is closed with 1013, an HTTP request is answered with 503. The
    /// memory is drawn until the message is handed to the application, and back when that happens.
    ///
    /// ```
    /// use tidegate_engine::{Config, MemoryConfig};
    ///
    /// let config = Config::default().memory(MemoryConfig::default().bytes_max(512 << 20));
    /// assert_eq!(config.memory.bytes_max, Some(512 << 20));
    /// ```
    #[derive(Clone, Debug)]
    pub struct MemoryConfig {
        /// Maximum bytes, at least 64 KiB. A message that is larger by itself is refused. Default: `None`, a quarter of
        /// the memory of the machine, or of the process's control group if that has less (cgroups(7)); 1 GiB where
        /// neither is known.
        pub bytes_max: Option<usize>,
        /// Time that a message waits for memory before it is refused. Default: 10 s.
        pub wait_timeout: Duration,
        /// Rate that a message above 64 KiB must keep, in bytes per second as received, or 0 for none. Only time in
        /// which the server waits for the peer counts. Default: 1024.
        pub rate_min: u32,
        /// Time without progress that such a message is allowed: it grows while nothing arrives and shrinks by a second
        /// for each `rate_min` bytes. Beyond it a WebSocket is closed with 1008, an HTTP request is answered with 408.
        /// Default: 60 s.
        pub grace: Duration,
        /// The same while another message waits for memory. Default: 5 s.
        pub grace_when_spent: Duration,
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            bytes_max: None,
            wait_timeout: Duration::from_secs(10),
            rate_min: 1024,
            grace: Duration::from_secs(60),
            grace_when_spent: Duration::from_secs(5),
        }
    }
}

impl MemoryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        const LEAST: usize = 64 * 1024;
        within("memory.bytes_max", self.bytes_max.unwrap_or(LEAST), LEAST, usize::MAX, "at least 65,536 bytes")?;
        for (setting, time) in [
            ("memory.wait_timeout", self.wait_timeout),
            ("memory.grace", self.grace),
            ("memory.grace_when_spent", self.grace_when_spent),
        ] {
            ConfigError::check_time(setting, Some(time))?;
        }
        Ok(())
    }
}
