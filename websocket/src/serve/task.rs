//! The task of a WebSocket: runs its handler, then the closing handshake, with the connection's hooks around both.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_engine::{Address, ByteSender, Connection, succeed};
use tidegate_http::{HandlerName, LocalBoxFuture, SharedAcrossThreads};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::attachments::Attachments;
use crate::conn::context::ConnContext;
use crate::conn::handler_scope::handler_scope;
use crate::conn::session::OwnedSession;
use crate::conn::websocket::WebSocket;
use crate::serve::handler_error::HandlerError;
use crate::serve::hooks::Hooks;

/// A handler without its type.
pub(crate) trait Serve: Send + Sync {
    /// Starts the handler on one WebSocket.
    fn serve(self: Arc<Self>, connection: Connection, context: Arc<ConnContext>) -> LocalBoxFuture<'static, ()>;

    /// Starts the handler with the hooks before and after it. `context` is this connection's own.
    fn serve_with_hooks(
        self: Arc<Self>,
        connection: Connection,
        context: Arc<ConnContext>,
        attachments: Arc<Attachments>,
        hooks: Arc<Hooks>,
    ) -> LocalBoxFuture<'static, ()>;
}

impl<F: AsyncFn(WebSocket) -> Result<(), HandlerError> + SharedAcrossThreads> Serve for F {
    fn serve(self: Arc<F>, connection: Connection, context: Arc<ConnContext>) -> LocalBoxFuture<'static, ()> {
        let sender = connection.sender().clone();
        go_on(&sender, start(self, WebSocket::with_context(connection, context)))
    }

    fn serve_with_hooks(
        self: Arc<F>,
        connection: Connection,
        context: Arc<ConnContext>,
        attachments: Arc<Attachments>,
        hooks: Arc<Hooks>,
    ) -> LocalBoxFuture<'static, ()> {
        let sender = connection.sender().clone();
        go_on(&sender, serve_with_hooks(connection, context, attachments, self, hooks))
    }
}

/// Makes `task` the task of the connection instead of the HTTP task. In a box inside of that it would be a second block
/// of memory. Returns what is left for the HTTP task to do.
fn go_on(sender: &ByteSender, task: impl Future<Output = ()> + 'static) -> LocalBoxFuture<'static, ()> {
    // (The engine keeps the name of the handler for its own task.)
    match succeed(sender, task) {
        Ok(()) => Box::pin(ready(())),
        Err(task) => Box::pin(NamedTask { task, name: HandlerName::current() }),
    }
}

async fn serve_with_hooks<F>(
    connection: Connection,
    context: Arc<ConnContext>,
    attachments: Arc<Attachments>,
    handler: Arc<F>,
    hooks: Arc<Hooks>,
) where
    F: AsyncFn(WebSocket) -> Result<(), HandlerError> + 'static,
{
    // Dropped last: the end is reported after everything of the handler is gone.
    let panic_note = PanicNote(attachments);
    let mut ws = WebSocket::with_context(connection, context);
    if !connect(&mut ws, &panic_note.0, &hooks).await {
        return;
    }
    drop(hooks);
    start(handler, ws).await;
}

/// Runs the hooks of a WebSocket that has opened. Returns false if it was refused and closed.
pub(crate) async fn connect(ws: &mut WebSocket, attachments: &Attachments, hooks: &Hooks) -> bool {
    if let Some(connect) = &hooks.connect
        && let Err(refusal) = connect.connect(ws).await
    {
        log::info!("on_connect refused the WebSocket of {}: {refusal}", ws.peer_addr());
        if let Err(error) = ws.session_mut().close(refusal.frame(CloseCode::POLICY_VIOLATION).as_ref()).await {
            log::debug!("the closing handshake was not completed: {error}");
        }
        return false;
    }
    if let Some(disconnect) = &hooks.disconnect {
        attachments.set_on_disconnect(ws.peer_addr(), Arc::clone(disconnect));
    }
    true
}

/// The task's share of a connection's attachments. Dropping it notes a panic of the task.
struct PanicNote(Arc<Attachments>);

impl Drop for PanicNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note_panic();
        }
    }
}

