//! Routes next to their handlers, merged into one router.

use axum::Router;
use axum::routing::MethodFilter;
use axum::routing::{MethodRouter, delete, get, on, put};

/// Returns the application.
pub fn app() -> Router {
    Router::new().merge(root()).merge(get_foo()).merge(other_foo()).merge(trace())
}

fn root() -> Router {
    route("/", get(async || "root"))
}

fn get_foo() -> Router {
    route("/foo", get(async || "get foo"))
}

fn other_foo() -> Router {
    route("/foo", put(async || "put foo").merge(delete(async || "delete foo")))
}

fn trace() -> Router {
    route("/trace", on(MethodFilter::TRACE, async || "trace"))
}

fn route(path: &str, method_router: MethodRouter<()>) -> Router {
    Router::new().route(path, method_router)
}
