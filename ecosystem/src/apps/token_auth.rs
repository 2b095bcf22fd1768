//! Routes for callers with a token: a middleware that puts the user into the extensions.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

#[derive(Clone)]
struct CurrentUser(String);

/// Returns the application.
pub fn app() -> Router {
    let protected = Router::new().route("/protected", get(protected)).route_layer(middleware::from_fn(auth));
    Router::new().route("/authorize", post(authorize)).merge(protected)
}

async fn authorize(Json(credentials): Json<Value>) -> Result<Json<Value>, StatusCode> {
    match (credentials["client_id"].as_str(), credentials["client_secret"].as_str()) {
        (Some(name), Some("bar")) => {
            Ok(Json(json!({ "access_token": format!("token-of-{name}"), "token_type": "Bearer" })))
        }
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

async fn auth(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let name = header.and_then(|value| value.strip_prefix("Bearer token-of-")).ok_or(StatusCode::UNAUTHORIZED)?;
    let user = CurrentUser(name.to_owned());
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn protected(Extension(CurrentUser(name)): Extension<CurrentUser>) -> String {
    format!("Welcome to the protected area, {name}")
}
