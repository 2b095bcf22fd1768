//! Requests of other origins.

use axum::http::{HeaderValue, Method};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tower_http::cors::CorsLayer;

/// Returns the application.
pub fn app() -> Router {
    let cors = CorsLayer::new()
        .allow_origin("http://localhost:3000".parse::<HeaderValue>().unwrap())
        .allow_methods([Method::GET]);
    Router::new().route("/json", get(json)).layer(cors)
}

async fn json() -> impl IntoResponse {
    Json(vec!["one", "two", "three"])
}
