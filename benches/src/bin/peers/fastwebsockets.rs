//! fastwebsockets on hyper's upgrade, as in its echo example. It writes each frame separately.

use std::net::SocketAddr;

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite, upgrade,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::sync::broadcast;

use crate::{MESSAGE_BYTES_MAX, Outcome, tokio_server};

/// A published message: whether it is text, and the payload.
type Published = (bool, Bytes);

pub fn serve(address: SocketAddr) -> Outcome {
    let hub = tokio_server::hub();
    tokio_server::serve(address, |stream| {
        let hub = hub.clone();
        async move {
            let service = service_fn(|request| accept(request, hub.clone()));
            // A connection error ends only this connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
}

async fn accept(
    mut request: Request<Incoming>,
    hub: broadcast::Sender<Published>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    let is_hub = request.uri().path() == "/hub";
    tokio::spawn(async move {
        let ended =
            tokio::task::unconstrained(async { if is_hub { attend(upgrade, hub).await } else { echo(upgrade).await } });
        let _ = ended.await;
    });
    Ok(response)
}

async fn echo(upgrade: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = upgrade.await?;
    ws.set_max_message_size(MESSAGE_BYTES_MAX);
    let mut ws = FragmentCollector::new(ws);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

/// Reads on this task and writes on another, because cancelling a read in progress would lose data.
async fn attend(upgrade: upgrade::UpgradeFut, hub: broadcast::Sender<Published>) -> Result<(), WebSocketError> {
    let mut ws = upgrade.await?;
    ws.set_max_message_size(MESSAGE_BYTES_MAX);
    let (read, write) = ws.split(tokio::io::split);
    let mut read = FragmentCollectorRead::new(read);
    let (replies, pending) = tokio::sync::mpsc::unbounded_channel();
    let writing = tokio::spawn(deliver(write, hub.subscribe(), pending));
    loop {
        let mut reply = |frame: Frame<'_>| {
            // Control replies go through the writing task. A failed send means that it has ended.
            let _ = replies.send((frame.opcode, frame.payload.to_vec()));
            std::future::ready(Ok::<(), WebSocketError>(()))
        };
        let frame = read.read_frame(&mut reply).await;
        match frame {
            Ok(frame) if matches!(frame.opcode, OpCode::Text | OpCode::Binary) => {
                let _ = hub.send((frame.opcode == OpCode::Text, Bytes::copy_from_slice(&frame.payload)));
            }
            Ok(frame) if frame.opcode != OpCode::Close => {}
            _ => break,
        }
    }
    drop(replies);
    let _ = writing.await;
    Ok(())
}

/// Writes published messages and control replies until the reading task ends.
async fn deliver<W: AsyncWrite + Unpin>(
    mut write: WebSocketWrite<W>,
    mut published: broadcast::Receiver<Published>,
    mut pending: tokio::sync::mpsc::UnboundedReceiver<(OpCode, Vec<u8>)>,
) -> Result<(), WebSocketError> {
    use futures_util::future::{Either, select};
    loop {
        let event = match select(std::pin::pin!(published.recv()), std::pin::pin!(pending.recv())).await {
            Either::Left((message, _)) => Either::Left(message),
            Either::Right((reply, _)) => Either::Right(reply),
        };
        let frame = match &event {
            Either::Left(Ok((true, payload))) => Frame::text(Payload::Borrowed(payload)),
            Either::Left(Ok((false, payload))) => Frame::binary(Payload::Borrowed(payload)),
            Either::Right(Some((opcode, payload))) => Frame::new(true, *opcode, None, Payload::Borrowed(payload)),
            Either::Left(Err(_)) | Either::Right(None) => return Ok(()),
        };
        write.write_frame(frame).await?;
    }
}
