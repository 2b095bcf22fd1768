//! The examples that are WebSocket clients.

use std::io::Write;
use std::process::{Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use tidegate::prelude::{CloseCode, Router, Server, Shutdown, WebSocket, websocket};
use tidegate::websocket::DeflateConfig;
use tokio_tungstenite::tungstenite::Message;

use super::support::example::{Example, program};
use super::support::example_client::Client;
use super::{on_both_engines, pattern, run};

#[test]
fn the_proxy_relays_to_a_websocket_server() {
    let upstream = Example::start("echo", &[]);
    let url = format!("ws://{}/ws", upstream.address);
    on_both_engines("proxy", &["--websocket-upstream", &url], async |example| {
        let mut client = Client::open(example, "/ws").await;
        let long = pattern(1 << 20);
        client.0.send(Message::binary(long.clone())).await.unwrap();
        assert!(client.0.next().await.unwrap().unwrap().into_data() == long);
        client.ask("relayed", "relayed").await;
        client.close().await;
    });
    upstream.finish();
    on_both_engines("proxy", &["--websocket-upstream", &url], async |example| {
        Client::open(example, "/ws").await.expect_close(1013, "the upstream is unreachable").await;
    });
}

/// Runs wscat with these lines on its standard input. Returns its status, its output and its errors.
fn wscat(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(program("wscat"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn wscat_talks_to_a_server() {
    let echo = Example::start("echo", &["--compress"]);
    let url = format!("ws://{}/ws", echo.address);
    for engine in ["uring", "portable"] {
        let (status, output, errors) = wscat(&[&url, "--engine", engine, "--compress"], "one\ntwo\n");
        assert_eq!((status, output.as_str(), errors.as_str()), (Some(0), "one\ntwo\n", "closed with 1000\n"));
        let arguments = ["--engine", engine, &url, "--send", "three", "--send", "four", "--binary", "--ping", "0"];
        let (status, output, _) = wscat(&arguments, "");
        assert_eq!((status, output.as_str()), (Some(0), "three\nfour\n"));
        let (status, output, _) = wscat(&[&url, "--send", "five", "--send", "six", "--count", "1"], "");
        assert_eq!((status, output.as_str()), (Some(0), "five\n"));
    }
    let page = format!("ws://{}/", echo.address);
    let (status, _, errors) = wscat(&[&page, "--header", "X-More: 1"], "");
    assert_eq!(status, Some(2));
    assert!(errors.contains("status 200 OK") && errors.contains("Tidegate echo"), "{errors}");
    let (status, _, errors) = wscat(&[], "");
    assert_eq!((status, errors.lines().next()), (Some(2), Some("wscat: missing argument URL")));
    echo.finish();
}

/// Says what it sees of its client, and whether its messages are text.
async fn describe(mut ws: WebSocket) -> websocket::Result {
    let more = ws.request().and_then(|head| head.header("X-More")).unwrap_or("none").to_owned();
    ws.send(format!("{more} {:?} {}", ws.subprotocol(), ws.compression().is_some())).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(if message.as_text().is_some() { "text" } else { "binary" }).await?;
    }
    Ok(())
}

/// Closes with the code in the path.
async fn close(mut ws: WebSocket) -> websocket::Result {
    let code = ws.request().and_then(|head| head.param("code")?.parse().ok()).unwrap_or(1011);
    Ok(ws.close(CloseCode::new(code), "the end").await?)
}

/// Receives until a ping comes.
async fn wait(mut ws: WebSocket) -> websocket::Result {
    while ws.recv().await?.is_some() {}
    Ok(())
}

#[test]
fn the_options_of_wscat_reach_the_server() {
    let describe = websocket::upgrade(describe).keep_request().subprotocols(["chat", "other"]);
    let wait = websocket::upgrade(wait).on_ping(|sender, _| sender.close(CloseCode::new(4001), "pinged"));
    let app = Router::new()
        .get("/", describe.compression(DeflateConfig::default()))
        .get("/close/:code", websocket::upgrade(close).keep_request())
        .get("/wait", wait);
    let server = Server::builder(app).bind("127.0.0.1:0").unwrap().start().unwrap();
    let url = |path: &str| format!("ws://{}{path}", server.local_addr().unwrap());

    let all =
        ["--header", "X-More: 1: 2", "--subprotocol", "unknown", "--subprotocol", "chat", "--compress", "--binary"];
    for (arguments, expected) in
        [(&[][..], "none None false\ntext\ntext\n"), (&all, "1: 2 Some(\"chat\") true\nbinary\nbinary\n")]
    {
        let messages = ["--send", "one", "--send", "two", "--count", "3"];
        let (status, output, errors) = wscat(&[&[&*url("/")], arguments, &messages].concat(), "");
        assert_eq!((status, output.as_str()), (Some(0), expected), "{errors}");
    }
    // The status is 0 for ends in order.
    for (code, status) in [(1000, 0), (1001, 0), (1011, 1), (4000, 1)] {
        let (ended, output, errors) = wscat(&[&url(&format!("/close/{code}")), "--count", "1", "--send", "x"], "");
        assert_eq!((ended, output.as_str()), (Some(status), ""), "{errors}");
        assert_eq!(errors, format!("the end\nclosed with {code}\n"));
    }
    let (status, _, errors) = wscat(&[&url("/wait"), "--ping", "1", "--send", "x"], "");
    assert_eq!((status, errors.as_str()), (Some(1), "pinged\nclosed with 4001\n"));
    let (status, _, errors) = wscat(&[&url("/"), "--proxy", "http://127.0.0.1:1", "--send", "x"], "");
    assert_eq!(status, Some(2), "{errors}");
    server.shutdown(Shutdown::default());
}

#[test]
fn load_measures_echoes_and_holds_connections() {
    let echo = Example::start("echo", &[]);
    let url = format!("ws://{}/ws", echo.address);
    for (engine, depth) in [("uring", "2"), ("portable", "1"), ("uring", "0")] {
        let arguments = [&url, "--connections", "50", "--seconds", "0.2", "--depth", depth, "--engine", engine];
        let output = run("load", &arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.starts_with("opened: 50 of 50 in ") && text.ends_with("errors: 0\n"), "{text}");
        assert_eq!(text.contains("\nmessages: 0, 0/s\n"), depth == "0", "{text}");
    }
    let output = run("load", &["ws://127.0.0.1:1/", "--connections", "2", "--seconds", "0.01"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("opened: 0 of 2") && text.contains("errors: 2\n  2 times: "), "{text}");
    echo.finish();
}
