//! The content of an event stream: an async function that writes events, comments while it is silent, and the end.
//!
//! The function runs when the connection has space, as for every stream. While it waits, the stream looks at two more
//! things: whether the server drains, and whether a keep-alive comment is due.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use tidegate_engine::time::Sleep;

use super::event::{Event, InvalidEvent};
use super::sender::EventSender;
use crate::message::content_connection::ContentConnection;
use crate::message::content_stream::{ContentStream, LocalBoxFuture, StreamError};
use crate::message::response::{Response, ResponseBody};

/// The default time between comments: well below the 30 to 60 s after which proxies give up a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// # Event streams
impl Response {
    /// Creates a 200 with an event stream, as `text/event-stream`, that an async function writes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_engine::time;
    /// use tidegate_http::{Event, Request, Response, Router};
    ///
    /// /// Counts seconds, and continues where a client that reconnects had been.
    /// async fn clock(request: Request) -> Response {
    ///     let first = request.last_event_id().and_then(|id| id.parse().ok()).map_or(0, |id: u64| id + 1);
    ///     Response::sse(move |mut events| async move {
    ///         for second in first.. {
    ///             events.send(Event::data(format!("{second} s")).id(second.to_string())).await?;
    ///             time::sleep(Duration::from_secs(1)).await;
    ///         }
    ///         Ok(())
    ///     })
    /// }
    ///
    /// let app = Router::new().get("/clock", clock);
    /// ```
    ///
    /// The function is dropped at its next await when the client has gone, and when the server drains, unless it asks
    /// for that itself: see [`EventStream::draining`]. The stream ends when the function returns. A client that
    /// finds its stream ended connects again; to stop it, answer the next request with 204.
    ///
    /// A comment is sent after 15 s of silence; [`EventStream::set_keep_alive`] changes that. Proxies are asked not to
    /// cache and not to buffer (`Cache-Control: no-cache`, `X-Accel-Buffering: no`).
    pub fn sse<F, Fut>(produce: F) -> Response
    where
        F: FnOnce(EventStream) -> Fut,
        Fut: Future<Output = Result<(), StreamError>> + 'static,
    {
        let shared = Rc::new(Shared::default());
        let producer = Box::pin(produce(EventStream { shared: Rc::clone(&shared) }));
        let content = EventContent { shared, producer: Some(producer), silence: None };
        Response::new(http::StatusCode::OK)
            .with_header(header::CONTENT_TYPE, EVENT_STREAM)
            .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            .with_header(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))
            .with_body(ResponseBody::Stream(Box::new(content)))
    }
}

/// The writing end of an event stream, given to the async function of [`Response::sse`].
pub struct EventStream {
    shared: Rc<Shared>,
}

/// What the function and the stream share.
struct Shared {
    /// The event that the connection takes next.
    next: RefCell<Option<Bytes>>,
    /// The writer that waits until it is taken.
    writer: RefCell<Option<Waker>>,
    connection: OnceCell<ContentConnection>,
    keep_alive: Cell<Option<Duration>>,
    /// Whether the function watches for the drain itself.
    watches_drain: Cell<bool>,
    /// Those who wait for the drain. Empty once it has begun.
    drain_waiters: RefCell<Vec<Waker>>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            next: RefCell::default(),
            writer: RefCell::default(),
            connection: OnceCell::new(),
            keep_alive: Cell::new(Some(KEEP_ALIVE)),
            watches_drain: Cell::new(false),
            drain_waiters: RefCell::default(),
        }
    }
}

