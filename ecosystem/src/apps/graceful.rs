//! Handlers that finish before and after their timeout, as in axum's example of a graceful shutdown.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tower_http::timeout::TimeoutLayer;

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        // Well below the timeout, and woken by a timer of tokio.
        .route("/slow", get(|| tokio::time::sleep(Duration::from_millis(50))))
        .route("/forever", get(std::future::pending::<()>))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(200)))
}
