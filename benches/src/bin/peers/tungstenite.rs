//! tokio-tungstenite, batched: replies are fed, and flushed when no message is left to read.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{MESSAGE_BYTES_MAX, Outcome, tls, tokio_server};

pub fn serve(address: SocketAddr) -> Outcome {
    let hub = tokio_server::hub();
    let acceptor = tls::rustls()?.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio_server::serve(address, |stream| {
        let (hub, acceptor) = (hub.clone(), acceptor.clone());
        async move {
            // A connection error ends only this connection.
            let _ = match acceptor {
                None => connection(stream, hub).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => connection(stream, hub).await,
                    Err(error) => Err(error.into()),
                },
            };
        }
    })
}

async fn connection<S>(stream: S, hub: broadcast::Sender<Message>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(tokio_server::TUNGSTENITE_READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut is_hub = false;
    // The callback's signature, with this large error, is tungstenite's.
    #[allow(clippy::result_large_err)]
    let look = |request: &Request, response: Response| {
        is_hub = request.uri().path() == "/hub";
        Ok(response)
    };
    let ws = tokio_tungstenite::accept_hdr_async_with_config(stream, look, Some(config)).await?;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    if is_hub { tokio_server::attend(ws, hub, is_data).await } else { tokio_server::echo(ws, is_data).await }
}
