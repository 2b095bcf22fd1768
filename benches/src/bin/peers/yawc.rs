//! yawc on hyper's upgrade, with the buffers and batches of yawc's benchmark.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidegate_benches::handshake::Context;
use tokio::sync::broadcast;
use yawc::{CompressionLevel, DeflatePool, Frame, OpCode, Options, WebSocket, WebSocketError};

use crate::{MESSAGE_BYTES_MAX, Outcome, tokio_server};

/// Read buffer of a connection, in bytes, as in yawc's benchmark.
const READ_BUFFER_BYTES: usize = 128 * 1024;

/// Queued bytes from which yawc writes before it accepts more, as in its benchmark.
const BACKPRESSURE_BYTES: usize = 64 * 1024;

/// Compressors that wait for a message, as its documentation advises: the number of threads, and a few more.
const POOLED_MAX: usize = 4;

pub fn serve(address: SocketAddr) -> Outcome {
    let hub = tokio_server::hub();
    let options = options();
    tokio_server::serve(address, |stream| {
        let (hub, options) = (hub.clone(), options.clone());
        async move {
            let service = service_fn(|request| accept(request, hub.clone(), options.clone()));
            // A connection error ends only this connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
}

fn options() -> Options {
    // The limit is exclusive.
    let options = Options::default()
        .without_compression()
        .with_utf8()
        .with_limits(MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX + 1)
        .with_read_buffer_capacity(READ_BUFFER_BYTES)
        .with_backpressure_boundary(BACKPRESSURE_BYTES);
    let Some(deflate) = crate::deflate() else { return options };
    let options = options.with_compression_level(CompressionLevel::new(deflate.level));
    match deflate.context {
        Context::Kept => options,
        Context::Reset => options
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(POOLED_MAX)),
    }
}

async fn accept(
    request: Request<Incoming>,
    hub: broadcast::Sender<Frame>,
    options: Options,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let is_hub = request.uri().path() == "/hub";
    let (response, upgrade) = WebSocket::upgrade_with_options(request, options)?;
    tokio::spawn(async move {
        // Its stream ends after an error instead of returning it.
        let ws = upgrade.await?.map(Ok::<_, WebSocketError>);
        if is_hub { tokio_server::attend(ws, hub, is_data).await } else { tokio_server::echo(ws, is_data).await }
    });
    Ok(response)
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}
