//! Settings. [`Config::check`] returns them with every value within its bounds.

mod choices;
mod memory;
mod thread_hooks;
#[cfg(feature = "tokio")]
mod tokio_runtime;

use std::time::Duration;

use crate::error::ConfigError;

pub use choices::{EngineKind, HandlerPlacement};
pub use memory::MemoryConfig;
pub use thread_hooks::ThreadHooks;

crate::__settings! {
    /// The settings of an engine. The defaults suit servers. Each field has a setter of its name;
    /// [`Engine::start`](crate::Engine::start) checks the bounds. Timeouts take any duration, rounded up to
    /// [`time::GRANULARITY`](crate::time::GRANULARITY).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_engine::{Config, HandlerPlacement, InboundConfig};
    ///
    /// let config = Config::default()
    ///     .workers(2)
    ///     .placement(HandlerPlacement::Inline)
    ///     .idle_timeout(Duration::from_secs(60))
    ///     .inbound(InboundConfig::default().bytes_high(128 * 1024));
    /// assert_eq!(config.workers, 2);
    /// ```
    #[derive(Clone, Debug)]
    pub struct Config {
        /// The I/O backend. Default: [`EngineKind::Auto`].
        pub engine: EngineKind,
        /// Number of worker threads, each with a ring, a listener and connections: 1 to 1024, or 0 for one per core.
        /// Default: 0.
        pub workers: usize,
        /// Pins each worker and its same-core handler thread to one of the cores that the process may use
        /// (sched_setaffinity(2)), as listed by [`Running::summary`](crate::Running::summary). With fewer workers than
        /// cores, the first core is the process id modulo the number of cores, so that several such processes do not
        /// all use the same cores. Default: true.
        pub pin: bool,
        /// The threads that run handlers. Default: [`HandlerPlacement::SameCore`].
        pub placement: HandlerPlacement,
        /// The bounded buffer between a connection's ring and its handler.
        pub inbound: InboundConfig,
        /// The bounded queue between a connection's senders and its socket.
        pub outbound: OutboundConfig,
        /// Maximum connections per worker, accepted and connected ones together, 1 to 16,777,216. At the maximum,
        /// accepting pauses and further clients wait in the kernel's queue, and [`connect`](crate::connect()) fails.
        /// Near it, with io_uring, each listener keeps room for its next client. The open-file limit of the process is
        /// a bound too: with io_uring for each ring's table, on the portable engine for all workers together. Default:
        /// 65,536.
        pub connections_max: usize,
        /// Completed connections that the kernel queues for a listener (listen(2)), 1 to 65,535; the kernel caps it at
        /// `net.core.somaxconn`. Default: 1024.
        pub backlog: usize,
        /// Permissions of the files of Unix-domain sockets (chmod(2)), such as `0o660`, set before anyone can connect.
        /// Default: `None`, what the umask leaves.
        pub unix_mode: Option<u32>,
        /// Owner of the files of Unix-domain sockets, a number of passwd(5), set before anyone can connect (chown(2)).
        /// Another owner than that of the process needs the privilege CAP_CHOWN. Default: `None`, that of the process.
        pub unix_uid: Option<u32>,
        /// Group of the files of Unix-domain sockets, a number of group(5), such as that of a proxy in front. Without
        /// CAP_CHOWN it must be one of the groups of the process. Default: `None`, that of the process or the folder.
        pub unix_gid: Option<u32>,
        /// Lets other processes of the same user that also ask for it serve the same TCP ports (`SO_REUSEPORT` of
        /// socket(7)): the kernel spreads new connections over all of them, for a restart without a gap. Default:
        /// false, a port that is in use is an error.
        pub reuse_port: bool,
        /// `TCP_NODELAY` on accepted and connected sockets (tcp(7)): sends small segments at once. Default: true.
        pub nodelay: bool,
        /// Size of the kernel's receive buffer of accepted and connected sockets (`SO_RCVBUF` of socket(7)), 1 to
        /// 2,147,483,647 bytes. The kernel applies its own bounds and counts its bookkeeping as part of it. Default:
        /// `None`, the system's size, which grows as needed.
        pub socket_receive_buffer_bytes: Option<u32>,
        /// Size of the kernel's send buffer of accepted and connected sockets (`SO_SNDBUF`), with the same bounds. The
        /// outbound queue and its timeouts count bytes in this buffer as sent. Default: `None`, the system's size.
        pub socket_send_buffer_bytes: Option<u32>,
        /// Time without progress, as for [`Connection::set_write_timeout`](crate::Connection::set_write_timeout), after
        /// which a closing connection that still sends queued bytes is reset. Default: 30 s.
        pub flush_timeout: Duration,
        /// Time that a closing connection waits for the peer's FIN after sending its own. Further input is dropped. The
        /// socket is then closed, and the kernel continues to deliver the bytes already sent. Default: 5 s.
        pub linger_timeout: Duration,
        /// Idle timeout of every connection whose handler sets no other
        /// ([`Connection::set_idle_timeout`](crate::Connection::set_idle_timeout)). Default: `None`, no limit.
        pub idle_timeout: Option<Duration>,
        /// Code around the threads that run handlers. Default: none.
        pub thread_hooks: ThreadHooks,
        /// Time in one poll of a handler's future after which the handler is named in the log, once and while it still
        /// runs, with its peer: the other connections of its thread wait. Default: 1 s; `None` for no such log, and no
        /// thread that watches.
        pub thread_hold_warning: Option<Duration>,
        /// The memory of all messages and bodies that have not arrived in full.
        pub memory: MemoryConfig,
        /// Settings of io_uring.
        pub uring: UringConfig,
    }
}

