//! The task of one connection: request, handler, response, and again.
//!
//! Owns the order of the exchange, in [`answer_requests`], and the bounds of a handler: its panics and its time. The
//! protocol machine decides whether the connection persists; `conn` moves the bytes. All of HTTP is in one boxed
//! future, which begins with the connection's first bytes and is freed before an upgraded connection continues.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_engine::{Connection, IdleConnection, panic_message};

use crate::limits::Limits;
use crate::message::body::Body;
use crate::message::content_connection::ContentConnection;
use crate::message::content_stream::{ContentPiece, ContentStream, LocalBoxFuture};
use crate::message::head::RequestHead;
use crate::message::on_upgrade::OnUpgrade;
use crate::message::request::Request;
use crate::message::response::{Response, ResponseBody};
use crate::server::config::HttpConfig;
use crate::server::conn::{Coalesced, Conn, ConnectionLost};
use crate::server::handler::{Handler, Reply};
use crate::server::handler_name::HandlerName;

/// The handler and the settings that all connections of a server share, for [`serve`].
#[derive(Debug)]
pub struct HttpService<H> {
    handler: Arc<H>,
    config: Arc<HttpConfig>,
    limits: Arc<Limits>,
}

impl<H: Handler> HttpService<H> {
    /// Creates a service from a handler and settings, which are not checked: see [`HttpConfig::check`].
    pub fn new(handler: H, config: HttpConfig) -> HttpService<H> {
        HttpService { handler: Arc::new(handler), limits: Arc::new(config.limits.clone()), config: Arc::new(config) }
    }

    /// Returns a service with another handler and the same settings.
    #[cfg(feature = "proxy")]
    pub(crate) fn with_handler(&self, handler: H) -> HttpService<H> {
        let (limits, config) = (Arc::clone(&self.limits), Arc::clone(&self.config));
        HttpService { handler: Arc::new(handler), limits, config }
    }
}

