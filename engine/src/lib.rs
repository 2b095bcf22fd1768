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
//! The engine knows no protocol. [`Engine::start`] calls a handler for every [`Connection`]:
//!
//! ```no_run
//! use tidegate_engine::{Config, Engine, Error, Shutdown};
//!
//! fn main() -> Result<(), Error> {
//!     let engine = Engine::new(Config::default()).bind("127.0.0.1:7000")?;
//!     let running = engine.start(|mut connection| async move {
//!         while let Ok(Some(chunk)) = connection.receive().await {
//!             if connection.sender().send(chunk.into_vec()).await.is_err() {
//!                 break;
//!             }
//!         }
//!     })?;
//!     println!("listening on {}", running.summary());
//!     running.run_until_signal(Shutdown::default())?;
//!     Ok(())
//! }
//! ```
//!
//! The same handler runs unchanged on io_uring and on readiness ([`EngineKind`]), and on the ring's thread or on
//! others ([`HandlerPlacement`]). A connection's socket stays with its worker, even after an upgrade to another
//! protocol.
//!
//! | To | Use |
//! |---|---|
//! | configure, start and stop | [`Config`], [`Engine`], [`Running`], [`Shutdown`] |
//! | read, set deadlines, hand a connection over | [`Connection`] |
//! | connect to a server | [`connect`](connect()), [`Running::connect`]; [`Engine::client`] without listeners |
//! | write from any thread | [`ByteSender`], and [`ExclusiveSender`] for messages in parts |
//! | sleep in a handler | [`time`] |
//! | read and send files | [`file`](mod@file), [`ByteSender::append_file`] |
//! | start a task on a handler's thread | [`spawn_local`] |
//! | serve a connection without a task | [`adopt`], [`EndpointTable`], [`IdleConnection`] |
//! | go on with another task | [`succeed`] |
//! | run code on the threads of handlers | [`ThreadHooks`] |
//! | send one message to many connections | [`FanOut`] |
//! | write blocking code | [`blocking`], [`block_on`] |
//! | test a handler without sockets and in no time | `testing`, with the feature of that name |
//! | serve TLS, and read what a handshake agreed on | [`Tls`](crate::Engine::bind_tls), [`Connection::tls`] (feature `tls`) |
//! | observe | [`WorkerStats`], [`TcpInfo`], [`Connection::is_paused`] |
#![cfg_attr(tidegate_docs, feature(doc_cfg))]

mod address;
#[cfg(feature = "bench_support")]
#[doc(hidden)]
pub mod bench_support;
mod clock;
mod config;
mod connect;
mod connection;
mod driver;
mod engine;
mod error;
mod executor;
mod fanout;
pub mod file;
mod shared;
mod shutdown;
mod spawn_local;
mod stats;
#[cfg(feature = "testing")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
#[cfg(feature = "tls")]
mod tls;
mod util;
mod worker;

pub use address::Address;
#[doc(hidden)]
pub use clock::instant_after;
pub use config::{
    Config, EngineKind, HandlerPlacement, InboundConfig, MemoryConfig, OutboundConfig, ThreadHooks, UringConfig,
};
#[cfg(unix)]
pub use connect::connect_unix;
pub use connect::error::ConnectError;
pub use connect::target::ConnectTarget;
pub use connect::{Connect, Connecting, connect};
pub use connection::Connection;
pub use connection::block_on::block_on;
pub use connection::blocking::{BlockingConnection, blocking};
pub use connection::exclusive::ExclusiveSender;
pub use connection::filling::Filling;
pub use connection::gathering::Gathering;
pub use connection::idle::IdleConnection;
pub use connection::sender::ByteSender;
pub use driver::tcp_info::TcpInfo;
pub use engine::Engine;
pub use engine::running::{Running, RunningHandle};
pub use engine::spawned::SpawnedTask;
pub use engine::stopped::Stopped;
pub use error::{CloseCause, ConfigError, Error, GatheringError, ReceiveError, SendError};
pub use executor::endpoints::{EndpointTable, adopt};
#[doc(hidden)]
pub use executor::label as handler_label;
pub use executor::successor::succeed;
pub use fanout::{
    DeliveryReport, FanOut, JoinOptions, MemberId, Membership, Publish, PublishBudget, PublishError, Receipt, SlowHook,
    SlowMemberPolicy,
};
pub use shared::chunk::Chunk;
pub use shared::file_part::FilePart;
pub use shared::memory::MemoryBudget;
pub use shared::outbound::COPY_BYTES_MAX;
pub use shutdown::{Shutdown, ShutdownReport};
pub use spawn_local::{LocalTask, spawn_local};
pub use stats::WorkerStats;
#[cfg(feature = "tls")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
pub use tls::{Tls, TlsClient, TlsInfo, TlsVersion};
#[doc(hidden)]
pub use util::contained::panic_message;
#[doc(hidden)]
pub use util::slab::Slab;

/// The README's program, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
