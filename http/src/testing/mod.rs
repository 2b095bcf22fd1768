//! A server without sockets whose clock a test moves (feature `testing`).
//!
//! ```
//! use std::time::Duration;
//! use tidegate_engine::time;
//! use tidegate_http::testing::TestServer;
//! use tidegate_http::{Request, Router};
//!
//! async fn greet(request: Request) -> String {
//!     format!("Hello, {}", request.param("name").unwrap_or("World"))
//! }
//!
//! async fn slow(_request: Request) -> &'static str {
//!     time::sleep(Duration::from_secs(3600)).await;
//!     "at last"
//! }
//!
//! let server = TestServer::new(Router::new().get("/hello/:name", greet).get("/slow", slow));
//! let response = server.get("/hello/Ann").send();
//! assert_eq!((response.status().as_u16(), response.text()), (200, "Hello, Ann"));
//!
//! let mut exchange = server.get("/slow").start();
//! assert!(!exchange.is_answered());
//! server.advance(Duration::from_secs(3600));
//! assert_eq!(exchange.response().text(), "at last");
//! ```
//!
//! Requests and responses pass through the protocol, the router and the engine's worker, as in production, and through
//! windows in memory in place of sockets; see [`TestEngine`].
//!
//! | To | Use |
//! |---|---|
//! | test an application | [`TestServer::new`], or [`TestServer::start`] with the settings of a [`ServerBuilder`] |
//! | answer one request | [`Oneshot`] |
//! | be a client with cookies and a persistent connection | [`TestServer::client`] |
//! | write a request piece by piece, read a response as it comes | [`TestRequest::start`] |
//! | let time pass | [`TestServer::advance`] |
//! | send bytes of any kind | [`TestServer::raw`], [`TestServer::connect`] |

mod client;
mod error;
mod exchange;
mod receive;
mod request;
mod response;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tidegate_engine::testing::{TestConfig, TestEngine, TestPeer};
use tidegate_engine::{Error, Shutdown, ShutdownReport, WorkerStats};

pub use client::TestClient;
pub use error::TestError;
pub use exchange::{TestExchange, UpgradeFailure};
pub use request::TestRequest;
pub use response::TestResponse;

use crate::server::Server;
use crate::server::builder::ServerBuilder;
use crate::server::handler::Handler;

/// A server in memory. Clones are the same server, which ends with the last of them and of its clients.
///
/// See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct TestServer {
    engine: TestEngine,
}

/// # Starting
impl TestServer {
    /// Starts a server for this application with the default settings.
    ///
    /// # Panics
    /// If no thread can be started.
    #[track_caller]
    pub fn new(handler: impl Handler) -> TestServer {
        match TestServer::start(Server::builder(handler)) {
            Ok(server) => server,
            Err(error) => panic!("the test server does not start: {error}"),
        }
    }

    /// Starts a server with the settings of a builder, except its addresses, engine, workers and placement.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_http::testing::TestServer;
    /// use tidegate_http::{HttpConfig, Request, Server};
    ///
    /// let app = async |_request: Request| -> &'static str { std::future::pending().await };
    /// let config = HttpConfig::default().handler_timeout(Duration::from_secs(30));
    /// let server = TestServer::start(Server::builder(app).http(config))?;
    /// let exchange = server.get("/").start();
    /// server.advance(Duration::from_secs(30));
    /// assert_eq!(exchange.response().status(), 503);
    /// # Ok::<(), tidegate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of bounds, [`Error::Worker`] if no thread can be started.
    pub fn start<H: Handler>(builder: ServerBuilder<H>) -> Result<TestServer, Error> {
        TestServer::start_with(builder, TestConfig::default())
    }

    /// Does as [`start`](TestServer::start), with settings of the network in memory.
    ///
    /// # Errors
    /// As [`start`](TestServer::start).
    pub fn start_with<H: Handler>(builder: ServerBuilder<H>, config: TestConfig) -> Result<TestServer, Error> {
        Ok(TestServer { engine: builder.start_in_memory(config)? })
    }
}

