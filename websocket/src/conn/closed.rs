//! Notifies tasks that hold a [`Closed`] when the connection ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::lock;

/// A future that completes when its connection has ended, for tasks and threads that serve one connection. Cloneable,
/// usable from any thread; every clone completes.
///
/// It completes when a read finds the peer's close frame or breach of the protocol, when the engine sees the peer's FIN
/// or reset (whatever the handler is doing, and even if bytes are unread), and at the latest when the connection is
/// dropped. Messages that arrived before a FIN can still be read.
///
/// ```no_run
/// use tidegate_engine::block_on;
/// use tidegate_websocket::{self as websocket, WebSocket};
///
/// async fn handler(mut ws: WebSocket) -> websocket::Result {
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
    /// The key of its waker.
    number: u64,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// Whether the engine wakes the signal when the peer ends or the connection fails.
    watching: bool,
    numbers: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Closed {
    /// Returns whether the connection has ended.
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
        // A connection can have very many helpers, one after another.
        lock(&self.signal.state).waiting.retain(|(number, _)| *number != self.number);
    }
}

/// The connection's side. Dropping it completes every [`Closed`].
#[derive(Debug, Default)]
pub(crate) struct ClosedSource {
    signal: Arc<Signal>,
}

impl ClosedSource {
    /// Returns a future for the end of this connection.
    pub(crate) fn closed(&self, connection: &tidegate_engine::ByteSender) -> Closed {
        let watching = std::mem::replace(&mut lock(&self.signal.state).watching, true);
        if !watching {
            connection.wake_at_end(&Waker::from(Arc::clone(&self.signal)));
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

/// Called by the engine when the peer has ended or the connection has failed.
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
