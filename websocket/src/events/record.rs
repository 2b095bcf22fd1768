//! One connection of an event handler: its session, its application's state, and the order of the calls.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker, ready};

use tidegate_engine::{Address, COPY_BYTES_MAX, Chunk};
use tidegate_http::__private::panic_message;
use tidegate_http::HandlerName;

use super::EventHandler;
use super::close_event::CloseEvent;
use super::flow::{ABORTED, CLOSE_DUE, Change, FULL, Flow, HAS_MAILBOX, PAUSED};
use super::socket::EventSocket;
use crate::close_code::CloseCode;
use crate::conn::handler_scope::handler_scope;
use crate::conn::session::{Around, Arrived, IdleSession, IdleState, Session};
use crate::error::Error;
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::message::MessageRef;
use crate::protocol::short_frame;
use crate::role::Role;
use crate::serve::handler_error::{HandlerError, Result};
use crate::serve::task::closing_frame;

/// One connection.
///
/// ```text
///        on_open              peer closed, lost                      on_close
///   New ─────────▶ Open ──────────────────────────────────▶ (over) ──────────▶ (gone)
///    │ error        │ error, close()                           ▲
///    └──────────────┴────▶ Closing: our frame, then ───────────┘
///                          the peer's; messages are dropped
/// ```
pub(super) struct Record<H: EventHandler> {
    session: Resting,
    flow: Flow<H>,
    /// How far an idle session has come.
    idle_state: IdleState,
    phase: Phase<H::State>,
}

/// The session between two polls.
enum Resting {
    /// Between two messages, nearly always.
    Idle(IdleSession),
    /// Inside a message, or with state that lasts. `None` while it is polled, and after its end: with a third variant
    /// the tag would take a word.
    Active(Option<Box<Session>>),
}

impl Resting {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Active(None))
    }
}

/// What the delivery from chunks leaves to a session.
#[derive(Default)]
struct Left {
    chunk: Option<Chunk>,
    /// The last message was text and is not UTF-8.
    refuses_text: bool,
    panic: Option<Panic>,
}

type Panic = Box<dyn Any + Send>;

/// Maximum payload of a message that is delivered from its chunk: longer ones can take over the chunk's memory.
const SHORT_BYTES_MAX: u64 = (COPY_BYTES_MAX - FRAME_HEADER_BYTES_MAX) as u64;

/// Maximum chunks in a row before other connections are served, as for async handlers.
const CHUNKS_MAX: u8 = 8;

/// What the application has of the connection: its state exists from `on_open` to `on_close`. In one enum with the
/// phase, which takes a word less than next to it.
enum Phase<S> {
    New,
    Open(S),
    /// `on_open` has failed, and the close frame is due.
    Refused,
    /// The close frame is sent or underway.
    Closing(S),
    /// As `Closing`, without state.
    Over,
}

impl<S> Phase<S> {
    fn state_mut(&mut self) -> Option<&mut S> {
        match self {
            Self::Open(state) | Self::Closing(state) => Some(state),
            Self::New | Self::Refused | Self::Over => None,
        }
    }

    fn begin_closing(&mut self) {
        *self = self.take_state().map_or(Self::Over, Self::Closing);
    }

    /// Takes the state. Nothing is delivered any more.
    fn take_state(&mut self) -> Option<S> {
        match std::mem::replace(self, Self::Over) {
            Self::Open(state) | Self::Closing(state) => Some(state),
            Self::New | Self::Refused | Self::Over => None,
        }
    }
}

impl<H: EventHandler> Record<H> {
    pub(super) fn new(mut session: Box<Session>) -> Self {
        session.surface_control_frames();
        let idle_state = session.idle_state();
        Self { session: rest(session), flow: Flow::new(), idle_state, phase: Phase::New }
    }

    /// Serves the connection as far as possible. Ready once it has ended and everything of it is dropped.
    #[inline]
    pub(super) fn poll(&mut self, handler: &H, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = Left::default();
        if let Resting::Idle(idle) = &self.session
            && matches!(self.phase, Phase::Open(_))
            && idle.is_open(self.idle_state)
            && self.flow.is_at_rest()
        {
            match self.serve(cx, |record, cx| record.poll_chunks(handler, cx, &mut left)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(panic) => left.panic = Some(panic),
            }
        }
        self.poll_left(handler, cx, left)
    }

