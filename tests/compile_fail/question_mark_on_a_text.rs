//! `?` converts errors. `HandlerError::new` makes an error of a text.
use tidegate::prelude::*;

fn main() {
    let _ = Router::new().get(
        "/ws",
        websocket::upgrade(async |ws: WebSocket| {
            let _head = ws.request().ok_or("the request was not kept")?;
            Ok(())
        }),
    );
}