/// Calls the handler. Its future borrows from the handler, and the task keeps the two together.
#[allow(unsafe_code, reason = "a future that borrows from its neighbour costs 24 bytes less a connection")]
fn start<T, F>(
    handler: Arc<F>,
    argument: T,
) -> WebSocketTask<impl Future<Output = Result<(), HandlerError>> + use<T, F>, F>
where
    T: 'static,
    F: AsyncFn(T) -> Result<(), HandlerError> + 'static,
{
    // SAFETY: the reference is valid while the `Arc` lives, and `WebSocketTask::Running` holds the `Arc` next to
    // the future that borrows from it. Neither leaves that variant. The future is declared, and so dropped, before the
    // `Arc`; a task that is leaked leaks both. The 'static lifetime does not reach the application: the body of a
    // closure is checked for every lifetime of its captures, and its output has no borrow.
    let borrowed: &'static F = unsafe { &*Arc::as_ptr(&handler) };
    // A handler that drops its WebSocket before it returns a future leaves nothing to close.
    WebSocketTask::Running { future: borrowed(argument), handler }
}

pin_project_lite::pin_project! {
    /// A task inside of the HTTP task, with the name of its handler.
    struct NamedTask<T> {
        #[pin]
        task: T,
        name: HandlerName,
    }
}

impl<T: Future<Output = ()>> Future for NamedTask<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // The engine logs panics with it.
        this.name.enter();
        this.task.poll(cx)
    }
}

pin_project_lite::pin_project! {
    /// The handler on one WebSocket, then the closing handshake. Written out because an async block would hold the
    /// handler's future twice, for each of very many idle connections. Two variants only: the pointer to the handler
    /// then serves as the tag.
    #[project = TaskProjection]
    enum WebSocketTask<Fut, F> {
        Running {
            #[pin]
            future: Fut,
            handler: Arc<F>,
        },
        // `None`: there is nothing left to do.
        Closing { handshake: Option<LocalBoxFuture<'static, ()>> },
    }
}

impl<Fut: Future<Output = Result<(), HandlerError>>, F> Future for WebSocketTask<Fut, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let TaskProjection::Running { .. } = self.as_mut().project() {
            let (polled, mut dropped) = handler_scope(cx, |cx| self.as_mut().poll_handler(cx));
            let Poll::Ready(result) = polled else {
                // Dropped while the handler goes on: closed now, not when the handler returns.
                dropped.into_iter().for_each(|session| session.close_and_forget(CloseCode::NORMAL));
                return Poll::Pending;
            };
            let frame = closing_frame(&result, dropped.last().map(|session| session.connection.peer_addr()));
            let code = frame.as_ref().map_or(CloseCode::NORMAL, CloseFrame::code);
            let Some(session) = dropped.pop() else { return Poll::Ready(()) };
            dropped.into_iter().for_each(|session| session.close_and_forget(code));
            self.set(Self::Closing { handshake: Some(Box::pin(finish(session, frame))) });
        }
        match self.project() {
            TaskProjection::Closing { handshake: Some(handshake) } => handshake.as_mut().poll(cx),
            TaskProjection::Running { .. } | TaskProjection::Closing { handshake: None } => Poll::Ready(()),
        }
    }
}

impl<Fut: Future<Output = Result<(), HandlerError>>, F> WebSocketTask<Fut, F> {
    /// Polls the handler, and drops it once it is done, with the WebSocket that it can still hold.
    fn poll_handler(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        let TaskProjection::Running { future, .. } = self.as_mut().project() else { return Poll::Pending };
        let polled = future.poll(cx);
        if polled.is_ready() {
            self.set(Self::Closing { handshake: None });
        }
        polled
    }
}

/// Returns the close frame for the handler's result, and logs an error that closes with 1011. `peer` is `None` if the
/// handler gave its WebSocket away or ended it.
pub(crate) fn closing_frame(result: &Result<(), HandlerError>, peer: Option<Address>) -> Option<CloseFrame> {
    let Err(error) = result else { return CloseFrame::new(CloseCode::NORMAL, "").ok() };
    let frame = error.frame(CloseCode::INTERNAL_ERROR);
    if frame.as_ref().is_some_and(|frame| frame.code() == CloseCode::INTERNAL_ERROR) {
        let peer = peer.map_or_else(|| "a peer that is gone".to_owned(), |peer| peer.to_string());
        log::warn!("{} failed on the WebSocket of {peer}: {error}", HandlerName::current());
    }
    frame
}

/// Sends the close frame, unless one was sent, and waits for the peer's.
async fn finish(mut session: OwnedSession, frame: Option<CloseFrame>) {
    if let Err(error) = session.close(frame.as_ref()).await {
        log::debug!("the closing handshake was not completed: {error}");
    }
}

#[cfg(test)]
mod tests;
