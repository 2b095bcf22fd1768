//! The task of a WebSocket: runs its handler, then the closing handshake, with the connection's hooks around both.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_engine::Connection;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::attachments::Attachments;
use crate::conn::context::ConnContext;
use crate::conn::handler_scope::handler_scope;
use crate::conn::session::Session;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::serve::hooks::Hooks;

/// Starts the handler on one WebSocket.
pub(crate) fn serve<F, Fut>(connection: Connection, context: Arc<ConnContext>, handler: &F) -> WebSocketTask<Fut>
where
    F: Fn(WebSocket) -> Fut,
{
    // A handler that drops its WebSocket before it returns a future leaves nothing to close.
    WebSocketTask::Running { handler: handler(WebSocket::with_context(connection, context)) }
}

/// Starts the handler with the hooks before and after it. `context` is this connection's own.
pub(crate) async fn serve_hooked<F, Fut>(
    connection: Connection,
    context: Arc<ConnContext>,
    attachments: Arc<Attachments>,
    handler: Arc<F>,
    hooks: Arc<Hooks>,
) where
    F: Fn(WebSocket) -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    // Dropped last: the end is reported after everything of the handler is gone.
    let panic_note = PanicNote(attachments);
    let mut ws = WebSocket::with_context(connection, context);
    if let Some(connect) = &hooks.connect
        && let Err(refusal) = connect.connect(&mut ws).await
    {
        log::debug!("a websocket was refused after its handshake: {refusal:?}");
        if let Err(error) = ws.close_with(refusal.frame()).await {
            log::debug!("closing handshake: {error}");
        }
        return;
    }
    if let Some(disconnect) = &hooks.disconnect {
        panic_note.0.set_on_disconnect(ws.peer_addr(), Arc::clone(disconnect));
    }
    drop(hooks);
    WebSocketTask::Running { handler: handler(ws) }.await;
}

/// The task's share of a connection's attachments: notes a panic of the task.
struct PanicNote(Arc<Attachments>);

impl Drop for PanicNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note_panic();
        }
    }
}

pin_project_lite::pin_project! {
    /// The handler on one WebSocket, then the closing handshake. Written out because an async block would hold the
    /// handler's future twice, for each of very many idle connections.
    #[project = TaskProjection]
    pub(crate) enum WebSocketTask<Fut> {
        Running {
            #[pin]
            handler: Fut,
        },
        Closing { handshake: Pin<Box<dyn Future<Output = ()>>> },
        Ended,
    }
}

impl<Fut: Future<Output = Result<(), Error>>> Future for WebSocketTask<Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let TaskProjection::Running { .. } = self.as_mut().project() {
            let (polled, mut dropped) = handler_scope(|| self.as_mut().poll_handler(cx));
            let Poll::Ready(result) = polled else {
                // Dropped while the handler goes on: closed now, not when the handler returns.
                dropped.into_iter().for_each(|session| session.close_and_forget(CloseCode::NORMAL));
                return Poll::Pending;
            };
            let code = closing_code(&result);
            let Some(session) = dropped.pop() else { return Poll::Ready(()) };
            dropped.into_iter().for_each(|session| session.close_and_forget(code));
            self.set(Self::Closing { handshake: Box::pin(finish(session, code)) });
        }
        match self.project() {
            TaskProjection::Closing { handshake } => handshake.as_mut().poll(cx),
            TaskProjection::Running { .. } | TaskProjection::Ended => Poll::Ready(()),
        }
    }
}

impl<Fut: Future<Output = Result<(), Error>>> WebSocketTask<Fut> {
    /// Polls the handler, and drops it once it is done, with the WebSocket that it can still hold.
    fn poll_handler(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let TaskProjection::Running { handler } = self.as_mut().project() else { return Poll::Pending };
        let polled = handler.poll(cx);
        if polled.is_ready() {
            self.set(Self::Ended);
        }
        polled
    }
}

/// Returns the close code for the handler's result.
fn closing_code(result: &Result<(), Error>) -> CloseCode {
    match result {
        // The close frame has been sent.
        Err(error) if error.is_close_sent() => CloseCode::NORMAL,
        Err(error @ (Error::Application(_) | Error::Usage(_))) => {
            log::warn!("a websocket handler failed: {error}");
            CloseCode::INTERNAL_ERROR
        }
        #[cfg(feature = "json")]
        Err(Error::Json(_)) => CloseCode::INVALID_PAYLOAD,
        Err(Error::Full | Error::SendDeadline) => CloseCode::TRY_AGAIN_LATER,
        _ => CloseCode::NORMAL,
    }
}

/// Sends the close frame, unless one was sent, and waits for the peer's.
async fn finish(mut session: Box<Session>, code: CloseCode) {
    if let Err(error) = session.close(CloseFrame::new(code, "").ok().as_ref()).await {
        log::debug!("closing handshake: {error}");
    }
}
