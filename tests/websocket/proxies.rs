//! WebSockets behind proxies: the origin check compares with what the browser used.

use tidegate::prelude::*;

use crate::support::client::Client;
use crate::support::servers::{Setup, echo, on_every_engine};

/// Asks a server with this trusted proxy for a WebSocket, and returns the status.
fn status(setup: &Setup, proxy: &str, fields: &str) -> u16 {
    let app = Router::new().get("/ws", websocket::upgrade(echo));
    let builder = Server::builder(app).bind("127.0.0.1:0").expect("loopback resolves").config(setup.config.clone());
    let running = builder.trusted_proxies([proxy]).expect("a network").start().expect("the server starts");
    let mut client = Client::connect(running.local_addr().expect("a TCP address"));
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: inner:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    client.write(request.as_bytes());
    let status = client.http_response().status;
    drop(client);
    running.shutdown(Shutdown::immediate());
    status
}

#[test]
fn the_origin_is_compared_with_the_scheme_and_host_that_a_trusted_proxy_reports() {
    on_every_engine(|setup| {
        let proxied = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: app.example\r\n";
        let forwarded = "Forwarded: for=192.0.2.7;proto=https;host=app.example\r\n";
        for (proxy, fields, origin, expected) in [
            ("127.0.0.1", proxied, "https://app.example", 101),
            ("127.0.0.1", forwarded, "https://app.example", 101),
            ("127.0.0.1", proxied, "http://app.example", 403),
            ("127.0.0.1", proxied, "https://evil.example", 403),
            ("127.0.0.1", proxied, "http://inner:8080", 403),
            ("127.0.0.1", "", "http://inner:8080", 101),
            ("10.0.0.1", proxied, "https://app.example", 403),
            ("10.0.0.1", proxied, "http://inner:8080", 101),
        ] {
            let fields = format!("{fields}Origin: {origin}\r\n");
            assert_eq!(status(setup, proxy, &fields), expected, "{proxy} {fields}");
        }
    });
}
