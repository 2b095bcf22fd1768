//! Logs of requests and responses with spans.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderMap, Request};
use axum::response::{Html, Response};
use axum::routing::get;
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::trace::TraceLayer;
use tracing::{Span, info_span};

type Lines = Arc<Mutex<Vec<String>>>;

/// Returns the application.
pub fn app() -> Router {
    let lines = Lines::default();
    let (requests, responses, chunks, ends, failures) =
        (lines.clone(), lines.clone(), lines.clone(), lines.clone(), lines.clone());
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request<_>| {
            let matched_path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
            info_span!("http_request", method = ?request.method(), matched_path)
        })
        .on_request(move |request: &Request<_>, _span: &Span| note(&requests, format!("request {}", request.uri())))
        .on_response(move |response: &Response, _latency: Duration, _span: &Span| {
            note(&responses, format!("response {}", response.status()));
        })
        .on_body_chunk(move |chunk: &Bytes, _latency: Duration, _span: &Span| {
            note(&chunks, format!("chunk {}", chunk.len()));
        })
        .on_eos(move |_: Option<&HeaderMap>, _duration: Duration, _span: &Span| note(&ends, "end".to_owned()))
        .on_failure(move |error: ServerErrorsFailureClass, _latency: Duration, _span: &Span| {
            note(&failures, format!("failure {error}"));
        });
    Router::new()
        .route("/", get(async || Html("<h1>Hello</h1>")))
        .route("/fail", get(async || axum::http::StatusCode::BAD_GATEWAY))
        .layer(trace)
        .route("/lines", get(async |State(lines): State<Lines>| lines.lock().unwrap().join("\n")))
        .with_state(lines)
}

fn note(lines: &Lines, line: String) {
    lines.lock().unwrap().push(line);
}
