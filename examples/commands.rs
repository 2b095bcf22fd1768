//! Text commands beside binary upload, on one WebSocket: `put NAME` names the binary message that follows, `get NAME` sends it
//! back, `list` tells the names, `quit` closes. On `/binary` only binary messages are taken.
//!
//! ```text
//! cargo run --release --example commands -- --addr 127.0.0.1:9001
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate::prelude::*;
use tidegate::websocket::Error;

/// What was put, by name. Messages are cheap to clone: their memory is shared.
type Store = Arc<Mutex<BTreeMap<String, Message>>>;

fn main() -> tidegate::Result<()> {
    let store = Store::default();
    let app = Router::new()
        .get("/commands", websocket::upgrade(move |ws: WebSocket| commands(Arc::clone(&store), ws)))
        .get("/binary", websocket::upgrade(binary_only));

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

async fn commands(store: Store, mut ws: WebSocket) -> Result<(), Error> {
    let mut name = None;
    while let Some(message) = ws.recv().await? {
        let answer = match &message {
            Message::Binary(bytes) => match name.take() {
                Some(name) => {
                    let stored = format!("stored {name}, {} bytes", bytes.len());
                    lock(&store).insert(name, message);
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
                    let found = lock(&store).get(file).cloned();
                    found.unwrap_or_else(|| format!("error: there is no {file}").into())
                }
                None if &**text == "list" => lock(&store).keys().cloned().collect::<Vec<_>>().join(" ").into(),
                None if &**text == "quit" => return ws.close(CloseCode::NORMAL, "bye").await,
                _ => Message::from("error: send put NAME, get NAME, list or quit"),
            },
        };
        ws.send(answer).await?;
    }
    Ok(())
}

/// Answers binary messages with their size, and text with an error.
async fn binary_only(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        match message {
            Message::Binary(bytes) => ws.send(format!("{} bytes", bytes.len())).await?,
            Message::Text(_) => ws.send("error: binary messages only").await?,
        }
    }
    Ok(())
}

/// Never held across an await.
fn lock(store: &Store) -> std::sync::MutexGuard<'_, BTreeMap<String, Message>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
