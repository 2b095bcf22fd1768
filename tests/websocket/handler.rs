//! Communication between tests and the handlers of their servers.

use std::future::poll_fn;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::support::client::PATIENCE;
use crate::support::servers::TestServer;

/// A channel from handlers to their test.
pub fn reports<T>() -> (Sender<T>, Reports<T>) {
    let (sender, receiver) = mpsc::channel();
    (sender, Reports(receiver))
}

/// The reports of handlers.
pub struct Reports<T>(Receiver<T>);

impl<T> Reports<T> {
    pub fn next(&self) -> T {
        self.0.recv_timeout(PATIENCE).expect("a report from the handler")
    }

    /// Returns whether all senders are gone and no report is left.
    pub fn is_over(&self) -> bool {
        matches!(self.0.try_recv(), Err(mpsc::TryRecvError::Disconnected))
    }
}

/// A gate at which handlers wait until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    pub fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.open = true;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    pub async fn pass(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.open {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Waits until the condition holds, for counters of the server that lag behind.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "timed out waiting for {what}");
        std::thread::yield_now();
    }
}

/// Returns the bytes that the server has received since it started.
pub fn received_bytes(server: &TestServer) -> u64 {
    server.running.stats().iter().map(|worker| worker.received_bytes_total).sum()
}
