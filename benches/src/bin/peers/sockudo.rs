//! sockudo-ws on tokio, with replies fed and flushed in batches as its documentation advises.

use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, Role, WebSocketStream};
use tidegate_benches::handshake::Context;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use crate::{MESSAGE_BYTES_MAX, Outcome, tokio_server};

/// Capacity for the request head, in bytes, as in its examples.
const HEAD_BYTES: usize = 4096;

pub fn serve(address: SocketAddr) -> Outcome {
    let hub = tokio_server::hub();
    tokio_server::serve(address, |stream| {
        let hub = hub.clone();
        async move {
            // A connection error ends only this connection.
            let _ = connection(stream, hub).await;
        }
    })
}

async fn connection(mut stream: TcpStream, hub: broadcast::Sender<Message>) -> Result<(), Error> {
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    let (is_hub, agreed) = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        let Some((request, taken)) = parse_request(&head)? else { continue };
        let is_hub = request.path == "/hub";
        let agreed =
            policy().zip(request.extensions).and_then(|(policy, offer)| negotiate_server_deflate(offer, &policy));
        let extensions = agreed.as_ref().map(|agreed| agreed.to_response_header());
        let response = build_response(&generate_accept_key(request.key), None, extensions.as_deref());
        stream.write_all(&response).await?;
        head.advance(taken);
        break (is_hub, agreed);
    };
    let config = Config::builder()
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .auto_ping(false)
        .idle_timeout(0)
        .build();
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    if let Some(agreed) = agreed {
        let leftover = Some(head.freeze());
        let ws = CompressedWebSocketStream::server_with_leftover(stream, config, agreed.config, leftover);
        return tokio_server::echo(ws, is_data).await;
    }
    let ws = WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, Some(head.freeze()));
    if is_hub { tokio_server::attend(ws, hub, is_data).await } else { tokio_server::echo(ws, is_data).await }
}

/// Returns the compression that is agreed to, if there is any.
fn policy() -> Option<DeflateConfig> {
    let deflate = crate::deflate()?;
    let is_reset = deflate.context == Context::Reset;
    Some(DeflateConfig {
        server_no_context_takeover: is_reset,
        client_no_context_takeover: is_reset,
        compression_level: deflate.level,
        ..DeflateConfig::default()
    })
}
