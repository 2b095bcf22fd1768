//! HEAD, answered by the handler of GET.

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(get_head_handler)).route("/automatic", get(async || "automatic"))
}

async fn get_head_handler(method: Method) -> Response {
    if method == Method::HEAD {
        return ([("x-some-header", "header from HEAD")]).into_response();
    }
    ([("x-some-header", "header from GET")], "body from GET").into_response()
}
