//! The way back to a connection for work that runs elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tidegate_engine::CloseCause;

use super::{EventHandler, EventSocket};
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::serve::handler_error::Result;
use crate::sync::lock;

/// A call that waits for its connection.
pub(super) type Call<H> = Box<dyn FnOnce(&mut EventSocket<'_, H>, &mut <H as EventHandler>::State) -> Result + Send>;

/// The calls that were posted to one connection.
pub(super) struct Mailbox<H: EventHandler> {
    /// `None` once the connection has ended.
    calls: Mutex<Option<VecDeque<Call<H>>>>,
    /// See [`WebSocketConfig::posted_calls_max`](crate::WebSocketConfig::posted_calls_max).
    calls_max: usize,
}

impl<H: EventHandler> Mailbox<H> {
    pub(super) fn new(calls_max: usize) -> Arc<Self> {
        Arc::new(Self { calls: Mutex::new(Some(VecDeque::new())), calls_max })
    }

    /// Returns the number of calls that wait.
    pub(super) fn len(&self) -> usize {
        lock(&self.calls).as_ref().map_or(0, VecDeque::len)
    }

    /// Queues a call, if fewer than the maximum wait.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`]; [`Error::Closed`] once the connection has ended.
    pub(super) fn push(&self, call: Call<H>) -> std::result::Result<(), Error> {
        self.push_within(self.calls_max, call)
    }

    fn push_within(&self, calls_max: usize, call: Call<H>) -> std::result::Result<(), Error> {
        let mut call = Some(call);
        let refusal = match &mut *lock(&self.calls) {
            None => Error::Closed(CloseCause::Dropped),
            Some(calls) if calls.len() >= calls_max => Error::TooManyCalls,
            Some(calls) => {
                calls.extend(call.take());
                return Ok(());
            }
        };
        // Code of the application: dropped without the lock.
        drop(call);
        Err(refusal)
    }

    /// Takes the call that has waited longest.
    pub(super) fn next(&self) -> Option<Call<H>> {
        lock(&self.calls).as_mut()?.pop_front()
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.calls).is_none()
    }

    /// Drops the calls that wait, and refuses further ones.
    pub(super) fn end(&self) {
        let calls = lock(&self.calls).take();
        // They are code of the application: dropped without the lock.
        drop(calls);
    }
}

/// Identifies one connection of an event handler, for tasks and threads: they send to it, or [post](Self::post) a call
/// that runs with its state. Cloneable, usable from any thread. [`EventSocket::handle`] returns it.
pub struct EventHandle<H: EventHandler> {
    sender: Sender,
    mailbox: Arc<Mailbox<H>>,
    /// Polls the connection.
    waker: Waker,
}

impl<H: EventHandler> EventHandle<H> {
    pub(super) fn new(sender: Sender, mailbox: Arc<Mailbox<H>>, waker: Waker) -> Self {
        Self { sender, mailbox, waker }
    }

    /// Lets the connection's thread run `call` with the connection and its state, in order with its other calls. Its
    /// error closes the connection.
    ///
    /// While the outbound queue is [full](EventSocket::is_full), calls wait, as messages do, up to
    /// [`posted_calls_max`](crate::WebSocketConfig::posted_calls_max) of them. The answers of
    /// [spawned](EventSocket::spawn) work count, and are not refused, because messages wait too. A
    /// [pause](EventSocket::pause) does not hold calls. Those that wait when a close frame becomes due or the
    /// connection ends are dropped.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`]: the peer reads more slowly than calls are posted. [`Error::Closed`] once the connection
    /// has ended. The call is dropped.
    pub fn post(
        &self,
        call: impl FnOnce(&mut EventSocket<'_, H>, &mut H::State) -> Result + Send + 'static,
    ) -> std::result::Result<(), Error> {
        self.mailbox.push(Box::new(call))?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Posts the answer of spawned work, however many calls wait. An error means that the connection has ended.
    pub(super) fn answer(&self, call: Call<H>) -> std::result::Result<(), Error> {
        self.mailbox.push_within(usize::MAX, call)?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Returns whether the connection has ended: calls that are posted from now on fail.
    pub fn is_closed(&self) -> bool {
        self.mailbox.has_ended()
    }

    /// Returns the sending half of the connection.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }
}

impl<H: EventHandler> Clone for EventHandle<H> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), mailbox: Arc::clone(&self.mailbox), waker: self.waker.clone() }
    }
}

impl<H: EventHandler> fmt::Debug for EventHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHandle").field("sender", &self.sender).finish_non_exhaustive()
    }
}
