//! Only who has a ticket gets a WebSocket: the request is looked at before the 101, and what was found out stays with the
//! connection.
//!
//! ```text
//! cargo run --release --example auth -- --addr 127.0.0.1:9001
//! python -m websockets 'ws://127.0.0.1:9001/ws?ticket=tide'    # then send: who, close
//! ```

use http::StatusCode;
use tidegate::http::RequestHead;
use tidegate::prelude::*;
use tidegate::websocket::{Disconnected, Error, Refusal};

/// What is known of who has connected.
struct User {
    name: &'static str,
    banned: bool,
}

fn main() -> tidegate::Result<()> {
    let ws = websocket::upgrade(answer).authorize(authorize).on_connect(welcome).on_disconnect(farewell);
    let app = Router::new().get("/ws", ws);

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Before the 101: gives the user, or the response in its place. A database may be asked here; 10 s are allowed.
async fn authorize(head: &RequestHead) -> Result<User, (StatusCode, &'static str)> {
    let mut pairs = head.query().unwrap_or_default().split('&');
    match pairs.find_map(|pair| pair.strip_prefix("ticket=")) {
        Some("tide") => Ok(User { name: "Ann", banned: false }),
        Some("ebb") => Ok(User { name: "Bob", banned: true }),
        Some(_) => Err((StatusCode::FORBIDDEN, "Unknown ticket")),
        None => Err((StatusCode::UNAUTHORIZED, "Missing authorization")),
    }
}

/// After the 101: here a browser's script sees the close code, which it cannot see of a response.
async fn welcome(ws: &mut WebSocket) -> Result<(), Refusal> {
    match ws.extension::<User>() {
        Some(user) if !user.banned => Ok(ws.send(format!("Welcome, {}", user.name)).await?),
        _ => Err(Refusal::new(CloseCode::new(4003), "banned")),
    }
}

async fn answer(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        match (message.as_text(), ws.extension::<User>()) {
            (Some("who"), Some(user)) => ws.send(user.name).await?,
            (Some("close"), _) => return ws.close(CloseCode::new(4000), "as you wish").await,
            _ => ws.send("error: send who or close").await?,
        }
    }
    Ok(())
}

/// Once for each that `welcome` let in, however it ends.
fn farewell(ended: &Disconnected<'_>) {
    let name = ended.extensions().get::<User>().map_or("nobody", |user| user.name);
    println!("{name} has left with {}", ended.close_code());
}

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
