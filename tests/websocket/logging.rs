//! The log lines about WebSockets: panics of handlers, and refused handshakes.

use std::io::Write;
use std::sync::{Mutex, Once};

use tidegate::prelude::*;

use crate::handler::wait_until;
use crate::support::client::{Client, HANDSHAKE, TEXT};
use crate::support::servers::{TestServer, on_every_engine};

/// The lines that were logged.
static LINES: Mutex<String> = Mutex::new(String::new());

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the lines of the modules that these tests are about.
pub fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        env_logger::Builder::new()
            .filter_module("tidegate_engine::executor", "error".parse().unwrap())
            .filter_module("tidegate_websocket::events", "error".parse().unwrap())
            .filter_module("tidegate_websocket::serve", "debug".parse().unwrap())
            .target(env_logger::Target::Pipe(Box::new(Lines)))
            .init();
    });
}

pub fn wait_for_line(line: &str) {
    wait_until(&format!("the line {line:?}"), || LINES.lock().unwrap().lines().any(|logged| logged.contains(line)));
}

#[test]
fn a_panic_is_logged_with_its_message_its_route_and_its_peer() {
    start();
    on_every_engine(|setup| {
        fn at_once(ws: WebSocket) -> std::future::Ready<websocket::Result> {
            drop(ws.sender());
            panic!("at once")
        }
        let later = websocket::upgrade(async |mut ws: WebSocket| {
            ws.recv().await?;
            panic!("later")
        });
        let hooked = websocket::upgrade(async |_ws: WebSocket| panic!("hooked")).on_connect(async |_ws| Ok(()));
        let app =
            Router::new().get("/at/:once", websocket::upgrade(at_once)).get("/later", later).get("/hooked", hooked);
        let server = TestServer::start(setup, app);
        for (target, route, message) in
            [("/at/1", "/at/:once", "at once"), ("/later", "/later", "later"), ("/hooked", "/hooked", "hooked")]
        {
            let mut client = Client::connect(server.address);
            client.write(HANDSHAKE.replacen("/ws", target, 1).as_bytes());
            client.expect_upgraded();
            client.send(TEXT, b"go on");
            let peer = client.stream.local_addr().unwrap();
            client.expect_close(1011);
            wait_for_line(&format!(
                "the handler of {route} panicked and its connection with {peer} is closed: {message}"
            ));
        }
    });
}

#[test]
fn a_failed_handler_is_logged_with_its_route_its_peer_and_its_error() {
    start();
    on_every_engine(|setup| {
        let failing = websocket::upgrade(async |mut ws: WebSocket| {
            ws.recv().await?;
            "not a number".parse::<u32>()?;
            Ok(())
        });
        let server = TestServer::start(setup, Router::new().get("/failing/:room", failing));
        let mut client = Client::connect(server.address);
        client.write(HANDSHAKE.replacen("/ws", "/failing/1", 1).as_bytes());
        client.expect_upgraded();
        client.send(TEXT, b"go on");
        let peer = client.stream.local_addr().unwrap();
        client.expect_close(1011);
        wait_for_line(&format!(
            "the handler of /failing/:room failed on the WebSocket of {peer}: invalid digit found in string"
        ));
    });
}

#[test]
fn refused_handshakes_are_logged_with_the_reason() {
    start();
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        for (from, to, reason) in [
            ("Version: 13", "Version: 12", "must be 13"),
            ("Host: example.com", "Host: example.com\r\nOrigin: https://evil.example", "allow its origin"),
        ] {
            let mut client = Client::connect(server.address);
            assert!(HANDSHAKE.contains(from));
            client.write(HANDSHAKE.replacen(from, to, 1).as_bytes());
            let peer = client.stream.local_addr().unwrap();
            assert!(client.http_response().status >= 400, "{to}");
            wait_until("the line", || {
                let lines = LINES.lock().unwrap();
                lines.lines().any(|line| {
                    let begin = format!("the handler of /ws refused the WebSocket of {peer}: ");
                    line.contains(&begin) && line.contains(reason) && line.contains("DEBUG")
                })
            });
        }
    });
}
