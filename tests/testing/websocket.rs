//! WebSockets, hubs and their timeouts.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::engine::{block_on, time};
use tidegate::prelude::*;
use tidegate::web::RequestHead;
use tidegate::web::testing::TestServer;
use tidegate::websocket::protocol::Frame;
use tidegate::websocket::testing::{TestConnectError, WebSocketClients};
use tidegate::websocket::{
    DeflateConfig, EventHandler, EventSocket, HubConfig, KeepaliveConfig, SlowPolicy, Upgrade, upgrade_events,
};

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn serve(upgrade: Upgrade) -> TestServer {
    TestServer::new(Router::new().get("/ws", upgrade))
}

#[test]
fn messages_are_echoed() {
    let mut client = serve(websocket::upgrade(echo)).websocket("/ws").connect();
    client.send("text");
    client.send(vec![1, 2, 3]);
    assert_eq!(client.recv_text(), "text");
    assert_eq!(client.recv(), Some(Message::from(vec![1, 2, 3])));
    client.send_json(&json!({ "a": [1, 2] }));
    assert_eq!(client.recv_json::<Value>()["a"][1], 2);
    let long = "tide".repeat(100_000);
    client.send(long.as_str());
    assert!(client.recv_text() == long);
    assert_eq!(client.try_recv(), None);
    assert_eq!(client.close(CloseCode::new(4001), "enough"), Some(CloseCode::new(4001)));
    assert_eq!(client.recv(), None);
}

#[test]
fn fragments_and_control_frames_are_the_tests_choice() {
    let mut client = serve(websocket::upgrade(echo)).websocket("/ws").connect();
    client.send_frame(&Frame::text("in ").not_final());
    client.send_frame(&Frame::ping(b"between").unwrap());
    assert_eq!(client.take_pong().as_deref(), Some(&b"between"[..]));
    client.send_frame(&Frame::continuation(b"two"));
    assert_eq!(client.recv_text(), "in two");
    // A continuation of nothing.
    client.send_frame(&Frame::continuation(b"more"));
    assert!(client.is_closed());
    assert_eq!(client.close_frame().map(|frame| frame.code()), Some(CloseCode::PROTOCOL_ERROR));
}

/// Answers each message after five seconds, and says how many it has answered when a minute has passed.
struct Slow;

impl EventHandler for Slow {
    type State = u32;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<u32> {
        ws.set_read_deadline(Some(time::now() + 60 * SECOND));
        Ok(0)
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut u32, message: MessageRef<'_>) -> websocket::Result {
        let text = message.as_text().unwrap_or_default().to_owned();
        let work = async move {
            time::sleep(5 * SECOND).await;
            text
        };
        ws.spawn(work, |ws, answered, text| {
            *answered += 1;
            Ok(ws.send(&text)?)
        });
        Ok(())
    }

    fn on_deadline(&self, ws: &mut EventSocket<'_, Self>, answered: &mut u32) -> websocket::Result {
        Ok(ws.close(CloseCode::new(4000), &format!("{answered} answered"))?)
    }
}

#[test]
fn event_handlers_go_by_the_clock_of_the_test() {
    let server = serve(upgrade_events(Slow));
    let mut client = server.websocket("/ws").connect();
    client.send("one");
    client.send("two");
    server.advance(4 * SECOND);
    assert_eq!(client.try_recv(), None);
    server.advance(2 * SECOND);
    assert_eq!((client.recv_text(), client.recv_text()), ("one".to_owned(), "two".to_owned()));
    server.advance(50 * SECOND);
    assert!(!client.is_closed());
    server.advance(5 * SECOND);
    assert!(client.is_closed());
    assert_eq!(client.close_frame().map(|frame| (frame.code().value(), frame.reason())), Some((4000, "2 answered")));
}

#[test]
fn a_subprotocol_is_agreed_on() {
    let server = serve(websocket::upgrade(echo).subprotocols(["v2", "v1"]));
    let client = server.websocket("/ws").subprotocol("v1").subprotocol("v2").connect();
    assert_eq!(client.subprotocol(), Some("v2"));
    assert_eq!(server.websocket("/ws").connect().subprotocol(), None);
}

