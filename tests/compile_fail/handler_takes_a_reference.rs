//! A WebSocket handler owns its WebSocket.
use tidegate::prelude::*;

fn main() {
    let _ = Router::new().get(
        "/ws",
        websocket::upgrade(async |ws: &mut WebSocket| {
            ws.send("hello").await?;
            Ok(())
        }),
    );
}
