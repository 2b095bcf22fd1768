//! A layer that reads the content of requests and responses.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/", post(async || "Hello from `POST /`")).layer(middleware::from_fn(print_request_response))
}

async fn print_request_response(request: Request, next: Next) -> Result<impl IntoResponse, (StatusCode, String)> {
    let (parts, body) = request.into_parts();
    let sent = buffer("request", body).await?;
    let response = next.run(Request::from_parts(parts, Body::from(sent.clone()))).await;
    let (mut parts, body) = response.into_parts();
    let answered = buffer("response", body).await?;
    parts.headers.insert("x-lengths", format!("{} {}", sent.len(), answered.len()).parse().unwrap());
    Ok(Response::from_parts(parts, Body::from(answered)))
}

async fn buffer<B>(direction: &str, body: B) -> Result<Bytes, (StatusCode, String)>
where
    B: axum::body::HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("failed to read {direction} body: {error}"))),
    }
}