#[test]
fn a_refusal_has_the_response() {
    let authorize = async |head: &RequestHead| match head.header("authorization") {
        Some("secret") => Ok(()),
        _ => Err((tidegate::http::StatusCode::UNAUTHORIZED, "who are you?")),
    };
    let server = serve(websocket::upgrade(echo).authorize(authorize));
    let error = server.websocket("/ws").try_connect().unwrap_err();
    let response = error.refusal().expect("a response");
    assert_eq!((response.status().as_u16(), response.text()), (401, "who are you?"));
    assert_eq!(error.to_string(), "the server refused the WebSocket with 401 Unauthorized: \"who are you?\"");
    server.websocket("/ws").header("authorization", "secret").connect();
    let error = server.websocket("/nowhere").try_connect().unwrap_err();
    assert!(matches!(error, TestConnectError::Refused(response) if response.status() == 404));
    let other = server.websocket("/ws").header("authorization", "secret").header("origin", "https://elsewhere.example");
    assert_eq!(other.try_connect().unwrap_err().refusal().expect("a response").status(), 403);
}

#[test]
fn messages_are_compressed_where_that_is_agreed_on() {
    let config = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    let server = serve(websocket::upgrade(echo).compression(config));
    assert!(!server.websocket("/ws").connect().is_compressed());
    let mut client = server.websocket("/ws").compression(config).connect();
    assert!(client.is_compressed());
    let text = "the tide comes in, the tide goes out; ".repeat(500);
    let before = server.stats();
    for _ in 0..3 {
        client.send(text.as_str());
        assert!(client.recv_text() == text);
    }
    let after = server.stats();
    assert!(after.received_bytes_total - before.received_bytes_total < text.len() as u64 / 10);
    assert!(after.sent_bytes_total - before.sent_bytes_total < text.len() as u64 / 10);
    let plain = serve(websocket::upgrade(echo));
    assert!(!plain.websocket("/ws").compression(config).connect().is_compressed(), "the server declines");
}

/// Everyone gets every message, in one order.
#[test]
fn a_hub_reaches_all_members() {
    let hub: Hub = Hub::default();
    let members = hub.clone();
    let room = websocket::upgrade(async move |mut ws| {
        let member = members.register(&ws)?;
        member.join("room")?;
        while let Some(message) = ws.recv().await? {
            members.publish("room", message).queue().await?;
        }
        Ok(())
    });
    let server = serve(room);
    let mut clients: Vec<_> = (0..50).map(|_| server.websocket("/ws").connect()).collect();
    assert_eq!(hub.room_len("room"), 50);
    clients[0].send("one");
    clients[1].send("two");
    // From the test's own thread.
    block_on(hub.publish("room", "three").queue()).unwrap();
    for client in &mut clients {
        assert_eq!([client.recv_text(), client.recv_text(), client.recv_text()], ["one", "two", "three"]);
    }
    drop(clients.pop());
    server.engine().run_until_idle();
    assert_eq!(hub.room_len("room"), 49);
}

#[test]
fn a_member_that_does_not_read_is_closed() {
    let hub: Hub = Hub::new(HubConfig::default().slow(SlowPolicy::CloseTryAgainLater));
    let members = hub.clone();
    let room = websocket::upgrade(async move |mut ws| {
        let _member = members.register(&ws)?;
        while ws.recv().await?.is_some() {}
        Ok(())
    });
    let server = serve(room);
    let mut slow = server.websocket("/ws").connect();
    let mut quick = server.websocket("/ws").connect();
    for number in 0..40 {
        block_on(hub.broadcast(vec![number; 64 << 10]).queue()).unwrap();
        assert_eq!(quick.recv().map(|message| message.len()), Some(64 << 10));
    }
    assert_eq!(hub.len(), 1);
    while slow.recv().is_some() {}
    assert_eq!(slow.close_frame().map(|frame| frame.code()), Some(CloseCode::TRY_AGAIN_LATER));
}

