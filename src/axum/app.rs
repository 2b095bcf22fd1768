//! An axum application as a handler of this server.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ::axum::body::Body;
use tower_service::Service;

use super::handshake::{self, Handshake};
use super::incoming::IncomingStream;
use crate::engine::Address;
use crate::http;
use crate::http::{Method, StatusCode};
use crate::web::tower::{Carry, Content, Converted, Exchange, into_http, response_from_http};
use crate::web::{Handler, LocalBoxFuture, Reply, Request, Response, Server, ServerBuilder};

type HttpRequest = http::Request<Body>;
type HttpResponse = http::Response<Body>;

/// Creates a server of an axum application, with this crate's own settings: the engine, the placement of handlers, the
/// number of workers, and any number of addresses.
///
/// axum's handlers often need a tokio runtime: set it with [`tokio`](ServerBuilder::tokio) or
/// [`tokio_default`](ServerBuilder::tokio_default). Inside a runtime, such as in `#[tokio::main]`, that one is set
/// already.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tidegate::prelude::*;
///
/// fn main() -> tidegate::Result<()> {
///     let app = axum::Router::new().route("/", get(|| async { "Hello, World!" }));
///     tidegate::axum::server(app)
///         .bind("127.0.0.1:3000")?
///         .bind_unix("/run/app.sock")
///         .placement(HandlerPlacement::Inline)
///         .tokio_default()?
///         .run()
/// }
/// ```
pub fn server<M, S>(app: M) -> ServerBuilder<App<M, S>>
where
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    let builder = Server::builder(App { make: app, service: PhantomData });
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => builder.tokio(runtime),
        Err(_) => builder,
    }
}

/// An axum application as a handler: a `Router`, a `MethodRouter`, a handler's service, or one of axum's make-services.
/// [`server`] makes it.
pub struct App<M, S> {
    make: M,
    service: PhantomData<fn() -> S>,
}

impl<M, S> fmt::Debug for App<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl<M, S> Handler for App<M, S>
where
    M: for<'a> Service<IncomingStream<'a>, Error = Infallible, Response = S> + Clone + Send + Sync + 'static,
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    fn handle(&self, request: Request) -> Reply<'_> {
        let stream = incoming(&request);
        let answer: LocalBoxFuture<'static, Response> = if request.wants_upgrade() {
            Box::pin(answer_upgrade(self.make.clone(), stream, request))
        } else {
            Box::pin(answer(self.make.clone(), stream, request))
        };
        poll_at_once(answer)
    }
}

/// Returns the connection of a request.
fn incoming(request: &Request) -> IncomingStream<'static> {
    let peer = request.peer_addr().unwrap_or(Address::Unix);
    IncomingStream::new(peer, request.local_addr().unwrap_or(peer))
}

/// Polls an answer once before it has a task: nearly all are ready then, and need none.
fn poll_at_once(mut answer: LocalBoxFuture<'static, Response>) -> Reply<'static> {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => Reply::Ready(response),
        Poll::Pending => Reply::Pending(answer),
    }
}

/// Answers a request that stays HTTP.
async fn answer<M, S>(make: M, stream: IncomingStream<'static>, request: Request) -> Response
where
    M: Service<IncomingStream<'static>, Error = Infallible, Response = S>,
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible>,
{
    let to_head = *request.method() == Method::HEAD;
    let Converted { request, exchange, .. } = into_http(request, Carry::Nothing);
    let response = call(make, stream, request.map(body), exchange.as_ref()).await;
    response_from_http(response, exchange, to_head)
}

/// Answers a request that asks for another protocol. The application can upgrade it by hyper's `OnUpgrade`, as axum's
/// extractor does, or with the extractor of this module.
async fn answer_upgrade<M, S>(make: M, stream: IncomingStream<'static>, request: Request) -> Response
where
    M: Service<IncomingStream<'static>, Error = Infallible, Response = S>,
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible>,
{
    let to_head = *request.method() == Method::HEAD;
    let Converted { request, exchange, head } = into_http(request, Carry::Nothing);
    let mut request = request.map(body);
    let handshake = Handshake::start(request.extensions_mut());
    let mut response = call(make, stream, request, exchange.as_ref()).await;
    if let Some(upgrade) = handshake::take_upgrade(&mut response) {
        return handshake::answer_websocket(upgrade, head, response).await;
    }
    match (response.status(), handshake) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(handshake)) => handshake.complete(response).await,
        (_, handshake) => {
            // The application's `OnUpgrade`, if it is still there, fails.
            drop(handshake);
            response_from_http(response, exchange, to_head)
        }
    }
}

/// Calls the application, and moves the content of the request meanwhile.
async fn call<M, S>(
    mut make: M,
    stream: IncomingStream<'static>,
    request: HttpRequest,
    exchange: Option<&Exchange>,
) -> HttpResponse
where
    M: Service<IncomingStream<'static>, Error = Infallible, Response = S>,
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible>,
{
    let Ok(()) = poll_fn(|cx| make.poll_ready(cx)).await;
    let Ok(mut service) = make.call(stream).await;
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let mut future = pin!(service.call(request));
    let Ok(response) = match exchange {
        Some(exchange) => poll_fn(|cx| exchange.drive(cx, |cx| future.as_mut().poll(cx))).await,
        None => future.await,
    };
    response
}

fn body(content: Content) -> Body {
    if content.is_empty() { Body::empty() } else { Body::new(content) }
}
