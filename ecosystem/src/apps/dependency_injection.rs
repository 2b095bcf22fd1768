//! A trait object and a type parameter as state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;

trait UserRepo: Send + Sync {
    fn user(&self, id: u32) -> Option<String>;
    fn save(&self, id: u32, name: String);
}

#[derive(Default, Clone)]
struct InMemoryUserRepo(Arc<Mutex<HashMap<u32, String>>>);

impl UserRepo for InMemoryUserRepo {
    fn user(&self, id: u32) -> Option<String> {
        self.0.lock().unwrap().get(&id).cloned()
    }

    fn save(&self, id: u32, name: String) {
        self.0.lock().unwrap().insert(id, name);
    }
}

/// Returns the application.
pub fn app() -> Router {
    let repo = InMemoryUserRepo::default();
    let using_dyn = Router::new()
        .route("/{id}", get(user_dyn).put(save_dyn))
        .with_state(Arc::new(repo.clone()) as Arc<dyn UserRepo>);
    let using_generic = Router::new().route("/{id}", get(user_generic::<InMemoryUserRepo>)).with_state(repo);
    Router::new().nest("/dyn", using_dyn).nest("/generic", using_generic)
}

async fn user_dyn(State(repo): State<Arc<dyn UserRepo>>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    repo.user(id).ok_or(StatusCode::NOT_FOUND)
}

async fn save_dyn(State(repo): State<Arc<dyn UserRepo>>, Path(id): Path<u32>, name: String) -> StatusCode {
    repo.save(id, name);
    StatusCode::CREATED
}

async fn user_generic<T: UserRepo>(State(repo): State<T>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    repo.user(id).ok_or(StatusCode::NOT_FOUND)
}
