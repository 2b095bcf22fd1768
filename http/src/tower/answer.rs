//! How tower services answer requests.

use std::future::{Future, poll_fn};
use std::pin::pin;

use http::StatusCode;
use http_body::Body as HttpBody;
use tower_service::Service;

use super::content::{BoxError, Content};
use super::exchange::Exchange;
use super::response;
use crate::message::response::Response;
use crate::server::handler::SharedAcrossThreads;

/// A tower service that [`service`](super::service()) makes a handler of: a `Service<http::Request<Content>, Response =
/// http::Response<B>> + Clone` of any content `B`, which all threads can share.
///
/// Implemented for every such type. It is cloned for each request. Its futures stay on the connection's thread and need
/// not be `Send`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tower service that can answer requests here",
    label = "not a `Service<http::Request<Content>>` whose response is an `http::Response`",
    note = "the service must be `Clone + Send + Sync + 'static`, take `http::Request<tower::Content>`, and return an `http::Response<B>` of any `http_body::Body`",
    note = "the futures of handlers stay on their thread and are not `Send`: a layer that needs `Send` futures cannot be put around a handler"
)]
pub trait TowerService: Clone + SharedAcrossThreads {
    /// Answers a request. `to_head` says that it is HEAD.
    #[doc(hidden)]
    fn answer(
        self,
        request: http::Request<Content>,
        exchange: Exchange,
        to_head: bool,
    ) -> impl Future<Output = Response> + 'static;
}

/// The response of a tower service, without its type.
#[doc(hidden)]
pub trait HttpResponse {
    fn convert(self, exchange: Exchange, to_head: bool) -> Response;
}

impl<B> HttpResponse for http::Response<B>
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    fn convert(self, exchange: Exchange, to_head: bool) -> Response {
        response::from_http(self, Some(exchange), to_head)
    }
}

#[diagnostic::do_not_recommend]
impl<S> TowerService for S
where
    S: Service<http::Request<Content>> + Clone + SharedAcrossThreads,
    S::Response: HttpResponse,
    S::Error: Into<BoxError>,
    S::Future: 'static,
{
    async fn answer(mut self, request: http::Request<Content>, exchange: Exchange, to_head: bool) -> Response {
        let called = match poll_fn(|cx| exchange.drive(cx, |cx| self.poll_ready(cx))).await {
            Ok(()) => {
                let mut future = pin!(exchange.enter(|| self.call(request)));
                poll_fn(|cx| exchange.drive(cx, |cx| future.as_mut().poll(cx))).await
            }
            Err(error) => Err(error),
        };
        match called {
            Ok(response) => response.convert(exchange, to_head),
            Err(error) => {
                let error: BoxError = error.into();
                log::error!("a tower service failed: {error}");
                Response::text("internal server error\n").with_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}
