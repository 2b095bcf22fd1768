//! Counts of requests by route and status, as a page of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;

type Counts = Arc<Mutex<BTreeMap<(String, u16), u64>>>;

/// Returns the application.
pub fn app() -> Router {
    let counts = Counts::default();
    Router::new()
        .route("/fast/{number}", get(async || "fast"))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&counts), count))
        .route("/metrics", get(show))
        .with_state(counts)
}

async fn count(State(counts): State<Counts>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    *counts.lock().unwrap().entry((path, response.status().as_u16())).or_default() += 1;
    response
}

async fn show(State(counts): State<Counts>) -> String {
    counts.lock().unwrap().iter().fold(String::new(), |mut page, ((path, status), count)| {
        let _ = writeln!(page, "requests{{path=\"{path}\",status=\"{status}\"}} {count}");
        page
    })
}
