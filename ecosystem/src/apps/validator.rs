//! A query that is checked by an extractor.

use axum::Router;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Html;
use axum::routing::get;
use serde::Deserialize;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(handler))
}

#[derive(Deserialize)]
struct NameInput {
    name: String,
}

async fn handler(Valid(input): Valid) -> Html<String> {
    Html(format!("<h1>Hello, {}!</h1>", input.name))
}

struct Valid(NameInput);

impl<S: Send + Sync> FromRequestParts<S> for Valid {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let query = Query::<NameInput>::from_request_parts(parts, state).await;
        let Query(input) = query.map_err(|error| (StatusCode::BAD_REQUEST, error.body_text()))?;
        if input.name.len() < 2 {
            return Err((StatusCode::BAD_REQUEST, "Can not be empty".to_owned()));
        }
        Ok(Self(input))
    }
}
