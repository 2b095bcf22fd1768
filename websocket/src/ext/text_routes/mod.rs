//! Requests and responses as text messages, dispatched by method and path.
//!
//! `exchange` holds requests and responses as JSON, `table` finds a request's handler, `running` holds the requests of
//! a connection that are being answered; this file joins them and turns failures into responses.

mod error;
mod exchange;
mod running;
mod table;

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, StatusCode};
use tidegate_http::__private::panic_message;
use tidegate_http::{LocalBoxFuture, SharedAcrossThreads, percent_decode};

pub use error::InvalidBody;
use exchange::Received;
pub use exchange::{TextRequest, TextResponse};
use running::Running;
use table::RouteTable;

use crate::conn::extensions::Extensions;
use crate::conn::websocket::WebSocket;
use crate::error::Error;

/// Routes for requests and responses that are text messages with JSON. Feature `json`.
///
/// | | |
/// |---|---|
/// | request | `{"id": 7, "method": "GET", "target": "/rooms/blue?since=3", "body": ...}` |
/// | response | `{"id": 7, "code": 200, "message": "", "body": ...}` |
/// | broadcast | `{"id": 0, "code": 0, "message": "the subscription's name", "body": ...}`: [`TextResponse::broadcast`] |
///
/// The client chooses `id`, a number up to 2^64 - 1, and the response repeats it. `body` is any JSON and optional.
/// Codes are those of HTTP or of the application. A method is a token, a target a path with an optional query. Paths
/// have the syntax of the HTTP [`Router`](tidegate_http::Router): a segment `:name` in the path of a route matches one
/// non-empty segment, and `*name` at its end matches the rest. The values are percent-decoded. Fixed segments take
/// precedence over parameters.
///
/// Any other text is answered with code 400, with its id if that can be read, otherwise 0; a request without a route
/// with 404; one whose handler panicked with 500. The WebSocket stays open.
///
/// Up to 16 requests of a connection run at a time ([`running_max`](Self::running_max)). Their handlers start in the
/// order of the requests, and the responses are sent as they complete, in any order: clients tell them apart by `id`.
/// Meanwhile reading goes on, so pings are answered, up to the first request that has to wait. When the messages end,
/// handlers that still run are dropped.
///
/// ```
/// use tidegate_websocket::{TextRequest, TextResponse, TextRoutes, upgrade};
///
/// let routes = TextRoutes::new()
///     .get("/rooms/:room", async |request: TextRequest| {
///         TextResponse::ok().with_body(&format!("{} is empty", request.param("room").unwrap_or_default()))
///     })
///     .post("/sum", async |request: TextRequest| {
///         let numbers: Vec<i64> = request.body()?;
///         Ok(TextResponse::ok().with_body(&numbers.iter().sum::<i64>()))
///     });
/// let handler = upgrade(async move |mut ws| Ok(routes.serve(&mut ws).await?));
/// ```
///
/// # Panics
/// The functions that register routes panic if a route is invalid or conflicts with another one. The message names the
/// route and says how to fix it.
#[must_use = "routes answer only the requests given to `serve` or `answer`"]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
pub struct TextRoutes {
    table: RouteTable<Route>,
    running_max: usize,
}

/// The default of [`TextRoutes::running_max`]: a page asks for a few things at once.
const RUNNING_MAX_DEFAULT: usize = 16;

impl Default for TextRoutes {
    fn default() -> Self {
        Self { table: RouteTable::default(), running_max: RUNNING_MAX_DEFAULT }
    }
}

impl TextRoutes {
    /// Returns an empty set of routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most requests of a connection that [`serve`](Self::serve) runs at a time. Default: 16. With 1, requests
    /// are answered one after another, in their order.
    ///
    /// # Panics
    /// If it is 0.
    pub fn running_max(mut self, requests: usize) -> Self {
        assert!(requests > 0, "running_max is 0: must be at least 1 request");
        self.running_max = requests;
        self
    }