impl<H> Clone for HttpService<H> {
    fn clone(&self) -> HttpService<H> {
        HttpService {
            handler: Arc::clone(&self.handler),
            config: Arc::clone(&self.config),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// Serves HTTP on a connection until it ends, or until it is upgraded to another protocol and that ends.
///
/// [`Server`](crate::Server) calls it. Call it for an engine that you start yourself. The future is small: the
/// state of HTTP is in a box, which is freed by an upgrade.
///
/// ```
/// use tidegate_engine::{Config, Engine, Shutdown};
/// use tidegate_http::{HttpConfig, Request, Router, HttpService, serve};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let app = Router::new().get("/", |_req: Request| async { "Hello, World!" });
/// let service = HttpService::new(app, HttpConfig::default());
/// let engine = Engine::new(Config::default()).bind("127.0.0.1:0")?;
/// let running = engine.start(move |connection| serve(connection, &service))?;
/// running.shutdown(Shutdown::immediate());
/// # Ok(())
/// # }
/// ```
pub fn serve<H: Handler>(connection: Connection, service: &HttpService<H>) -> impl Future<Output = ()> + use<H> {
    ConnectionTask::new(connection, service)
}

/// The phase of a connection. Entering the next one frees the box of the last.
pub(super) enum ConnectionTask {
    Http(LocalBoxFuture<'static, Next>),
    Upgraded(Upgraded),
}

impl ConnectionTask {
    pub(super) fn new<H: Handler>(connection: Connection, service: &HttpService<H>) -> ConnectionTask {
        let service = service.clone();
        ConnectionTask::Http(match connection.into_idle() {
            Ok(connection) => Box::pin(Silent { begins: Some((connection, service)), has_deadline: false }),
            // It has received bytes.
            Err(connection) => Box::pin(serve_http(connection, service)),
        })
    }
}

/// What follows a phase of a connection.
pub(super) enum Next {
    /// HTTP, which has received its first bytes.
    Http(LocalBoxFuture<'static, Next>),
    Upgraded(Upgraded),
    End,
}

/// The other protocol of an upgraded connection, and the handler that started it.
pub(super) struct Upgraded {
    future: LocalBoxFuture<'static, ()>,
    name: HandlerName,
}

impl Upgraded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The engine logs panics with it.
        self.name.enter();
        self.future.as_mut().poll(cx)
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut *self {
                ConnectionTask::Http(http) => ready!(http.as_mut().poll(cx)),
                ConnectionTask::Upgraded(upgraded) => return upgraded.poll(cx),
            };
            match next {
                Next::Http(http) => *self = ConnectionTask::Http(http),
                Next::Upgraded(upgraded) => *self = ConnectionTask::Upgraded(upgraded),
                Next::End => return Poll::Ready(()),
            }
        }
    }
}

/// A connection that has received nothing yet. It is small: very many can be opened at a time, and what they leave
/// between the memory of those that stay is lost.
struct Silent<H> {
    /// `None` once HTTP has begun.
    begins: Option<(IdleConnection, HttpService<H>)>,
    has_deadline: bool,
}

impl<H: Handler> Future for Silent<H> {
    type Output = Next;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let Silent { begins, has_deadline } = &mut *self;
        let Some((connection, service)) = begins else { return Poll::Ready(Next::End) };
        let chunk = match connection.poll_chunk(cx) {
            // Checked after the waker is set: a shutdown that begins later wakes it, an earlier one is seen here.
            Poll::Pending if !connection.is_draining() => {
                if !*has_deadline {
                    *has_deadline = true;
                    connection.set_read_deadline_in(service.config.header_timeout);
                }
                return Poll::Pending;
            }
            Poll::Pending => None,
            Poll::Ready(chunk) => chunk,
        };
        let Some((connection, service)) = begins.take() else { return Poll::Ready(Next::End) };
        let mut connection = connection.into_connection();
        if let Some(chunk) = chunk {
            connection.unread(chunk);
        }
        let conn = Conn::new(connection, service.config, service.limits, *has_deadline);
        Poll::Ready(Next::Http(Box::pin(serve_conn(Rc::new(conn), service.handler))))
    }
}

/// Serves HTTP on a connection. Returns the other protocol if the connection is upgraded.
pub(super) async fn serve_http<H: Handler>(connection: Connection, service: HttpService<H>) -> Next {
    let conn = Conn::new(connection, service.config, service.limits, false);
    serve_conn(Rc::new(conn), service.handler).await
}

async fn serve_conn<H: Handler>(conn: Rc<Conn>, handler: Arc<H>) -> Next {
    let upgraded = answer_requests(&conn, &*handler).await;
    // A body can outlive its request, but must not keep the connection open.
    conn.close();
    let Ok(Some((connection, on_upgrade, name))) = upgraded else { return Next::End };
    name.enter();
    Next::Upgraded(Upgraded { future: on_upgrade.start(connection), name })
}

/// Answers requests until none follows (`None`), the connection is lost, or it is upgraded.
async fn answer_requests<H: Handler>(
    conn: &Rc<Conn>,
    handler: &H,
) -> Result<Option<(Connection, OnUpgrade, HandlerName)>, ConnectionLost> {
    while let Some(head) = poll_fn(|cx| conn.poll_head(cx)).await {
        let (uncoalesced, unsent) = answer_ready(conn, handler, head);
        if let Some(coalesced) = unsent? {
            conn.send_coalesced(coalesced).await?;
        }
        let Some(Uncoalesced { reply, name, asks_upgrade }) = uncoalesced? else { continue };
        let (response, name) = match reply {
            Reply::Ready(response) => (response, name),
            Reply::Pending(future) => await_response(conn, future, name).await?,
        };
        let mut response = replace_unsendable(conn, response, name);
        match response.take_body() {
            ResponseBody::Upgrade(on_upgrade) => {
                if let Some(connection) = conn.upgrade(&response)? {
                    return Ok(Some((connection, on_upgrade, name)));
                }
                let (refusal, text) = refuse_upgrade(&response, asks_upgrade);
                let refusal = conn.observe(refusal);
                let reason = if asks_upgrade { "the request has content" } else { "the request does not ask for it" };
                log::debug!("upgrade of {} by {name} refused with {}: {reason}", conn.peer(), refusal.status());
                conn.send_whole(&refusal, text).await?;
            }
            ResponseBody::Empty => conn.send_whole(&response, Bytes::new()).await?,
            ResponseBody::Bytes(bytes) => conn.send_whole(&response, bytes).await?,
            ResponseBody::Stream(stream) => {
                send_stream(conn, &response, stream, name).await?;
                if conn.is_observed() {
                    conn.note_end().await;
                }
            }
        }
    }
    Ok(None)
}

/// A reply that was not coalesced: its response is pending, large, streamed, or an upgrade.
struct Uncoalesced<'h> {
    reply: Reply<'h>,
    name: HandlerName,
    asks_upgrade: bool,
}

