//! Content that a middleware reads before the extractor does.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;

/// Returns the application.
pub fn app() -> Router {
    let layers = ServiceBuilder::new().map_request_body(Body::new).layer(middleware::from_fn(check_body));
    Router::new().route("/", post(handler)).layer(layers)
}

async fn check_body(request: Request, next: Next) -> Result<impl IntoResponse, Response> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())?;
    let bytes = bytes.to_bytes();
    if bytes.is_empty() {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "no content").into_response());
    }
    Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await)
}

async fn handler(BufferRequestBody(body): BufferRequestBody) -> String {
    format!("{} bytes", body.len())
}

struct BufferRequestBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for BufferRequestBody {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        Ok(Self(Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?))
    }
}
