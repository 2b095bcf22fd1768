//! The opening handshake and the HTTP around it.

use tidegate::engine::Address;
use tidegate::prelude::*;
use tidegate::web::RequestHead;
use tidegate::websocket::handshake::UpgradeRequestError;
use tidegate::websocket::{OriginAllowList, Scheme};

use crate::events::on_every_engine_and_style;
use crate::handler::{received_bytes, reports, wait_until};
use crate::support::client::{Client, HANDSHAKE, PING, PONG, TEXT, frame};
use crate::support::servers::{TestServer, echo, on_every_engine};

/// [`HANDSHAKE`] with `field` in front of its other fields.
fn handshake_with(field: &str) -> String {
    HANDSHAKE.replacen("\r\n", &format!("\r\n{field}\r\n"), 1)
}

/// Starts a server that echoes at `/ws` and greets at `/plain`.
fn app() -> Router {
    Router::new()
        .get("/ws", websocket::upgrade(echo))
        .get("/plain", |_req: Request| async { Response::text("plain") })
        .post("/plain", |mut req: Request| async move { req.bytes().await.map(Response::bytes) })
}

/// Frames in the same segment as the handshake must not be lost.
#[test]
fn frames_right_behind_the_handshake_are_received_however_they_are_split() {
    let early = [frame(TEXT, b"early"), frame(PING, b"ping")].concat();
    let bytes = [HANDSHAKE.as_bytes(), &early].concat();
    on_every_engine_and_style(|setup| {
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

/// A refused handshake is an ordinary exchange: the connection persists, and the next request can succeed.
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

/// The same-origin check must compare the port.
#[test]
fn only_pages_of_the_same_origin_can_connect() {
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

/// Each mistake has its own text. A key that is not base64 of 16 bytes, two keys, and a missing Host are mistakes, too.
#[test]
fn invalid_handshakes_are_refused() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let other_key = |value: &str| HANDSHAKE.replace(key, &format!("Sec-WebSocket-Key: {value}\r\n"));
    let wrong_key = UpgradeRequestError::InvalidKey;
    let requests = [
        ("a key of 18 bytes", other_key("AAAAAAAAAAAAAAAAAAAAAAAA"), wrong_key),
        ("a key of 15 bytes", other_key("AAAAAAAAAAAAAAAAAAAA"), wrong_key),
        ("a key that is not base64", other_key("!!!!!!!!!!!!!!!!!!!!!!=="), wrong_key),
        ("a key with bits beyond its bytes", other_key("dGhlIHNhbXBsZSBub25jZR=="), wrong_key),
        ("an empty key", other_key(""), wrong_key),
        ("no key", HANDSHAKE.replace(key, ""), UpgradeRequestError::MissingKey),
        ("two keys", HANDSHAKE.replace(key, &key.repeat(2)), UpgradeRequestError::RepeatedKey),
        ("no version", HANDSHAKE.replace(version, ""), UpgradeRequestError::MissingVersion),
        ("two versions", HANDSHAKE.replace(version, &version.repeat(2)), UpgradeRequestError::RepeatedVersion),
        ("version 12", HANDSHAKE.replace("Version: 13", "Version: 12"), UpgradeRequestError::UnsupportedVersion),
        ("version 130", HANDSHAKE.replace("Version: 13", "Version: 130"), UpgradeRequestError::UnsupportedVersion),
        ("no Upgrade", HANDSHAKE.replace("Upgrade: websocket\r\n", ""), UpgradeRequestError::Upgrade),
        (
            "another Upgrade",
            HANDSHAKE.replace("Upgrade: websocket", "Upgrade: websockets"),
            UpgradeRequestError::Upgrade,
        ),
        ("no Connection", HANDSHAKE.replace("Connection: Upgrade\r\n", ""), UpgradeRequestError::Connection),
        ("another Connection", HANDSHAKE.replace(": Upgrade", ": keep-alive"), UpgradeRequestError::Connection),
        ("HTTP/1.0", HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"), UpgradeRequestError::HttpVersion),
        ("HEAD", HANDSHAKE.replace("GET", "HEAD"), UpgradeRequestError::Method),
        (
            "a subprotocol in quotes",
            handshake_with("Sec-WebSocket-Protocol: \"a\""),
            UpgradeRequestError::InvalidSubprotocol,
        ),
        (
            "a subprotocol twice",
            handshake_with("Sec-WebSocket-Protocol: a, a"),
            UpgradeRequestError::RepeatedSubprotocol,
        ),
    ];
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for (name, request, error) in &requests {
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            let response = client.http_response_to(request.split(' ').next() == Some("HEAD"));
            assert_eq!(response.status, error.status().as_u16(), "{name}");
            let body = if *error == UpgradeRequestError::Method { String::new() } else { error.to_string() };
            assert_eq!(response.body, body, "{name}");
            let versions = response.head.contains("sec-websocket-version: 13\r\n");
            assert_eq!(versions, response.status == 426, "{name}");
        }
        server.finish();
    });
}

/// Invalid HTTP is refused before the handshake is checked.
#[test]
fn invalid_requests_are_refused() {
    let content = "\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let requests = [
        ("no Host", HANDSHAKE.replace("Host: example.com\r\n", ""), 400),
        ("two Hosts", handshake_with("Host: example.com"), 400),
        ("content", HANDSHAKE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody"), 400),
        ("chunked content", HANDSHAKE.replace("\r\n\r\n", content), 400),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("HTTP/2 of a WebSocket", HANDSHAKE.replace("HTTP/1.1", "HTTP/2.0"), 505),
    ];
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for (name, request, status) in &requests {
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            let response = client.http_response();
            assert_eq!(response.status, *status, "{name}");
            assert!(!response.body.is_empty(), "{name}: the answer has a text");
        }
        server.finish();
    });
}

