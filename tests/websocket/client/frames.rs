//! What a client sends and receives.

use std::collections::HashSet;
use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{
    DeflateConfig, HubConfig, KeepaliveConfig, MessageKind, PreparedMessage, ReservedBits, SlowPolicy, connect,
};

use super::run;
use crate::support::client::{BINARY, PING, PONG, TEXT, pattern};
use crate::support::raw_server::RawServer;
use crate::support::servers::{TestServer, echo, on_every_engine, setups};

const CLOSE: u8 = 0x88;

/// Every way to send ends in a masked frame, and no key is used twice.
#[test]
fn every_frame_of_a_client_is_masked_with_a_key_of_its_own() {
    let long = pattern(70_000);
    let server = RawServer::start(setups().len(), move |mut peer| {
        peer.accept("");
        let mut keys = HashSet::new();
        let long = pattern(70_000);
        for (first, payload) in [
            (TEXT, &b"owned"[..]),
            (BINARY, &long),
            (TEXT, b"borrowed"),
            (BINARY, &long),
            (TEXT, b"tried"),
            (BINARY, &long),
            (TEXT, b"prepared"),
            (0x01, b"in "),
            (0x00, b"pieces"),
            (0x80, b""),
            (PING, b"ping"),
            (PONG, b"pong"),
            (TEXT, b"with bits"),
        ] {
            let frame = peer.read_frame();
            assert_eq!((frame.first & 0x8F, frame.payload.len()), (first, payload.len()));
            assert!(frame.payload == payload, "a frame {first:#x} of {} bytes was changed", payload.len());
            keys.insert(frame.key);
        }
        assert_eq!(keys.len(), 13, "a key was used twice, or 0 was drawn");
        peer.send(PING, b"are you there");
        peer.expect(PONG, b"are you there");
        peer.send(CLOSE, b"\x03\xe8");
        peer.expect(CLOSE, b"\x03\xe8");
    });
    on_every_engine(|setup| {
        let (url, long) = (server.url(), long.clone());
        run(setup, move || async move {
            let (mut ws, _) = connect(url).keepalive(None).await.unwrap();
            let sender = ws.sender();
            ws.send("owned").await.unwrap();
            ws.send(long.clone()).await.unwrap();
            ws.send_text("borrowed").await.unwrap();
            ws.send_binary(&long).await.unwrap();
            sender.try_send("tried").unwrap();
            sender.try_send(long).unwrap();
            ws.send_prepared(&PreparedMessage::new("prepared")).await.unwrap();
            let mut pieces = ws.send_stream(MessageKind::Text).await.unwrap();
            pieces.write(b"in ").await.unwrap();
            pieces.write_bytes("pieces".into()).await.unwrap();
            pieces.finish().await.unwrap();
            ws.ping(b"ping").unwrap();
            ws.pong(b"pong").unwrap();
            sender.send_with_bits("with bits", ReservedBits::RSV3).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), None);
            assert_eq!(ws.close_frame().unwrap().code(), CloseCode::NORMAL);
            assert!(ws.is_closed_cleanly());
        });
    });
    server.finish();
}

#[test]
fn messages_of_every_size_come_back_to_a_client() {
    let large = pattern(3_000_000);
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let (url, large) = (format!("ws://{}/ws", server.address), large.clone());
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            let sender = ws.sender();
            for len in [0, 1, 125, 126, 4_095, 4_097, 65_535, 65_536, 300_000, large.len()] {
                ws.send(large[..len].to_vec()).await.unwrap();
                let received = ws.recv().await.unwrap().unwrap();
                assert!(received.as_bytes() == &large[..len], "{len} bytes came back changed");
                sender.send_ref(&MessageRef::from(&received)).await.unwrap();
                let borrowed = ws.recv_ref().await.unwrap().unwrap();
                assert!(borrowed.as_bytes() == &large[..len], "{len} borrowed bytes came back changed");
            }
            let text = "Gezeiten, marée, прилив, 潮汐".repeat(10_000);
            ws.send(text.clone()).await.unwrap();
            assert!(ws.recv().await.unwrap() == Some(text.into()));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
        server.finish();
    });
}

/// Frames right behind the handshake are not lost, however they are split.
#[test]
fn a_message_in_the_segment_of_the_handshake_is_received() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept_with("", b"\x81\x05first\x81\x06second\x88\x02\x03\xe8");
        peer.expect(CLOSE, b"\x03\xe8");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("first".into()));
            assert_eq!(ws.recv().await.unwrap(), Some("second".into()));
            assert_eq!(ws.recv().await.unwrap(), None);
        });
    });
    server.finish();
}