    /// Adds the handler of requests for a path with this method.
    ///
    /// # Panics
    /// If the path is invalid, or has a handler for the method already.
    pub fn route<H, R>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        let name = format!("{method} {path}");
        self.table.insert(method, path, Route { name, handler: Box::new(handler) });
        self
    }

    /// Adds the handler of GET requests for a path.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    pub fn get<H, R>(self, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        self.route(Method::GET, path, handler)
    }

    /// Adds the handler of POST requests for a path.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    pub fn post<H, R>(self, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        self.route(Method::POST, path, handler)
    }

    /// Adds the handler of PUT requests for a path.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    pub fn put<H, R>(self, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        self.route(Method::PUT, path, handler)
    }

    /// Adds the handler of DELETE requests for a path.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    pub fn delete<H, R>(self, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        self.route(Method::DELETE, path, handler)
    }

    /// Adds the handler of PATCH requests for a path.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    pub fn patch<H, R>(self, path: &str, handler: H) -> Self
    where
        H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
        R: IntoTextResponse,
    {
        self.route(Method::PATCH, path, handler)
    }

    /// Answers requests until the messages end. Handlers get the connection's [`Extensions`]. Binary messages are
    /// answered with code 400.
    ///
    /// # Errors
    /// As [`WebSocket::recv`] and [`WebSocket::send`].
    pub async fn serve(&self, ws: &mut WebSocket) -> Result<(), Error> {
        let (sender, extensions) = (ws.sender(), ws.extensions());
        let mut running = Running::new(self, &sender, extensions);
        // A request that has been read and cannot begin yet.
        let mut next = None;
        poll_fn(|cx| {
            running.poll(cx)?;
            loop {
                if let Some(message) = next.take_if(|_| running.has_space()) {
                    running.begin(&message)?;
                } else if next.is_some() {
                    return Poll::Pending;
                } else {
                    next = ready!(Pin::new(&mut ws.recv()).poll(cx))?;
                    if next.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        })
        .await
    }

    /// Returns the response to one text message, for connections that also receive other messages.
    pub async fn answer(&self, text: &str, extensions: &Extensions) -> TextResponse {
        let mut answer = self.begin(text, extensions);
        poll_fn(|cx| answer.poll(cx)).await
    }

    /// Calls the handler of a request.
    fn begin(&self, text: &str, extensions: &Extensions) -> Answer<'_> {
        let received = match Received::parse(text) {
            Ok(received) => received,
            Err((id, error)) => return Answer::Done(bad_request(id, &error.to_string())),
        };
        let id = received.id;
        let path = received.path();
        let found = Method::from_bytes(received.method.as_bytes()).ok().and_then(|name| self.table.find(&name, path));
        let Some((found, route)) = found else {
            return Answer::Done(response(id, StatusCode::NOT_FOUND, "no route has this method and path"));
        };
        let mut params = Vec::with_capacity(found.len());
        for (name, value) in found.iter() {
            let Some(value) = percent_decode(value) else {
                return Answer::Done(bad_request(id, "a parameter is not percent-encoded UTF-8"));
            };
            params.push((name.to_owned(), value));
        }
        let request = TextRequest::new(received, params, extensions);
        match catch_unwind(AssertUnwindSafe(|| route.handler.handle(request))) {
            Ok(future) => Answer::Running { id, route, future },
            Err(panic) => Answer::Done(route.answer_panic(id, &*panic)),
        }
    }
}

/// The answer to one request, as far as it is known.
enum Answer<'r> {
    Done(TextResponse),
    Running {
        id: u64,
        route: &'r Route,
        future: LocalBoxFuture<'r, TextResponse>,
    },
    /// It was given out.
    Over,
}

impl Answer<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TextResponse> {
        let answer = match self {
            Self::Running { id, route, future } => match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(polled) => ready!(polled).with_id(*id),
                Err(panic) => route.answer_panic(*id, &*panic),
            },
            Self::Done(_) | Self::Over => match std::mem::replace(self, Self::Over) {
                Self::Done(response) => response,
                _ => return Poll::Pending,
            },
        };
        *self = Self::Over;
        Poll::Ready(answer)
    }
}

impl fmt::Debug for TextRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextRoutes").field("routes", &self.table.len()).finish()
    }
}

/// A result of handlers of [`TextRoutes`]. Applications implement it for their own results and errors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a text response",
    label = "not a text response",
    note = "return `TextResponse`, `()`, or `Result<TextResponse, TextResponse>`, in which `?` converts an `InvalidBody`"
)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
pub trait IntoTextResponse {
    /// Converts to a response. Its id is set afterwards.
    fn into_text_response(self) -> TextResponse;
}

impl IntoTextResponse for TextResponse {
    fn into_text_response(self) -> TextResponse {
        self
    }
}

/// Code 200 without a body.
impl IntoTextResponse for () {
    fn into_text_response(self) -> TextResponse {
        TextResponse::ok()
    }
}

/// The error is a response too; `?` converts [`InvalidBody`].
impl IntoTextResponse for Result<TextResponse, TextResponse> {
    fn into_text_response(self) -> TextResponse {
        self.unwrap_or_else(|response| response)
    }
}

/// A handler without its type.
trait TextHandler: Send + Sync {
    fn handle(&self, request: TextRequest) -> LocalBoxFuture<'_, TextResponse>;
}

impl<H, R> TextHandler for H
where
    H: AsyncFn(TextRequest) -> R + SharedAcrossThreads,
    R: IntoTextResponse,
{
    fn handle(&self, request: TextRequest) -> LocalBoxFuture<'_, TextResponse> {
        Box::pin(async move { self(request).await.into_text_response() })
    }
}

/// A handler and the name of its route, for the log.
struct Route {
    name: String,
    handler: Box<dyn TextHandler>,
}

impl Route {
    /// Returns the response to a request whose handler panicked.
    fn answer_panic(&self, id: u64, panic: &(dyn Any + Send)) -> TextResponse {
        log::error!("the handler of the text route {} panicked: {}", self.name, panic_message(panic));
        response(id, StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
    }
}

fn bad_request(id: u64, message: &str) -> TextResponse {
    response(id, StatusCode::BAD_REQUEST, message)
}

fn response(id: u64, code: StatusCode, message: &str) -> TextResponse {
    TextResponse::new(code.as_u16(), message).with_id(id)
}