    /// Serves the connection with a session.
    #[inline(never)]
    fn poll_left(&mut self, handler: &H, cx: &mut Context<'_>, left: Left) -> Poll<()> {
        match self.session.take() {
            Resting::Idle(idle) => {
                let mut session = idle.into_session(self.idle_state);
                left.chunk.into_iter().for_each(|chunk| session.connection.unread(chunk));
                if let Some(panic) = left.panic {
                    self.end_after_panic(&mut session, &*panic);
                    session.end();
                    return Poll::Ready(());
                }
                if left.refuses_text {
                    let error = session.refuse_text();
                    self.fail(&session, error.into());
                }
                if self.poll_session(&mut session, handler, cx).is_ready() {
                    session.end();
                    return Poll::Ready(());
                }
                self.idle_state = session.idle_state();
                self.session = match session.is_idle() {
                    true => Resting::Idle(session.into_idle()),
                    false => Resting::Active(Some(Box::new(session))),
                };
                Poll::Pending
            }
            Resting::Active(Some(mut session)) => {
                if self.poll_session(&mut session, handler, cx).is_ready() {
                    session.end();
                    return Poll::Ready(());
                }
                self.idle_state = session.idle_state();
                self.session = rest(session);
                Poll::Pending
            }
            Resting::Active(None) => Poll::Ready(()),
        }
    }

    /// Serves the connection with a session. Ready once it has ended.
    fn poll_session(&mut self, session: &mut Session, handler: &H, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.serve(cx, |record, cx| record.poll_phase(session, handler, cx));
        polled.unwrap_or_else(|panic| {
            self.end_after_panic(session, &*panic);
            Poll::Ready(())
        })
    }

