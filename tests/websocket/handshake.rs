//! The opening handshake, and the HTTP around it.

use tidegate::engine::Address;
use tidegate::prelude::*;

use crate::handler::{received_bytes, reports, wait_until};
use crate::support::client::{Client, HANDSHAKE, PING, PONG, TEXT, frame};
use crate::support::servers::{TestServer, echo, on_every_engine};

/// [`HANDSHAKE`] with `field` in front of its other fields.
fn handshake_with(field: &str) -> String {
    HANDSHAKE.replacen("\r\n", &format!("\r\n{field}\r\n"), 1)
}

/// Echoes at `/ws`, and greets at `/plain`.
fn app() -> Router {
    Router::new()
        .get("/ws", websocket::upgrade(echo))
        .get("/plain", |_req: Request| async { Response::text("plain") })
        .post("/plain", |mut req: Request| async move { req.bytes().await.map(Response::bytes) })
}

/// Bug 3: frames in the segment of the handshake lost.
#[test]
fn frames_right_behind_the_handshake_are_received_however_they_are_cut() {
    let early = [frame(TEXT, b"early"), frame(PING, b"ping")].concat();
    let bytes = [HANDSHAKE.as_bytes(), &early].concat();
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for cut in HANDSHAKE.len() - 3..=bytes.len() {
            let mut client = Client::connect(server.address);
            let before = received_bytes(&server);
            client.write(&bytes[..cut]);
            // The rest must not catch up with the first part.
            wait_until("the first part", || received_bytes(&server) - before == cut as u64);
            client.write(&bytes[cut..]);
            client.expect_upgraded();
            client.expect(TEXT, b"early");
            client.expect(PONG, b"ping");
            client.close();
        }
        server.finish();
    });
}

#[test]
fn requests_pipelined_before_the_handshake_are_answered_in_order() {
    let get = "GET /plain HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let post = "POST /plain HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody";
    let bytes = [get.as_bytes(), post.as_bytes(), get.as_bytes(), HANDSHAKE.as_bytes(), &frame(TEXT, b"last")].concat();
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app());
        let mut client = Client::connect(server.address);
        client.write(&bytes);
        for content in ["plain", "body", "plain"] {
            let response = client.http_response();
            assert_eq!((response.status, response.body.as_str()), (200, content));
        }
        client.expect_upgraded();
        client.expect(TEXT, b"last");
        client.close();
        server.finish();
    });
}

/// A handshake that is refused is an ordinary exchange: the connection persists and the next one may be right.
#[test]
fn a_connection_outlives_a_refused_handshake() {
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app());
        let mut client = Client::connect(server.address);
        client.write(HANDSHAKE.replace("Version: 13", "Version: 8").as_bytes());
        let response = client.http_response();
        assert_eq!(response.status, 426);
        assert!(response.head.contains("sec-websocket-version: 13\r\n"), "{response:?}");
        assert!(response.head.contains("upgrade: websocket\r\n"), "{response:?}");
        client.write(b"GET /plain HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(client.http_response().body, "plain");
        client.write(HANDSHAKE.as_bytes());
        client.expect_upgraded();
        client.check_echo(TEXT, b"at last");
        client.close();
        server.finish();
    });
}

/// Bug 7: a same-origin check that ignores the port.
#[test]
fn only_pages_of_this_very_server_may_connect() {
    let table = [
        ("example.com", "http://example.com", 101),
        ("example.com", "http://example.com:80", 101),
        ("example.com:80", "http://EXAMPLE.com", 101),
        ("example.com:8080", "http://example.com:8080", 101),
        ("[::1]:9001", "http://[::1]:9001", 101),
        ("[::1]:9001", "http://[0:0::1]:9001", 101),
        ("example.com:8080", "http://example.com:8081", 403),
        ("example.com:8080", "http://example.com", 403),
        ("example.com", "http://example.com:8080", 403),
        ("example.com", "https://example.com", 403),
        ("example.com", "http://example.com.evil.example", 403),
        ("[::1]:9001", "http://[::1]:9002", 403),
        ("[::1]:9001", "http://[::2]:9001", 403),
        ("example.com", "null", 403),
    ];
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for (host, origin, status) in table {
            let request =
                handshake_with(&format!("Origin: {origin}")).replace("Host: example.com", &format!("Host: {host}"));
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            if status == 101 {
                client.expect_upgraded();
                client.close();
            } else {
                let response = client.http_response();
                assert_eq!(response.status, status, "{origin} at {host}");
                assert_eq!(response.body, "websocket: origin not allowed");
            }
        }
        server.finish();
    });
}

