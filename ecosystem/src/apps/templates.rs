//! Pages from a template.

use std::fmt;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/greet/{name}", get(greet))
}

async fn greet(Path(name): Path<String>) -> impl IntoResponse {
    HtmlTemplate(HelloTemplate { name })
}

struct HelloTemplate {
    name: String,
}

impl fmt::Display for HelloTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = self.name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        write!(f, "<h1>Hello, {escaped}!</h1>")
    }
}

struct HtmlTemplate<T>(T);

impl<T: fmt::Display> IntoResponse for HtmlTemplate<T> {
    fn into_response(self) -> Response {
        use std::fmt::Write;
        let mut page = String::new();
        match write!(page, "{}", self.0) {
            Ok(()) => Html(page).into_response(),
            Err(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to render the template: {error}")).into_response()
            }
        }
    }
}
