//! Checks a ticket before the 101 response. The user it belongs to stays with the connection.
//!
//! ```text
//! cargo run --release --example auth -- --addr 127.0.0.1:9001
//! python -m websockets 'ws://127.0.0.1:9001/ws?ticket=tide'    # then send: who, close
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use support::server;
use tidegate::http::StatusCode;
use tidegate::prelude::*;
use tidegate::web::RequestHead;
use tidegate::websocket::{Disconnected, HandlerError};

/// The user behind a connection.
struct User {
    name: &'static str,
    banned: bool,
}

fn main() -> tidegate::Result<()> {
    let options = server::options("Checks a ticket before a request becomes a WebSocket.", &[]);
    let ws = websocket::upgrade(answer).authorize(authorize).on_connect(welcome).on_disconnect(farewell);
    let app = Router::new().get("/ws", ws);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Runs before the 101. Returns the user, or the response to send instead. It can query a database: it has 10 s.
async fn authorize(head: &RequestHead) -> Result<User, (StatusCode, &'static str)> {
    match head.query("ticket").as_deref() {
        Some("tide") => Ok(User { name: "Ann", banned: false }),
        Some("ebb") => Ok(User { name: "Bob", banned: true }),
        Some(_) => Err((StatusCode::FORBIDDEN, "Unknown ticket")),
        None => Err((StatusCode::UNAUTHORIZED, "Missing authorization")),
    }
}

/// Runs after the 101. A script in a browser sees the close code of a refusal here, but not the status of one before.
async fn welcome(ws: &mut WebSocket) -> websocket::Result {
    match ws.extension::<User>() {
        Some(user) if !user.banned => Ok(ws.send(format!("Welcome, {}", user.name)).await?),
        _ => Err(HandlerError::close(CloseCode::new(4003), "banned")),
    }
}

async fn answer(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        match (message.as_text(), ws.extension::<User>()) {
            (Some("who"), Some(user)) => ws.send(user.name).await?,
            (Some("close"), _) => ws.close(CloseCode::new(4000), "as you wish").await?,
            _ => ws.send("error: send who or close").await?,
        }
    }
    Ok(())
}

/// Runs once for each connection that `welcome` accepted, however it ends.
fn farewell(ended: &Disconnected<'_>) {
    let name = ended.extensions().get::<User>().map_or("nobody", |user| user.name);
    println!("{name} left with {}", ended.close_code());
}
