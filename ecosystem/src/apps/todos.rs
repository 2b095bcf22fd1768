//! A list of things to do: GET, POST, PATCH and DELETE.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, patch};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Todos {
    last: u64,
    all: BTreeMap<u64, Todo>,
}

type Db = Arc<RwLock<Todos>>;

/// Returns the application.
pub fn app() -> Router {
    Router::new()
        .route("/todos", get(todos_index).post(todos_create))
        .route("/todos/{id}", patch(todos_update).delete(todos_delete))
        .with_state(Db::default())
}

#[derive(Deserialize)]
struct Pagination {
    offset: Option<usize>,
    limit: Option<usize>,
}

async fn todos_index(Query(pagination): Query<Pagination>, State(db): State<Db>) -> impl IntoResponse {
    let todos = db.read().unwrap();
    let page = todos.all.values().skip(pagination.offset.unwrap_or(0)).take(pagination.limit.unwrap_or(usize::MAX));
    Json(page.cloned().collect::<Vec<_>>())
}

#[derive(Deserialize)]
struct CreateTodo {
    text: String,
}

async fn todos_create(State(db): State<Db>, Json(input): Json<CreateTodo>) -> impl IntoResponse {
    let mut todos = db.write().unwrap();
    todos.last += 1;
    let todo = Todo { id: todos.last, text: input.text, completed: false };
    todos.all.insert(todo.id, todo.clone());
    (StatusCode::CREATED, Json(todo))
}

#[derive(Deserialize)]
struct UpdateTodo {
    text: Option<String>,
    completed: Option<bool>,
}

async fn todos_update(
    Path(id): Path<u64>,
    State(db): State<Db>,
    Json(input): Json<UpdateTodo>,
) -> Result<impl IntoResponse, StatusCode> {
    let mut todos = db.write().unwrap();
    let todo = todos.all.get_mut(&id).ok_or(StatusCode::NOT_FOUND)?;
    if let Some(text) = input.text {
        todo.text = text;
    }
    if let Some(completed) = input.completed {
        todo.completed = completed;
    }
    Ok(Json(todo.clone()))
}

async fn todos_delete(Path(id): Path<u64>, State(db): State<Db>) -> impl IntoResponse {
    match db.write().unwrap().all.remove(&id) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

#[derive(Serialize, Clone)]
struct Todo {
    id: u64,
    text: String,
    completed: bool,
}
