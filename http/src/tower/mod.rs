//! Services and layers of the tower crates (feature `tower`).
//!
//! [`service`] makes a [`Handler`](crate::Handler) of a tower service, such as tower-http's `ServeDir`. Layers are put
//! around a router by [`Router::layer`](crate::Router::layer) and around one handler by [`HandlerExt::layer`].
//!
//! ```
//! use std::time::Duration;
//!
//! use tidegate_http::tower::HandlerExt;
//! use tidegate_http::{Request, Router};
//!
//! # use tidegate_http::tower::{HandlerService, TowerService};
//! # fn example<L>(cors: L)
//! # where
//! #     L: tower_layer::Layer<HandlerService<Router>, Service: TowerService> + Send + Sync + 'static,
//! # {
//! let app = Router::new()
//!     .get("/", async |_request: Request| "Hello")
//!     .layer(cors); // such as tower_http::cors::CorsLayer::permissive()
//! # }
//! ```
//!
//! Content flows in pieces and under backpressure in both directions, with trailers: [`Content`] is its type on tower's
//! side, and is `Send`. The futures of handlers are not: they stay on their thread. A layer or a service that needs
//! `Send` futures, such as `tower::buffer` or `BoxCloneService`, does not compile around a handler.
//!
//! The extensions of an `http::Request` have the [`Addresses`] of its connection. What middleware of this crate put
//! into the extensions of a request is there too, and the other way round.

mod answer;
mod content;
mod exchange;
mod handler_service;
mod layer;
mod request;
mod response;
mod service;

pub use answer::TowerService;
pub use content::{BoxError, Content};
pub use exchange::Exchange;
pub use handler_service::{HandlerFuture, HandlerService};
pub use layer::HandlerExt;
pub use request::Addresses;
#[doc(hidden)]
pub use request::{Carry, Converted, into_http};
#[doc(hidden)]
pub use response::from_http as response_from_http;
pub use service::{TowerHandler, service};
