//! Finds the handler of a request by its path and method.
//!
//! Owns the routes, and the answers to requests without a route: 404, 405 with Allow, OPTIONS, 501. Shared by all
//! workers, and never changed while serving. The tree is `matchit`'s; the syntax of paths is in `pattern`.

use std::fmt;
use std::sync::Arc;

use http::header;
use http::{Method, StatusCode};

use crate::message::head_memory::Span;
use crate::message::request::Request;
use crate::message::response::Response;
use crate::server::fallback::{Fallback, Unlayered};
use crate::server::handler::{Handler, Reply};
use crate::server::handler_name::HandlerName;
use crate::server::nest::Nest;
use crate::server::pattern::{PARAMS_MAX, Segment, percent_decode, segments, to_matchit_syntax};
use crate::server::route::{Route, allow};

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
/// A segment `:name` or `{name}` matches one non-empty segment; a last segment `*name` or `{*name}` matches the
/// non-empty rest, slashes included. Literal segments take precedence over parameters and wildcards. A parameter and a
/// wildcard cannot be in the same place. Literal braces are written `%7B` and `%7D`.
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
    fallback: Option<(HandlerName, Arc<dyn Fallback>)>,
    nesting: Box<Nesting>,
}

/// The nested routers. Apart from the router, which most of the time has none.
#[derive(Default)]
struct Nesting {
    /// The prefixes of nested routers, the most specific first.
    nests: Vec<Nest>,
    /// Prefixes of nested routers that have a route `/`, with the index of that route. A route of that path replaces
    /// one.
    aliases: Vec<(String, usize)>,
}

