//! Chat with rooms, and a page to chat in, which this program serves itself.
//!
//! Clients send `join ROOM`, `leave ROOM` and `say ROOM TEXT`, and get `ROOM: ...` for each room they are in. A member whose
//! network is too slow for its rooms is told 1013 (try again later); nobody waits for it.
//!
//! ```text
//! cargo run --release --example chat -- --addr 127.0.0.1:9001
//! open http://127.0.0.1:9001/ in two windows, or: python -m websockets 'ws://127.0.0.1:9001/chat?name=Ann'
//! ```

use http::header::{CONTENT_TYPE, HeaderValue};
use tidegate::http::percent_decode;
use tidegate::prelude::*;
use tidegate::websocket::{Error, HubConfig, HubError, MemberConfig, Registration, SlowPolicy};

const HELP: &str = "error: send join ROOM or, in a room, leave ROOM or say ROOM TEXT";

fn main() -> tidegate::Result<()> {
    let mut config = HubConfig::default();
    config.slow = SlowPolicy::Disconnect;
    config.rooms_max = 16;
    let hub: Hub<String> = Hub::new(config);
    let mut limits = WebSocketConfig::default();
    limits.message_bytes_max = 16 << 10;

    let chat = websocket::upgrade(move |ws: WebSocket| chat(hub.clone(), ws)).config(limits).keep_request();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let page =
        sync_handler(move |_request| Response::text(include_str!("chat.html")).with_header(CONTENT_TYPE, html.clone()));
    let app = Router::new().get("/", page).get("/chat", chat);

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// One member, from its coming to its going.
async fn chat(hub: Hub<String>, mut ws: WebSocket) -> Result<(), Error> {
    let name = ws.request().and_then(|head| percent_decode(head.query()?.strip_prefix("name=")?));
    let member = hub.register_with(&ws, name.unwrap_or_else(|| "somebody".to_owned()), MemberConfig::default())?;
    let ended = obey(&mut ws, &member).await;
    // However it ended: those who stay are told.
    for room in member.rooms() {
        member.publish(&room, format!("{room}: {} left", member.data())).queue().await?;
    }
    ended
}

async fn obey(ws: &mut WebSocket, member: &Registration<String>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        let mut words = message.as_text().unwrap_or_default().splitn(3, ' ');
        match (words.next(), words.next().filter(|room| !room.is_empty()), words.next()) {
            (Some("join"), Some(room), None) => match member.join(room) {
                Ok(true) => tell(member, room, " joined").await?,
                Ok(false) => {}
                Err(error) => ws.send(format!("error: {error}")).await?,
            },
            (Some("leave"), Some(room), None) if is_in(member, room) => {
                tell(member, room, " left").await?;
                member.leave(room);
            }
            (Some("say"), Some(room), Some(text)) if is_in(member, room) => {
                tell(member, room, &format!(": {text}")).await?;
            }
            _ => ws.send(HELP).await?,
        }
    }
    Ok(())
}

fn is_in(member: &Registration<String>, room: &str) -> bool {
    member.rooms().iter().any(|joined| &**joined == room)
}

/// Tells all in the room, the member itself included.
async fn tell(member: &Registration<String>, room: &str, what: &str) -> Result<(), HubError> {
    member.hub().publish(room, format!("{room}: {}{what}", member.data())).queue().await
}

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
