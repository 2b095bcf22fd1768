//! `async move |ws| ..` lends its state to each connection; `move |ws| async move ..` gives it to the first.
use tidegate::prelude::*;

fn main() {
    let hub: Hub = Hub::default();
    let _ = Router::new().get(
        "/ws",
        websocket::upgrade(move |mut ws: WebSocket| async move {
            let _member = hub.register(&ws)?;
            ws.recv().await?;
            Ok(())
        }),
    );
}