crate::__settings! {
    /// Water marks of the inbound buffer. Receiving pauses at either high mark, in chunks or in bytes, and resumes once
    /// both low marks are reached.
    #[derive(Clone, Debug)]
    pub struct InboundConfig {
        /// Capacity in chunks, 2 to 65,536. Default: 256.
        pub chunks_max: u32,
        /// High mark in percent of `chunks_max`, 1 to 100. Default: 75.
        pub high_percent: u32,
        /// Low mark in percent of `chunks_max`, below `high_percent`. Default: 25.
        pub low_percent: u32,
        /// High mark in bytes, 1 to 1 GiB. Default: 64 KiB.
        pub bytes_high: u32,
        /// Low mark in bytes, below `bytes_high`. Default: 16 KiB.
        pub bytes_low: u32,
    }
}

crate::__settings! {
    /// Water marks of the outbound queue. See [`ByteSender`](crate::ByteSender) for the effect on each call.
    #[derive(Clone, Debug)]
    pub struct OutboundConfig {
        /// High mark, 1 byte to `isize::MAX`: above this many queued bytes `send` waits and `try_send` fails with
        /// `Full`. A larger message passes if nothing else is queued. Default: 1 MiB.
        pub bytes_high: usize,
        /// Low mark, below `bytes_high`: waiting senders continue when no more than this is queued. Default: 256 KiB.
        pub bytes_low: usize,
    }
}

crate::__settings! {
    /// Settings of io_uring, which needs Linux 6.1. The `bool`s enable features of later kernels where they work;
    /// `false` forces the fallback.
    #[derive(Clone, Debug)]
    pub struct UringConfig {
        /// Submission queue entries, a power of two, 2 to 32,768. Default: 1024.
        pub submission_entries: u32,
        /// Completion queue entries, a power of two, above `submission_entries`, at most 65,536. Default: 16,384.
        pub completion_entries: u32,
        /// Number of receive buffers per worker, a power of two, 2 to 32,768. Default: 512.
        pub receive_buffers: u16,
        /// Size of a receive buffer, 64 B to 1 MiB. Default: 4 KiB.
        pub receive_buffer_bytes: usize,
        /// Number of large receive buffers per worker, for connections that receive large messages: a power of two, 2
        /// to 32,768, or 0 for none. Their memory is allocated on first use. Default: 128.
        pub large_receive_buffers: u16,
        /// Size of a large receive buffer, 64 B to 1 MiB. Large buffers are not used unless this is above
        /// `receive_buffer_bytes`. Default: 32 KiB.
        pub large_receive_buffer_bytes: usize,
        /// Keeps accepted sockets in the ring's file table instead of the process's (Linux 6.8). Fallback: regular
        /// descriptors. Default: true.
        pub direct_descriptors: bool,
        /// Lets the kernel end receives at the inbound buffer's high mark (Linux 6.17). Fallback: the worker cancels
        /// them there. Default: true.
        pub receive_budget: bool,
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: EngineKind::Auto,
            workers: 0,
            pin: true,
            placement: HandlerPlacement::SameCore,
            inbound: InboundConfig::default(),
            outbound: OutboundConfig::default(),
            connections_max: 65_536,
            backlog: 1024,
            unix_mode: None,
            unix_uid: None,
            unix_gid: None,
            reuse_port: false,
            nodelay: true,
            socket_receive_buffer_bytes: None,
            socket_send_buffer_bytes: None,
            flush_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(5),
            idle_timeout: None,
            thread_hooks: ThreadHooks::default(),
            thread_hold_warning: Some(Duration::from_secs(1)),
            memory: MemoryConfig::default(),
            uring: UringConfig::default(),
        }
    }
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self { chunks_max: 256, high_percent: 75, low_percent: 25, bytes_high: 64 * 1024, bytes_low: 16 * 1024 }
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { bytes_high: 1024 * 1024, bytes_low: 256 * 1024 }
    }
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            submission_entries: 1024,
            completion_entries: 16_384,
            receive_buffers: 512,
            receive_buffer_bytes: 4096,
            large_receive_buffers: 128,
            large_receive_buffer_bytes: 32 * 1024,
            direct_descriptors: true,
            receive_budget: true,
        }
    }
}

