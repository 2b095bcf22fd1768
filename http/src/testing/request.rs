//! A request as a test builds it.

use std::fmt::Debug;
use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::exchange::{Sending, TestExchange};
use super::{TestClient, TestError, TestResponse, TestServer};

/// A request that is being built. [`send`](TestRequest::send) returns its response, [`start`](TestRequest::start) an
/// exchange in which the test takes one step after the other.
///
/// ```
/// use tidegate_http::testing::TestServer;
/// use tidegate_http::{BodyError, Request, Router};
///
/// async fn shout(mut request: Request) -> Result<String, BodyError> {
///     Ok(request.text().await?.to_uppercase())
/// }
///
/// let server = TestServer::new(Router::new().post("/shout", shout));
/// let response = server.post("/shout").header("x-number", "1").body("hello").send();
/// assert_eq!(response.text(), "HELLO");
/// ```
#[derive(Debug)]
#[must_use = "a request is sent by `send` or `start`"]
pub struct TestRequest<'c> {
    via: Via<'c>,
    method: Method,
    target: String,
    headers: HeaderMap,
    content: Bytes,
    /// The test sends the content piece by piece.
    is_streamed: bool,
    address: Option<SocketAddr>,
}

/// The way that a request takes.
#[derive(Debug)]
pub(super) enum Via<'c> {
    /// A connection of its own.
    Server(TestServer),
    Client(&'c mut TestClient),
}

impl<'c> TestRequest<'c> {
    pub(super) fn new(via: Via<'c>, method: Method, target: &str) -> TestRequest<'c> {
        let (headers, content) = (HeaderMap::new(), Bytes::new());
        TestRequest { via, method, target: target.to_owned(), headers, content, is_streamed: false, address: None }
    }

    /// Adds a field. `Host: localhost` and the fields of the content are added unless they are set here.
    ///
    /// # Panics
    /// If the name is not a token, or the value has a control character. [`TestServer::raw`] sends such requests.
    #[track_caller]
    pub fn header<N, V>(mut self, name: N, value: V) -> TestRequest<'c>
    where
        N: TryInto<HeaderName, Error: Debug>,
        V: TryInto<HeaderValue, Error: Debug>,
    {
        let name = name.try_into().expect("the name of a field is a token");
        self.headers.append(name, value.try_into().expect("the value of a field has no control characters"));
        self
    }

    /// Adds a cookie, in the form that it has in the field.
    ///
    /// # Panics
    /// If it has a control character.
    #[track_caller]
    pub fn cookie(self, name: &str, value: &str) -> TestRequest<'c> {
        self.header(COOKIE, format!("{name}={value}"))
    }

    /// Sets the content.
    pub fn body(mut self, content: impl Into<Bytes>) -> TestRequest<'c> {
        self.content = content.into();
        self
    }

    /// Sets the content to a value as JSON, with its Content-Type.
    ///
    /// # Panics
    /// If the value has no JSON form.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json<T: serde::Serialize + ?Sized>(mut self, value: &T) -> TestRequest<'c> {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body(serde_json::to_vec(value).expect("a value with a JSON form"))
    }

    /// Sets the content to a form of these names and values, urlencoded, with its Content-Type.
    pub fn form(mut self, fields: &[(&str, &str)]) -> TestRequest<'c> {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body(encoded)
    }

    /// Lets the test send the content piece by piece, with [`TestExchange::write`], in the chunked coding or, if
    /// Content-Length is set, as it is.
    pub fn streamed(mut self) -> TestRequest<'c> {
        self.is_streamed = true;
        self
    }

    /// Sets the address that the request comes from. Requests of a [`TestClient`] come from the address of that.
    pub fn peer_addr(mut self, address: SocketAddr) -> TestRequest<'c> {
        self.address = Some(address);
        self
    }

    /// Sends the request and returns its response.
    ///
    /// # Panics
    /// If no complete response comes: with the text of a [`TestError`].
    #[track_caller]
    pub fn send(self) -> TestResponse {
        match self.try_send() {
            Ok(response) => response,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends the request and returns its response.
    ///
    /// # Errors
    /// [`TestError`]. A handler that waits for the clock is given up after
    /// [`TestConfig::patience`](tidegate_engine::testing::TestConfig) of real time: use [`start`](TestRequest::start)
    /// for it.
    pub fn try_send(self) -> Result<TestResponse, TestError> {
        let mut exchange = self.into_exchange();
        exchange.end_content();
        exchange.try_response()
    }

    /// Sends the request, lets the server work on it, and returns without waiting for a response.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn start(self) -> TestExchange<'c> {
        let mut exchange = self.into_exchange();
        exchange.run();
        exchange
    }

    fn into_exchange(mut self) -> TestExchange<'c> {
        let sending = self.framing();
        let mut head = Vec::new();
        // Writing to a vector cannot fail.
        let _ = write!(head, "{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.contains_key(HOST) {
            push(&mut head, &HOST, b"localhost");
        }
        let mut cookies: Vec<_> = self.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let kept = match &self.via {
            Via::Client(client) => client.cookies(),
            Via::Server(_) => String::new(),
        };
        cookies.extend((!kept.is_empty()).then_some(kept.as_bytes()));
        if !cookies.is_empty() {
            // RFC 6265 section 5.4: one field.
            push(&mut head, &COOKIE, &cookies.join(&b"; "[..]));
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| **name != COOKIE) {
            push(&mut head, name, value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&self.content);
        let what = format!("{} {}", self.method, self.target);
        let is_head = self.method == Method::HEAD;
        match self.via {
            Via::Client(client) => {
                let peer = client.connect();
                TestExchange::new(peer, Some(client), what, is_head, head, sending)
            }
            Via::Server(server) => {
                let address = self.address;
                let peer = address.map_or_else(|| server.connect(), |address| server.engine().connect_from(address));
                TestExchange::new(peer, None, what, is_head, head, sending)
            }
        }
    }

    /// Adds the fields of the content, and returns how the test sends it.
    fn framing(&mut self) -> Sending {
        let has_length = self.headers.contains_key(CONTENT_LENGTH);
        if self.is_streamed && !has_length {
            self.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            return Sending::Chunks;
        }
        let has_content = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) || !self.content.is_empty();
        if has_content && !has_length && !self.headers.contains_key(TRANSFER_ENCODING) {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.content.len()));
        }
        if self.is_streamed { Sending::Bytes } else { Sending::Over }
    }
}

fn push(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
