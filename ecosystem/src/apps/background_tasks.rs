//! Work that goes on after the response.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::sync::watch;

type Jobs = watch::Sender<Vec<u32>>;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/jobs/{number}", post(begin)).route("/done/{count}", get(done)).with_state(Jobs::default())
}

async fn begin(Path(number): Path<u32>, State(jobs): State<Jobs>) -> StatusCode {
    tokio::spawn(async move {
        let squared = tokio::task::spawn_blocking(move || number * number).await.unwrap();
        jobs.send_modify(|done| done.push(squared));
    });
    StatusCode::ACCEPTED
}

/// Waits until this many are done.
async fn done(Path(count): Path<usize>, State(jobs): State<Jobs>) -> String {
    let mut done = jobs.subscribe();
    let mut squares = done.wait_for(|done| done.len() >= count).await.unwrap().clone();
    squares.sort();
    format!("{squares:?}")
}
