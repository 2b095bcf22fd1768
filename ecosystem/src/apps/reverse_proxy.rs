//! A proxy: requests and responses are passed on as streams.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

/// Passes everything on to the server at `target`.
pub fn app(target: String) -> Router {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Router::new().route("/{*path}", any(handler)).with_state((client, target))
}

async fn handler(
    State((client, target)): State<(reqwest::Client, String)>,
    request: Request,
) -> Result<Response, StatusCode> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let forwarded = client.request(request.method().clone(), format!("{target}{path}"));
    let body = reqwest::Body::wrap_stream(request.into_body().into_data_stream());
    let answered = forwarded.body(body).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let status = answered.status();
    Ok((status, Body::from_stream(answered.bytes_stream())).into_response())
}
