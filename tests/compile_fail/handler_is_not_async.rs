//! A handler is async. `sync_handler` wraps a function that answers without waiting.
use tidegate::prelude::*;

fn main() {
    let _ = Router::new().get("/", |_request: Request| "hello");
}
