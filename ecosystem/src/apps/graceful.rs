//! Handlers that are in flight at a graceful shutdown, with a timeout.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tower_http::timeout::TimeoutLayer;

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/slow", get(|| tokio::time::sleep(Duration::from_millis(50))))
        .route("/forever", get(std::future::pending::<()>))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(200)))
}
