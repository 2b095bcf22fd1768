//! Finds the handler of a request by its path and method.
//!
//! Owns the routes, and the answers to requests without a route: 404, 405 with Allow, OPTIONS, 501. Shared by all
//! workers, and never changed while serving. The tree is `matchit`'s; the syntax of paths is in `pattern`.

use std::fmt;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use crate::message::request::Request;
use crate::message::response::Response;
use crate::server::handler::{Handler, Reply};
use crate::server::pattern::{PARAMS_MAX, percent_decode, to_matchit_syntax};

/// Routes requests to handlers.
///
/// ```
/// use tidegate_http::{Request, Response, Router};
///
/// let app = Router::new()
///     .get("/plaintext", |_req: Request| async { Response::text("Hello, World!") })
///     .get("/rooms/:room", |req: Request| async move {
///         Response::text(req.param("room").unwrap_or_default().to_owned())
///     });
/// ```
///
/// # Paths
/// A segment `:name` matches one non-empty segment; a last segment `*name` matches the non-empty rest, slashes
/// included. Literal segments take precedence over parameters, and parameters over wildcards.
///
/// Literal segments match exactly: case matters, `/a` and `/a/` differ, nothing is normalised (`/a/../b` has three
/// segments), and percent-encoded bytes match only themselves (`%2F` is not a slash).
///
/// The values of parameters are percent-decoded, so they can contain slashes even if one segment was matched. A value
/// that does not decode to UTF-8 is answered with 400.
///
/// # Methods
/// The handler of GET answers HEAD too, without content, unless HEAD has its own. OPTIONS is answered with the list of
/// methods unless it has a handler. Other methods are answered with 405 and Allow, or with 501 if they are not
/// standard.
///
/// # Panics
/// The functions that register routes panic if a route is invalid or conflicts with another one. The message names the
/// route and says how to fix it.
#[derive(Default)]
#[must_use = "a router does nothing until it is given to `Server::builder`"]
pub struct Router {
    tree: matchit::Router<usize>,
    /// The routes without parameters, by the length of their path and then in order: each path with its index in
    /// `routes`. They take precedence over those with parameters, so the tree would find the same.
    literal: Vec<Vec<(String, usize)>>,
    routes: Vec<Route>,
    fallback: Option<Box<dyn Fallback>>,
    /// Fallbacks of nested routers with their prefixes, the longest first.
    nested: Vec<(String, Box<dyn Fallback>)>,
}

/// More literal routes of one length than this are searched by bisection.
const LINEAR_SEARCH_MAX: usize = 4;

struct Route {
    path: String,
    methods: Vec<(Method, Box<dyn Handler>)>,
    any: Option<Box<dyn Handler>>,
}

/// The handler of requests without a route.
pub(crate) trait Fallback: Handler {
    /// Returns this handler for a router that was nested below `prefix`.
    fn nested(self: Box<Self>, prefix: &str) -> Box<dyn Fallback>;
}

/// A fallback that answers the same for any prefix.
struct Unlayered<H>(H);

impl<H: Handler> Handler for Unlayered<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.0.handle(request)
    }
}

impl<H: Handler> Fallback for Unlayered<H> {
    fn nested(self: Box<Self>, _prefix: &str) -> Box<dyn Fallback> {
        self
    }
}

impl Router {
    /// Creates a router without routes.
    pub fn new() -> Router {
        Router::default()
    }

