//! Serves HTTP on one connection: request, handler, response, and again.
//!
//! Owns the order of things, in [`serve`]. The protocol machine knows when the connection persists, the conn moves
//! the bytes; this loop calls the handler, keeps its panics and its time within bounds, and sends what it answers with.
//! Everything of HTTP lives in one boxed future, which is freed before an upgraded connection goes on.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_engine::Connection;

use crate::limits::Limits;
use crate::message::body::Body;
use crate::message::content_stream::{ContentStream, LocalBoxFuture};
use crate::message::head::RequestHead;
use crate::message::on_upgrade::OnUpgrade;
use crate::message::request::Request;
use crate::message::response::{Response, ResponseBody};
use crate::server::config::HttpConfig;
use crate::server::conn::{Coalesced, Conn, ConnectionLost};
use crate::server::handler::{Handler, Reply};

/// What all connections of a server share: the handler and the settings.
#[derive(Debug)]
pub struct Service<H> {
    handler: Arc<H>,
    config: Arc<HttpConfig>,
    limits: Arc<Limits>,
}

impl<H: Handler> Service<H> {
    /// A service from its parts.
    pub fn new(handler: H, config: HttpConfig) -> Service<H> {
        Service { handler: Arc::new(handler), limits: Arc::new(config.limits.clone()), config: Arc::new(config) }
    }
}

impl<H> Clone for Service<H> {
    fn clone(&self) -> Service<H> {
        Service {
            handler: Arc::clone(&self.handler),
            config: Arc::clone(&self.config),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// Serves HTTP on a connection until it ends, or until it is handed to another protocol and that ends.
///
/// This is the handler to give to the engine for servers that are put together by hand;
/// [`Server`](crate::Server) does it otherwise. The future is small: what HTTP needs is in a box that is freed when
/// another protocol takes over.
pub fn serve<H: Handler>(connection: Connection, service: &Service<H>) -> impl Future<Output = ()> + use<H> {
    ConnectionTask::Http(Box::pin(serve_http(connection, service.clone())))
}

/// What a connection is doing. Going on to the next phase frees the box of the one before.
enum ConnectionTask {
    Http(LocalBoxFuture<Option<LocalBoxFuture<()>>>),
    Upgraded(LocalBoxFuture<()>),
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let ConnectionTask::Http(http) = &mut *self {
            match http.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(upgraded)) => *self = ConnectionTask::Upgraded(upgraded),
            }
        }
        match &mut *self {
            ConnectionTask::Upgraded(upgraded) => upgraded.as_mut().poll(cx),
            ConnectionTask::Http(_) => Poll::Ready(()),
        }
    }
}

/// The HTTP phase. Gives the other protocol's future if one takes over.
async fn serve_http<H: Handler>(connection: Connection, service: Service<H>) -> Option<LocalBoxFuture<()>> {
    let config = Arc::clone(&service.config);
    let conn = Rc::new(Conn::new(connection, service.config, service.limits));
    let upgraded = exchange_all(&conn, &*service.handler, &config).await;
    // A body may outlive its request in somebody's hands; the connection must not.
    conn.close();
    let (connection, on_upgrade) = upgraded.ok().flatten()?;
    Some(on_upgrade.start(connection))
}

/// Answers requests until none follows (`None`), the connection is lost, or another protocol takes over.
async fn exchange_all<H: Handler>(
    conn: &Rc<Conn>,
    handler: &H,
    config: &HttpConfig,
) -> Result<Option<(Connection, OnUpgrade)>, ConnectionLost> {
    while let Some(head) = poll_fn(|cx| conn.poll_head(cx)).await {
        let (uncoalesced, unsent) = answer_ready(conn, handler, head);
        if let Some(coalesced) = unsent? {
            conn.send_coalesced(coalesced).await?;
        }
        let Some(Uncoalesced { reply, asks_upgrade }) = uncoalesced? else { continue };
        let mut response = match reply {
            Reply::Ready(response) => response,
            Reply::Pending(future) => await_reply(conn, future, config).await?,
        };
        match response.take_body() {
            ResponseBody::Upgrade(on_upgrade) => {
                if let Some(connection) = conn.upgrade(&response)? {
                    return Ok(Some((connection, on_upgrade)));
                }
                let (refusal, text) = refused_upgrade(&response, asks_upgrade);
                send_whole(conn, refusal, text).await?;
            }
            ResponseBody::Empty => send_whole(conn, response, None).await?,
            ResponseBody::Bytes(bytes) => send_whole(conn, response, Some(bytes)).await?,
            ResponseBody::Stream(stream) => send_stream(conn, response, stream).await?,
        }
    }
    Ok(None)
}

/// A reply that takes its time, or its way.
struct Uncoalesced {
    reply: Reply,
    asks_upgrade: bool,
}

/// Answers this request and those received whole behind it, as far as their responses are there at once and small.
/// Gives the first reply that is not so, and what there was no space for, which is to be sent before.
fn answer_ready<H: Handler>(
    conn: &Rc<Conn>,
    handler: &H,
    head: RequestHead,
) -> (Result<Option<Uncoalesced>, ConnectionLost>, Result<Option<Coalesced>, ConnectionLost>) {
    let mut coalesced = Coalesced::new();
    let uncoalesced = coalesce_answers(conn, handler, head, &mut coalesced);
    (uncoalesced, conn.try_send_coalesced(coalesced))
}

