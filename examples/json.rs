//! JSON in both directions. `/greet` answers one kind of request. `/notes` routes many kinds over one WebSocket, by
//! method and path; each response has the id of its request.
//!
//! ```text
//! cargo run --release --example json -- --addr 127.0.0.1:9001
//! python -m websockets ws://127.0.0.1:9001/greet    # then send: {"name": "Ann"}
//! python -m websockets ws://127.0.0.1:9001/notes
//! # then send: {"id": 1, "method": "POST", "target": "/notes", "body": "ebb at six"}
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use support::server;
use tidegate::prelude::*;
use tidegate::websocket::{Error, TextRequest, TextResponse, TextRoutes};

#[derive(Deserialize)]
struct Introduction {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Greeting(String),
    Error(&'static str),
}

fn main() -> tidegate::Result<()> {
    let options = server::options("JSON messages, and requests routed by method and path over one WebSocket.", &[]);
    let routes = notes();
    let notes = websocket::upgrade(async move |mut ws| Ok(routes.serve(&mut ws).await?));
    let app = Router::new().get("/greet", websocket::upgrade(greet)).get("/notes", notes);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

async fn greet(mut ws: WebSocket) -> websocket::Result {
    loop {
        let answer = match ws.recv_json::<Introduction>().await {
            Ok(Some(introduction)) => Answer::Greeting(format!("Hello, {}", introduction.name)),
            Ok(None) => return Ok(()),
            // Invalid or unexpected JSON is answered, and the WebSocket stays open.
            Err(Error::Json(_)) => Answer::Error("invalid json"),
            Err(error) => return Err(error.into()),
        };
        ws.send_json(&answer).await?;
    }
}

/// Returns routes for requests `{"id", "method", "target", "body"}`, with responses `{"id", "code", "message",
/// "body"}`.
fn notes() -> TextRoutes {
    let notes = Arc::new(Mutex::new(Vec::<String>::new()));
    let written = Arc::clone(&notes);
    TextRoutes::new()
        .post("/notes", async move |request: TextRequest| {
            let note = request.body()?;
            let mut notes = written.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(note);
            Ok(TextResponse::ok().with_body(&notes.len()))
        })
        .get("/notes/:number", async move |request: TextRequest| {
            let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            let number = request.param("number").and_then(|number| number.parse::<usize>().ok());
            match number.and_then(|number| notes.get(number.checked_sub(1)?)) {
                Some(note) => TextResponse::ok().with_body(note),
                None => TextResponse::new(404, "no such note"),
            }
        })
}
