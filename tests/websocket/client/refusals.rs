//! Servers that refuse, break the protocol, or are not there.

use std::net::TcpListener;
use std::time::Duration;

use tidegate::http::StatusCode;
use tidegate::prelude::*;
use tidegate::web::client::InvalidResponse;
use tidegate::websocket::handshake::UpgradeResponseError;
use tidegate::websocket::{ConnectError, connect};

use super::run;
use crate::support::raw_server::RawServer;
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

/// Opens a WebSocket to a server that answers with `response` and closes.
fn answer_of(setup: &Setup, response: &'static str) -> ConnectError {
    let server = RawServer::start(1, move |mut peer| {
        peer.read_head();
        peer.write(response.as_bytes());
    });
    let url = server.url();
    let error = run(setup, move || async move { connect(url).subprotocols(["chat"]).await.map(|_| ()) }).unwrap_err();
    server.finish();
    error
}

#[test]
fn a_refusal_carries_the_response() {
    on_every_engine(|setup| {
        let app = Router::new()
            .get("/ws", websocket::upgrade(echo))
            .get("/page", async |_request: Request| "x".repeat(100_000));
        let server = TestServer::start(setup, app);
        let url = format!("ws://{}", server.address);
        run(setup, move || async move {
            let refused = connect(format!("{url}/ws")).origin("https://evil.example").await.unwrap_err();
            let response = refused.response().unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(response.reason(), Some(UpgradeResponseError::Status { status: StatusCode::FORBIDDEN }));
            assert!(response.content().starts_with(b"websocket: origin not allowed"), "{response:?}");
            assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
            let text = refused.to_string();
            assert!(text.contains("403") && text.contains("origin not allowed"), "{text}");
            assert!(!refused.is_temporary());

            let page = connect(format!("{url}/page")).await.unwrap_err();
            let response = page.response().unwrap();
            assert_eq!((response.status().as_u16(), response.content().len()), (200, 4096));
            let missing = connect(format!("{url}/nothing")).await.unwrap_err();
            assert_eq!(missing.response().unwrap().status(), StatusCode::NOT_FOUND);
        });
        server.finish();
    });
}

#[test]
fn an_acceptance_that_does_not_match_is_refused() {
    const WRONG: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    const BARE: &str = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    const OLD: &str = "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    on_every_engine(|setup| {
        for (response, reason) in [
            (WRONG, UpgradeResponseError::WrongAccept),
            (BARE, UpgradeResponseError::Upgrade),
            (OLD, UpgradeResponseError::HttpVersion),
        ] {
            let error = answer_of(setup, response);
            assert_eq!(error.response().and_then(|response| response.reason()), Some(reason), "{error}");
        }
    });
}

#[test]
fn other_protocols_and_lost_connections_are_told_apart() {
    on_every_engine(|setup| {
        for (response, invalid, is_temporary) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", InvalidResponse::StatusLine, false),
            ("HTTP/1.1 200 OK\n\n", InvalidResponse::BareLineFeed, false),
            ("HTTP/1.1 101 Swi", InvalidResponse::Incomplete, true),
            ("", InvalidResponse::Incomplete, true),
        ] {
            let error = answer_of(setup, response);
            assert!(matches!(&error, ConnectError::Response(found) if *found == invalid), "{response:?}: {error}");
            assert_eq!(error.is_temporary(), is_temporary);
        }
        let busy = answer_of(setup, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
        assert!(busy.is_temporary() && busy.to_string().ends_with("busy"), "{busy}");
    });
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    on_every_engine(|setup| {
        // It accepts, by its backlog, and never reads.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", silent.local_addr().unwrap());
        let error = run(setup, move || async move {
            let error = connect(url).handshake_timeout(Duration::from_millis(50)).await.map(|_| ()).unwrap_err();
            // The engine would wait for its FIN.
            drop(silent);
            error
        });
        assert!(matches!(error, ConnectError::Timeout), "{error}");
        assert!(error.is_temporary());
    });
}

#[test]
fn mistakes_are_reported_before_anything_is_opened() {
    on_every_engine(|setup| {
        run(setup, || async {
            // Nobody listens there, and nobody is asked.
            let to = |url: &str| connect(url.to_owned());
            for (mistake, text) in [
                (to("example.com"), "the scheme must be ws or wss"),
                (to("ws://user@example.com"), "user information is not allowed"),
                (to("ws://127.0.0.1:1").header("a b", "c"), "invalid header \"a b\""),
                (to("ws://127.0.0.1:1").header("a", "b\nc"), "invalid header \"a\""),
                (to("ws://127.0.0.1:1").bearer("a\nb"), "invalid header \"authorization\""),
                (to("ws://127.0.0.1:1").proxy("ftp://x"), "invalid proxy"),
                (to("ws://127.0.0.1:1").subprotocols(["a b"]), "invalid subprotocol"),
                (to("ws://127.0.0.1:1").handshake_timeout(Duration::ZERO), "handshake_timeout"),
                (to("ws://127.0.0.1:1").config(WebSocketConfig::client().message_bytes_max(0)), "message_bytes_max"),
            ] {
                let error = mistake.await.map(|_| ()).unwrap_err();
                assert!(error.to_string().contains(text), "{error}");
                assert!(!error.is_temporary());
            }
        });
    });
}