/// Bugs 7 and 15: any key of 24 characters, duplicate keys and a missing Host accepted.
#[test]
fn handshakes_that_are_no_handshakes_are_refused() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let other_key = |value: &str| HANDSHAKE.replace(key, &format!("Sec-WebSocket-Key: {value}\r\n"));
    let requests = [
        ("a key of 18 bytes", other_key("AAAAAAAAAAAAAAAAAAAAAAAA")),
        ("a key that is not base64", other_key("!!!!!!!!!!!!!!!!!!!!!!==")),
        ("a key with bits beyond its bytes", other_key("dGhlIHNhbXBsZSBub25jZR==")),
        ("an empty key", other_key("")),
        ("no key", HANDSHAKE.replace(key, "")),
        ("two keys", HANDSHAKE.replace(key, &key.repeat(2))),
        ("no Host", HANDSHAKE.replace("Host: example.com\r\n", "")),
        ("two Hosts", handshake_with("Host: example.com")),
        ("no Connection", HANDSHAKE.replace("Connection: Upgrade\r\n", "")),
        ("HTTP/1.0", HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0")),
        ("content", HANDSHAKE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody")),
        (
            "chunked content",
            HANDSHAKE.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
        ),
    ];
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for (name, request) in &requests {
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            assert_eq!(client.http_response().status, 400, "{name}");
        }
        server.finish();
    });
}

/// Bug 15: a request's content read as frames.
#[test]
fn content_is_never_read_as_frames() {
    let content = frame(TEXT, b"smuggled");
    let head = HANDSHAKE.replace("GET /ws", "POST /ws");
    let head = head.replace("\r\n\r\n", &format!("\r\nContent-Length: {}\r\n\r\n", content.len()));
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app().post("/ws", websocket::upgrade(echo)));
        let mut client = Client::connect(server.address);
        client.write(head.as_bytes());
        client.write(&content);
        let response = client.http_response();
        assert_eq!(response.status, 400, "{response:?}");
        client.write(b"GET /plain HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(client.http_response().body, "plain", "the connection is still HTTP");
        drop(client);
        server.finish();
    });
}

#[test]
fn the_server_prefers_among_the_subprotocols_both_speak() {
    on_every_engine(|setup| {
        let upgrade = websocket::upgrade(echo).subprotocols(["v2", "v1"]);
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        for (offered, chosen) in [("v1, v2", Some("v2")), ("v1", Some("v1")), ("v3", None)] {
            let mut client = Client::connect(server.address);
            client.write(handshake_with(&format!("Sec-WebSocket-Protocol: {offered}")).as_bytes());
            let response = client.http_response();
            assert_eq!(response.status, 101);
            let field = response.head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(field, chosen, "{offered}");
            client.close();
        }
        server.finish();
    });
}

/// Bug 4: the peer's address empty on the native engine.
#[test]
fn handlers_know_both_addresses() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |ws: WebSocket| {
            let report = report.clone();
            async move {
                report.send((ws.peer_addr(), ws.local_addr())).unwrap();
                echo(ws).await
            }
        });
        let client = Client::open(server.address);
        let own = client.stream.local_addr().unwrap();
        assert_eq!(reports.next(), (Address::Ip(own), Address::Ip(server.address)));
        client.close();
        server.finish();
    });
}
