//! Telling the helpers of a connection that it has ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::lock;

/// Completes when its connection has ended: for tasks and threads that help one connection. Cloneable, usable from any
/// thread; every clone completes.
///
/// The end is the peer's close frame as a read finds it, the failure of the connection as the engine sees it, whatever the
/// handler is doing, and at the latest the moment the connection is dropped.
///
/// ```no_run
/// use tidegate_engine::block_on;
/// use tidegate_websocket::{Error, WebSocket};
///
/// async fn handler(mut ws: WebSocket) -> Result<(), Error> {
///     let closed = ws.closed();
///     std::thread::spawn(move || {
///         block_on(closed);
///         println!("one less");
///     });
///     while ws.recv().await?.is_some() {}
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Closed {
    signal: Arc<Signal>,
    /// Its place among those who wait.
    number: u64,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// The engine wakes the signal when the connection fails.
    watching: bool,
    numbers: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Closed {
    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        lock(&self.signal.state).ended
    }
}

impl Clone for Closed {
    fn clone(&self) -> Self {
        Self::of(&self.signal)
    }
}

impl Closed {
    fn of(signal: &Arc<Signal>) -> Self {
        let mut state = lock(&signal.state);
        state.numbers += 1;
        Self { signal: Arc::clone(signal), number: state.numbers }
    }
}

impl Future for Closed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.signal.state);
        if state.ended {
            return Poll::Ready(());
        }
        match state.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((self.number, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        // A connection may have very many helpers, one after the other.
        lock(&self.signal.state).waiting.retain(|(number, _)| *number != self.number);
    }
}

/// The connection's side: tells all at the latest when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct ClosedSource {
    signal: Arc<Signal>,
}

impl ClosedSource {
    /// A way to wait for the end of this connection.
    pub(crate) fn closed(&self, connection: &tidegate_engine::ByteSender) -> Closed {
        let watching = std::mem::replace(&mut lock(&self.signal.state).watching, true);
        if !watching {
            connection.wake_when_closed(&Waker::from(Arc::clone(&self.signal)));
        }
        Closed::of(&self.signal)
    }

    pub(crate) fn end(&self) {
        self.signal.end();
    }
}

impl Signal {
    fn end(&self) {
        let waiting = {
            let mut state = lock(&self.state);
            state.ended = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// The engine says that the connection has failed.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.end();
    }
}

impl Drop for ClosedSource {
    fn drop(&mut self) {
        self.end();
    }
}
