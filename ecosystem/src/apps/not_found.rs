//! One page for unknown paths, and one for unknown methods.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::get;

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/", get(async || "main"))
        .nest("/api", Router::new().route("/", get(async || "api")))
        .method_not_allowed_fallback(async |method: Method| {
            (StatusCode::METHOD_NOT_ALLOWED, format!("no {method} here"))
        })
        .fallback(async |uri: Uri| (StatusCode::NOT_FOUND, format!("nothing at {}", uri.path())))
}
