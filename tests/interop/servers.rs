//! Our client against other projects' servers.

use tidegate::engine::{Engine, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{DeflateConfig, connect};

use crate::support::peer_server::PeerServer;
use crate::support::servers::on_every_engine;
use crate::support::tungstenite_server::TungsteniteServer;

#[test]
fn python_websockets() {
    against_a_peer("server.py");
}

#[test]
fn node_ws() {
    against_a_peer("server.mjs");
}

/// It does not support compression, and declines the offer.
#[test]
fn tokio_tungstenite() {
    let server = TungsteniteServer::start();
    on_every_engine(|setup| {
        let running = Engine::client(setup.config.clone()).unwrap();
        for deflate in [None, Some(DeflateConfig::default())] {
            let url = server.url();
            block_on(running.spawn(move || converse(url, deflate, false))).expect("the conversation succeeds");
        }
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    });
}

/// Talks to a server that compresses nothing, one that keeps contexts, and one that forgets them.
fn against_a_peer(script: &str) {
    let keeping = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true).threshold_bytes(0);
    let forgetting = DeflateConfig::default().threshold_bytes(0);
    let servers = ["", "compressed", "no-takeover"].map(|kind| (kind, PeerServer::start(script, kind)));
    on_every_engine(|setup| {
        let running = Engine::client(setup.config.clone()).unwrap();
        for (kind, server) in &servers {
            for deflate in [None, Some(keeping), Some(forgetting)] {
                println!("{script} {kind} {deflate:?}");
                let (url, is_agreed) = (server.url(), deflate.is_some() && !kind.is_empty());
                block_on(running.spawn(move || converse(url, deflate, is_agreed))).expect("the conversation succeeds");
            }
        }
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    });
}

async fn open(url: &str, deflate: Option<DeflateConfig>, is_agreed: bool) -> WebSocket {
    let opening = match deflate {
        Some(deflate) => connect(url).compression(deflate),
        None => connect(url),
    };
    let (ws, _response) = opening.await.unwrap();
    assert_eq!(ws.compression().is_some(), is_agreed);
    ws
}

async fn converse(url: String, deflate: Option<DeflateConfig>, is_agreed: bool) {
    let mut ws = open(&url, deflate, is_agreed).await;
    let bytes: Vec<u8> = (0..=250).cycle().take(2 << 20).collect();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000, bytes.len()] {
        ws.send(bytes[..len].to_vec()).await.unwrap();
        assert!(ws.recv().await.unwrap() == Some(bytes[..len].into()), "{len} bytes came back changed");
    }
    let text = "Gezeiten, marée, прилив, 潮汐, 🌊, e\u{301}, \0, \u{10ffff}";
    for text in [String::new(), text.to_owned(), text.repeat(2000)] {
        ws.send(text.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(text.into()));
    }
    for number in 0..300 {
        ws.send(format!("{number} {}", "x".repeat(number % 200))).await.unwrap();
    }
    for number in 0..300 {
        assert_eq!(ws.recv().await.unwrap(), Some(format!("{number} {}", "x".repeat(number % 200)).into()));
    }
    let mut pieces = ws.send_stream(websocket::MessageKind::Binary).await.unwrap();
    for piece in bytes[..7000].chunks(7) {
        pieces.write(piece).await.unwrap();
    }
    pieces.finish().await.unwrap();
    assert!(ws.recv().await.unwrap() == Some(bytes[..7000].into()), "pieces came back changed");
    ws.send("ping me").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("pong".into()));
    ws.close(CloseCode::new(4000), "ebb — 退潮").await.unwrap();
    assert!(ws.is_closed_cleanly());
    let frame = ws.close_frame().unwrap();
    assert_eq!((frame.code().value(), frame.reason()), (4000, "ebb — 退潮"));

    let mut ws = open(&url, deflate, is_agreed).await;
    ws.send("close me").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    let frame = ws.close_frame().unwrap();
    assert_eq!((frame.code().value(), frame.reason()), (4321, "as you wish"));
    assert!(ws.is_closed_cleanly());
}
