//! Layers around handlers and routers.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tower_layer::Layer;

use super::answer::TowerService;
use super::handler_service::HandlerService;
use super::service::{TowerHandler, service};
use crate::message::request::Request;
use crate::server::fallback::Fallback;
use crate::server::handler::{Handler, Reply, SharedAcrossThreads};
use crate::server::router::Router;

/// Puts a tower layer around a handler.
pub trait HandlerExt: Handler + Sized {
    /// Returns a handler that is this one inside `layer`.
    ///
    /// ```
    /// # use tidegate_http::tower::{HandlerExt, HandlerService, TowerHandler, TowerService};
    /// # use tidegate_http::{Handler, Request, Router};
    /// # use tower_layer::Layer;
    /// /// Puts a layer, such as one of tower-http, around one route only.
    /// fn app<H: Handler, L: Layer<HandlerService<H>, Service: TowerService>>(slow: H, limit: L) -> Router {
    ///     Router::new().get("/", async |_request: Request| "Hello").get("/slow", slow.layer(limit))
    /// }
    /// ```
    fn layer<L>(self, layer: L) -> TowerHandler<L::Service>
    where
        L: Layer<HandlerService<Self>>,
        L::Service: TowerService,
    {
        service(layer.layer(HandlerService::new(self)))
    }
}

impl<H: Handler> HandlerExt for H {}

/// # Layers
/// With the feature `tower`.
impl Router {
    /// Puts a tower layer, such as those of tower-http, around all routes added so far, the fallback and the answers to
    /// requests without a route included. Routes added later are outside of it, and come first. A layer added later is
    /// outside of one added before.
    ///
    /// ```
    /// # use tidegate_http::tower::{HandlerService, TowerService};
    /// # use tidegate_http::{Request, Router};
    /// # use tower_layer::Layer;
    /// fn app<L>(require_token: L) -> Router
    /// where
    ///     L: Layer<HandlerService<Router>, Service: TowerService> + Send + Sync + 'static,
    /// {
    ///     let api = Router::new().get("/users", async |_request: Request| "users").layer(require_token);
    ///     Router::new().get("/", async |_request: Request| "no token needed").nest("/api", api)
    /// }
    /// ```
    pub fn layer<L>(self, layer: L) -> Router
    where
        L: Layer<HandlerService<Router>> + SharedAcrossThreads,
        L::Service: TowerService,
    {
        let parts = Mutex::new(Some((self, layer)));
        Router::of_fallback(Arc::new(Layered { parts, handler: OnceLock::new() }))
    }
}

/// A router inside a layer. It is put into the layer by the first request, when no prefix can be added any more.
struct Layered<L: Layer<HandlerService<Router>>> {
    parts: Mutex<Option<(Router, L)>>,
    handler: OnceLock<TowerHandler<L::Service>>,
}

impl<L> Handler for Layered<L>
where
    L: Layer<HandlerService<Router>> + SharedAcrossThreads,
    L::Service: TowerService,
{
    fn handle(&self, request: Request) -> Reply<'_> {
        let handler = self.handler.get_or_init(|| {
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (router, layer) = parts.expect("taken only here");
            service(layer.layer(HandlerService::new(router))).of_router()
        });
        handler.handle(request)
    }
}

impl<L> Fallback for Layered<L>
where
    L: Layer<HandlerService<Router>> + SharedAcrossThreads,
    L::Service: TowerService,
{
    fn nest_below(&self, prefix: &str) {
        if let Some((router, _)) = &mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner) {
            *router = Router::new().nest(prefix, std::mem::take(router));
        }
    }
}
