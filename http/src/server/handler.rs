//! Handlers: async functions, routers, and middleware that wraps them.
//!
//! Owns the one trait of the application. A handler is shared by all workers; its futures stay on the thread they are made
//! on, and need not be `Send`.

use std::future::Future;
use std::sync::Arc;

use crate::message::content_stream::LocalBoxFuture;
use crate::message::into_response::IntoResponse;
use crate::message::request::Request;
use crate::message::response::Response;

/// An application's answer to requests.
///
/// Implemented for functions from a [`Request`] to a future of anything that implements [`IntoResponse`], for
/// [`sync_handler`] functions, and for [`Router`](crate::Router):
///
/// ```
/// use tidegate_http::{Request, Router};
///
/// async fn greet(request: Request) -> String {
///     format!("Hello, {}", request.param("name").unwrap_or("World"))
/// }
///
/// let app = Router::new().get("/greet/:name", greet);
/// ```
///
/// Middleware is a handler that owns another one:
///
/// ```
/// use http::{HeaderName, HeaderValue};
/// use tidegate_http::{Handler, Reply, Request};
///
/// struct Stamped<H>(H);
///
/// impl<H: Handler> Handler for Stamped<H> {
///     fn handle(&self, request: Request) -> Reply {
///         self.0.handle(request).map(|mut response| {
///             response.set_header(HeaderName::from_static("x-stamp"), HeaderValue::from_static("1"));
///             response
///         })
///     }
/// }
///
/// let handler = Stamped(|_request: Request| async { "Hello" });
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers a request, at once or with a future. A panic is answered with 500 and closes the connection.
    fn handle(&self, request: Request) -> Reply;
}

/// A response, now or later: the result of [`Handler::handle`].
///
/// Middleware returns [`Ready`](Reply::Ready) to answer itself, and [`from_future`](Reply::from_future) to wait:
///
/// ```
/// use http::StatusCode;
/// use tidegate_http::{Handler, IntoResponse, Reply, Request};
///
/// struct RequireToken<H>(H);
///
/// impl<H: Handler> Handler for RequireToken<H> {
///     fn handle(&self, request: Request) -> Reply {
///         match request.header("authorization") {
///             Some("Bearer secret") => self.0.handle(request),
///             _ => Reply::Ready(StatusCode::UNAUTHORIZED.into_response()),
///         }
///     }
/// }
/// ```
#[must_use = "a reply is sent only if a handler returns it"]
pub enum Reply {
    /// The response, without a future to poll.
    Ready(Response),
    /// The future of the response.
    Pending(LocalBoxFuture<Response>),
}

impl Reply {
    /// Creates a pending reply of a future.
    pub fn from_future<F>(future: F) -> Reply
    where
        F: Future + 'static,
        F::Output: IntoResponse,
    {
        Reply::Pending(Box::pin(async move { future.await.into_response() }))
    }

    /// Waits for the response.
    pub async fn response(self) -> Response {
        match self {
            Reply::Ready(response) => response,
            Reply::Pending(future) => future.await,
        }
    }

    /// Changes the response once it is ready.
    pub fn map(self, change: impl FnOnce(Response) -> Response + 'static) -> Reply {
        match self {
            Reply::Ready(response) => Reply::Ready(change(response)),
            Reply::Pending(future) => Reply::Pending(Box::pin(async move { change(future.await) })),
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Ready(response) => f.debug_tuple("Ready").field(response).finish(),
            Reply::Pending(_) => f.write_str("Pending"),
        }
    }
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    fn handle(&self, request: Request) -> Reply {
        Reply::from_future(self(request))
    }
}

impl<H: Handler + ?Sized> Handler for Arc<H> {
    fn handle(&self, request: Request) -> Reply {
        (**self).handle(request)
    }
}

impl Handler for Box<dyn Handler> {
    fn handle(&self, request: Request) -> Reply {
        (**self).handle(request)
    }
}

/// Creates a handler of a function that answers without waiting, which saves a future per request.
///
/// ```
/// use tidegate_http::{Router, sync_handler};
/// let app = Router::new().get("/health", sync_handler(|_request| "ok"));
/// ```
pub fn sync_handler<F, R>(answer: F) -> SyncHandler<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    SyncHandler(answer)
}

/// A handler made by [`sync_handler`].
#[derive(Debug, Clone, Copy)]
pub struct SyncHandler<F>(F);

impl<F, R> Handler for SyncHandler<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn handle(&self, request: Request) -> Reply {
        Reply::Ready((self.0)(request).into_response())
    }
}
