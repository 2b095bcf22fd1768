//! A real browser: its WebSockets on our servers, the page of the chat example, and the example `http`.
//!
//! Needs chromium, which `tests/peers/install.sh --browser` installs with the needed rights. Without it these tests
//! fail and say what to do.

mod support {
    pub mod example;
    pub mod peers;
    pub mod servers;
    pub mod site;
}

use std::cell::RefCell;

use http::header::{CONTENT_TYPE, HeaderValue, SET_COOKIE};
use tidegate::prelude::*;
use tidegate::websocket::DeflateConfig;

use support::example::Example;
use support::peers;
use support::servers::{TestServer, echo, on_every_engine, setups};
use support::site;

#[test]
fn its_web_sockets_work_on_every_engine() {
    // One browser for all servers, because starting it takes most of the time.
    let servers = RefCell::new(Vec::new());
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app());
        println!("{} is at http://{}/", setup.name, server.address);
        servers.borrow_mut().push(server);
    });
    // Another port of the same host is another origin.
    let other = TestServer::echo(&setups()[0]);
    let foreign = format!("ws://{}/ws", other.address);
    let pages: Vec<_> = servers.borrow().iter().map(|server| format!("http://{}/", server.address)).collect();
    let arguments: Vec<_> = ["page", &foreign].into_iter().chain(pages.iter().map(String::as_str)).collect();
    peers::run("browser.mjs", &arguments);
    servers.into_inner().into_iter().for_each(TestServer::finish);
    other.finish();
}

#[test]
fn the_chat_page_works_in_two_tabs() {
    let examples = ["uring", "portable"].map(|engine| Example::start("chat", &["--engine", engine]));
    let [uring, portable] = examples.each_ref().map(|example| format!("http://{}/", example.address));
    peers::run("browser.mjs", &["chat", &uring, &portable]);
    examples.into_iter().for_each(Example::finish);
}

#[test]
fn forms_events_media_and_the_cache_work() {
    let folder = site::folder().to_str().expect("UTF-8");
    let examples = ["uring", "portable"].map(|engine| Example::start("http", &["--engine", engine, "--dir", folder]));
    let [uring, portable] = examples.each_ref().map(|example| format!("http://{}/", example.address));
    peers::run("browser.mjs", &["http", folder, &uring, &portable]);
    examples.into_iter().for_each(Example::finish);
}

fn app() -> Router {
    let deflate = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    Router::new()
        .get("/", sync_handler(page))
        .get("/ws", websocket::upgrade(echo))
        .get("/deflate", websocket::upgrade(echo_deflated).compression(deflate))
        .get("/told", websocket::upgrade(tell).keep_request())
        .get("/close", websocket::upgrade(close))
}

/// Returns an empty page that sets a cookie.
fn page(_request: Request) -> Response {
    Response::text("<!doctype html><title>Empty</title>")
        .with_header(CONTENT_TYPE, HeaderValue::from_static("text/html"))
        .with_header(SET_COOKIE, HeaderValue::from_static("tide=high; Path=/; SameSite=Strict"))
}

async fn echo_deflated(ws: WebSocket) -> websocket::Result {
    assert!(ws.compression().is_some(), "a browser offers to compress");
    echo(ws).await
}

/// Sends what the browser sent about itself.
async fn tell(mut ws: WebSocket) -> websocket::Result {
    let head = ws.request().expect("the request is kept");
    let (origin, cookie) = (head.header("origin"), head.header("cookie"));
    let told = serde_json::json!({ "origin": origin, "cookie": cookie, "compression": ws.compression().is_some() });
    ws.send(told.to_string()).await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}

async fn close(mut ws: WebSocket) -> websocket::Result {
    Ok(ws.close(CloseCode::new(4000), "the server's reason").await?)
}