/// A checked configuration with the values derived from it.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    pub(crate) workers: usize,
    pub(crate) inbound: InboundMarks,
    pub(crate) outbound: OutboundMarks,
}

/// The water marks of an inbound buffer, checked: low < high in both units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InboundMarks {
    pub(crate) bytes_high: u32,
    pub(crate) bytes_low: u32,
    pub(crate) chunks_high: u32,
    pub(crate) chunks_low: u32,
}

/// The water marks of an outbound queue, checked: low < high.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboundMarks {
    pub(crate) bytes_high: usize,
    pub(crate) bytes_low: usize,
}

impl Config {
    pub(crate) fn check(self) -> Result<Checked, ConfigError> {
        within("workers", self.workers, 0, 1024, "0 (one per core) to 1024")?;
        if let HandlerPlacement::Threads(threads) = self.placement {
            within("placement threads", threads, 1, 1024, "1 to 1024")?;
        }
        within("connections_max", self.connections_max, 1, 1 << 24, "1 to 16,777,216")?;
        within("backlog", self.backlog, 1, 65_535, "1 to 65,535")?;
        for (setting, bytes) in [
            ("socket_receive_buffer_bytes", self.socket_receive_buffer_bytes),
            ("socket_send_buffer_bytes", self.socket_send_buffer_bytes),
        ] {
            within(setting, bytes.unwrap_or(1), 1, i32::MAX as u32, "1 to 2,147,483,647 bytes")?;
        }
        for (setting, time) in [
            ("flush_timeout", Some(self.flush_timeout)),
            ("idle_timeout", self.idle_timeout),
            ("thread_hold_warning", self.thread_hold_warning),
        ] {
            ConfigError::check_time(setting, time)?;
        }
        let inbound = self.inbound.check()?;
        let outbound = self.outbound.check()?;
        self.memory.check()?;
        self.uring.check()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if self.workers == 0 { cores } else { self.workers };
        Ok(Checked { workers, inbound, outbound, config: self })
    }
}

impl InboundConfig {
    fn check(&self) -> Result<InboundMarks, ConfigError> {
        within("inbound.chunks_max", self.chunks_max, 2, 65_536, "2 to 65,536 chunks")?;
        within("inbound.high_percent", self.high_percent, 1, 100, "1 to 100 percent")?;
        within("inbound.low_percent", self.low_percent, 0, self.high_percent - 1, "below inbound.high_percent")?;
        within("inbound.bytes_high", self.bytes_high, 1, 1 << 30, "1 byte to 1 GiB")?;
        within("inbound.bytes_low", self.bytes_low, 0, self.bytes_high - 1, "below inbound.bytes_high")?;
        let chunks = |percent: u32| (u64::from(self.chunks_max) * u64::from(percent) / 100) as u32;
        let chunks_high = chunks(self.high_percent).max(1);
        Ok(InboundMarks {
            bytes_high: self.bytes_high,
            bytes_low: self.bytes_low,
            chunks_high,
            chunks_low: chunks(self.low_percent).min(chunks_high - 1),
        })
    }
}

