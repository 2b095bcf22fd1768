//! A key-value store in memory, with limits, timeouts and an admin's part.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use tower::{BoxError, ServiceBuilder};
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

type SharedState = Arc<RwLock<HashMap<String, Bytes>>>;

/// Returns the application.
pub fn app() -> Router {
    let state = SharedState::default();
    Router::new()
        .route(
            "/{key}",
            get(kv_get.layer(CompressionLayer::new())).post_service(
                kv_set
                    .layer((DefaultBodyLimit::disable(), RequestBodyLimitLayer::new(5_000)))
                    .with_state(Arc::clone(&state)),
            ),
        )
        .route("/keys", get(list_keys))
        .nest("/admin", admin_routes())
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(handle_error))
                .load_shed()
                .concurrency_limit(1024)
                .timeout(Duration::from_secs(10))
                .layer(TraceLayer::new_for_http()),
        )
        .with_state(state)
}

async fn kv_get(Path(key): Path<String>, State(state): State<SharedState>) -> Result<Bytes, StatusCode> {
    state.read().unwrap().get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn kv_set(Path(key): Path<String>, State(state): State<SharedState>, bytes: Bytes) {
    state.write().unwrap().insert(key, bytes);
}

async fn list_keys(State(state): State<SharedState>) -> String {
    let mut keys: Vec<_> = state.read().unwrap().keys().cloned().collect();
    keys.sort();
    keys.join("\n")
}

fn admin_routes() -> Router<SharedState> {
    async fn delete_all_keys(State(state): State<SharedState>) {
        state.write().unwrap().clear();
    }
    async fn remove_key(Path(key): Path<String>, State(state): State<SharedState>) {
        state.write().unwrap().remove(&key);
    }
    #[expect(deprecated, reason = "as in axum's example")]
    let bearer = ValidateRequestHeaderLayer::bearer("secret-token");
    Router::new().route("/keys", delete(delete_all_keys)).route("/key/{key}", delete(remove_key)).layer(bearer)
}

async fn handle_error(error: BoxError) -> impl IntoResponse {
    if error.is::<tower::timeout::error::Elapsed>() {
        return (StatusCode::REQUEST_TIMEOUT, Cow::from("request timed out"));
    }
    if error.is::<tower::load_shed::error::Overloaded>() {
        return (StatusCode::SERVICE_UNAVAILABLE, Cow::from("service is overloaded, try again later"));
    }
    (StatusCode::INTERNAL_SERVER_ERROR, Cow::from(format!("Unhandled internal error: {error}")))
}
