//! A form.

use axum::Router;
use axum::extract::Form;
use axum::response::Html;
use axum::routing::get;
use serde::Deserialize;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", get(show_form).post(accept_form))
}

async fn show_form() -> Html<&'static str> {
    Html(r#"<form method="post"><input name="name"><input name="email"></form>"#)
}

#[derive(Deserialize)]
struct Input {
    name: String,
    email: String,
}

async fn accept_form(Form(input): Form<Input>) -> Html<String> {
    Html(format!("email='{}' name='{}'", input.email, input.name))
}