#[test]
fn a_client_pings_by_itself() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        for _ in 0..2 {
            let ping = peer.read_frame();
            assert_eq!(ping.first, PING);
            peer.send(PONG, &ping.payload);
        }
        peer.send(CLOSE, b"");
        loop {
            let frame = peer.read_frame();
            if frame.first == CLOSE {
                break;
            }
        }
    });
    assert_eq!(WebSocketConfig::client().keepalive.unwrap().interval, Duration::from_secs(10));
    assert_eq!(WebSocketConfig::client().close_timeout, Duration::from_secs(10));
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let keepalive = KeepaliveConfig::default().interval(Duration::from_millis(20));
            let (mut ws, _) = connect(url).keepalive(keepalive).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), None);
            assert!(ws.rtt().is_some());
        });
    });
    server.finish();
}

/// A server must not mask (RFC 6455 section 5.1).
#[test]
fn a_server_that_breaks_a_rule_gets_a_masked_close_frame() {
    let server = RawServer::start(setups().len(), |mut peer| {
        peer.accept("");
        peer.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        peer.expect(CLOSE, b"\x03\xea");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let (mut ws, _) = connect(url).await.unwrap();
            let error = ws.recv().await.unwrap_err();
            assert!(matches!(error, websocket::Error::Protocol(_)), "{error}");
        });
    });
    server.finish();
}

#[test]
fn compression_works_with_context_in_both_directions() {
    let keeping = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true).threshold_bytes(0);
    on_every_engine(|setup| {
        for (server_side, client_side) in [
            (keeping, keeping),
            (DeflateConfig::default().threshold_bytes(0), keeping),
            (keeping, DeflateConfig::default().threshold_bytes(0)),
        ] {
            let upgrade = websocket::upgrade(echo).compression(server_side);
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
            let url = format!("ws://{}/ws", server.address);
            let is_kept = server_side == keeping && client_side == keeping;
            run(setup, move || async move {
                let (mut ws, _) = connect(url).compression(client_side).await.unwrap();
                let params = ws.compression().unwrap().params;
                assert_eq!(params.client_no_context_takeover, !is_kept);
                let long = "a long text with many repetitions ".repeat(20_000);
                for number in 0..20 {
                    let text = format!("the same text over and over, number {number}");
                    ws.send(text.clone()).await.unwrap();
                    assert_eq!(ws.recv().await.unwrap(), Some(text.into()));
                }
                ws.send(long.clone()).await.unwrap();
                assert!(ws.recv().await.unwrap() == Some(long.clone().into()));
                ws.sender().try_send(long.clone()).unwrap();
                assert!(ws.recv().await.unwrap() == Some(long.into()));
                let random = pattern(100_000);
                ws.send(random.clone()).await.unwrap();
                assert!(ws.recv().await.unwrap() == Some(random.into()));
                ws.send_prepared(&PreparedMessage::new("prepared ".repeat(100))).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some("prepared ".repeat(100).into()));
                assert_eq!(ws.compression().unwrap().held_bytes > 0, is_kept);
                ws.close(CloseCode::NORMAL, "").await.unwrap();
            });
            server.finish();
        }
    });
}

/// A server that agrees to nothing, or to what was not offered.
#[test]
fn compression_is_what_was_agreed_on() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let url = format!("ws://{}/ws", server.address);
        run(setup, move || async move {
            let (mut ws, _) = connect(url).compression(DeflateConfig::default()).await.unwrap();
            assert!(ws.compression().is_none());
            ws.send("uncompressed").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some("uncompressed".into()));
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
        server.finish();
        let server = RawServer::start(2, |mut peer| {
            peer.accept("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n");
        });
        let url = server.url();
        run(setup, move || async move {
            assert!(connect(url.clone()).await.unwrap_err().response().is_some());
            let deflate = DeflateConfig::default();
            assert!(connect(url).compression(deflate).await.unwrap_err().response().is_some());
        });
        server.finish();
    });
}

/// Clients can be members of a hub, in this case one that sends a message to several servers.
#[test]
fn a_hub_of_clients_sends_masked_messages() {
    let server = RawServer::start(2 * setups().len(), |mut peer| {
        peer.accept("");
        peer.expect(TEXT, b"to all");
        let long = peer.read_frame();
        assert!(long.first == BINARY && long.payload == pattern(100_000));
        peer.expect(CLOSE, b"\x03\xe9over");
        peer.send(CLOSE, b"\x03\xe9");
    });
    on_every_engine(|setup| {
        let url = server.url();
        run(setup, move || async move {
            let hub: Hub = Hub::new(HubConfig::default().slow(SlowPolicy::CloseTryAgainLater));
            let (mut one, _) = connect(url.clone()).await.unwrap();
            let (mut two, _) = connect(url).await.unwrap();
            let _members = [hub.register(&one).unwrap(), hub.register(&two).unwrap()];
            assert_eq!(hub.broadcast("to all").await.unwrap().count, 2);
            assert_eq!(hub.broadcast(pattern(100_000)).await.unwrap().count, 2);
            hub.close(CloseCode::GOING_AWAY, "over").await.unwrap();
            for ws in [&mut one, &mut two] {
                assert_eq!(ws.recv().await.unwrap(), None);
                assert!(ws.is_closed_cleanly());
            }
        });
    });
    server.finish();
}
