//! Our client against other projects' servers, with and without TLS.

use tidegate::engine::{Engine, TlsClient, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{Connect, ConnectError, DeflateConfig, connect};

use crate::support::certificates::Certificates;
use crate::support::peer_server::PeerServer;
use crate::support::servers::on_every_engine;
use crate::support::tungstenite_server::TungsteniteServer;

#[test]
fn python_websockets() {
    against_a_peer("server.py", None);
}

#[test]
fn node_ws() {
    against_a_peer("server.mjs", None);
}

#[test]
fn uwebsockets() {
    against_a_peer("server_uws.py", None);
}

#[test]
fn uwebsockets_over_tls() {
    against_a_peer("server_uws.py", Some(&Certificates::new()));
}

#[test]
fn python_websockets_over_tls() {
    against_a_peer("server.py", Some(&Certificates::new()));
}

#[test]
fn node_ws_over_tls() {
    against_a_peer("server.mjs", Some(&Certificates::new()));
}

/// It does not support compression, and declines the offer.
#[test]
fn tokio_tungstenite() {
    let server = TungsteniteServer::start();
    on_every_engine(|setup| {
        let running = Engine::client(setup.config.clone()).unwrap();
        for deflate in [None, Some(DeflateConfig::default())] {
            let url = server.url();
            let to = To { url, deflate, is_agreed: false, tls: None };
            block_on(running.spawn(move || converse(to))).expect("the conversation succeeds");
        }
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    });
}

/// Talks to a server that compresses nothing, one that keeps contexts, and one that forgets them.
fn against_a_peer(script: &str, certificates: Option<&Certificates>) {
    let keeping = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true).threshold_bytes(0);
    let forgetting = DeflateConfig::default().threshold_bytes(0);
    let servers = ["", "compressed", "no-takeover"].map(|kind| (kind, PeerServer::start(script, kind, certificates)));
    let tls = certificates.map(|certificates| TlsClient::ca_file(certificates.path("ca.pem")).expect("an authority"));
    on_every_engine(|setup| {
        let running = Engine::client(setup.config.clone()).unwrap();
        for (kind, server) in &servers {
            for deflate in [None, Some(keeping), Some(forgetting)] {
                println!("{script} {kind} {deflate:?}");
                let is_agreed = deflate.is_some() && !kind.is_empty();
                let to = To { url: server.url(), deflate, is_agreed, tls: tls.clone() };
                if script == "server_uws.py" && *kind == "compressed" && deflate == Some(forgetting) {
                    // With dedicated compressors it accepts an offer of server_no_context_takeover without this
                    // parameter, which RFC 7692 section 7.1.1.1 does not allow.
                    block_on(running.spawn(move || refuse(to))).expect("the client refuses");
                } else {
                    block_on(running.spawn(move || converse(to))).expect("the conversation succeeds");
                }
            }
        }
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
    });
}

/// A server, and how to speak to it.
struct To {
    url: String,
    deflate: Option<DeflateConfig>,
    /// Whether the server compresses.
    is_agreed: bool,
    tls: Option<TlsClient>,
}

impl To {
    fn connect(&self) -> Connect {
        let mut connect = connect(&self.url);
        if let Some(deflate) = self.deflate {
            connect = connect.compression(deflate);
        }
        if let Some(tls) = &self.tls {
            connect = connect.tls(tls);
        }
        connect
    }

    async fn open(&self) -> WebSocket {
        let (ws, _response) = self.connect().await.unwrap();
        assert_eq!(ws.compression().is_some(), self.is_agreed);
        ws
    }
}

/// Expects the client to refuse the server's answer to its offer of compression.
async fn refuse(to: To) {
    let Err(ConnectError::Refused(response)) = to.connect().await else { panic!("the client agrees") };
    assert!(response.to_string().contains("Sec-WebSocket-Extensions"), "{response}");
}

async fn converse(to: To) {
    let mut ws = to.open().await;
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

    let mut ws = to.open().await;
    ws.send("close me").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    let frame = ws.close_frame().unwrap();
    assert_eq!((frame.code().value(), frame.reason()), (4321, "as you wish"));
    assert!(ws.is_closed_cleanly());
}
