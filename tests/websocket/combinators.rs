//! WebSockets under the combinators of the `futures` crates, and conversions to and from tungstenite's types.

use std::thread;

use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::web::SharedAcrossThreads;
use tidegate::websocket::{Error, MessageSink};
use tokio_tungstenite::tungstenite;

use crate::handler::reports;
use crate::support::client::{BINARY, Client, TEXT, close_frame, pattern};
use crate::support::servers::{Setup, TestServer, on_every_engine};

fn serve<F>(setup: &Setup, handler: F) -> TestServer
where
    F: AsyncFn(WebSocket) -> websocket::Result + SharedAcrossThreads,
{
    TestServer::serve(setup, WebSocketConfig::default(), handler)
}

/// The halves of `WebSocket::split`, those of `StreamExt::split`, and the WebSocket as a whole.
#[test]
fn streams_are_forwarded_to_sinks() {
    let large = pattern(3_000_000);
    on_every_engine(|setup| {
        let own = serve(setup, async |ws: WebSocket| {
            let (sink, stream) = ws.split();
            Ok(stream.forward(sink).await?)
        });
        let locked = serve(setup, async |ws: WebSocket| {
            let (sink, stream) = StreamExt::split(ws);
            Ok(stream.forward(sink).await?)
        });
        let theirs = serve(setup, async |ws: WebSocket| {
            let (sink, stream) = ws.split();
            let theirs = stream.map_ok(tungstenite::Message::from);
            let ours = theirs
                .map(|message| Message::try_from(message?).map_err(|other| Error::application(other.to_string())));
            Ok(ours.forward(sink).await?)
        });
        let whole = serve(setup, async |mut ws: WebSocket| {
            while let Some(message) = ws.try_next().await? {
                SinkExt::send(&mut ws, message).await?;
            }
            Ok(ws.close_frame().map(|_| ()).ok_or(Error::Lost)?)
        });
        for server in [own, locked, theirs, whole] {
            let mut client = Client::open(server.address);
            for len in [0, 1, 4097, large.len()] {
                client.check_echo(BINARY, &large[..len]);
            }
            client.check_echo(TEXT, "Gezeiten, 潮汐".as_bytes());
            client.close();
            server.finish();
        }
    });
}

/// A sink takes no more than the queue and one message, loses nothing, keeps the order, and closes on `close`.
#[test]
fn sinks_wait_for_slow_peers() {
    const MESSAGES: usize = 200;
    let payload = pattern(60_000);
    on_every_engine(|setup| {
        for whole in [false, true] {
            let (report, reports) = reports();
            let sent = payload.clone();
            let server = serve(setup, async move |mut ws: WebSocket| {
                let sender = ws.sender();
                let messages = (0..MESSAGES).map(|number| Message::from(&sent[number..]));
                let mut messages = stream::iter(messages).map(Ok);
                if whole {
                    ws.send_all(&mut messages).await?;
                    assert_eq!(sender.queued_bytes(), 0, "flushed");
                    SinkExt::close(&mut ws).await?;
                } else {
                    let mut sink = MessageSink::from(sender.clone());
                    let mut queued_max = 0;
                    while let Some(message) = messages.try_next().await? {
                        sink.feed(message).await?;
                        queued_max = queued_max.max(sender.queued_bytes());
                    }
                    report.send(queued_max).unwrap();
                    sink.close().await?;
                    // Closing again is harmless.
                    sink.close().await?;
                }
                let late = SinkExt::send(&mut ws, Message::from("too late")).await;
                assert!(late.is_err_and(|error| error.is_close_sent()));
                assert!(ws.try_next().await?.is_none());
                Ok(())
            });
            let mut client = Client::open(server.address);
            for number in 0..MESSAGES {
                client.expect(BINARY, &payload[number..]);
            }
            client.expect_close(1000);
            client.write(&close_frame(1000, ""));
            client.expect_end();
            if !whole {
                let queued_max = reports.next();
                assert!(queued_max <= 1 << 20, "{queued_max} bytes were queued");
            }
            server.finish();
        }
    });
}

/// A sink of a sender works on any thread.
#[test]
fn sinks_work_on_other_threads() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = serve(setup, async move |ws: WebSocket| {
            let (sink, stream) = ws.split();
            report.send(sink).unwrap();
            let mut ws = stream.into_inner();
            assert!(ws.recv().await?.is_none());
            Ok(())
        });
        let mut client = Client::open(server.address);
        let mut sink = reports.next();
        let sending = thread::spawn(move || {
            block_on(async {
                for number in 0..100 {
                    sink.feed(Message::from(number.to_string())).await?;
                }
                sink.close().await
            })
        });
        for number in 0..100 {
            client.expect(TEXT, number.to_string().as_bytes());
        }
        client.expect_close(1000);
        client.write(&close_frame(1000, ""));
        client.expect_end();
        sending.join().unwrap().unwrap();
        server.finish();
    });
}
