//! Errors of the application and of extractors in one form, and a layer that sees them.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/users", post(users_create)).layer(from_fn(log_app_errors))
}

async fn log_app_errors(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions().get::<LoggedError>().cloned() {
        response.headers_mut().insert("x-error", error.0.parse().unwrap());
    }
    response
}

#[derive(Clone)]
struct LoggedError(String);

#[derive(Deserialize)]
struct UserParams {
    name: String,
}

#[derive(Serialize)]
struct User {
    name: String,
}

async fn users_create(AppJson(params): AppJson<UserParams>) -> Result<AppJson<User>, AppError> {
    if params.name == "taken" {
        return Err(AppError::NameTaken);
    }
    Ok(AppJson(User { name: params.name }))
}

#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(AppError))]
struct AppJson<T>(T);

impl<T: Serialize> IntoResponse for AppJson<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

enum AppError {
    JsonRejection(JsonRejection),
    NameTaken,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct ErrorResponse {
            message: String,
        }
        let (status, message) = match self {
            AppError::JsonRejection(rejection) => (rejection.status(), rejection.body_text()),
            AppError::NameTaken => (StatusCode::CONFLICT, "name taken".to_owned()),
        };
        let mut response = (status, AppJson(ErrorResponse { message: message.clone() })).into_response();
        response.extensions_mut().insert(LoggedError(message));
        response
    }
}

impl From<JsonRejection> for AppError {
    fn from(rejection: JsonRejection) -> Self {
        Self::JsonRejection(rejection)
    }
}
