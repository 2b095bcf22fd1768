//! JSON or a form, by the Content-Type.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, RequestExt, Router};
use serde::{Deserialize, Serialize};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", post(async |JsonOrForm(payload): JsonOrForm<Payload>| Json(payload)))
}

#[derive(Serialize, Deserialize)]
struct Payload {
    foo: String,
}

struct JsonOrForm<T>(T);

impl<S, T> FromRequest<S> for JsonOrForm<T>
where
    S: Send + Sync,
    Json<T>: FromRequest<()>,
    Form<T>: FromRequest<()>,
    T: 'static,
{
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.starts_with("application/json") {
            let Json(payload) = request.extract().await.map_err(IntoResponse::into_response)?;
            return Ok(Self(payload));
        }
        if content_type.starts_with("application/x-www-form-urlencoded") {
            let Form(payload) = request.extract().await.map_err(IntoResponse::into_response)?;
            return Ok(Self(payload));
        }
        Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response())
    }
}
