//! Clients that open their WebSockets again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{Backoff, ConnectError, Error, Reconnecting, connect};

use super::run;
use crate::support::client::TEXT;
use crate::support::raw_server::RawServer;
use crate::support::servers::on_every_engine;

const CLOSE: u8 = 0x88;

/// Polls a future once. Panics if it is ready.
async fn begin(mut future: Pin<&mut impl Future>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn soon() -> Backoff {
    Backoff::default().first(Duration::from_millis(1)).max(Duration::from_millis(5))
}

/// One connection is cut, one is closed with 1012, one attempt is answered with 503, and the last one ends with 1000.
#[test]
fn a_lost_websocket_is_opened_again_and_subscribes_again() {
    on_every_engine(|setup| {
        let connections = AtomicU32::new(0);
        let server = RawServer::start(4, move |mut peer| {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            if number == 2 {
                peer.read_head();
                return peer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            }
            peer.accept("");
            peer.expect(TEXT, b"subscribe");
            if number == 0 {
                peer.expect(TEXT, b"queued before");
            }
            peer.send(TEXT, number.to_string().as_bytes());
            match number {
                0 => {}
                1 => {
                    peer.send(CLOSE, b"\x03\xf4");
                    peer.expect(CLOSE, b"\x03\xf4");
                }
                _ => {
                    peer.expect(TEXT, b"the end");
                    peer.send(CLOSE, b"\x03\xe8");
                    peer.expect(CLOSE, b"\x03\xe8");
                }
            }
        });
        let url = server.url();
        run(setup, move || async move {
            let opened = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&opened);
            let mut client = Reconnecting::new(connect(url)).backoff(soon()).on_open(async move |ws| {
                count.fetch_add(1, Ordering::Relaxed);
                ws.send("subscribe").await
            });
            let sender = client.sender();
            sender.try_send("queued before").unwrap();
            assert_eq!(sender.queued_bytes(), 13);
            for number in ["0", "1", "3"] {
                assert_eq!(client.recv().await.unwrap(), Some(number.into()));
            }
            assert_eq!(sender.queued_bytes(), 0);
            sender.send("the end").await.unwrap();
            assert_eq!(client.recv().await.unwrap(), None);
            assert_eq!(opened.load(Ordering::Relaxed), 3);
            assert!(client.websocket().is_none());
            assert!(matches!(sender.try_send("too late"), Err(error) if error.is_close_sent()));
            assert_eq!(client.recv().await.unwrap(), None);
        });
        server.finish();
    });
}

#[test]
fn what_is_queued_without_a_connection_is_bounded() {
    on_every_engine(|setup| {
        run(setup, || async {
            let mut client = Reconnecting::new("ws://127.0.0.1:1/").queue_bytes_max(10);
            let sender = client.sender();
            sender.try_send("12345678").unwrap();
            assert!(matches!(sender.send("901").await, Err(Error::Full)));
            sender.send("90").await.unwrap();
            assert_eq!(sender.queued_bytes(), 10);
            client.close(CloseCode::NORMAL, "").await.unwrap();
            assert!(matches!(sender.send("").await, Err(error) if error.is_close_sent()));
        });
    });
}

#[test]
fn attempts_end_with_an_error_that_will_not_go_away_or_with_the_last_one() {
    on_every_engine(|setup| {
        let server = RawServer::start(4, |mut peer| {
            let head = peer.read_head();
            let status = if head.starts_with("GET /busy") { "503 Service Unavailable" } else { "401 Unauthorized" };
            peer.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        });
        let address = server.address;
        run(setup, move || async move {
            let mut refused = Reconnecting::new(format!("ws://{address}/secret")).backoff(soon());
            let error = refused.recv().await.unwrap_err();
            assert_eq!(error.response().unwrap().status().as_u16(), 401);
            let mut busy = Reconnecting::new(format!("ws://{address}/busy")).backoff(soon().attempts_max(3));
            let error = busy.recv().await.unwrap_err();
            assert!(matches!(&error, ConnectError::Refused(response) if response.status().as_u16() == 503), "{error}");
        });
        server.finish();
    });
}

/// The client has connected again before the send is polled again.
#[test]
fn a_send_that_waited_on_a_lost_connection_uses_the_next_one() {
    on_every_engine(|setup| {
        let connections = AtomicU32::new(0);
        let cut = Arc::new(Barrier::new(2));
        let waits = Arc::clone(&cut);
        let server = RawServer::start(2, move |mut peer| {
            peer.accept("");
            if connections.fetch_add(1, Ordering::Relaxed) == 0 {
                waits.wait();
                return;
            }
            peer.send(TEXT, b"again");
            peer.expect(TEXT, b"waiting");
            peer.send(CLOSE, b"\x03\xe8");
            peer.expect(CLOSE, b"\x03\xe8");
        });
        let url = server.url();
        run(setup, move || async move {
            let mut client = Reconnecting::new(connect(url)).backoff(soon());
            client.open().await.unwrap();
            let sender = client.sender();
            // More than the kernel takes for a peer that does not read.
            sender.try_send(vec![0; 32 << 20]).unwrap();
            let mut waiting = pin!(sender.send("waiting"));
            begin(waiting.as_mut()).await;
            cut.wait();
            assert_eq!(client.recv().await.unwrap(), Some("again".into()));
            waiting.await.unwrap();
            assert_eq!(client.recv().await.unwrap(), None);
        });
        server.finish();
    });
}

#[test]
fn a_dropped_read_loses_nothing() {
    on_every_engine(|setup| {
        let server = RawServer::start(1, |mut peer| {
            peer.accept("");
            peer.expect(TEXT, b"go");
            peer.send(TEXT, b"hello");
            peer.expect(CLOSE, b"\x03\xe8");
            peer.send(CLOSE, b"\x03\xe8");
        });
        let url = server.url();
        run(setup, move || async move {
            let mut client = Reconnecting::new(connect(url));
            client.open().await.unwrap();
            begin(pin!(client.recv())).await;
            client.sender().try_send("go").unwrap();
            assert_eq!(client.recv().await.unwrap(), Some("hello".into()));
            client.close(CloseCode::NORMAL, "").await.unwrap();
        });
        server.finish();
    });
}
