//! The application of the browser tests: a page, and the WebSockets that it talks to.

use http::header::{CONTENT_TYPE, HeaderValue, SET_COOKIE};
use tidegate::prelude::*;
use tidegate::websocket::DeflateConfig;

use super::servers::echo;

pub fn app() -> Router {
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
