//! A real browser: its WebSockets against servers of ours, and the page of the chat example.
//!
//! Needs chromium, which `tests/peers/install.sh --browser` installs where it may; without it these tests fail and say what
//! to do.

mod support {
    pub mod example;
    pub mod peers;
    pub mod servers;
}

use http::header::{CONTENT_TYPE, HeaderValue, SET_COOKIE};
use tidegate::prelude::*;
use tidegate::websocket::{DeflateConfig, Error};

use support::example::Example;
use support::peers;
use support::servers::{TestServer, echo, on_every_engine};

#[test]
fn its_web_sockets_work_on_each_engine() {
    on_every_engine(|setup| {
        if ["uring/cancel", "std/inline"].contains(&setup.name) {
            // Nothing that a browser sees is otherwise there, and starting one takes seconds.
            return;
        }
        let mut deflate = DeflateConfig::default();
        (deflate.own_context_takeover, deflate.peer_context_takeover) = (true, true);
        let app = Router::new()
            .get("/", ready(page))
            .get("/ws", websocket::upgrade(echo))
            .get("/deflate", websocket::upgrade(echo_deflated).compression(deflate))
            .get("/told", websocket::upgrade(tell).keep_request())
            .get("/close", websocket::upgrade(close));
        let server = TestServer::start(setup, app);
        // On another port of the same host, so of another origin.
        let other = TestServer::echo(setup);
        let (page, foreign) = (format!("http://{}/", server.address), format!("ws://{}/ws", other.address));
        peers::run("browser.mjs", &["page", &page, &foreign]);
        other.finish();
        server.finish();
    });
}

#[test]
fn the_chat_page_works_in_two_tabs() {
    for engine in ["uring", "std"] {
        println!("on {engine}");
        let example = Example::start("chat", &["--engine", engine]);
        peers::run("browser.mjs", &["chat", &format!("http://{}/", example.address)]);
        example.finish();
    }
}

/// A page without anything, which leaves a cookie.
fn page(_request: Request) -> Response {
    Response::text("<!doctype html><title>Empty</title>")
        .with_header(CONTENT_TYPE, HeaderValue::from_static("text/html"))
        .with_header(SET_COOKIE, HeaderValue::from_static("tide=high; Path=/; SameSite=Strict"))
}

async fn echo_deflated(ws: WebSocket) -> Result<(), Error> {
    assert!(ws.compression().is_some(), "a browser offers to compress");
    echo(ws).await
}

/// Sends what the browser said of itself.
async fn tell(mut ws: WebSocket) -> Result<(), Error> {
    let head = ws.request().expect("the request is kept");
    let (origin, cookie) = (head.header("origin"), head.header("cookie"));
    let told = serde_json::json!({ "origin": origin, "cookie": cookie, "compression": ws.compression().is_some() });
    ws.send(told.to_string()).await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}

async fn close(mut ws: WebSocket) -> Result<(), Error> {
    ws.close(CloseCode::new(4000), "the server's reason").await
}
