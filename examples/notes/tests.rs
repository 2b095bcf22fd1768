//! Tests of the application as it runs, without a socket and without waiting: see `docs/testing.md`.

use std::sync::Arc;
use std::time::Duration;

use tidegate::http::StatusCode;
use tidegate::prelude::*;
use tidegate::web::testing::{TestClient, TestServer};
use tidegate::websocket::testing::WebSocketClients;

use crate::{App, Note, routes};

fn server() -> TestServer {
    let app = App::open(":memory:").expect("a database in memory");
    TestServer::new(routes(Arc::new(app)))
}

/// Returns a client that is logged in.
fn log_in(server: &TestServer, name: &str) -> TestClient {
    let mut client = server.client();
    let response = client.post("/login").form(&[("name", name), ("password", "tide")]).send().assert_status(303);
    assert_eq!(response.header("location"), Some("/"));
    client
}

#[test]
fn only_users_write_notes() {
    let server = server();
    server.post("/notes").json("buy milk").send().assert_status(401);
    server.post("/login").form(&[("name", "Ann"), ("password", "wrong")]).send().assert_status(403);
    server.post("/notes").cookie("session", "made up").json("buy milk").send().assert_status(401);

    let mut ann = log_in(&server, "Ann");
    let created: Note = ann.post("/notes").json("buy milk").send().assert_status(201).json();
    assert_eq!(created, Note { id: 1, author: "Ann".to_owned(), text: "buy milk".to_owned() });
    assert_eq!(server.get("/notes").send().json::<Vec<Note>>(), [created]);
}

#[test]
fn a_note_is_deleted_by_its_author() {
    let server = server();
    let (mut ann, mut bob) = (log_in(&server, "Ann"), log_in(&server, "Bob"));
    ann.post("/notes").json("mine").send().assert_status(201);
    bob.delete("/notes/1").send().assert_status(404);
    ann.delete("/notes/one").send().assert_status(400);
    ann.delete("/notes/1").send().assert_status(204);
    assert_eq!(server.get("/notes").send().text(), "[]");
}

#[test]
fn what_is_not_a_note_is_refused() {
    let server = server();
    let mut ann = log_in(&server, "Ann");
    ann.post("/notes").body("buy milk").send().assert_status(415);
    ann.post("/notes").header("content-type", "application/json").body("\"buy").send().assert_status(400);
    ann.post("/notes").json(&["a", "list"]).send().assert_status(422);
}

#[test]
fn new_notes_are_events() {
    let server = server();
    let mut events = server.get("/events").start();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    log_in(&server, "Ann").post("/notes").json("news").send().assert_status(201);
    let event = "data: {\"id\":1,\"author\":\"Ann\",\"text\":\"news\"}\n\n";
    assert_eq!(events.content().unwrap(), event);

    server.advance(Duration::from_secs(15));
    assert_eq!(events.content().unwrap(), ": keep-alive\n\n");
    server.begin_shutdown(Shutdown::default());
    assert_eq!(events.content(), None, "a stream ends when the server shuts down");
}

#[test]
fn users_talk_in_the_room() {
    let server = server();
    let stranger = server.websocket("/room").try_connect().unwrap_err();
    assert_eq!(stranger.refusal().expect("an answer").status(), StatusCode::UNAUTHORIZED);

    let mut ann = log_in(&server, "Ann").websocket("/room").connect();
    let mut bob = log_in(&server, "Bob").websocket("/room").connect();
    ann.send("hello");
    assert_eq!((ann.recv_text(), bob.recv_text()), ("Ann: hello".to_owned(), "Ann: hello".to_owned()));
    bob.close(CloseCode::NORMAL, "");
    ann.send("still there?");
    assert_eq!(ann.recv_text(), "Ann: still there?");
    assert!(server.get("/metrics").send().text().contains("app_members 1\n"));
}

#[test]
fn the_page_is_html() {
    let response = server().get("/").send().assert_status(200);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
}
