//! Requests and responses as text messages, dispatched by method and path.
//!
//! `exchange` holds requests and responses as JSON, `table` finds a request's handler; this file joins them and turns
//! failures into responses.

mod error;
mod exchange;
mod table;

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use http::{Method, StatusCode};
use tidegate_http::panic::panic_message;
use tidegate_http::{LocalBoxFuture, SharedAcrossThreads, percent_decode};

pub use error::InvalidBody;
use exchange::Received;
pub use exchange::{TextRequest, TextResponse};
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
/// Any other text is answered with code 400, with its id if that can be read, else 0; a request without a route with
/// 404; one whose handler panicked with 500. The WebSocket stays open. Requests of a connection are answered one after
/// another.
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
#[derive(Default)]
#[must_use = "routes answer only the requests given to `serve` or `answer`"]
pub struct TextRoutes {
    table: RouteTable<Box<dyn TextHandler>>,
}

impl TextRoutes {
    /// Returns an empty set of routes.
    pub fn new() -> Self {
        Self::default()
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
        self.table.insert(method, path, Box::new(handler));
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
        let extensions = ws.extensions();
        while let Some(message) = ws.recv().await? {
            let response = match message.as_text() {
                Some(text) => self.answer(text, &extensions).await,
                None => bad_request(0, "a request is a text message"),
            };
            ws.send(response).await?;
        }
        Ok(())
    }

    /// Returns the response to one text message, for connections that also receive other messages.
    pub async fn answer(&self, text: &str, extensions: &Extensions) -> TextResponse {
        let received = match Received::parse(text) {
            Ok(received) => received,
            Err((id, error)) => return bad_request(id, &error.to_string()),
        };
        let id = received.id;
        let path = received.path();
        let found = Method::from_bytes(received.method.as_bytes()).ok().and_then(|name| self.table.find(&name, path));
        let Some((found, handler)) = found else {
            return response(id, StatusCode::NOT_FOUND, "no route has this method and path");
        };
        let mut params = Vec::with_capacity(found.len());
        for (name, value) in found.iter() {
            let Some(value) = percent_decode(value) else {
                return bad_request(id, "a parameter is not percent-encoded UTF-8");
            };
            params.push((name.to_owned(), value));
        }
        let answered =
            catch_unwind(AssertUnwindSafe(|| handler.handle(TextRequest::new(received, params, extensions))));
        match answer_or_panic(answered).await {
            Ok(response) => response.with_id(id),
            Err(panic) => {
                log::error!("the handler of a text route panicked: {}", panic_message(&*panic));
                response(id, StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
            }
        }
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

type Panic = Box<dyn Any + Send>;

/// Waits for the response of a handler that can panic.
async fn answer_or_panic(answered: Result<LocalBoxFuture<'_, TextResponse>, Panic>) -> Result<TextResponse, Panic> {
    let mut future = answered?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn bad_request(id: u64, message: &str) -> TextResponse {
    response(id, StatusCode::BAD_REQUEST, message)
}

fn response(id: u64, code: StatusCode, message: &str) -> TextResponse {
    TextResponse::new(code.as_u16(), message).with_id(id)
}
