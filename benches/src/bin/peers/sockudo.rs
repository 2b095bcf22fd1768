//! sockudo-ws on tokio, with replies fed and flushed in batches as its documentation advises.

use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Error, Message, Role, WebSocketStream};
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
    let is_hub = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        let Some((request, taken)) = parse_request(&head)? else { continue };
        let is_hub = request.path == "/hub";
        let response = build_response(&generate_accept_key(request.key), None, None);
        stream.write_all(&response).await?;
        head.advance(taken);
        break is_hub;
    };
    let config = Config::builder()
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .auto_ping(false)
        .idle_timeout(0)
        .build();
    let ws = WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, Some(head.freeze()));
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    if is_hub { tokio_server::attend(ws, hub, is_data).await } else { tokio_server::echo(ws, is_data).await }
}
