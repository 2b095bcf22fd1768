//! Uploads as a multipart form, with a limit.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Multipart};
use axum::response::IntoResponse;
use axum::routing::post;
use tower_http::limit::RequestBodyLimitLayer;

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/", post(accept_form))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(8 * 1024 * 1024))
}

async fn accept_form(mut multipart: Multipart) -> Result<String, axum::response::Response> {
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(IntoResponse::into_response)? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(IntoResponse::into_response)?;
        parts.push(format!("{name} {file} {}", bytes.len()));
    }
    Ok(parts.join("; "))
}
