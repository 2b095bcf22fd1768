//! WebSocket clients on every engine and placement, against servers of this crate and of literal bytes.

mod closing;
mod frames;
mod opening;
mod proxies;
mod reconnecting;
mod refusals;

use std::future::Future;

use tidegate::engine::{Engine, block_on};
use tidegate::prelude::*;

use crate::support::servers::Setup;

/// Runs a client on the thread of a worker's handlers, in an engine of its own, and returns its result. At the end no
/// connection of the engine has to be reset.
fn run<T, F>(setup: &Setup, client: impl FnOnce() -> F + Send + 'static) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let running = Engine::client(setup.config.clone()).expect("the engine starts");
    let result = block_on(running.spawn(client)).expect("the client panicked");
    let report = running.shutdown(Shutdown::default());
    assert_eq!(report.forced, 0, "connections had to be reset at shutdown");
    result
}
