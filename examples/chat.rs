//! A chat with rooms, and the page for it.
//!
//! Clients send `join ROOM`, `leave ROOM` and `say ROOM TEXT`, and receive `ROOM: ...` for each room they are in. A
//! member whose network is too slow for its rooms is closed with 1013 (try again later); the others do not wait for it.
//!
//! ```text
//! cargo run --release --example chat -- --addr 127.0.0.1:9001
//! open http://127.0.0.1:9001/ in two windows, or: python -m websockets 'ws://127.0.0.1:9001/chat?name=Ann'
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::borrow::Cow;

use support::server;
use tidegate::prelude::*;
use tidegate::websocket::{HubConfig, HubError, MemberConfig, Registration, SlowPolicy};

const HELP: &str = "error: send join ROOM or, in a room, leave ROOM or say ROOM TEXT";

fn main() -> tidegate::Result<()> {
    let options = server::options("A chat with rooms, and the page for it.", &[]);
    let hub = Hub::new(HubConfig::default().slow(SlowPolicy::CloseTryAgainLater).rooms_max(16));
    let limits = WebSocketConfig::default().message_bytes_max(16 << 10);

    let chat = websocket::upgrade(async move |ws| chat(&hub, ws).await).config(limits).keep_request();
    let page = sync_handler(|_request| Response::html(include_str!("chat.html")));
    let app = Router::new().get("/", page).get("/chat", chat);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Serves one member until it disconnects.
async fn chat(hub: &Hub<String>, mut ws: WebSocket) -> websocket::Result {
    let name = ws.request().and_then(|head| head.query("name")).map(Cow::into_owned);
    let member = hub.register_with(&ws, name.unwrap_or_else(|| "somebody".to_owned()), MemberConfig::default())?;
    let ended = run_commands(&mut ws, &member).await;
    // Even after an error: the rooms learn that the member left.
    for room in member.rooms() {
        member.publish(&room, format!("{room}: {} left", member.data())).queue().await?;
    }
    ended
}

async fn run_commands(ws: &mut WebSocket, member: &Registration<String>) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        let mut words = message.as_text().unwrap_or_default().splitn(3, ' ');
        match (words.next(), words.next().filter(|room| !room.is_empty()), words.next()) {
            (Some("join"), Some(room), None) => match member.join(room) {
                Ok(true) => announce(member, room, " joined").await?,
                Ok(false) => {}
                Err(error) => ws.send(format!("error: {error}")).await?,
            },
            (Some("leave"), Some(room), None) if is_in(member, room) => {
                announce(member, room, " left").await?;
                member.leave(room);
            }
            (Some("say"), Some(room), Some(text)) if is_in(member, room) => {
                announce(member, room, &format!(": {text}")).await?;
            }
            _ => ws.send(HELP).await?,
        }
    }
    Ok(())
}

fn is_in(member: &Registration<String>, room: &str) -> bool {
    member.rooms().iter().any(|joined| &**joined == room)
}

/// Sends a line to everyone in the room, including the member.
async fn announce(member: &Registration<String>, room: &str, what: &str) -> Result<(), HubError> {
    member.hub().publish(room, format!("{room}: {}{what}", member.data())).queue().await
}
