//! Versions in the path, as an extractor.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{RequestPartsExt, Router};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/{version}/foo", get(handler))
}

async fn handler(version: Version) -> String {
    format!("received request with version {version:?}")
}

#[derive(Debug)]
enum Version {
    V1,
    V2,
}

impl<S: Send + Sync> FromRequestParts<S> for Version {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let params: Path<HashMap<String, String>> = parts.extract().await.map_err(IntoResponse::into_response)?;
        match params.get("version").map(String::as_str) {
            Some("v1") => Ok(Version::V1),
            Some("v2") => Ok(Version::V2),
            _ => Err((StatusCode::NOT_FOUND, "unknown version").into_response()),
        }
    }
}
