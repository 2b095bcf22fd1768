//! A session in a cookie.

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Redirect};
use axum::routing::get;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(index)).route("/login", get(login))
}

async fn index(headers: HeaderMap) -> String {
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="));
    session.map_or_else(|| "not logged in".to_owned(), |session| format!("session {session}"))
}

async fn login() -> impl IntoResponse {
    (AppendHeaders([(SET_COOKIE, "session=7; HttpOnly"), (SET_COOKIE, "theme=dark")]), Redirect::to("/"))
}