#[test]
fn the_keepalive_gives_a_silent_client_up() {
    let keepalive = KeepaliveConfig::default().interval(SECOND * 30).pong_timeout(SECOND * 10);
    let config = WebSocketConfig::default().keepalive(keepalive);
    let server = serve(websocket::upgrade(echo).config(config));
    let (mut alive, mut silent) = (server.websocket("/ws").connect(), server.websocket("/ws").connect());
    silent.answer_pings(false);
    // The pings of connections are spread over the interval, and an answer is due when the client runs.
    for _ in 0..10 {
        server.advance(SECOND * 6);
        assert!(!alive.is_closed());
    }
    assert!(alive.pings() >= 1);
    assert!(silent.is_closed());
    assert_eq!(silent.pings(), 1);
    assert_eq!(silent.close_frame().map(|frame| frame.reason()), Some("no pong"));
}

#[test]
fn deadlines_and_timeouts_follow_the_clock() {
    let handler = async |mut ws: WebSocket| -> websocket::Result {
        ws.set_read_deadline(Some(Instant::now() + SECOND * 60));
        ws.recv().await?;
        ws.set_read_deadline(None);
        ws.set_idle_timeout(Some(SECOND * 20));
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    };
    let server = serve(websocket::upgrade(handler));
    let (mut first, mut second) = (server.websocket("/ws").connect(), server.websocket("/ws").connect());
    server.advance(SECOND * 50);
    assert!(!first.is_closed());
    second.send("in time");
    server.advance(SECOND * 10);
    assert!(first.is_closed() && !second.is_closed());
    second.send("active");
    assert_eq!(second.recv_text(), "active");
    for _ in 0..3 {
        server.advance(SECOND * 15);
        second.send("still there");
        assert_eq!(second.recv_text(), "still there");
    }
    server.advance(SECOND * 20);
    assert!(second.is_closed());
}

#[test]
fn a_shutdown_closes_with_1001() {
    let server = serve(websocket::upgrade(echo));
    let mut client = server.websocket("/ws").connect();
    server.begin_shutdown(Shutdown::default());
    assert_eq!(client.recv(), None);
    assert_eq!(client.close_frame().map(|frame| frame.code()), Some(CloseCode::GOING_AWAY));
    assert_eq!(server.shutdown(Shutdown::default()).forced, 0);
}

#[test]
fn a_handler_sees_how_its_client_goes() {
    let (out, ends) = channel();
    let handler = async move |mut ws: WebSocket| -> websocket::Result {
        let end = loop {
            match ws.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => break format!("closed {:?}", ws.close_frame().map(|frame| frame.code().value())),
                Err(error) => break format!("{error}"),
            }
        };
        let _ = out.send(end);
        Ok(())
    };
    let server = serve(websocket::upgrade(handler));
    server.websocket("/ws").connect().close(CloseCode::NORMAL, "bye");
    assert_eq!(ends.recv().unwrap(), "closed Some(1000)");
    let client = server.websocket("/ws").connect();
    drop(client);
    server.engine().run_until_idle();
    let lost = ends.try_recv().expect("it saw the end");
    server.websocket("/ws").connect().reset();
    server.engine().run_until_idle();
    let reset = ends.try_recv().expect("it saw the reset");
    assert!(!lost.starts_with("closed") && !reset.starts_with("closed"), "{lost} and {reset}");
}

/// A sender on another thread is waited for.
#[test]
fn other_threads_can_send() {
    let handler = async |mut ws: WebSocket| -> websocket::Result {
        let sender = ws.sender();
        let thread = std::thread::spawn(move || block_on(sender.send("from elsewhere")));
        ws.recv().await?;
        let _ = thread.join();
        Ok(())
    };
    let mut client = serve(websocket::upgrade(handler)).websocket("/ws").connect();
    assert_eq!(client.recv_text(), "from elsewhere");
}

/// Whatever the cuts, frames are found.
#[test]
fn frames_can_arrive_byte_by_byte() {
    let config = tidegate::engine::testing::TestConfig::default().receive_bytes_max(1);
    let app = Router::new().get("/ws", websocket::upgrade(echo));
    let server = TestServer::start_with(Server::builder(app), config).unwrap();
    let mut client = server.websocket("/ws").connect();
    for text in ["", "a", "Tschüß", &"x".repeat(1000)] {
        client.send(text);
        assert_eq!(client.recv_text(), text);
    }
}
