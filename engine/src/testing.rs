//! An engine without sockets whose clock a test moves (feature `testing`).
//!
//! The handler runs as in production: on a worker with its timers, its executor and its bounded buffers. Only the bytes
//! come from the test, and the time:
//!
//! ```
//! use std::time::Duration;
//! use tidegate_engine::testing::{TestConfig, TestEngine};
//! use tidegate_engine::{Config, time};
//!
//! let engine = TestEngine::start(Config::default(), TestConfig::default(), async |mut connection| {
//!     while let Ok(Some(chunk)) = connection.receive().await {
//!         time::sleep(Duration::from_secs(60)).await;
//!         if connection.sender().send(chunk.into_vec()).await.is_err() {
//!             break;
//!         }
//!     }
//! })?;
//! let mut client = engine.connect();
//! client.write(b"hello");
//! assert_eq!(client.read(), b"");
//! engine.advance(Duration::from_secs(60));
//! assert_eq!(client.read(), b"hello");
//! # Ok::<(), tidegate_engine::Error>(())
//! ```
//!
//! Enable the feature in `[dev-dependencies]` only. It is not for servers.
//!
//! | To | Use |
//! |---|---|
//! | run a handler | [`TestEngine`], with the settings in [`TestConfig`] |
//! | be its client | [`TestPeer`] |
//! | wait for something in a client of a protocol | [`TestEngine::drive`] |

pub use crate::engine::testing::{PeerEnd, Step, Stuck, TestConfig, TestEngine, TestPeer};