/// More literal routes of one length than this are searched by bisection.
const LINEAR_SEARCH_MAX: usize = 4;

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

    /// Answers requests for a path whose method has no handler of its own, HEAD and OPTIONS included unless GET answers
    /// HEAD. The field Allow lists only methods that have one.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn any(mut self, path: &str, handler: impl Handler) -> Router {
        self.insert_any(path, Box::new(handler));
        self
    }

    /// Answers requests for a path with this method.
    ///
    /// # Panics
    /// If the path is invalid, conflicts with the path of another route, or has a handler for the method already.
    pub fn route(mut self, method: Method, path: &str, handler: impl Handler) -> Router {
        self.insert(method, path, Box::new(handler));
        self
    }

    /// Adds the routes of another router below a prefix, such as `/api`. Its handlers see the whole path.
    ///
    /// ```
    /// use tidegate_http::{Request, Router};
    ///
    /// let api = Router::new()
    ///     .get("/", |_req: Request| async { "the index" })
    ///     .get("/users/:id", |_req: Request| async { "a user" })
    ///     .fallback(|_req: Request| async { "no such resource" });
    /// let app = Router::new()
    ///     .nest("/api", api) // serves /api, /api/ and /api/users/:id
    ///     .get("/:page", |_req: Request| async { "a page" });
    /// ```
    ///
    /// Everything below the prefix, and the prefix itself, belongs to the nested router: its fallback answers what has
    /// no route, or this router's if it has none, but never a route of this router with a parameter or a wildcard in
    /// place of a literal segment of the prefix. Such a fallback sees the parameters of the prefix.
    ///
    /// The nested route `/` answers both `/api/` and `/api`. A route of this router for `/api` takes that path over,
    /// for example to redirect it.
    ///
    /// # Panics
    /// As [`route`](Router::route), and if the prefix is invalid, ends with a slash, or has a wildcard, or if two
    /// routers below one prefix both have a fallback.
    pub fn nest(mut self, prefix: &str, router: Router) -> Router {
        assert!(
            prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains('*'),
            "invalid prefix {prefix:?}: must begin with a slash, not end with one, and have no wildcard, as in \"/api\""
        );
        // Panics if a segment is invalid, also for a router without routes.
        let _ = to_matchit_syntax(prefix);
        let mut moved = Vec::with_capacity(router.routes.len());
        for inner in router.routes {
            let path = format!("{prefix}{}", inner.path);
            let index = self.register(&path);
            if let Some(handler) = inner.any {
                self.insert_any(&path, handler);
            }
            for (method, handler) in inner.methods {
                self.insert(method, &path, handler);
            }
            if inner.path == "/" {
                self.add_alias(prefix, index);
            }
            moved.push(index);
        }
        let nesting = *router.nesting;
        for (inner, index) in nesting.aliases {
            self.add_alias(&format!("{prefix}{inner}"), moved[index]);
        }
        let fallback = router.fallback.map(|(_, handler)| handler);
        nest_fallbacks(prefix, fallback.iter().chain(nesting.nests.iter().filter_map(|nest| nest.fallback.as_ref())));
        for inner in nesting.nests {
            self.add_nest(inner.below(prefix, fallback.as_ref()));
        }
        self.add_nest(Nest::new(prefix.to_owned(), fallback));
        self.nesting.nests.sort_by(Nest::order);
        for route in &mut self.routes {
            route.shadows = shadows(&self.nesting.nests, &route.path);
        }
        self
    }

    /// Answers requests whose path has no route. Default: 404.
    ///
    /// # Panics
    /// If the router has a fallback already.
    pub fn fallback(mut self, handler: impl Handler) -> Router {
        assert!(self.fallback.is_none(), "conflicting fallback: the router has one already; remove one");
        self.fallback = Some((HandlerName::new("the fallback".to_owned()), Arc::new(Unlayered(handler))));
        self
    }

    /// Creates a router that passes all requests to a fallback.
    #[cfg(feature = "tower")]
    pub(crate) fn of_fallback(fallback: Arc<dyn Fallback>) -> Router {
        Router { fallback: Some((HandlerName::new("the fallback".to_owned()), fallback)), ..Router::default() }
    }

    fn insert(&mut self, method: Method, path: &str, handler: Box<dyn Handler>) {
        let index = self.register(path);
        let route = &mut self.routes[index];
        assert!(
            route.handler(&method).is_none(),
            "conflicting route {method} {path:?}: it has a handler already; remove one"
        );
        route.methods.push((method, handler));
    }

    fn insert_any(&mut self, path: &str, handler: Box<dyn Handler>) {
        let index = self.register(path);
        let route = &mut self.routes[index];
        assert!(route.any.is_none(), "conflicting route {path:?}: `any` was called for it before; remove one");
        route.any = Some(handler);
    }

    /// Returns the index of the route of this path, new if there is none.
    fn register(&mut self, path: &str) -> usize {
        let pattern = to_matchit_syntax(path);
        if let Some(known) = self.routes.iter().position(|route| route.pattern == pattern) {
            return known;
        }
        let index = self.routes.len();
        let aliases = self.nesting.aliases.len();
        self.nesting.aliases.retain(|(alias, _)| to_matchit_syntax(alias) != pattern);
        if self.nesting.aliases.len() < aliases {
            self.rebuild();
        }
        self.add_to_tree(path, &pattern, index);
        let shadows = shadows(&self.nesting.nests, path);
        self.routes.push(Route::new(path, pattern, shadows));
        index
    }

    /// Lets a route answer another path too, unless that has a route.
    fn add_alias(&mut self, path: &str, index: usize) {
        let pattern = to_matchit_syntax(path);
        let is_known = self.routes.iter().any(|route| route.pattern == pattern)
            || self.nesting.aliases.iter().any(|(alias, _)| to_matchit_syntax(alias) == pattern);
        if !is_known {
            self.add_to_tree(path, &pattern, index);
            self.nesting.aliases.push((path.to_owned(), index));
        }
    }

    fn add_nest(&mut self, nest: Nest) {
        let Some(known) = self.nesting.nests.iter_mut().find(|known| known.is_same(&nest)) else {
            self.nesting.nests.push(nest);
            return;
        };
        assert!(
            known.fallback.is_none() || nest.fallback.is_none(),
            "conflicting fallback below {:?}: two routers nested there have one; remove one",
            nest.prefix()
        );
        if nest.fallback.is_some() {
            *known = nest;
        }
    }

    fn add_to_tree(&mut self, path: &str, pattern: &str, index: usize) {
        if let Err(error) = self.tree.insert(pattern, index) {
            self.refuse(path, &error);
        }
        if !pattern.contains('{') {
            self.add_literal(path, index);
        }
    }

    /// Builds the tree again, without an alias that was removed.
    fn rebuild(&mut self) {
        self.tree = matchit::Router::new();
        self.literal.clear();
        let routes = self.routes.iter().map(|route| route.path.clone()).zip(0..);
        let entries: Vec<_> = routes.chain(self.nesting.aliases.iter().cloned()).collect();
        for (path, index) in entries {
            self.add_to_tree(&path, &to_matchit_syntax(&path), index);
        }
    }

    /// Panics with the reason why a path cannot be registered, in the syntax of this router.
    fn refuse(&self, path: &str, error: &matchit::InsertError) -> ! {
        let matchit::InsertError::Conflict { with } = error else {
            panic!("invalid route {path:?}: {error}");
        };
        let paths =
            self.routes.iter().map(|route| &route.path).chain(self.nesting.aliases.iter().map(|(alias, _)| alias));
        let other = paths.into_iter().find(|path| to_matchit_syntax(path) == *with).unwrap_or(with);
        let count = |path: &str| segments(path).filter(|segment| matches!(segment, Segment::Wildcard(_))).count();
        if count(path) == count(other) {
            panic!(
                "conflicting route {path:?}: matches the same paths as {other:?}; give their parameters the same names"
            );
        }
        panic!("conflicting route {path:?}: a parameter and a wildcard are in the same place in it and in {other:?}");
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
        if !route.shadows.is_empty() && self.is_shadowed(route, path) {
            return Ok(None);
        }
        if found.params.is_empty() {
            return Ok(Some(route));
        }
        let mut values = [Span::default(); PARAMS_MAX];
        for (slot, (_, value)) in values.iter_mut().zip(found.params.iter()) {
            *slot = span_in(path, value);
        }
        add_params(request, &route.params, &values)?;
        Ok(Some(route))
    }

    /// Returns whether a path belongs to a nested router that the route is not below.
    #[cold]
    fn is_shadowed(&self, route: &Route, path: &str) -> bool {
        route.shadows.iter().any(|&index| self.nesting.nests[index].contains(path))
    }

    /// Answers a request whose path has no route.
    #[inline]
    fn handle_unrouted(&self, request: Request) -> Reply<'_> {
        // Only OPTIONS has the target `*`; the parser refuses it with other methods.
        if request.method() == Method::OPTIONS && request.path() == "*" {
            return Reply::Ready(self.options_asterisk());
        }
        if let Some(nest) = self.nesting.nests.iter().find(|nest| nest.contains(request.path()))
            && let Some(fallback) = &nest.fallback
        {
            return handle_below(nest, &**fallback, request);
        }
        match &self.fallback {
            Some((name, handler)) => {
                name.enter();
                handler.handle(request)
            }
            None => Reply::Ready(Response::text("not found\n").with_status(StatusCode::NOT_FOUND)),
        }
    }

    /// Answers `OPTIONS *`, which asks about the whole server (RFC 9110 section 9.3.7).
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
            Ok(Some(route)) => match route.enter_handler(request.method()) {
                Some(handler) => handler.handle(request),
                None => Reply::Ready(route.refuse(request.method())),
            },
            Ok(None) => self.handle_unrouted(request),
            Err(InvalidParam) => Reply::Ready(refuse_param()),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().map(|route| (&route.path, route.allow()));
        f.debug_map().entries(routes).finish()
    }
}