/// Answers this request, and those received complete behind it, as long as their responses are ready and small. Returns
/// the first reply that is not, and the coalesced responses if the queue has no space: these must be sent first.
///
/// Not async, so that the coalesced responses take no space in the task's future.
fn answer_ready<'h, H: Handler>(
    conn: &Rc<Conn>,
    handler: &'h H,
    head: RequestHead,
) -> (Result<Option<Uncoalesced<'h>>, ConnectionLost>, Result<Option<Coalesced>, ConnectionLost>) {
    let mut coalesced = Coalesced::new();
    let uncoalesced = coalesce_answers(conn, handler, head, &mut coalesced);
    (uncoalesced, conn.try_send_coalesced(coalesced))
}

fn coalesce_answers<'h, H: Handler>(
    conn: &Rc<Conn>,
    handler: &'h H,
    head: RequestHead,
    coalesced: &mut Coalesced,
) -> Result<Option<Uncoalesced<'h>>, ConnectionLost> {
    let mut next = Some(head);
    while let Some(head) = next {
        let asks_upgrade = head.wants_upgrade();
        let body = match conn.current_request() {
            (number, true) => Body::of_connection(Rc::clone(conn) as Rc<_>, number),
            (number, false) => Body::none_of_connection(Rc::clone(conn) as Rc<_>, number),
        };
        let request = Request::new(head, body);
        HandlerName::UNKNOWN.enter();
        let reply = match catch_unwind(AssertUnwindSafe(|| handler.handle(request))) {
            Ok(reply) => reply,
            Err(panic) => {
                let name = HandlerName::current();
                let reply = Reply::Ready(answer_panic(conn, name, &*panic));
                return Ok(Some(Uncoalesced { reply, name, asks_upgrade }));
            }
        };
        match reply {
            Reply::Ready(response) if conn.coalesce(&response, coalesced)? => {}
            reply => return Ok(Some(Uncoalesced { reply, name: HandlerName::current(), asks_upgrade })),
        }
        next = conn.next_head(coalesced);
    }
    Ok(None)
}

/// Runs the handler's future until it is ready, the handler timeout expires, or the connection is lost. Returns the
/// response with the name of its handler, which middleware can call late.
async fn await_response(
    conn: &Conn,
    mut future: LocalBoxFuture<'_, Response>,
    mut name: HandlerName,
) -> Result<(Response, HandlerName), ConnectionLost> {
    let mut timeout = None;
    poll_fn(|cx| {
        name.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        name = HandlerName::current();
        match polled {
            Ok(Poll::Ready(response)) => return Poll::Ready(Ok((response, name))),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Ok((answer_panic(conn, name, &*panic), name))),
        }
        if timeout.is_none()
            && let Some((after, timer)) = conn.handler_timeout()
        {
            timeout = Some(timer.sleep(after));
        }
        if let Some(timeout) = &mut timeout
            && Pin::new(timeout).poll(cx).is_ready()
        {
            log::warn!("{name} took too long, request of {} answered with 503", conn.peer());
            conn.close_after_response();
            let response = Response::text("the handler took too long\n");
            let response = conn.observe(response.with_status(StatusCode::SERVICE_UNAVAILABLE));
            return Poll::Ready(Ok((response, name)));
        }
        conn.poll_lost(cx).map(Err)
    })
    .await
}

