//! Black-box tests of the engine: its public API over loopback, on every engine and placement.
//!
//! One program, so that the shared support is compiled once. A test that needs a separate process (a low limit, a
//! system-call filter, a signal) runs this program again with its own name: see `support::child`.

mod connect;
mod deadlines;
mod failures;
mod fallback;
mod files;
mod filling;
mod flow;
mod handlers;
mod limits;
mod listeners;
mod outbound;
mod placement;
mod shutdown;
mod stream;
mod support;
mod thread_hooks;
#[cfg(feature = "tls")]
mod tls;
