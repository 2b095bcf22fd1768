//! Handlers: async functions, routers, and middleware that wraps them.
//!
//! Owns the one trait of the application. A handler is shared by all workers; its futures stay on the thread they are
//! made on, borrow from the handler, and need not be `Send`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::message::content_stream::LocalBoxFuture;
use crate::message::into_response::IntoResponse;
use crate::message::request::Request;
use crate::message::response::Response;

/// `Send + Sync + 'static`: what all threads of a server can share.
///
/// Implemented for every such type. One name for the three bounds gives one compile error for a value that cannot be
/// shared, which says what to capture instead. It is not to be implemented.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared between threads",
    label = "captures a value that is not `Send + Sync`",
    note = "all worker threads share a handler: capture an `Arc` in place of an `Rc`, and a `Mutex` or an atomic in \
            place of a `RefCell` or a `Cell`"
)]
pub trait SharedAcrossThreads: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> SharedAcrossThreads for T {}

/// An application's answer to requests. Implement it for middleware and for routers of your own.
///
/// Implemented for async functions and closures from a [`Request`] to anything that implements [`IntoResponse`], for
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
/// A closure can capture state. All workers share the handler, and its futures borrow from it: nothing is cloned for a
/// request.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate_http::{Request, Router};
///
/// let visits = AtomicU64::new(0);
/// let app = Router::new().get("/visits", async move |_request: Request| {
///     format!("visit {}", visits.fetch_add(1, Ordering::Relaxed))
/// });
/// ```
///
/// A handler that can fail returns a [`Result`](crate::Result), which takes `?` on any error; see
/// [`HandlerError`](crate::HandlerError).
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
///     fn handle(&self, request: Request) -> Reply<'_> {
///         self.0.handle(request).map(|mut response| {
///             response.set_header(HeaderName::from_static("x-stamp"), HeaderValue::from_static("1"));
///             response
///         })
///     }
/// }
///
/// let handler = Stamped(async |_request: Request| "Hello");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer requests",
    label = "not a handler of HTTP requests",
    note = "a handler is `async |request: Request| {{ .. }}` or `async fn(Request) -> R`, where `R` is a response: \
            `Response`, `&'static str`, `String`, `StatusCode`, `(StatusCode, T)`, or a `Result` of two of them",
    note = "its captured values must be `Send + Sync + 'static`, because all worker threads share it",
    note = "wrap a function that answers without waiting in `sync_handler(..)`, and one that takes the connection over \
            in the function of its protocol"
)]
pub trait Handler: SharedAcrossThreads {
    /// Answers a request, at once or with a future. A panic is answered with 500, logged with the route and the peer,
    /// and closes the connection.
    fn handle(&self, request: Request) -> Reply<'_>;
}

/// A response, now or later: the result of [`Handler::handle`]. Its future can borrow from the handler.
///
/// Middleware returns [`Ready`](Reply::Ready) to answer itself, and [`from_future`](Reply::from_future) to wait:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use http::StatusCode;
/// use tidegate_http::{Handler, IntoResponse, Reply, Request};
///
/// struct RequireToken<H> {
///     inner: H,
///     failed: AtomicU64,
/// }
///
/// impl<H: Handler> Handler for RequireToken<H> {
///     fn handle(&self, request: Request) -> Reply<'_> {
///         if request.header("authorization") != Some("Bearer secret") {
///             return Reply::Ready(StatusCode::UNAUTHORIZED.into_response());
///         }
///         Reply::from_future(async move {
///             let response = self.inner.handle(request).response().await;
///             if response.status().is_server_error() {
///                 self.failed.fetch_add(1, Ordering::Relaxed);
///             }
///             response
///         })
///     }
/// }
/// ```
#[must_use = "a reply is sent only if a handler returns it"]
pub enum Reply<'h> {
    /// The response, without a future to poll.
    Ready(Response),
    /// The future of the response.
    Pending(LocalBoxFuture<'h, Response>),
}

impl<'h> Reply<'h> {
    /// Creates a pending reply from a future.
    pub fn from_future<F>(future: F) -> Reply<'h>
    where
        F: Future + 'h,
        F::Output: IntoResponse,
    {
        Reply::Pending(Box::pin(Responding { future }))
    }

    /// Waits for the response.
    pub async fn response(self) -> Response {
        match self {
            Reply::Ready(response) => response,
            Reply::Pending(future) => future.await,
        }
    }

    /// Changes the response once it is ready.
    pub fn map(self, change: impl FnOnce(Response) -> Response + 'h) -> Reply<'h> {
        match self {
            Reply::Ready(response) => Reply::Ready(change(response)),
            Reply::Pending(future) => Reply::Pending(Box::pin(async move { change(future.await) })),
        }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Ready(response) => f.debug_tuple("Ready").field(response).finish(),
            Reply::Pending(_) => f.write_str("Pending"),
        }
    }
}

pin_project_lite::pin_project! {
    /// A future whose output becomes a response. An async block would hold the future twice.
    struct Responding<F> {
        #[pin]
        future: F,
    }
}

impl<F> Future for Responding<F>
where
    F: Future,
    F::Output: IntoResponse,
{
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.project().future.poll(cx).map(IntoResponse::into_response)
    }
}

impl<F, R> Handler for F
where
    F: AsyncFn(Request) -> R + SharedAcrossThreads,
    R: IntoResponse,
{
    fn handle(&self, request: Request) -> Reply<'_> {
        Reply::from_future(self(request))
    }
}

#[diagnostic::do_not_recommend]
impl Handler for Box<dyn Handler> {
    fn handle(&self, request: Request) -> Reply<'_> {
        (**self).handle(request)
    }
}

/// Turns a function that answers without waiting into a handler, which saves a future per request.
///
/// ```
/// use tidegate_http::{Router, sync_handler};
/// let app = Router::new().get("/health", sync_handler(|_request| "ok"));
/// ```
pub fn sync_handler<F, R>(answer: F) -> SyncHandler<F>
where
    F: Fn(Request) -> R + SharedAcrossThreads,
    R: IntoResponse,
{
    SyncHandler(answer)
}

/// A handler made by [`sync_handler`].
#[derive(Debug, Clone, Copy)]
pub struct SyncHandler<F>(F);

#[diagnostic::do_not_recommend]
impl<F, R> Handler for SyncHandler<F>
where
    F: Fn(Request) -> R + SharedAcrossThreads,
    R: IntoResponse,
{
    fn handle(&self, request: Request) -> Reply<'_> {
        Reply::Ready((self.0)(request).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each request in flight holds this box.
    #[test]
    fn a_pending_reply_is_as_large_as_its_future() {
        async fn waits(memory: [u8; 256]) -> String {
            std::future::ready(()).await;
            format!("{} bytes", memory.len())
        }
        let Reply::Pending(future) = Reply::from_future(waits([0; 256])) else { panic!("pending") };
        assert_eq!(size_of_val(&*future), size_of_val(&waits([0; 256])));
    }
}