    /// Answers GET and HEAD requests for a path.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn get(self, path: &str, handler: impl Handler) -> Router {
        self.route(Method::GET, path, handler)
    }

    /// Answers POST requests for a path.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn post(self, path: &str, handler: impl Handler) -> Router {
        self.route(Method::POST, path, handler)
    }

    /// Answers PUT requests for a path.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn put(self, path: &str, handler: impl Handler) -> Router {
        self.route(Method::PUT, path, handler)
    }

    /// Answers DELETE requests for a path.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn delete(self, path: &str, handler: impl Handler) -> Router {
        self.route(Method::DELETE, path, handler)
    }

    /// Answers PATCH requests for a path.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn patch(self, path: &str, handler: impl Handler) -> Router {
        self.route(Method::PATCH, path, handler)
    }

    /// Answers requests for a path whose method has no handler of its own.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn any(mut self, path: &str, handler: impl Handler) -> Router {
        let route = self.register(path);
        assert!(route.any.is_none(), "conflicting route {path:?}: `any` was called for it before; remove one");
        route.any = Some(Box::new(handler));
        self
    }

    /// Answers requests for a path with this method.
    ///
    /// # Panics
    /// If the path is invalid, conflicts with the path of another route, or has a handler for the method already.
    pub fn route(mut self, method: Method, path: &str, handler: impl Handler) -> Router {
        let route = self.register(path);
        assert!(
            route.handler(&method).is_none(),
            "conflicting route {method} {path:?}: it has a handler already; remove one"
        );
        route.methods.push((method, Box::new(handler)));
        self
    }

    /// Adds the routes of another router below a prefix, such as `/api`. Its handlers see the whole path. Its fallback
    /// answers requests below the prefix that have no route.
    ///
    /// ```
    /// use tidegate_http::{Request, Router};
    ///
    /// let api = Router::new().get("/users/:id", |_req: Request| async { "a user" });
    /// let app = Router::new().nest("/api", api); // serves /api/users/:id
    /// ```
    ///
    /// # Panics
    /// As [`route`](Router::route), and if the prefix does not begin with a slash, ends with one, or has a wildcard.
    pub fn nest(mut self, prefix: &str, router: Router) -> Router {
        assert!(
            prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains('*'),
            "invalid prefix {prefix:?}: must begin with a slash, not end with one, and have no wildcard, as in \"/api\""
        );
        for inner in router.routes {
            let path = format!("{prefix}{}", inner.path);
            if let Some(handler) = inner.any {
                self = self.any(&path, handler);
            }
            for (method, handler) in inner.methods {
                self = self.route(method, &path, handler);
            }
        }
        for (inner, handler) in router.nested {
            self.nested.push((format!("{prefix}{inner}"), handler.nested(prefix)));
        }
        if let Some(handler) = router.fallback {
            self.nested.push((prefix.to_owned(), handler.nested(prefix)));
        }
        self.nested.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.matches('/').count()));
        self
    }

    /// Answers requests whose path has no route. Default: 404.
    ///
    /// # Panics
    /// If the router has a fallback already.
    pub fn fallback(mut self, handler: impl Handler) -> Router {
        assert!(self.fallback.is_none(), "conflicting fallback: the router has one already; remove one");
        self.fallback = Some(Box::new(Unlayered(handler)));
        self
    }

    /// Creates a router that passes all requests to a fallback.
    #[cfg(feature = "tower")]
    pub(crate) fn of_fallback(fallback: Box<dyn Fallback>) -> Router {
        Router { fallback: Some(fallback), ..Router::default() }
    }

    /// Returns the route of this path, new if there is none.
    fn register(&mut self, path: &str) -> &mut Route {
        let known = self.routes.iter().position(|route| route.path == path);
        let index = known.unwrap_or_else(|| {
            let index = self.routes.len();
            if let Err(error) = self.tree.insert(to_matchit_syntax(path), index) {
                self.refuse(path, &error);
            }
            if !path.contains("/:") && !path.contains("/*") {
                self.add_literal(path, index);
            }
            self.routes.push(Route { path: path.to_owned(), methods: Vec::new(), any: None });
            index
        });
        &mut self.routes[index]
    }

    /// Panics with the reason why a path cannot be registered, in the syntax of this router.
    fn refuse(&self, path: &str, error: &matchit::InsertError) -> ! {
        let matchit::InsertError::Conflict { with } = error else {
            panic!("invalid route {path:?}: {error}");
        };
        let other = self.routes.iter().find(|route| to_matchit_syntax(&route.path) == *with);
        let other = other.map_or(with, |route| &route.path);
        panic!("conflicting route {path:?}: matches the same paths as {other:?}; name their parameters alike");
    }

    /// Returns the route without parameters that has this path.
    fn find_literal(&self, path: &str) -> Option<&Route> {
        let same_length = self.literal.get(path.len())?;
        // Nearly always there are few of a length; comparing them in turn costs less than any search.
        let place = match same_length.len() {
            ..=LINEAR_SEARCH_MAX => same_length.iter().position(|(literal, _)| literal == path)?,
            _ => same_length.binary_search_by(|(literal, _)| literal.as_str().cmp(path)).ok()?,
        };
        self.routes.get(same_length[place].1)
    }

    fn add_literal(&mut self, path: &str, index: usize) {
        if self.literal.len() <= path.len() {
            self.literal.resize_with(path.len() + 1, Vec::new);
        }
        let same_length = &mut self.literal[path.len()];
        let place = same_length.partition_point(|(literal, _)| literal.as_str() < path);
        same_length.insert(place, (path.to_owned(), index));
    }

    /// Returns the route of a request's path, and adds the parameters to the request.
    fn find(&self, request: &mut Request) -> Result<Option<&Route>, InvalidParam> {
        let path = request.path();
        if let Some(route) = self.find_literal(path) {
            return Ok(Some(route));
        }
        let Ok(found) = self.tree.at(path) else {
            return Ok(None);
        };
        let route = &self.routes[*found.value];
        if found.params.is_empty() {
            return Ok(Some(route));
        }
        let mut params = [("", 0, 0); PARAMS_MAX];
        let count = found.params.len().min(PARAMS_MAX);
        for (slot, (name, value)) in params.iter_mut().zip(found.params.iter()) {
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            *slot = (name, start, value.len());
        }
        for &(name, start, length) in &params[..count] {
            let value = &request.path()[start..start + length];
            if value.contains('%') {
                let decoded = percent_decode(value).ok_or(InvalidParam)?;
                request.push_param(name, &decoded);
            } else {
                request.push_param_of_path(name, start, length);
            }
        }
        Ok(Some(route))
    }

    /// Answers a request whose path has no route.
    fn handle_unrouted(&self, request: Request) -> Reply<'_> {
        // Only OPTIONS has the target `*`; the parser refuses it with other methods.
        if request.method() == Method::OPTIONS && request.path() == "*" {
            return Reply::Ready(self.options_asterisk());
        }
        let is_above = |(prefix, _): &&(String, _)| is_below(request.path(), prefix);
        let nested = self.nested.iter().find(is_above).map(|(_, handler)| handler);
        match nested.or(self.fallback.as_ref()) {
            Some(handler) => handler.handle(request),
            None => Reply::Ready(Response::text("not found\n").with_status(StatusCode::NOT_FOUND)),
        }
    }

    /// Answers `OPTIONS *`, which asks about the whole server (RFC 9110, section 9.3.7).
    fn options_asterisk(&self) -> Response {
        let methods = self.routes.iter().flat_map(|route| &route.methods);
        let allow = allow(methods.map(|(method, _)| method.as_str()));
        Response::new(StatusCode::NO_CONTENT).with_header(header::ALLOW, allow)
    }
}

