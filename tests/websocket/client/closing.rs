//! How the connections of clients end.

use std::time::Duration;

use tidegate::engine::{Engine, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{Error, blocking, connect};

use super::run;
use crate::handler::Gate;
use crate::support::client::TEXT;
use crate::support::raw_server::RawServer;
use crate::support::servers::{TestServer, on_every_engine, setups};

const CLOSE: u8 = 0x88;

/// The client waits for the server's close frame, and then for its FIN: the server closes the TCP connection first.
/// Then the client's end follows, although the WebSocket is held.
#[test]
fn a_client_that_closes_waits_for_the_server() {
    on_every_engine(|setup| {
        let gate = Gate::default();
        let end = gate.clone();
        let server = RawServer::start(1, move |mut peer| {
            peer.accept("");
            peer.expect(CLOSE, b"\x03\xe8done");
            peer.send(TEXT, b"on its way");
            peer.send(CLOSE, b"\x03\xe8");
            // Without the FIN of this side the client's would not come for ten seconds.
            peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(peer.read_to_end(), b"");
            end.open();
        });
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            ws.close(CloseCode::NORMAL, "done").await.unwrap();
            assert!(ws.is_closed_cleanly());
            assert!(matches!(ws.send("late").await, Err(error) if error.is_close_sent()));
            gate.pass().await;
        });
        server.finish();
    });
}

#[test]
fn a_server_that_does_not_answer_a_close_frame_is_given_up() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.expect(CLOSE, b"\x03\xe8");
        assert_eq!(peer.read_to_end(), b"");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let config = WebSocketConfig::client().close_timeout(Duration::from_millis(50));
            let (mut ws, _) = connect(url).config(config).await.unwrap();
            assert!(matches!(ws.close(CloseCode::NORMAL, "").await, Err(Error::Lost)));
        });
    });
    server.finish();
}

/// Dropped in a task: what was sent arrives, and a close frame behind it.
#[test]
fn a_dropped_client_sends_its_close_frame() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.expect(TEXT, b"last words");
        peer.expect(CLOSE, b"\x03\xe8");
        assert_eq!(peer.read_to_end(), b"");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            ws.send("last words").await.unwrap();
        });
    });
    server.finish();
}

#[test]
fn quitting_sends_no_close_frame() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.expect(TEXT, b"last words");
        assert_eq!(peer.read_to_end(), b"");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            let mut closed = std::pin::pin!(ws.closed());
            ws.send("last words").await.unwrap();
            ws.quit();
            closed.as_mut().await;
        });
    });
    server.finish();
}

#[test]
fn the_servers_close_frame_is_the_end_of_the_messages() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), async |mut ws: WebSocket| {
            ws.send("welcome").await?;
            ws.close(CloseCode::new(4001), "not today").await?;
            Ok(())
        });
        let url = format!("ws://{}/ws", server.address);
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("welcome".into()));
            assert_eq!(ws.recv().await.unwrap(), None);
            let frame = ws.close_frame().unwrap();
            assert_eq!((frame.code().value(), frame.reason()), (4001, "not today"));
            assert!(ws.is_closed_cleanly());
        });
        server.finish();
    });
}

#[test]
fn a_lost_server_is_an_error() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.send(TEXT, b"last words");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("last words".into()));
            assert!(matches!(ws.recv().await, Err(Error::Lost)));
        });
    });
    server.finish();
}

/// The engine of a program that is only a client says goodbye for its WebSockets, masked.
#[test]
fn a_shutdown_closes_clients_with_1001() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.expect(TEXT, b"hello");
        peer.expect(CLOSE, b"\x03\xe9");
        peer.send(CLOSE, b"\x03\xe9");
        assert_eq!(peer.read_to_end(), b"");
    });
    on_every_engine(|setup| {
        let running = Engine::client(setup.config.clone()).unwrap();
        let (handle, url) = (running.handle(), server.url());
        let (mut ws, _) = block_on(async { connect(url).on_engine(&handle).await }).unwrap();
        block_on(ws.send("hello")).unwrap();
        let reader = std::thread::spawn(move || block_on(ws.recv()).map(|message| message.is_none()));
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
        assert!(reader.join().unwrap().unwrap());
    });
    server.finish();
}

#[test]
fn messages_iterate_to_the_end() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), async |mut ws: WebSocket| {
            for number in 0..10 {
                ws.send(number.to_string()).await?;
            }
            Ok(())
        });
        let (ws, _) = blocking::connect(format!("ws://{}/ws", server.address)).unwrap();
        let messages: Vec<_> = ws.map(Result::unwrap).collect();
        assert_eq!(messages.len(), 10);
        assert_eq!(messages[9], "9".into());
        server.finish();
    });
}
