//! A page.

use axum::{Router, response::Html, routing::get};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(handler))
}

async fn handler() -> Html<&'static str> {
    Html("<h1>Hello, World!</h1>")
}