#[diagnostic::do_not_recommend]
impl Handler for Router {
    fn handle(&self, mut request: Request) -> Reply<'_> {
        match self.find(&mut request) {
            Ok(Some(route)) => route.handle(request),
            Ok(None) => self.handle_unrouted(request),
            Err(InvalidParam) => {
                let text = "invalid path: its parameters must be percent-encoded UTF-8\n";
                Reply::Ready(Response::text(text).with_status(StatusCode::BAD_REQUEST))
            }
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().map(|route| (&route.path, route.allow()));
        f.debug_map().entries(routes).finish()
    }
}

/// A parameter that does not decode to UTF-8.
struct InvalidParam;

impl Route {
    fn handle(&self, request: Request) -> Reply<'_> {
        let method = request.method();
        let own = self.handler(method);
        let handler = match own {
            None if method == Method::HEAD => self.handler(&Method::GET),
            own => own,
        };
        if let Some(handler) = handler.or(self.any.as_deref()) {
            return handler.handle(request);
        }
        let response = if method == Method::OPTIONS {
            Response::new(StatusCode::NO_CONTENT)
        } else if is_standard(method) {
            Response::text("method not allowed\n").with_status(StatusCode::METHOD_NOT_ALLOWED)
        } else {
            Response::text("method not implemented\n").with_status(StatusCode::NOT_IMPLEMENTED)
        };
        Reply::Ready(response.with_header(header::ALLOW, self.allow()))
    }

    fn handler(&self, method: &Method) -> Option<&dyn Handler> {
        self.methods.iter().find(|(own, _)| own == method).map(|(_, handler)| &**handler)
    }

    fn allow(&self) -> HeaderValue {
        allow(self.methods.iter().map(|(method, _)| method.as_str()))
    }
}

/// Returns the value of Allow for these methods and those answered without a handler.
fn allow<'a>(methods: impl Iterator<Item = &'a str>) -> HeaderValue {
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

/// Whether a method is one of RFC 9110 or PATCH: these are refused with 405, others with 501.
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

/// Whether a path is the prefix or below it. Parameters in the prefix match any segment.
fn is_below(path: &str, prefix: &str) -> bool {
    let mut segments = path.split('/');
    prefix
        .split('/')
        .all(|expected| segments.next().is_some_and(|segment| segment == expected || expected.starts_with(':')))
}
