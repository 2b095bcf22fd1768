//! tokio-tungstenite.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use tidegate_benches::measure::Measured;

use crate::{Load, Outcome, tokio_client};

pub fn run(load: &Load) -> Outcome<Measured> {
    tokio_client::run(load, |stream, load, messages| async move {
        let mut ws = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let payload = Bytes::from(vec![b'x'; load.size]);
        for _ in 0..load.depth {
            let _ = ws.feed(Message::Binary(payload.clone())).await;
        }
        let _ = ws.flush().await;
        while let Some(Ok(_message)) = ws.next().await {
            messages.set(messages.get() + 1);
            if ws.send(Message::Binary(payload.clone())).await.is_err() {
                return;
            }
        }
    })
}