impl OutboundConfig {
    fn check(&self) -> Result<OutboundMarks, ConfigError> {
        within("outbound.bytes_high", self.bytes_high, 1, isize::MAX as usize, "1 byte to isize::MAX")?;
        within("outbound.bytes_low", self.bytes_low, 0, self.bytes_high - 1, "below outbound.bytes_high")?;
        Ok(OutboundMarks { bytes_high: self.bytes_high, bytes_low: self.bytes_low })
    }
}

impl UringConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let rule = "a power of two from 2 to 32,768";
        power_of_two("uring.submission_entries", self.submission_entries, 2, 32_768, rule)?;
        power_of_two("uring.receive_buffers", self.receive_buffers.into(), 2, 32_768, rule)?;
        let rule = "a power of two above uring.submission_entries, at most 65,536";
        power_of_two("uring.completion_entries", self.completion_entries, self.submission_entries + 1, 65_536, rule)?;
        within("uring.receive_buffer_bytes", self.receive_buffer_bytes, 64, 1 << 20, "64 bytes to 1 MiB")?;
        if self.large_receive_buffers > 0 {
            let rule = "0, or a power of two from 2 to 32,768";
            power_of_two("uring.large_receive_buffers", self.large_receive_buffers.into(), 2, 32_768, rule)?;
        }
        let bytes = self.large_receive_buffer_bytes;
        within("uring.large_receive_buffer_bytes", bytes, 64, 1 << 20, "64 bytes to 1 MiB")
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    setting: &'static str,
    value: T,
    least: T,
    most: T,
    rule: &'static str,
) -> Result<(), ConfigError> {
    if value < least || value > most {
        return Err(ConfigError::new(setting, value, rule));
    }
    Ok(())
}

fn power_of_two(
    setting: &'static str,
    value: u32,
    least: u32,
    most: u32,
    rule: &'static str,
) -> Result<(), ConfigError> {
    if value.is_power_of_two() {
        within(setting, value, least, most, rule)
    } else {
        Err(ConfigError::new(setting, value, rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        let checked = Config::default().check().unwrap();
        assert_eq!((checked.inbound.chunks_high, checked.inbound.chunks_low), (192, 64));
        assert_eq!((checked.inbound.bytes_high, checked.inbound.bytes_low), (65_536, 16_384));
        assert!(checked.workers >= 1);
    }

    #[test]
    fn each_bound_names_its_setting() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 18] = [
            ("workers", |c| c.workers = 1025),
            ("placement threads", |c| c.placement = HandlerPlacement::Threads(0)),
            ("connections_max", |c| c.connections_max = 0),
            ("backlog", |c| c.backlog = 0),
            ("socket_receive_buffer_bytes", |c| c.socket_receive_buffer_bytes = Some(0)),
            ("socket_send_buffer_bytes", |c| c.socket_send_buffer_bytes = Some(u32::MAX)),
            ("flush_timeout", |c| c.flush_timeout = Duration::ZERO),
            ("idle_timeout", |c| c.idle_timeout = Some(Duration::ZERO)),
            ("thread_hold_warning", |c| c.thread_hold_warning = Some(Duration::ZERO)),
            ("inbound.chunks_max", |c| c.inbound.chunks_max = 1),
            ("inbound.high_percent", |c| c.inbound.high_percent = 101),
            ("inbound.low_percent", |c| c.inbound.low_percent = 75),
            ("inbound.bytes_low", |c| c.inbound.bytes_low = 64 * 1024),
            ("outbound.bytes_low", |c| c.outbound.bytes_low = 1024 * 1024),
            ("memory.bytes_max", |c| c.memory.bytes_max = Some(1)),
            ("memory.grace", |c| c.memory.grace = Duration::ZERO),
            ("uring.submission_entries", |c| c.uring.submission_entries = 3),
            ("uring.completion_entries", |c| c.uring.completion_entries = 1024),
        ];
        for (setting, change) in table {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().setting, setting);
        }
    }

    #[test]
    fn marks_stay_apart_even_when_small() {
        let mut config = Config::default();
        config.inbound.chunks_max = 2;
        let marks = config.check().unwrap().inbound;
        assert!(marks.chunks_low < marks.chunks_high);
    }
}
