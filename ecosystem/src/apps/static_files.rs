//! Files of a folder, with a page for those that are missing.

use axum::Router;
use axum::handler::HandlerWithoutStateExt;
use axum::http::StatusCode;
use axum::routing::get;
use tower_http::services::{ServeDir, ServeFile};

/// Returns the application.
pub fn app() -> Router {
    let folder = env!("CARGO_MANIFEST_DIR");
    let fallback = not_found.into_service();
    Router::new()
        .route("/", get(async || "files"))
        .route_service("/manifest", ServeFile::new(format!("{folder}/Cargo.toml")))
        .nest_service("/assets", ServeDir::new(folder).not_found_service(fallback))
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such file")
}
