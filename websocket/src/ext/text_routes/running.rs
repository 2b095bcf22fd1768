//! The requests of one connection that are being answered.
//!
//! Each has a place with its own waker, so a request that waits is polled only when it is woken, and a response that
//! waits for space is a task apart from the others: a handler can send a stream to its own connection meanwhile.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::{Answer, TextRoutes};
use crate::conn::extensions::Extensions;
use crate::conn::send::SendMessage;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::message::Message;

/// The requests of a connection that are being answered.
pub(super) struct Running<'r> {
    routes: &'r TextRoutes,
    sender: &'r Sender,
    extensions: Extensions,
    /// The task that polls.
    task: Arc<Mutex<Option<Waker>>>,
    /// Grows up to the bound of the routes.
    places: Vec<Place<'r>>,
}

struct Place<'r> {
    work: Work<'r>,
    signal: Arc<Signal>,
}

enum Work<'r> {
    None,
    Answering(Answer<'r>),
    Sending(SendMessage<'r>),
}

/// Wakes the task for one place.
struct Signal {
    is_woken: AtomicBool,
    task: Arc<Mutex<Option<Waker>>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        let task = crate::sync::lock(&self.task).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<'r> Running<'r> {
    pub(super) fn new(routes: &'r TextRoutes, sender: &'r Sender, extensions: Extensions) -> Self {
        Self { routes, sender, extensions, task: Arc::default(), places: Vec::new() }
    }

    /// Polls the requests that were woken.
    ///
    /// # Errors
    /// Those of sending a response.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut task = crate::sync::lock(&self.task);
        match &mut *task {
            Some(known) => known.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
        drop(task);
        for place in &mut self.places {
            if place.signal.is_woken.swap(false, Ordering::Acquire) {
                place.poll(self.sender)?;
            }
        }
        Ok(())
    }

    /// Returns whether another request can begin.
    pub(super) fn has_space(&self) -> bool {
        self.places.len() < self.routes.running_max || self.places.iter().any(Place::is_free)
    }

    /// Begins to answer a message. There must be space.
    ///
    /// # Errors
    /// Those of sending the response.
    pub(super) fn begin(&mut self, message: &Message) -> Result<(), Error> {
        let answer = match message.as_text() {
            Some(text) => self.routes.begin(text, &self.extensions),
            None => Answer::Done(super::bad_request(0, "a request is a text message")),
        };
        let free = self.places.iter().position(Place::is_free).unwrap_or(self.places.len());
        if free == self.places.len() {
            let signal = Signal { is_woken: AtomicBool::new(false), task: Arc::clone(&self.task) };
            self.places.push(Place { work: Work::None, signal: Arc::new(signal) });
        }
        let place = &mut self.places[free];
        place.work = Work::Answering(answer);
        place.poll(self.sender)
    }
}

impl<'r> Place<'r> {
    fn is_free(&self) -> bool {
        matches!(self.work, Work::None)
    }

    fn poll(&mut self, sender: &'r Sender) -> Result<(), Error> {
        let waker = Waker::from(Arc::clone(&self.signal));
        let cx = &mut Context::from_waker(&waker);
        loop {
            match &mut self.work {
                Work::None => return Ok(()),
                Work::Answering(answer) => match answer.poll(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(response) => self.work = Work::Sending(sender.send(response)),
                },
                Work::Sending(send) => match Pin::new(send).poll(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(sent) => {
                        self.work = Work::None;
                        return sent;
                    }
                },
            }
        }
    }
}
