//! A client that keeps its connection and its cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::{HeaderMap, Method};
use tidegate_engine::testing::TestPeer;

use super::TestServer;
use super::request::{TestRequest, Via};
use super::response::set_cookies;

/// A client that keeps its connection and its cookies from one request to the next, as a browser does. Paths and
/// domains of cookies are not looked at.
///
/// ```
/// use tidegate_http::testing::TestServer;
/// use tidegate_http::{Request, Response, Router};
///
/// let visits = async |request: Request| {
///     let visits = request.header("cookie").map_or(0, |cookie| cookie.len());
///     Response::text(visits.to_string())
///         .with_header(http::header::SET_COOKIE, http::HeaderValue::from_static("seen=yes"))
/// };
/// let server = TestServer::new(Router::new().get("/", visits));
/// let mut client = server.client();
/// assert_eq!(client.get("/").send().text(), "0");
/// assert_eq!(client.get("/").send().text(), "8");
/// assert_eq!(server.stats().accepted_total, 1);
/// ```
#[derive(Debug)]
pub struct TestClient {
    server: TestServer,
    address: Option<SocketAddr>,
    /// The connection, while no request is in progress.
    pub(super) idle: Option<TestPeer>,
    cookies: BTreeMap<String, String>,
}

impl TestClient {
    pub(super) fn new(server: TestServer) -> TestClient {
        TestClient { server, address: None, idle: None, cookies: BTreeMap::new() }
    }

    /// Sets the address that later connections come from. Default: 127.0.0.1 with a port of its own.
    pub fn peer_addr(mut self, address: SocketAddr) -> TestClient {
        self.address = Some(address);
        self.idle = None;
        self
    }

    /// Begins a GET request.
    pub fn get(&mut self, target: &str) -> TestRequest<'_> {
        self.request(Method::GET, target)
    }

    /// Begins a POST request.
    pub fn post(&mut self, target: &str) -> TestRequest<'_> {
        self.request(Method::POST, target)
    }

    /// Begins a PUT request.
    pub fn put(&mut self, target: &str) -> TestRequest<'_> {
        self.request(Method::PUT, target)
    }

    /// Begins a PATCH request.
    pub fn patch(&mut self, target: &str) -> TestRequest<'_> {
        self.request(Method::PATCH, target)
    }

    /// Begins a DELETE request.
    pub fn delete(&mut self, target: &str) -> TestRequest<'_> {
        self.request(Method::DELETE, target)
    }

    /// Begins a request.
    pub fn request(&mut self, method: Method, target: &str) -> TestRequest<'_> {
        TestRequest::new(Via::Client(self), method, target)
    }

    /// Returns whether a connection is open for the next request. Without one, that opens another.
    ///
    /// # Panics
    /// If a handler blocks its thread.
    #[track_caller]
    pub fn is_connected(&self) -> bool {
        self.server.engine().run_until_idle();
        self.idle.as_ref().is_some_and(|peer| peer.ended().is_none())
    }

    /// Returns the value of a cookie that the server has set.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Returns the value of the field Cookie; empty without a cookie.
    pub fn cookies(&self) -> String {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Returns the server.
    pub fn server(&self) -> &TestServer {
        &self.server
    }

    /// Takes the open connection, or opens one.
    pub(super) fn connect(&mut self) -> TestPeer {
        self.server.engine().run_until_idle();
        match self.idle.take().filter(|peer| peer.ended().is_none()) {
            Some(peer) => peer,
            None => match self.address {
                Some(address) => self.server.engine().connect_from(address),
                None => self.server.connect(),
            },
        }
    }

    pub(super) fn keep_cookies(&mut self, headers: &HeaderMap) {
        for cookie in set_cookies(headers) {
            if cookie.is_removal {
                self.cookies.remove(cookie.name);
            } else {
                self.cookies.insert(cookie.name.to_owned(), cookie.value.to_owned());
            }
        }
    }
}