impl EventStream {
    /// Sends an event. Completes when the connection has taken it: a slow client slows down the function.
    ///
    /// # Errors
    /// [`InvalidEvent`]; nothing is sent then.
    pub async fn send(&mut self, event: Event) -> Result<(), InvalidEvent> {
        // The stream adds the chunk's framing.
        let mut event = Some(event.encode(false)?);
        poll_fn(|cx| {
            let mut next = self.shared.next.borrow_mut();
            if next.is_none() {
                *next = event.take();
            }
            if next.is_none() {
                return Poll::Ready(());
            }
            *self.shared.writer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(())
    }

    /// Returns a sender for other threads, and for a hub to publish to. The connection then ends with the stream.
    ///
    /// # Errors
    /// If middleware has wrapped the content of the response, such as to compress it: events of others cannot be put
    /// into it.
    pub fn sender(&self) -> Result<EventSender, StreamError> {
        let content = self.shared.connection.get().and_then(ContentConnection::share);
        let content = content.ok_or_else(|| {
            StreamError::new("the event stream cannot be shared: middleware has wrapped the content of its response")
        })?;
        Ok(EventSender::new(content))
    }

    /// Sets the time of silence after which a comment is sent, which keeps proxies from giving up the connection and
    /// shows a client that vanished. `None` sends none. Default 15 s. Events of other [senders](EventStream::sender)
    /// do not count.
    pub fn set_keep_alive(&mut self, interval: Option<Duration>) {
        self.shared.keep_alive.set(interval.filter(|interval| !interval.is_zero()));
    }

    /// Returns whether a graceful shutdown of the server has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.connection.get().is_some_and(ContentConnection::is_draining)
    }

    /// Waits until a graceful shutdown of the server begins. A function that has called this is not dropped then: it
    /// can send last events until the shutdown's deadline.
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use std::pin::pin;
    /// use std::task::Poll;
    /// use tidegate_http::{Event, Response};
    ///
    /// let response = Response::sse(|mut events| async move {
    ///     // Other threads or a hub send until then.
    ///     let sender = events.sender()?;
    ///     events.draining().await;
    ///     events.send(Event::data("see you at another server").name("goodbye")).await?;
    ///     Ok(())
    /// });
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + use<> {
        self.shared.watches_drain.set(true);
        let shared = Rc::clone(&self.shared);
        poll_fn(move |cx| {
            if shared.connection.get().is_some_and(ContentConnection::is_draining) {
                return Poll::Ready(());
            }
            let mut waiters = shared.drain_waiters.borrow_mut();
            if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("is_draining", &self.is_draining()).finish_non_exhaustive()
    }
}

/// The reading end: runs the function when its content is polled.
struct EventContent {
    shared: Rc<Shared>,
    producer: Option<LocalBoxFuture<'static, Result<(), StreamError>>>,
    /// The wait for the next comment, and when it is due.
    silence: Option<(Sleep, Instant)>,
}

impl EventContent {
    /// Runs the function. Returns its next event, or the end.
    fn poll_producer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        let Some(producer) = &mut self.producer else { return Poll::Ready(None) };
        let polled = producer.as_mut().poll(cx);
        if let Poll::Ready(result) = polled {
            self.producer = None;
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
        }
        let next = self.shared.next.borrow_mut().take();
        if next.is_some() {
            wake_others(self.shared.writer.borrow_mut().take(), cx);
        }
        match next {
            Some(event) => Poll::Ready(Some(Ok(event))),
            None if self.producer.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Waits for the time of the next comment, which is counted from the last poll that had an event.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(interval) = self.shared.keep_alive.get() else {
            self.silence = None;
            return Poll::Pending;
        };
        let (sleep, _) = match &mut self.silence {
            Some(silence) => silence,
            none => {
                let timer = self.shared.connection.get().and_then(ContentConnection::timer);
                let Some(timer) = timer else { return Poll::Pending };
                let due = timer.now() + interval;
                none.insert((timer.sleep_until(due), due))
            }
        };
        let polled = Pin::new(sleep).poll(cx);
        if polled.is_ready() {
            self.silence = None;
        }
        polled
    }
}

impl ContentStream for EventContent {
    fn begin(&mut self, connection: ContentConnection) {
        // A second call cannot happen; it would change nothing.
        let _ = self.shared.connection.set(connection);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        if self.shared.connection.get().is_some_and(ContentConnection::is_draining) {
            if !self.shared.watches_drain.get() {
                self.producer = None;
                return Poll::Ready(None);
            }
            let waiters = std::mem::take(&mut *self.shared.drain_waiters.borrow_mut());
            waiters.into_iter().for_each(|waiter| wake_others(Some(waiter), cx));
        }
        let polled = self.poll_producer(cx);
        if polled.is_ready() {
            self.silence = None;
            return polled;
        }
        match self.poll_silence(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Ok(Bytes::from_static(b": keep-alive\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Wakes a part of the function that has its own waker. The task's own is polled anyway.
fn wake_others(waker: Option<Waker>, cx: &Context<'_>) {
    if let Some(waker) = waker.filter(|waker| !waker.will_wake(cx.waker())) {
        waker.wake();
    }
}
