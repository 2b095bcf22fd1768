//! The forms that handlers can have. They must compile with no more type annotations than these.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tidegate::engine::block_on;
use tidegate::http::StatusCode;
use tidegate::prelude::*;
use tidegate::web::{self, Handler, Reply, ResponseBody};
use tidegate::websocket::{Error, HandlerError, Upgrade};

/// An error of an application.
#[derive(Debug)]
struct OutOfStock;

impl fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of stock")
    }
}

impl std::error::Error for OutOfStock {}

/// A named function, with `?` on errors of two types.
async fn double(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        let number: u32 = message.as_text().unwrap_or_default().parse()?;
        ws.send((2 * number).to_string()).await?;
    }
    Ok(())
}

/// A named function that takes its state, for closures that clone it.
async fn chat(hub: Hub<String>, mut ws: WebSocket) -> websocket::Result {
    let member = hub.register_with(&ws, "Ann".to_owned(), Default::default())?;
    while let Some(message) = ws.recv().await? {
        member.publish("room", message).queue().await?;
    }
    Ok(())
}

/// A function that helps a handler, and borrows its WebSocket.
async fn greet(ws: &mut WebSocket) -> Result<(), Error> {
    ws.send("hello").await
}

/// A function that returns an upgrade.
fn echo() -> Upgrade {
    websocket::upgrade(async |mut ws| {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
}

#[test]
fn web_socket_handlers() {
    let hub: Hub<String> = Hub::default();
    let (cloned, borrowed, captured) = (hub.clone(), hub.clone(), hub);
    let app = Router::new()
        .get("/named", websocket::upgrade(double))
        .get("/clones", websocket::upgrade(move |ws| chat(cloned.clone(), ws)))
        .get("/borrows", websocket::upgrade(async move |ws| chat(borrowed.clone(), ws).await))
        .get("/block", websocket::upgrade(|mut ws: WebSocket| async move { Ok(ws.send("hello").await?) }))
        .get("/closure", echo());
    // State that is not `Clone`, state that is shared, and every way to fail.
    let (served, total, name) = (AtomicU64::new(0), Arc::new(Mutex::new(0)), String::from("Ann"));
    let stateful = websocket::upgrade(async move |mut ws| {
        served.fetch_add(1, Ordering::Relaxed);
        let _member = captured.register_with(&ws, name.clone(), Default::default())?;
        while let Some(message) = ws.recv().await? {
            let number: u32 = message.as_text().unwrap_or_default().parse()?;
            *total.lock().unwrap() += number;
            match number {
                0 => drop(std::fs::read("missing")?),
                1 => Err(OutOfStock)?,
                2 => return Err(OutOfStock.into()),
                3 => return Err(HandlerError::close(CloseCode::new(4000), "no threes")),
                4 => return Err(HandlerError::new("no fours")),
                5 => return Ok(()),
                _ => greet(&mut ws).await?,
            }
            ws.send(name.as_str()).await?;
        }
        Ok(())
    });
    let hooked = stateful.on_connect(async |ws| Ok(ws.send("welcome").await?)).on_disconnect(|_ended| ());
    let app = app.get("/state", hooked);
    assert!(format!("{app:?}").contains("/state"));
}

/// A named function, with `?` on an error that is not a response.
async fn half(request: Request) -> web::Result<String> {
    let number: u32 = request.param("number").unwrap_or_default().parse()?;
    if number % 2 == 1 {
        return Err(web::HandlerError::response((StatusCode::NOT_FOUND, "no half of an odd number")));
    }
    Ok((number / 2).to_string())
}

/// Middleware that waits for the handler it wraps.
struct Accepting<H>(H);

impl<H: Handler> Handler for Accepting<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        Reply::from_future(async move { self.0.handle(request).response().await.with_status(StatusCode::ACCEPTED) })
    }
}

#[test]
fn http_handlers() {
    let (visits, name) = (AtomicU64::new(0), String::from("Ann"));
    let app = Router::new()
        .get("/half/:number", half)
        .get("/block", |_request: Request| async { "hello" })
        .get("/closure", async |_request| "hello")
        .get("/state", async move |_request| format!("visit {}", visits.fetch_add(1, Ordering::Relaxed)))
        .get("/fails", async move |request: Request| -> web::Result<String> {
            let number: u32 = request.raw_query().unwrap_or_default().parse()?;
            Ok(format!("{name} {number}"))
        })
        .get("/fails/block", |request: Request| async move {
            let number: u32 = request.raw_query().unwrap_or_default().parse()?;
            Ok::<_, web::HandlerError>(number.to_string())
        })
        .get("/sync", sync_handler(|_request| "hello"));
    let app = Accepting(app);
    for (target, expected) in [
        ("/half/8", "4"),
        ("/half/7", "no half of an odd number"),
        ("/half/x", "internal server error\n"),
        ("/block", "hello"),
        ("/closure", "hello"),
        ("/state", "visit 0"),
        ("/fails?1", "Ann 1"),
        ("/fails/block?1", "1"),
        ("/sync", "hello"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = Request::parse(head.as_bytes(), "").expect("a valid request");
        let response = block_on(app.handle(request).response());
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{target}");
        let ResponseBody::Bytes(text) = response.body() else { panic!("{target}: no text") };
        assert_eq!(text, expected, "{target}");
    }
}