/// Sends a response whose content is a stream, each piece once the connection has space for it.
async fn send_stream(
    conn: &Rc<Conn>,
    response: &Response,
    mut stream: Box<dyn ContentStream>,
    name: HandlerName,
) -> Result<(), ConnectionLost> {
    poll_fn(|cx| conn.poll_ready(cx, 0)).await?;
    if !conn.send_head(response, stream.length())? {
        return conn.send_end(None);
    }
    stream.begin(ContentConnection::new(Rc::clone(conn) as Rc<_>, conn.current_request().0));
    loop {
        let next = poll_fn(|cx| {
            name.enter();
            match catch_unwind(AssertUnwindSafe(|| stream.poll_piece(cx))) {
                Ok(Poll::Ready(next)) => Poll::Ready(Ok(next)),
                Ok(Poll::Pending) => conn.poll_content_lost(cx).map(Err),
                Err(panic) => {
                    let (peer, message) = (conn.peer(), panic_message(&*panic));
                    log::error!("response content of {name} panicked, connection of {peer} closed: {message}");
                    conn.mark_incomplete();
                    Poll::Ready(Err(ConnectionLost))
                }
            }
        })
        .await?;
        match next {
            None => return conn.send_end(stream.take_trailers().as_ref()),
            Some(Ok(piece)) => {
                poll_fn(|cx| conn.poll_ready(cx, piece.memory_bytes())).await?;
                match piece {
                    ContentPiece::Bytes(bytes) => conn.send_content(bytes)?,
                    ContentPiece::File(part) => conn.send_file(part)?,
                }
            }
            Some(Err(error)) => {
                log::warn!("response content of {name} failed, connection of {} closed: {error}", conn.peer());
                conn.mark_incomplete();
                return Err(ConnectionLost);
            }
        }
    }
}

/// Replaces a response by 500 that cannot be sent: a final one with an informational status, or an upgrade whose status
/// is not 101 any more.
fn replace_unsendable(conn: &Conn, response: Response, name: HandlerName) -> Response {
    let status = response.status();
    match response.body() {
        ResponseBody::Upgrade(_) if status == StatusCode::SWITCHING_PROTOCOLS => return response,
        ResponseBody::Upgrade(_) => {
            log::error!("{name} returned an upgrade with the status {status}: replace its content too, or leave 101");
        }
        _ if status.is_informational() => {
            log::error!("{name} returned the informational status {status}: it must be a final one");
        }
        _ => return response,
    }
    conn.observe(Response::new(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Returns the answer to a request that does not allow the upgrade, and its content. RFC 9110 section 15.5.22: 426
/// names the protocol in Upgrade.
fn refuse_upgrade(response: &Response, asked: bool) -> (Response, Bytes) {
    if asked {
        let text = Bytes::from_static(b"an upgrade request must have no content\n");
        let refusal = Response::text("")
            .with_status(StatusCode::BAD_REQUEST)
            .with_header(header::CONNECTION, HeaderValue::from_static("close"));
        return (refusal, text);
    }
    let refusal = Response::new(StatusCode::UPGRADE_REQUIRED);
    let refusal = match response.header(&header::UPGRADE) {
        Some(protocol) => refusal.with_header(header::UPGRADE, protocol.clone()),
        None => refusal,
    };
    (refusal, Bytes::new())
}

/// Returns the answer for a handler that panicked, and makes it the last one. The worker goes on.
fn answer_panic(conn: &Conn, name: HandlerName, panic: &(dyn Any + Send)) -> Response {
    log::error!("{name} panicked, connection of {} closed: {}", conn.peer(), panic_message(panic));
    conn.close_after_response();
    conn.observe(Response::text("internal server error\n").with_status(StatusCode::INTERNAL_SERVER_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router::Router;

    fn future_bytes<F>(_: impl Fn(Connection, &HttpService<Router>) -> F) -> usize {
        size_of::<F>()
    }

    /// An upgraded connection keeps this future for as long as it lives.
    #[test]
    fn the_future_of_a_connection_is_small() {
        assert!(future_bytes(serve::<Router>) <= 24);
    }

    /// So does a connection whose peer sends nothing, until its deadline.
    #[test]
    fn a_silent_connection_is_small() {
        assert!(size_of::<Silent<Router>>() <= 40);
    }
}
