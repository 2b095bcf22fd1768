//! monoio on io_uring, with the WebSocket crate written for it.
//!
//! A read in progress owns its buffer and cannot be cancelled without loss, so there is no way to check for another
//! message first. Each reply is flushed, as in the crate's own example.

use std::net::SocketAddr;

use ::monoio::io::stream::Stream as _;
use ::monoio::net::{TcpListener, TcpStream};
use ::monoio::{IoUringDriver, RuntimeBuilder};
use monoio_tungstenite::protocol::WebSocketConfig;
use monoio_tungstenite::{Error, accept_with_config};
use tidegate_benches::socket;

use crate::{MESSAGE_BYTES_MAX, Outcome};

/// Entries of the submission ring: more than the default of 1,024, because there are more connections.
const RING_ENTRIES: u32 = 4096;

pub fn serve(address: SocketAddr) -> Outcome {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(socket::listen(address)?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            ::monoio::spawn(async {
                // A connection error ends only this connection.
                let _ = echo(stream).await;
            });
        }
    })
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut ws = accept_with_config(stream, Some(config)).await?;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.write(message).await?;
            ws.flush().await?;
        }
    }
    Ok(())
}
