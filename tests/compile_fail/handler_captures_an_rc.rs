//! All worker threads share a handler and what it captures.
use std::cell::Cell;
use std::rc::Rc;

use tidegate::prelude::*;

fn main() {
    let served = Rc::new(Cell::new(0));
    let _ = Router::new().get(
        "/ws",
        websocket::upgrade(async move |mut ws: WebSocket| {
            served.set(served.get() + 1);
            ws.send("hello").await?;
            Ok(())
        }),
    );
}