    /// Runs calls in the name of the connection's waker, whose publications to hubs are then ordered with its sends.
    ///
    /// # Errors
    /// The panic of a call.
    #[inline]
    fn serve<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> R,
    ) -> std::result::Result<R, Panic> {
        let (polled, dropped) = handler_scope(cx, |cx| catch_unwind(AssertUnwindSafe(|| poll(self, cx))));
        if !dropped.is_empty() {
            // Other WebSockets that a call has dropped.
            dropped.into_iter().for_each(|session| session.close_and_forget(CloseCode::NORMAL));
        }
        polled
    }

    /// Delivers short messages straight from the received chunks, nearly all of them. Ready where a session has to go
    /// on, with what is left for it.
    #[inline]
    fn poll_chunks(&mut self, handler: &H, cx: &mut Context<'_>, left: &mut Left) -> Poll<()> {
        let Resting::Idle(idle) = &mut self.session else { return Poll::Ready(()) };
        for _ in 0..CHUNKS_MAX {
            let Some(mut chunk) = ready!(idle.poll_chunk(cx, self.idle_state)) else { return Poll::Ready(()) };
            let (around, len) = (idle.around(), chunk.len());
            let message_bytes_max = around.context.config.message_bytes_max.min(SHORT_BYTES_MAX);
            let mut begin = 0;
            while begin < len {
                let Some(frame) = short_frame(&mut chunk[begin..], Role::Server, message_bytes_max) else { break };
                let payload = &chunk[begin..][frame.range()];
                begin += frame.end() as usize;
                let Some(message) = MessageRef::of_kind(frame.kind(), payload) else {
                    left.refuses_text = true;
                    return Poll::Ready(());
                };
                let Phase::Open(state) = &mut self.phase else { return Poll::Ready(()) };
                let mut ws = EventSocket { handler, around, flow: &mut self.flow, waker: cx.waker() };
                if let Err(error) = handler.on_message(&mut ws, state, message) {
                    fail(&mut self.flow, around.sender.peer_addr(), error);
                }
                if self.flow.needs_attention() {
                    break;
                }
            }
            if begin < len || self.flow.needs_attention() {
                chunk.advance(begin);
                left.chunk = Some(chunk);
                return Poll::Ready(());
            }
        }
        // Others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_phase(&mut self, session: &mut Session, handler: &H, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.phase, Phase::New) {
            self.open(session, handler, cx.waker());
        }
        // Those that are posted meanwhile have a poll of their own.
        let mut posted = if self.flow.has(HAS_MAILBOX) { self.flow.posted() } else { 0 };
        loop {
            let needs_attention = self.flow.needs_attention();
            if needs_attention && !ready!(self.poll_attention(session, handler, cx)) {
                break;
            }
            if posted > 0 {
                posted -= 1;
                self.run_posted(session, handler, cx.waker());
                continue;
            }
            if needs_attention {
                ready!(self.poll_pause(session, cx));
            }
            let delivered = if let Phase::Open(state) = &mut self.phase {
                let (flow, waker) = (&mut self.flow, cx.waker());
                let call = |arrived: Arrived<'_>, around: Around<'_>| {
                    // Another sender can have queued the close frame; messages go on until the peer's.
                    let mut ws = EventSocket { handler, around, flow, waker };
                    match arrived {
                        Arrived::Message(message) => handler.on_message(&mut ws, state, message),
                        Arrived::Ping(payload) => handler.on_ping(&mut ws, state, payload),
                        Arrived::Pong(payload) => handler.on_pong(&mut ws, state, payload),
                    }
                };
                ready!(session.poll_deliver(cx, call))
            } else {
                ready!(session.poll_deliver(cx, |_, _| Ok(())))
            };
            match delivered {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(error))) => self.fail(session, error),
                Ok(None) => break,
                Err(error) if matches!(self.phase, Phase::Open(_)) => {
                    self.on_error(session, handler, cx.waker(), error)
                }
                // An error of a control handler leaves the connection as it was.
                Err(_) if !session.is_over() => {}
                Err(error) => {
                    log::debug!("the closing handshake was not completed: {error}");
                    if self.flow.has(ABORTED) {
                        self.flow.extra_mut().error.get_or_insert_with(|| error.into());
                    }
                    break;
                }
            }
        }
        self.close(session, handler);
        Poll::Ready(())
    }

    fn open(&mut self, session: &Session, handler: &H, waker: &Waker) {
        self.phase = Phase::Refused;
        let mut ws = EventSocket { handler, around: session.around(), flow: &mut self.flow, waker };
        match handler.on_open(&mut ws) {
            Ok(state) => self.phase = Phase::Open(state),
            Err(error) => self.fail(session, error),
        }
    }

    /// Calls a function of the application outside of a read. Its error closes the connection.
    fn call(
        &mut self,
        session: &Session,
        handler: &H,
        waker: &Waker,
        call: impl FnOnce(&mut EventSocket<'_, H>, &mut H::State) -> Result,
    ) {
        let Some(state) = self.phase.state_mut() else { return };
        let mut ws = EventSocket { handler, around: session.around(), flow: &mut self.flow, waker };
        if let Err(error) = call(&mut ws, state) {
            self.fail(session, error);
        }
    }

    /// Runs the next call of a handle.
    #[cold]
    fn run_posted(&mut self, session: &Session, handler: &H, waker: &Waker) {
        if let Some(posted) = self.flow.next_posted() {
            self.call(session, handler, waker, posted);
        }
    }

    /// Does what calls have left to be done. Ready with false if the connection is over.
    #[cold]
    fn poll_attention(&mut self, session: &mut Session, handler: &H, cx: &mut Context<'_>) -> Poll<bool> {
        for change in self.flow.take_changes() {
            match change {
                Change::ReadDeadline(deadline) => session.set_read_deadline(deadline),
                Change::IdleTimeout(timeout) => session.set_idle_timeout(timeout),
                Change::WriteTimeout(timeout) => session.connection.set_write_timeout(timeout),
                Change::Keepalive(keepalive) => session.set_keepalive(keepalive),
                Change::MessageBytesMax(bytes) => session.protocol.set_message_bytes_max(bytes),
                Change::ReservedBits(bits) => session.allow_reserved_bits(bits),
                Change::Attach(attachments) => session.attach(attachments),
            }
        }
        if self.flow.has(CLOSE_DUE) {
            return self.poll_close_due(session, cx);
        }
        if self.flow.has(FULL) {
            // An error means that nothing more will be sent: reading reports it.
            let is_drained = ready!(session.connection.sender().poll_ready(cx, 0)).is_ok();
            self.flow.clear(FULL);
            if is_drained {
                self.call(session, handler, cx.waker(), |ws, state| handler.on_drained(ws, state));
                // It can have sent again.
                if self.flow.needs_attention() {
                    return self.poll_attention(session, handler, cx);
                }
            }
        }
        Poll::Ready(true)
    }

    /// Waits while the application has paused the delivery. A call of a handle resumes it. The pause also ends when the
    /// connection fails, and when another sender or a shutdown has queued a close frame, whose answer is then read.
    #[cold]
    fn poll_pause(&mut self, session: &mut Session, cx: &mut Context<'_>) -> Poll<()> {
        if self.flow.has(PAUSED) {
            let failed = session.connection.poll_failure(cx).is_ready();
            // Looked at last: a close frame that is queued before the wait begins wakes nothing.
            if !failed && !session.connection.sender().is_finished() {
                return Poll::Pending;
            }
            self.flow.clear(PAUSED);
        }
        Poll::Ready(())
    }

    /// Sends the close frame, unless the connection is reset. Ready with whether something is to be read: the peer's
    /// close frame, or the end.
    fn poll_close_due(&mut self, session: &mut Session, cx: &mut Context<'_>) -> Poll<bool> {
        let goes_on = if self.flow.has(ABORTED) {
            true
        } else if self.flow.extra().is_some_and(|extra| extra.quits) {
            session.quit();
            false
        } else {
            let frame = self.flow.extra().and_then(|extra| extra.close.as_ref());
            ready!(session.poll_begin_close(cx, frame)).unwrap_or(false)
        };
        self.flow.clear(CLOSE_DUE | FULL | PAUSED);
        self.phase.begin_closing();
        Poll::Ready(goes_on)
    }

    /// Handles an error of a read.
    #[cold]
    fn on_error(&mut self, session: &mut Session, handler: &H, waker: &Waker, error: Error) {
        if !matches!(error, Error::ReadDeadline) {
            return self.fail(session, error.into());
        }
        session.set_read_deadline(None);
        self.call(session, handler, waker, |ws, state| handler.on_deadline(ws, state));
    }

    fn fail(&mut self, session: &Session, error: HandlerError) {
        fail(&mut self.flow, session.connection.peer_addr(), error);
    }

    /// Calls `on_close`, then drops what the application has of the connection.
    fn close(&mut self, session: &Session, handler: &H) {
        if let Some(state) = self.phase.take_state() {
            let extra = self.flow.extra();
            let error = extra.and_then(|extra| extra.error.as_ref());
            let registration = extra.and_then(|extra| extra.registration.as_ref());
            handler.on_close(state, &CloseEvent::new(session, error, registration));
        }
        self.flow.end();
    }

    #[cold]
    fn end_after_panic(&mut self, session: &mut Session, panic: &(dyn Any + Send)) {
        let (name, peer) = (HandlerName::current(), session.connection.peer_addr());
        log::error!("{name} panicked and its connection with {peer} is closed: {}", panic_message(panic));
        if let Some(attachments) = session.attachments() {
            attachments.note_panic();
        }
        session.close_at_end(CloseCode::INTERNAL_ERROR);
        let (state, flow) = (self.phase.take_state(), &mut self.flow);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            drop(state);
            flow.end();
        }));
        if let Err(panic) = dropped {
            log::error!("{name}'s destructor panicked: {}", panic_message(&*panic));
        }
    }

    /// Ends a connection that is served no more, because its thread ends.
    pub(super) fn end(&mut self, handler: &H) {
        let mut session = match self.session.take() {
            Resting::Idle(idle) => Box::new(idle.into_session(self.idle_state)),
            Resting::Active(Some(session)) => session,
            Resting::Active(None) => return,
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.close(&session, handler))) {
            self.end_after_panic(&mut session, &*panic);
        }
        session.close_at_end(CloseCode::GOING_AWAY);
        session.end();
    }
}

/// Makes the close frame for an error due.
#[cold]
fn fail<H: EventHandler>(flow: &mut Flow<H>, peer: Address, error: HandlerError) {
    let result: Result = Err(error);
    let frame = closing_frame(&result, Some(peer));
    flow.close(frame);
    let extra = flow.extra_mut();
    if extra.error.is_none() {
        extra.error = result.err();
    }
}

/// Puts a session aside.
fn rest(session: Box<Session>) -> Resting {
    if session.is_idle() { Resting::Idle(session.into_idle()) } else { Resting::Active(Some(session)) }
}
