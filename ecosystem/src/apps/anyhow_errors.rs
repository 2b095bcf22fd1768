//! Any error by `?`, as one type of response.

use std::error::Error;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(handler))
}

async fn handler() -> Result<(), AppError> {
    "not a number".parse::<u32>()?;
    Ok(())
}

struct AppError(Box<dyn Error + Send + Sync>);

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("Something went wrong: {}", self.0)).into_response()
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for AppError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}
