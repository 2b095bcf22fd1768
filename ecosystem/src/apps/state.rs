//! State, parts of it, and state of nested routers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{FromRef, State};
use axum::routing::get;
use axum::{Extension, Router};

#[derive(Clone, Default)]
struct AppState {
    visits: Visits,
    name: Name,
}

#[derive(Clone, Default)]
struct Visits(Arc<AtomicU64>);

#[derive(Clone)]
struct Name(&'static str);

impl Default for Name {
    fn default() -> Self {
        Self("counter")
    }
}

impl FromRef<AppState> for Visits {
    fn from_ref(state: &AppState) -> Self {
        state.visits.clone()
    }
}

impl FromRef<AppState> for Name {
    fn from_ref(state: &AppState) -> Self {
        state.name.clone()
    }
}

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/", get(count))
        .nest("/inner", Router::new().route("/", get(async |State(name): State<Name>| name.0)))
        .layer(Extension("extended"))
        .with_state(AppState::default())
}

async fn count(State(visits): State<Visits>, Extension(text): Extension<&'static str>) -> String {
    format!("{text} {}", visits.0.fetch_add(1, Ordering::Relaxed) + 1)
}
