//! A router whose handlers share a value of the application.
//!
//! Owns the pairing of each handler with the state; everything else is the router's.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::message::into_response::IntoResponse;
use crate::message::request::Request;
use crate::server::handler::{Handler, Reply, SharedAcrossThreads};
use crate::server::router::Router;

/// A router whose handlers take a shared value first. [`Router::with_state`] returns it.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate_http::{Request, Router};
///
/// #[derive(Default)]
/// struct App {
///     visits: AtomicU64,
/// }
///
/// async fn visit(app: &App, _request: Request) -> String {
///     format!("visit {}", app.visits.fetch_add(1, Ordering::Relaxed))
/// }
///
/// let app = Router::new()
///     .get("/", async |_request: Request| "no state")
///     .with_state(App::default())
///     .get("/visit", visit)
///     .get("/visits", async |app: &App, _request: Request| app.visits.load(Ordering::Relaxed).to_string());
/// ```
///
/// All workers share the one value, and the handler's future borrows it: nothing is cloned for a request. To keep a
/// handle to it elsewhere, such as in a WebSocket's handler, give an [`Arc`] of it.
#[must_use = "a router does nothing until it is given to `Server::builder`"]
pub struct StateRouter<S> {
    router: Router,
    state: Arc<S>,
}

impl Router {
    /// Continues with handlers that take a shared value first. Routes registered before stay as they are.
    pub fn with_state<S: SharedAcrossThreads>(self, state: impl Into<Arc<S>>) -> StateRouter<S> {
        StateRouter { router: self, state: state.into() }
    }
}

impl<S: SharedAcrossThreads> StateRouter<S> {
    /// Answers GET and HEAD requests for a path.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn get(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        self.route(Method::GET, path, handler)
    }

    /// Answers POST requests for a path.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn post(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        self.route(Method::POST, path, handler)
    }

    /// Answers PUT requests for a path.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn put(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        self.route(Method::PUT, path, handler)
    }

    /// Answers DELETE requests for a path.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn delete(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        self.route(Method::DELETE, path, handler)
    }

    /// Answers PATCH requests for a path.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn patch(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        self.route(Method::PATCH, path, handler)
    }

    /// Answers requests for a path with this method.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn route(self, method: Method, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        let StateRouter { router, state } = self;
        let handler = WithState { state: Arc::clone(&state), handler };
        StateRouter { router: router.route(method, path, handler), state }
    }

    /// Answers requests for a path whose method has no handler of its own, as [`Router::any`] does.
    ///
    /// # Panics
    /// As [`Router::route`].
    pub fn any(self, path: &str, handler: impl StateHandler<S>) -> StateRouter<S> {
        let StateRouter { router, state } = self;
        let handler = WithState { state: Arc::clone(&state), handler };
        StateRouter { router: router.any(path, handler), state }
    }

    /// Answers requests whose path has no route. Default: 404.
    ///
    /// # Panics
    /// If the router has a fallback already.
    pub fn fallback(self, handler: impl StateHandler<S>) -> StateRouter<S> {
        let StateRouter { router, state } = self;
        let handler = WithState { state: Arc::clone(&state), handler };
        StateRouter { router: router.fallback(handler), state }
    }

    /// Returns the shared value.
    pub fn state(&self) -> &Arc<S> {
        &self.state
    }

    /// Returns the router, to nest it or to add routes whose handlers take no state, such as upgrades.
    pub fn into_router(self) -> Router {
        self.router
    }
}

#[diagnostic::do_not_recommend]
impl<S: SharedAcrossThreads> Handler for StateRouter<S> {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.router.handle(request)
    }
}

impl<S> From<StateRouter<S>> for Router {
    fn from(router: StateRouter<S>) -> Router {
        router.router
    }
}

impl<S> fmt::Debug for StateRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.router.fmt(f)
    }
}

/// An async function from a shared value and a [`Request`] to anything that implements [`IntoResponse`]: a handler of
/// a [`StateRouter`]. Implemented for all of them, and not to be implemented.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer requests with a state of `{S}`",
    label = "not a handler that takes `&{S}` and a request",
    note = "a handler is `async |state: &{S}, request: Request| {{ .. }}` or `async fn(&{S}, Request) -> R`, where `R` \
            is a response; register one without state before `with_state`, or after `into_router`"
)]
pub trait StateHandler<S>: SharedAcrossThreads {
    /// Answers a request.
    fn handle<'h>(&'h self, state: &'h S, request: Request) -> Reply<'h>;
}

#[diagnostic::do_not_recommend]
impl<S, F, R> StateHandler<S> for F
where
    S: SharedAcrossThreads,
    F: AsyncFn(&S, Request) -> R + SharedAcrossThreads,
    R: IntoResponse,
{
    fn handle<'h>(&'h self, state: &'h S, request: Request) -> Reply<'h> {
        Reply::from_future(self(state, request))
    }
}

/// A handler with its state.
struct WithState<S, H> {
    state: Arc<S>,
    handler: H,
}

#[diagnostic::do_not_recommend]
impl<S: SharedAcrossThreads, H: StateHandler<S>> Handler for WithState<S, H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.handler.handle(&self.state, request)
    }
}
