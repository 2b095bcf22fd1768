//! Tidegate's engine: per-core rings that own the accepted sockets, and handlers that see each connection as an
//! asynchronous byte stream between two bounded buffers.
//!
//! ```text
//! kernel ── completion ──▶ worker (one thread per core: ring, listener, timers, receive buffers, sockets)
//!                             │ chunk                                   ▲ bytes to send, resume, commands
//!                             ▼                                         │ (mailbox, one wake per batch)
//!                      inbound buffer (bounded, per connection)   outbound queue (bounded, per connection)
//!                             │                                         ▲
//!                             ▼                                         │
//!                      handler thread (async tasks, one or more per connection)
//! ```
//!
//! The engine knows no protocol. [`Engine::start`] calls a handler for every [`Connection`]; the same handler runs
//! unchanged on io_uring and on std sockets ([`EngineKind`]), and beside, on or away from the ring's thread
//! ([`HandlerPlacement`]). A connection is never hijacked: whatever protocol it speaks, its socket stays with its worker.

#[cfg(feature = "bench_support")]
#[doc(hidden)]
pub mod bench_support;
mod config;
mod connection;
mod driver;
mod engine;
mod error;
mod executor;
mod fanout;
mod shared;
mod shutdown;
mod stats;
pub mod time;
mod util;
mod worker;

pub use config::{Config, EngineKind, HandlerPlacement, InboundConfig, OutboundConfig, UringConfig};
pub use connection::blocking::{BlockingConnection, blocking};
pub use connection::exclusive::ExclusiveSender;
pub use connection::sender::{ByteSender, COPY_BYTES_MAX};
pub use connection::tcp_info::TcpInfo;
pub use connection::{Connection, block_on};
pub use engine::Engine;
pub use engine::running::{Handle, Running};
pub use error::{Address, CloseCause, ConfigError, Error, ReceiveError, SendError};
pub use fanout::{
    DeliveryReport, FanOut, JoinOptions, MemberId, Membership, Publish, PublishBudget, PublishError, Receipt,
    SlowMemberPolicy,
};
pub use shared::chunk::Chunk;
pub use shutdown::{Shutdown, ShutdownReport};
pub use stats::WorkerStats;
