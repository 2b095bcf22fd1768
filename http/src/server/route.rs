//! One path of a router: its handlers by method, and the answers to methods without one.
//!
//! Owns 405 with Allow, OPTIONS, and 501. The router finds the route of a request.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use crate::message::response::Response;
use crate::server::handler::Handler;
use crate::server::handler_name::HandlerName;
use crate::server::pattern::param_names;

/// A path with its handlers.
pub(super) struct Route {
    /// The path as it was registered first.
    pub(super) path: String,
    /// The path in the syntax of `matchit`.
    pub(super) pattern: String,
    /// The names of its parameters, in order.
    pub(super) params: Vec<Box<str>>,
    /// The indices in `nests` of the prefixes that paths of this route can be below while the route is not.
    pub(super) shadows: Vec<usize>,
    name: HandlerName,
    pub(super) methods: Vec<(Method, Box<dyn Handler>)>,
    pub(super) any: Option<Box<dyn Handler>>,
}

impl Route {
    pub(super) fn new(path: &str, pattern: String, shadows: Vec<usize>) -> Route {
        let name = HandlerName::new(format!("the handler of {path}"));
        let params = param_names(path).map(Box::from).collect();
        Route { path: path.to_owned(), pattern, params, shadows, name, methods: Vec::new(), any: None }
    }

    /// Returns the handler for requests with this method, and makes its name the current one. The router calls it:
    /// passing the request through here would copy it once more.
    #[inline]
    pub(super) fn enter_handler(&self, method: &Method) -> Option<&dyn Handler> {
        let own = self.handler(method);
        let handler = match own {
            None if method == Method::HEAD => self.handler(&Method::GET),
            own => own,
        };
        let handler = handler.or(self.any.as_deref())?;
        self.name.enter();
        Some(handler)
    }

    /// Returns the response to a method without a handler.
    #[cold]
    pub(super) fn refuse(&self, method: &Method) -> Response {
        let response = if method == Method::OPTIONS {
            Response::new(StatusCode::NO_CONTENT)
        } else if is_standard(method) {
            Response::text("method not allowed\n").with_status(StatusCode::METHOD_NOT_ALLOWED)
        } else {
            Response::text("method not implemented\n").with_status(StatusCode::NOT_IMPLEMENTED)
        };
        response.with_header(header::ALLOW, self.allow())
    }

    /// Returns the handler of a method.
    #[inline]
    pub(super) fn handler(&self, method: &Method) -> Option<&dyn Handler> {
        self.methods.iter().find(|(own, _)| own == method).map(|(_, handler)| &**handler)
    }

    /// Returns the value of Allow for this path.
    pub(super) fn allow(&self) -> HeaderValue {
        allow(self.methods.iter().map(|(method, _)| method.as_str()))
    }
}

/// Returns the value of Allow for these methods and those answered without a handler.
pub(super) fn allow<'a>(methods: impl Iterator<Item = &'a str>) -> HeaderValue {
    let mut names: Vec<&str> = methods.collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    // Methods are tokens, which are valid in field values.
    HeaderValue::try_from(names.join(", ")).unwrap_or(const { HeaderValue::from_static("") })
}

/// Returns whether a method is one of RFC 9110 or PATCH: these are refused with 405, others with 501.
fn is_standard(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
        Method::CONNECT,
    ]
    .contains(method)
}