fn coalesce_answers<H: Handler>(
    conn: &Rc<Conn>,
    handler: &H,
    head: RequestHead,
    coalesced: &mut Coalesced,
) -> Result<Option<Uncoalesced>, ConnectionLost> {
    let mut next = Some(head);
    while let Some(head) = next {
        let asks_upgrade = head.wants_upgrade();
        let body = match conn.request_with_content() {
            Some(number) => Body::of_connection(Rc::clone(conn) as Rc<_>, number),
            None => Body::default(),
        };
        match call_handler(conn, handler, Request::new(head, body)) {
            Reply::Ready(response) if conn.coalesce(&response, coalesced)? => {}
            reply => return Ok(Some(Uncoalesced { reply, asks_upgrade })),
        }
        next = conn.next_head(coalesced);
    }
    Ok(None)
}

/// Calls the handler.
fn call_handler<H: Handler>(conn: &Conn, handler: &H, request: Request) -> Reply {
    match catch_unwind(AssertUnwindSafe(|| handler.handle(request))) {
        Ok(reply) => reply,
        Err(panic) => Reply::Ready(panicked(conn, &*panic)),
    }
}

/// Runs the handler's future, for the handler timeout at most, and as long as the peer is there.
async fn await_reply(
    conn: &Conn,
    mut future: LocalBoxFuture<Response>,
    config: &HttpConfig,
) -> Result<Response, ConnectionLost> {
    let mut timeout = None;
    poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Ready(response)) => return Poll::Ready(Ok(response)),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Ok(panicked(conn, &*panic))),
        }
        if timeout.is_none()
            && let (Some(after), Some(timer)) = (config.handler_timeout, conn.timer())
        {
            timeout = Some(timer.sleep(after));
        }
        if let Some(timeout) = &mut timeout
            && Pin::new(timeout).poll(cx).is_ready()
        {
            conn.close_after_response();
            let late = Response::text("the handler took too long\n");
            return Poll::Ready(Ok(late.with_status(StatusCode::SERVICE_UNAVAILABLE)));
        }
        conn.poll_lost(cx).map(Err)
    })
    .await
}

async fn send_whole(conn: &Conn, response: Response, content: Option<Bytes>) -> Result<(), ConnectionLost> {
    let (response, content) = match sendable(response) {
        Ok(response) => (response, content.unwrap_or_default()),
        Err(replacement) => (replacement, Bytes::new()),
    };
    conn.send_whole(&response, content).await
}

async fn send_stream(
    conn: &Conn,
    response: Response,
    mut stream: Box<dyn ContentStream>,
) -> Result<(), ConnectionLost> {
    let response = match sendable(response) {
        Ok(response) => response,
        Err(replacement) => return send_whole(conn, replacement, None).await,
    };
    poll_fn(|cx| conn.poll_ready(cx, 0)).await?;
    if !conn.send_head(&response, stream.length())? {
        return conn.send_end(None);
    }
    loop {
        let next = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| stream.poll_next(cx))) {
            Ok(Poll::Ready(next)) => Poll::Ready(Ok(next)),
            Ok(Poll::Pending) => conn.poll_lost(cx).map(Err),
            Err(panic) => {
                log::error!("response content panicked: {}", panic_text(&*panic));
                conn.mark_incomplete();
                Poll::Ready(Err(ConnectionLost))
            }
        })
        .await?;
        match next {
            None => return conn.send_end(stream.take_trailers().as_ref()),
            Some(Ok(piece)) => {
                poll_fn(|cx| conn.poll_ready(cx, piece.len())).await?;
                conn.send_content(piece)?;
            }
            Some(Err(error)) => {
                log::warn!("response content given up: {error}");
                conn.mark_incomplete();
                return Err(ConnectionLost);
            }
        }
    }
}

/// A response that can be sent as a final one, or what to send instead.
fn sendable(response: Response) -> Result<Response, Response> {
    if !is_final(&response) {
        log::error!("a handler gave the informational status {}", response.status());
        return Err(Response::new(StatusCode::INTERNAL_SERVER_ERROR));
    }
    Ok(response)
}

fn is_final(response: &Response) -> bool {
    !response.status().is_informational()
}

/// What is sent in place of an upgrade that cannot be, and its content. RFC 9110, section 15.5.22: 426 names the protocol in
/// Upgrade.
fn refused_upgrade(response: &Response, asked: bool) -> (Response, Option<Bytes>) {
    if asked {
        let text = Bytes::from_static(b"content in an upgrade request\n");
        let refusal = Response::text("")
            .with_status(StatusCode::BAD_REQUEST)
            .with_header(header::CONNECTION, HeaderValue::from_static("close"));
        return (refusal, Some(text));
    }
    let refusal = Response::new(StatusCode::UPGRADE_REQUIRED);
    let refusal = match response.header(&header::UPGRADE) {
        Some(protocol) => refusal.with_header(header::UPGRADE, protocol.clone()),
        None => refusal,
    };
    (refusal, None)
}

/// The handler's own state may be broken now, but it is the handler's; the connection ends, the worker goes on.
fn panicked(conn: &Conn, panic: &(dyn Any + Send)) -> Response {
    log::error!("a handler panicked: {}", panic_text(panic));
    conn.close_after_response();
    Response::text("internal server error\n").with_status(StatusCode::INTERNAL_SERVER_ERROR)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router::Router;

    fn future_bytes<F>(_: impl Fn(Connection, &Service<Router>) -> F) -> usize {
        size_of::<F>()
    }

    /// It is what an upgraded connection keeps of HTTP for as long as it lives.
    #[test]
    fn the_future_of_a_connection_is_small() {
        assert!(future_bytes(serve::<Router>) <= 24);
    }
}