/// Fields hold lists of tokens, in any case, over several lines.
#[test]
fn fields_are_case_insensitive_lists() {
    let (upgrade, connection) = ("Upgrade: websocket\r\n", "Connection: Upgrade\r\n");
    let requests = [
        HANDSHAKE.replace(upgrade, "UPGRADE: h2c, WebSocket\r\n"),
        HANDSHAKE.replace(upgrade, "upgrade:other/1 ,websocket,\r\n"),
        HANDSHAKE.replace(connection, "connection: keep-alive, UPGRADE\r\n"),
        HANDSHAKE.replace(connection, "Connection: keep-alive\r\nConnection: \tupgrade\t\r\n"),
        HANDSHAKE.replace("Sec-WebSocket-Key: ", "sec-websocket-KEY:\t").replace("Version: 13", "VERSION:13 "),
    ];
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for request in &requests {
            println!("{request}");
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            client.expect_upgraded();
            client.close();
        }
        server.finish();
    });
}

/// The content of a request must not be read as frames.
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

/// A function or a list can replace the same-origin check; `scheme` is for a proxy that terminates TLS.
#[test]
fn applications_can_check_origins_themselves() {
    let list = || OriginAllowList::parse(["https://a.example", "http://b.example:8080"]).expect("two origins");
    let app = || {
        let check = websocket::upgrade(echo).check_origin(|head: &RequestHead| head.header("origin") == Some("null"));
        Router::new()
            .get("/check", check)
            .get("/list", websocket::upgrade(echo).allow_origins(list()))
            .get("/tls", websocket::upgrade(echo).scheme(Scheme::Https))
    };
    let table = [
        ("/check", &["null"][..], 101),
        ("/check", &["http://example.com"], 403),
        ("/check", &[], 403),
        ("/list", &["https://a.example:443"], 101),
        ("/list", &["http://b.example:8080"], 101),
        ("/list", &["http://a.example"], 403),
        ("/list", &["http://example.com"], 403),
        ("/tls", &["https://example.com"], 101),
        ("/tls", &["https://EXAMPLE.com:443"], 101),
        ("/tls", &["https://example.com:80"], 403),
        ("/tls", &["http://example.com"], 403),
        ("/tls", &["https://example.com", "https://example.com"], 403),
        ("/tls", &[], 403),
    ];
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app());
        for (path, origins, status) in table {
            let mut request = HANDSHAKE.replace("/ws", path);
            for origin in origins {
                request = request.replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1);
            }
            let mut client = Client::connect(server.address);
            client.write(request.as_bytes());
            let response = client.http_response();
            assert_eq!(response.status, status, "{path} {origins:?}");
            match status {
                101 => client.close(),
                _ => assert_eq!(response.body, "websocket: origin not allowed"),
            }
        }
        server.finish();
    });
}

#[test]
fn the_server_chooses_among_the_common_subprotocols() {
    on_every_engine(|setup| {
        let upgrade = websocket::upgrade(|mut ws: WebSocket| async move {
            ws.send(ws.subprotocol().unwrap_or("none").to_owned()).await?;
            // The first extension copies the connection's context, which must keep the subprotocol.
            ws.extensions().insert(1);
            ws.send(ws.subprotocol().unwrap_or("none").to_owned()).await?;
            echo(ws).await
        });
        let upgrade = upgrade.subprotocols(["v2", "v1"]).config(WebSocketConfig::default());
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        let table = [("v1, v2", Some("v2")), ("v1", Some("v1")), ("v3", None), ("V2", None), ("v3,\tv1 ,", Some("v1"))];
        for (offered, chosen) in table {
            let mut client = Client::connect(server.address);
            client.write(handshake_with(&format!("Sec-WebSocket-Protocol: {offered}")).as_bytes());
            let response = client.http_response();
            assert_eq!(response.status, 101);
            let field = response.head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(field, chosen, "{offered}");
            client.expect(TEXT, chosen.unwrap_or("none").as_bytes());
            client.expect(TEXT, chosen.unwrap_or("none").as_bytes());
            client.close();
        }
        server.finish();
    });
}

/// The address of the peer must be known on io_uring, too.
#[test]
fn handlers_know_both_addresses() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |ws: WebSocket| {
            report.send((ws.peer_addr(), ws.local_addr())).unwrap();
            echo(ws).await
        });
        let client = Client::open(server.address);
        let own = client.stream.local_addr().unwrap();
        assert_eq!(reports.next(), (Address::Ip(own), Address::Ip(server.address)));
        client.close();
        server.finish();
    });
}
