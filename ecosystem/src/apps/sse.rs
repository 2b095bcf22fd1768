//! Server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/sse", get(sse_handler))
}

async fn sse_handler() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(0, |number| async move {
        // The stream is woken by a timer of tokio for each event.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let event = Event::default().event("tick").id(number.to_string()).data(format!("hi {number}"));
        Some((Ok(event), number + 1))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(1)).text("keep-alive-text"))
}