/// Notifies fallbacks that their router is nested below a prefix, each once: several nested routers can share one.
fn nest_fallbacks<'f>(prefix: &str, fallbacks: impl Iterator<Item = &'f Arc<dyn Fallback>>) {
    let mut seen: Vec<*const ()> = Vec::new();
    for fallback in fallbacks {
        let place = Arc::as_ptr(fallback).cast();
        if !seen.contains(&place) {
            seen.push(place);
            fallback.nest_below(prefix);
        }
    }
}

/// A parameter that does not decode to UTF-8.
struct InvalidParam;

fn refuse_param() -> Response {
    let text = "invalid path: its parameters must be percent-encoded UTF-8\n";
    Response::text(text).with_status(StatusCode::BAD_REQUEST)
}

/// Answers a request without a route with the fallback of the nested router that its path belongs to.
#[cold]
fn handle_below<'r>(nest: &'r Nest, fallback: &'r dyn Fallback, mut request: Request) -> Reply<'r> {
    let path = request.path();
    let (names, values): (Vec<_>, Vec<_>) = nest.params(path).map(|(name, value)| (name, span_in(path, value))).unzip();
    match add_params(&mut request, &names, &values) {
        Ok(()) => {
            nest.name.enter();
            fallback.handle(request)
        }
        Err(InvalidParam) => Reply::Ready(refuse_param()),
    }
}

/// Returns the place of a parameter's value in the path that it is a part of.
fn span_in(path: &str, value: &str) -> Span {
    Span::new(value.as_ptr() as usize - path.as_ptr() as usize, value.len())
}

/// Adds parameters to a request, percent-decoded. The values are parts of its path.
#[inline(always)]
fn add_params(request: &mut Request, names: &[impl AsRef<str>], values: &[Span]) -> Result<(), InvalidParam> {
    for (name, span) in names.iter().zip(values) {
        let value = &request.path()[span.range()];
        if value.contains('%') {
            let decoded = percent_decode(value).ok_or(InvalidParam)?;
            request.push_param(name.as_ref(), &decoded);
        } else {
            request.push_param_of_path(name.as_ref(), *span);
        }
    }
    Ok(())
}

/// Returns the indices of the prefixes that take paths from a route.
fn shadows(nests: &[Nest], path: &str) -> Vec<usize> {
    nests.iter().enumerate().filter(|(_, nest)| nest.shadows(path)).map(|(index, _)| index).collect()
}
