//! An extractor around another one, with errors of another form.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, MatchedPath, Request};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, RequestPartsExt, Router};
use serde_json::{Value, json};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/custom", post(async |CustomJson(value): CustomJson<Value>| Json(json!({ "got": value }))))
}

struct CustomJson<T>(T);

impl<S, T> FromRequest<S> for CustomJson<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send + Sync,
{
    type Rejection = (StatusCode, Json<Value>);

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let path = parts.extract::<MatchedPath>().await.ok().map(|path| path.as_str().to_owned());
        match Json::<T>::from_request(Request::from_parts(parts, body), state).await {
            Ok(value) => Ok(Self(value.0)),
            Err(rejection) => {
                let payload = json!({ "message": rejection.body_text(), "path": path });
                Err((rejection.status(), Json(payload)))
            }
        }
    }
}
