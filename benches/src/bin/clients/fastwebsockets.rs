//! fastwebsockets.

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};

use tidegate_benches::measure::Measured;

use crate::{Load, Outcome, tokio_client};

pub fn run(load: &Load) -> Outcome<Measured> {
    tokio_client::run(load, |stream, load, messages| async move {
        let mut ws = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Client));
        let payload = vec![b'x'; load.size];
        let message = || Frame::binary(Payload::Borrowed(&payload));
        for _ in 0..load.depth {
            let _ = ws.write_frame(message()).await;
        }
        while let Ok(frame) = ws.read_frame().await {
            if frame.opcode == OpCode::Binary {
                messages.set(messages.get() + 1);
                if ws.write_frame(message()).await.is_err() {
                    return;
                }
            }
        }
    })
}
