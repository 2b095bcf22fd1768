//! Layers around handlers and routers.

use tower_layer::Layer;

use super::answer::TowerService;
use super::handler_service::HandlerService;
use super::service::{TowerHandler, service};
use crate::message::request::Request;
use crate::server::handler::{Handler, Reply, Shared};
use crate::server::router::{Fallback, Router};

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
    ///     L: Layer<HandlerService<Router>, Service: TowerService> + Clone + Send + Sync + 'static,
    /// {
    ///     let api = Router::new().get("/users", async |_request: Request| "users").layer(require_token);
    ///     Router::new().get("/", async |_request: Request| "no token needed").nest("/api", api)
    /// }
    /// ```
    pub fn layer<L>(self, layer: L) -> Router
    where
        L: Layer<HandlerService<Router>> + Clone + Shared,
        L::Service: TowerService,
    {
        Router::of_fallback(Layered::new(self, layer))
    }
}

/// A router inside a layer.
struct Layered<L: Layer<HandlerService<Router>>> {
    /// Taken out when the router is nested, and put into the layer again.
    router: HandlerService<Router>,
    layer: L,
    handler: TowerHandler<L::Service>,
}

impl<L> Layered<L>
where
    L: Layer<HandlerService<Router>> + Clone + Shared,
    L::Service: TowerService,
{
    fn new(router: Router, layer: L) -> Box<Self> {
        let router = HandlerService::new(router);
        let handler = service(layer.layer(router.clone()));
        Box::new(Layered { router, layer, handler })
    }
}

impl<L> Handler for Layered<L>
where
    L: Layer<HandlerService<Router>> + Clone + Shared,
    L::Service: TowerService,
{
    fn handle(&self, request: Request) -> Reply<'_> {
        self.handler.handle(request)
    }
}

impl<L> Fallback for Layered<L>
where
    L: Layer<HandlerService<Router>> + Clone + Shared,
    L::Service: TowerService,
{
    fn nested(self: Box<Self>, prefix: &str) -> Box<dyn Fallback> {
        let Layered { router, layer, handler } = *self;
        drop(handler);
        // A layer that keeps a clone of the service elsewhere keeps the router: its routes then stay without the prefix.
        let router =
            router.into_inner().expect("a layer keeps the service it was put around, so its router cannot be nested");
        Layered::new(Router::new().nest(prefix, router), layer)
    }
}
