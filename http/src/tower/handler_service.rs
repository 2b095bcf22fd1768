//! Handlers as tower services, for layers.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body as HttpBody;
use tower_service::Service;

use super::content::{BoxError, Content};
use super::exchange::Exchange;
use super::{request, response};
use crate::message::content_stream::LocalBoxFuture;
use crate::server::handler::Handler;

/// A handler as a tower service: what a layer is put around. Clones share the handler.
///
/// It must be called by a service that is itself a handler: the one that [`service`](super::service()),
/// [`Router::layer`](crate::Router::layer) or [`HandlerExt::layer`](super::HandlerExt::layer) makes. Elsewhere streamed
/// responses and upgrades are answered with 500.
pub struct HandlerService<H> {
    handler: Arc<H>,
}

impl<H: Handler> HandlerService<H> {
    /// Creates a service of a handler.
    pub fn new(handler: H) -> HandlerService<H> {
        HandlerService { handler: Arc::new(handler) }
    }
}

impl<H> Clone for HandlerService<H> {
    fn clone(&self) -> HandlerService<H> {
        HandlerService { handler: Arc::clone(&self.handler) }
    }
}

impl<H: Handler, B> Service<http::Request<B>> for HandlerService<H>
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Content>;
    type Error = Infallible;
    type Future = HandlerFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> HandlerFuture {
        let handler = Arc::clone(&self.handler);
        HandlerFuture(Box::pin(async move {
            let answer = handler.handle(request::from_http(request)).response().await;
            Ok(response::into_http(answer, Exchange::current().as_ref()))
        }))
    }
}

impl<H> fmt::Debug for HandlerService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// The future of a [`HandlerService`]. It stays on its thread and is not `Send`, because handlers' futures are not.
pub struct HandlerFuture(LocalBoxFuture<'static, Result<http::Response<Content>, Infallible>>);

impl Future for HandlerFuture {
    type Output = Result<http::Response<Content>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for HandlerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}