/// # Requests
///
/// Each goes over a connection of its own, unless it is one of a [`client`](TestServer::client). The target is the path
/// with its query, percent-encoded.
impl TestServer {
    /// Begins a GET request.
    pub fn get(&self, target: &str) -> TestRequest<'static> {
        self.request(Method::GET, target)
    }

    /// Begins a POST request.
    pub fn post(&self, target: &str) -> TestRequest<'static> {
        self.request(Method::POST, target)
    }

    /// Begins a PUT request.
    pub fn put(&self, target: &str) -> TestRequest<'static> {
        self.request(Method::PUT, target)
    }

    /// Begins a PATCH request.
    pub fn patch(&self, target: &str) -> TestRequest<'static> {
        self.request(Method::PATCH, target)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, target: &str) -> TestRequest<'static> {
        self.request(Method::DELETE, target)
    }

    /// Begins a request.
    pub fn request(&self, method: Method, target: &str) -> TestRequest<'static> {
        TestRequest::new(request::Via::Server(self.clone()), method, target)
    }

    /// Answers a request of the `http` crate. The path and the query of its URI are the target.
    ///
    /// # Panics
    /// As [`TestRequest::send`].
    #[track_caller]
    pub fn call<B: Into<Bytes>>(&self, request: http::Request<B>) -> TestResponse {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = self.request(parts.method, target);
        for (name, value) in &parts.headers {
            request = request.header(name.clone(), value.clone());
        }
        request.body(body).send()
    }

    /// Sends bytes in place of a request, such as one that is malformed.
    ///
    /// ```
    /// use tidegate_http::testing::TestServer;
    /// use tidegate_http::{Request, Router};
    ///
    /// let server = TestServer::new(Router::new().get("/", async |_request: Request| "Hello"));
    /// assert_eq!(server.raw("GET / HTTP/1.1\r\n\r\n").response().status(), 400); // no Host
    /// ```
    #[track_caller]
    pub fn raw(&self, request: impl Into<Vec<u8>>) -> TestExchange<'static> {
        TestExchange::raw(self.connect(), request.into())
    }

    /// Returns a client that keeps its connection and its cookies from one request to the next.
    pub fn client(&self) -> TestClient {
        TestClient::new(self.clone())
    }

    /// Connects a client that reads and writes plain bytes.
    pub fn connect(&self) -> TestPeer {
        self.engine.connect()
    }
}

/// # Time and the end
impl TestServer {
    /// Moves the clock, and lets everything happen that is due by then; see [`TestEngine::advance`]. The clock stands
    /// still otherwise.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        self.engine.advance(duration);
    }

    /// Begins a graceful shutdown. Connections that are open when its drain timeout has passed by the clock are reset.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn begin_shutdown(&self, shutdown: Shutdown) {
        self.engine.begin_shutdown(shutdown);
    }

    /// Shuts down gracefully, and moves the clock to the end of the drain if connections are open until then.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn shutdown(&self, shutdown: Shutdown) -> ShutdownReport {
        self.engine.shutdown(shutdown)
    }

    /// Returns the counters of the worker.
    pub fn stats(&self) -> WorkerStats {
        self.engine.stats()
    }

    /// Returns the engine, for clients of other protocols.
    pub fn engine(&self) -> &TestEngine {
        &self.engine
    }
}

/// Answers one request, without a server that is kept. Implemented for all handlers.
///
/// ```
/// use tidegate_http::testing::Oneshot;
/// use tidegate_http::{Request, Router};
///
/// let app = Router::new().get("/hello", async |_request: Request| "Hello");
/// let response = app.oneshot(http::Request::get("/hello").body("").unwrap());
/// assert_eq!(response.text(), "Hello");
/// ```
pub trait Oneshot: Handler + Sized {
    /// Starts a [`TestServer`] and returns its response to this request.
    ///
    /// # Panics
    /// As [`TestServer::new`] and [`TestRequest::send`].
    #[track_caller]
    fn oneshot<B: Into<Bytes>>(self, request: http::Request<B>) -> TestResponse {
        TestServer::new(self).call(request)
    }
}

impl<H: Handler> Oneshot for H {}
