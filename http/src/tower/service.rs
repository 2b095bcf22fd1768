//! Tower services as handlers.

use std::fmt;
use std::task::Poll;

use http::Method;

use super::answer::TowerService;
use super::request::{self, Carry, Converted};
use super::response::poll_once;
use crate::message::content_stream::LocalBoxFuture;
use crate::message::request::Request;
use crate::message::response::Response;
use crate::server::handler::{Handler, Reply};

/// Makes a handler of a tower service, such as tower-http's `ServeDir`.
///
/// ```
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
/// use std::task::{Context, Poll};
///
/// use bytes::Bytes;
/// use tidegate_http::Router;
/// use tidegate_http::tower::{Content, service};
/// use tower_service::Service;
///
/// #[derive(Clone)]
/// struct Greeting;
///
/// impl Service<http::Request<Content>> for Greeting {
///     type Response = http::Response<Content>;
///     type Error = Infallible;
///     type Future = Ready<Result<Self::Response, Infallible>>;
///
///     fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, _request: http::Request<Content>) -> Self::Future {
///         ready(Ok(http::Response::new(Bytes::from_static(b"Hello").into())))
///     }
/// }
///
/// let app = Router::new().get("/greeting", service(Greeting));
/// ```
///
/// An error of the service is logged and answered with 500.
pub fn service<S: TowerService>(service: S) -> TowerHandler<S> {
    TowerHandler { service, carries_params: true }
}

/// A handler made by [`service`].
#[derive(Clone)]
pub struct TowerHandler<S> {
    service: S,
    /// Whether a handler inside gets the path parameters. A router inside finds them itself.
    carries_params: bool,
}

impl<S: TowerService> TowerHandler<S> {
    pub(super) fn of_router(mut self) -> TowerHandler<S> {
        self.carries_params = false;
        self
    }

    fn answer(&self, request: Request) -> LocalBoxFuture<'static, Response> {
        let to_head = *request.method() == Method::HEAD;
        let Converted { request, exchange, .. } = request::into_http(request, Carry::for_handler(self.carries_params));
        Box::pin(self.service.clone().answer(request, exchange.unwrap_or_default(), to_head))
    }
}

#[diagnostic::do_not_recommend]
impl<S: TowerService> Handler for TowerHandler<S> {
    fn handle(&self, request: Request) -> Reply<'_> {
        let mut answer = self.answer(request);
        match poll_once(&mut answer) {
            Poll::Ready(response) => Reply::Ready(response),
            Poll::Pending => Reply::Pending(answer),
        }
    }
}

impl<S> fmt::Debug for TowerHandler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerHandler").finish_non_exhaustive()
    }
}
