//! Text commands and binary uploads on one WebSocket. `put NAME` names the binary message that follows, `get NAME`
//! sends it back, `list` lists the names, `quit` closes. `/binary` accepts only binary messages.
//!
//! ```text
//! cargo run --release --example commands -- --addr 127.0.0.1:9001
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::server;
use tidegate::prelude::*;

/// Stored messages by name. Messages are cheap to clone: clones share their memory.
type Store = Mutex<BTreeMap<String, Message>>;

fn main() -> tidegate::Result<()> {
    let options = server::options("Text commands and binary uploads on one WebSocket.", &[]);
    let store = Store::default();
    let app = Router::new()
        .get("/commands", websocket::upgrade(async move |ws| commands(&store, ws).await))
        .get("/binary", websocket::upgrade(binary_only));

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

async fn commands(store: &Store, mut ws: WebSocket) -> websocket::Result {
    let mut name = None;
    while let Some(message) = ws.recv().await? {
        let answer = match &message {
            Message::Binary(bytes) => match name.take() {
                Some(name) => {
                    let stored = format!("stored {name}, {} bytes", bytes.len());
                    lock(store).insert(name, message);
                    stored.into()
                }
                None => Message::from("error: send put NAME first"),
            },
            Message::Text(text) => match text.split_once(' ') {
                Some(("put", file)) => {
                    name = Some(file.to_owned());
                    format!("send {file}").into()
                }
                Some(("get", file)) => {
                    let found = lock(store).get(file).cloned();
                    found.unwrap_or_else(|| format!("error: nothing is stored as {file}").into())
                }
                None if &**text == "list" => lock(store).keys().cloned().collect::<Vec<_>>().join(" ").into(),
                None if &**text == "quit" => return Ok(ws.close(CloseCode::NORMAL, "bye").await?),
                _ => Message::from("error: send put NAME, get NAME, list or quit"),
            },
        };
        ws.send(answer).await?;
    }
    Ok(())
}

/// Answers a binary message with its size and a text message with an error.
async fn binary_only(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        match message {
            Message::Binary(bytes) => ws.send(format!("{} bytes", bytes.len())).await?,
            Message::Text(_) => ws.send("error: binary messages only").await?,
        }
    }
    Ok(())
}

/// Locks the store. The guard is never held across an await.
fn lock(store: &Store) -> MutexGuard<'_, BTreeMap<String, Message>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
