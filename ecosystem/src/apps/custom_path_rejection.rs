//! Parameters of paths, with errors of another form.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/users/{user_id}/teams/{team_id}", get(handler))
}

#[derive(Deserialize)]
struct Params {
    user_id: u32,
    team_id: u32,
}

async fn handler(CustomPath(params): CustomPath<Params>) -> impl IntoResponse {
    Json(json!({ "user_id": params.user_id, "team_id": params.team_id }))
}

struct CustomPath<T>(T);

impl<S, T> FromRequestParts<S> for CustomPath<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = (StatusCode, Json<Value>);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(value) => Ok(Self(value.0)),
            Err(PathRejection::FailedToDeserializePathParams(inner)) => match inner.kind() {
                ErrorKind::ParseErrorAtKey { key, value, .. } => {
                    Err((StatusCode::BAD_REQUEST, Json(json!({ "location": key, "value": value }))))
                }
                other => Err((StatusCode::BAD_REQUEST, Json(json!({ "message": other.to_string() })))),
            },
            Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": error.to_string() })))),
        }
    }
}
