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
use std::sync::Arc;
use std::task::Poll;

use http::{Method, StatusCode};
use tidegate_http::{LocalBoxFuture, percent_decode};

pub use error::{InvalidBody, RouteError};
use exchange::Received;
pub use exchange::{TextRequest, TextResponse};
use table::RouteTable;

use crate::conn::extensions::Extensions;
use crate::conn::websocket::WebSocket;
use crate::error::Error;

/// Answers requests that come as text messages, in JSON, with messages of the same kind. Feature `json`.
///
/// | | |
/// |---|---|
/// | request | `{"id": 7, "method": "GET", "target": "/rooms/blue?since=3", "body": ...}` |
/// | response | `{"id": 7, "code": 200, "message": "", "body": ...}` |
/// | broadcast | `{"id": 0, "code": 0, "message": "the subscription's name", "body": ...}`: [`TextResponse::broadcast`] |
///
/// `id` is the client's, a number up to 2^64 - 1, and copied to the response; `body` is any JSON and may be missing. Codes are
/// HTTP's, or the application's. A method is a token, a target a path with an optional query; a segment `:name` of a route's
/// path matches one non-empty segment, whose value is percent-decoded. Fixed segments go before parameters.
///
/// What is no such request is answered with code 400, and with its id if that can be read, else 0; one that has no route with
/// 404; one whose handler panicked with 500. The WebSocket stays open in each case. Requests of one connection are answered in
/// their order, the next once the one before is.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_websocket::{TextRequest, TextResponse, TextRoutes, WebSocket, upgrade};
///
/// # fn main() -> Result<(), tidegate_websocket::RouteError> {
/// let routes = TextRoutes::new()
///     .get("/rooms/:room", async |request: TextRequest| {
///         TextResponse::ok().with_body(&format!("nobody is in {}", request.param("room").unwrap_or_default()))
///     })?
///     .post("/sum", async |request: TextRequest| {
///         let numbers: Vec<i64> = request.body()?;
///         Ok(TextResponse::ok().with_body(&numbers.iter().sum::<i64>()))
///     })?;
/// let routes = Arc::new(routes);
/// let handler = upgrade(move |mut ws: WebSocket| {
///     let routes = Arc::clone(&routes);
///     async move { routes.serve(&mut ws).await }
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct TextRoutes {
    table: RouteTable<Box<dyn TextHandler>>,
}

impl TextRoutes {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers one method of a path.
    ///
    /// # Errors
    /// [`RouteError`] for a method or a path that is none, a parameter that is there twice, and a route that is there already.
    pub fn route<H, R>(mut self, method: &str, target: &str, handler: H) -> Result<Self, RouteError>
    where
        H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
        R: IntoTextResponse,
    {
        let name = Method::from_bytes(method.as_bytes());
        let name = name.map_err(|_| RouteError::Method { method: method.to_owned() })?;
        self.table.insert(name, target, Box::new(Handling(Arc::new(handler))))?;
        Ok(self)
    }

    /// Answers GET.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn get<H, R>(self, target: &str, handler: H) -> Result<Self, RouteError>
    where
        H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
        R: IntoTextResponse,
    {
        self.route("GET", target, handler)
    }

    /// Answers POST.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn post<H, R>(self, target: &str, handler: H) -> Result<Self, RouteError>
    where
        H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
        R: IntoTextResponse,
    {
        self.route("POST", target, handler)
    }

    /// Answers PUT.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn put<H, R>(self, target: &str, handler: H) -> Result<Self, RouteError>
    where
        H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
        R: IntoTextResponse,
    {
        self.route("PUT", target, handler)
    }

    /// Answers DELETE.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn delete<H, R>(self, target: &str, handler: H) -> Result<Self, RouteError>
    where
        H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
        R: IntoTextResponse,
    {
        self.route("DELETE", target, handler)
    }

    /// Answers requests until the messages end. Handlers get the connection's [`Extensions`]. A binary message is answered like
    /// one that is no JSON.
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

    /// The response to one text message, for connections that receive other messages too.
    pub async fn answer(&self, text: &str, extensions: &Extensions) -> TextResponse {
        let received = match Received::parse(text) {
            Ok(received) => received,
            Err((id, error)) => return bad_request(id, &error.to_string()),
        };
        let id = received.id;
        let path = received.path();
        let found = Method::from_bytes(received.method.as_bytes()).ok().and_then(|name| self.table.find(&name, path));
        let Some((names, values, handler)) = found else {
            return response(id, StatusCode::NOT_FOUND, "there is no such route");
        };
        let mut params = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(values) {
            let Some(value) = percent_decode(value) else {
                return bad_request(id, "a parameter is not percent-encoded UTF-8");
            };
            params.push((name.clone(), value));
        }
        let answered =
            catch_unwind(AssertUnwindSafe(|| handler.handle(TextRequest::new(received, params, extensions))));
        match answer_or_panic(answered).await {
            Ok(response) => response.with_id(id),
            Err(panic) => {
                log::error!("a text route's handler panicked: {}", panic_text(&*panic));
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

/// What a handler of [`TextRoutes`] may return.
pub trait IntoTextResponse {
    /// The response; its id is set afterwards.
    fn into_text_response(self) -> TextResponse;
}

impl IntoTextResponse for TextResponse {
    fn into_text_response(self) -> TextResponse {
        self
    }
}

/// Code 200 and no body.
impl IntoTextResponse for () {
    fn into_text_response(self) -> TextResponse {
        TextResponse::ok()
    }
}

/// An error is a response too; `?` makes one of [`InvalidBody`].
impl IntoTextResponse for Result<TextResponse, TextResponse> {
    fn into_text_response(self) -> TextResponse {
        self.unwrap_or_else(|response| response)
    }
}

/// A handler without its type.
trait TextHandler: Send + Sync {
    fn handle(&self, request: TextRequest) -> LocalBoxFuture<TextResponse>;
}

struct Handling<H>(Arc<H>);

impl<H, R> TextHandler for Handling<H>
where
    H: AsyncFn(TextRequest) -> R + Send + Sync + 'static,
    R: IntoTextResponse,
{
    fn handle(&self, request: TextRequest) -> LocalBoxFuture<TextResponse> {
        let handler = Arc::clone(&self.0);
        Box::pin(async move { handler(request).await.into_text_response() })
    }
}

type Panic = Box<dyn Any + Send>;

/// The outcome of a handler that may have panicked already, and still may.
async fn answer_or_panic(answered: Result<LocalBoxFuture<TextResponse>, Panic>) -> Result<TextResponse, Panic> {
    let mut future = answered?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

fn bad_request(id: u64, message: &str) -> TextResponse {
    response(id, StatusCode::BAD_REQUEST, message)
}

fn response(id: u64, code: StatusCode, message: &str) -> TextResponse {
    TextResponse::new(code.as_u16(), message).with_id(id)
}
