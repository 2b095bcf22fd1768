//! Compressed requests and responses.

use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

/// Returns the application.
pub fn app() -> Router {
    let layers = ServiceBuilder::new().layer(RequestDecompressionLayer::new()).layer(CompressionLayer::new());
    Router::new().route("/", post(async |Json(value): Json<Value>| Json(value))).layer(layers)
}
