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

mod batch;
mod blocking;
mod chunk;
mod config;
mod connection;
mod engine;
mod error;
mod executor;
mod fanout;
mod hold;
mod inbound;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod link;
mod listener;
mod mailbox;
mod outbound;
mod outbox;
mod running;
mod sender;
mod shutdown;
mod spare;
mod stats;
mod sync;
mod sys;
mod tcp;
pub mod time;
mod timer;
mod wakers;
mod worker;

pub use blocking::{BlockingConnection, blocking};
pub use chunk::Chunk;
pub use config::{Config, EngineKind, HandlerPlacement, InboundConfig, OutboundConfig, UringConfig};
pub use connection::{Connection, block_on};
pub use engine::Engine;
pub use error::{Address, CloseCause, ConfigError, Error, ReceiveError, SendError};
pub use fanout::{
    Delivered, FanOut, JoinOptions, MemberId, Membership, Publish, PublishBudget, PublishError, Receipt, SlowPolicy,
};
pub use hold::Hold;
pub use running::{Handle, Running};
pub use sender::{COPY_BYTES_MAX, Sender};
pub use shutdown::{Shutdown, ShutdownReport};
pub use stats::WorkerStats;
pub use tcp::TcpInfo;
