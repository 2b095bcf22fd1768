//! Event streams as members of hubs, next to WebSockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::web::Event;
use tidegate::websocket::{HubConfig, HubError, MemberConfig, SlowPolicy};

use crate::support::client::{BINARY, Client, PATIENCE, TEXT};
use crate::support::servers::{Setup, TestServer, on_every_engine};

/// A server with a hub whose members are the WebSockets at `/ws` and the event streams at `/events`.
struct EventServer {
    server: TestServer,
    hub: Hub,
    registered: Receiver<()>,
}

impl EventServer {
    fn start(setup: &Setup, config: HubConfig) -> Self {
        let hub = Hub::new(config);
        let (registered_out, registered) = channel();
        let (members, registered_ws) = (hub.clone(), registered_out.clone());
        let ws = websocket::upgrade(async move |mut ws: WebSocket| {
            let member = members.register(&ws)?;
            member.join("room")?;
            let _ = registered_ws.send(());
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let members = hub.clone();
        let events = async move |_request: Request| {
            let (members, registered) = (members.clone(), registered_out.clone());
            Response::sse(|mut events| async move {
                // Comments would come between the events that the tests expect.
                events.set_keep_alive(None);
                let member = members.register_events(&events.sender()?)?;
                member.join("room")?;
                let _ = registered.send(());
                events.draining().await;
                events.send(Event::data("goodbye")).await?;
                Ok(())
            })
        };
        let server = TestServer::start(setup, Router::new().get("/ws", ws).get("/events", events));
        Self { server, hub, registered }
    }

    fn wait_for_member(&self) {
        self.registered.recv_timeout(PATIENCE).expect("the handler registers");
    }

    fn open_ws(&self) -> Client {
        let client = Client::open(self.server.address);
        self.wait_for_member();
        client
    }

    fn open_events(&self, version: &str) -> Events {
        let events = Events::open(self.server.address, version);
        self.wait_for_member();
        events
    }
}

/// The client of an event stream.
struct Events {
    reader: BufReader<TcpStream>,
    is_chunked: bool,
}

impl Events {
    fn open(address: SocketAddr, version: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        write!(stream, "GET /events HTTP/{version}\r\nHost: a\r\n\r\n").expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(reader.read_line(&mut line).expect("a head"), 0);
        }
        Self { reader, is_chunked: version == "1.1" }
    }

    /// Reads an event, which must be one chunk.
    fn expect(&mut self, event: &str) {
        let chunk = match self.is_chunked {
            true => format!("{:x}\r\n{event}\n\r\n", event.len() + 1),
            false => format!("{event}\n"),
        };
        let mut received = vec![0; chunk.len()];
        self.reader.read_exact(&mut received).expect("an event");
        assert_eq!(String::from_utf8_lossy(&received), chunk);
    }

    fn expect_end(mut self) {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).expect("ended in order");
        assert_eq!(rest, if self.is_chunked { "0\r\n\r\n" } else { "" });
    }
}

#[test]
fn one_message_reaches_websockets_and_event_streams() {
    on_every_engine(|setup| {
        let server = EventServer::start(setup, HubConfig::default());
        let early = server.hub.broadcast("made before anybody joined");
        let (mut ws, mut events, mut old) = (server.open_ws(), server.open_events("1.1"), server.open_events("1.0"));
        assert_eq!(block_on(early).expect("open").count, 3);
        for number in 0..100 {
            block_on(server.hub.broadcast(format!("line\n{number}")).queue()).expect("open");
        }
        // Messages to the hub and those to a room have no order between them.
        assert_eq!(block_on(server.hub.broadcast("all")).expect("open").count, 3);
        let delivered = block_on(server.hub.publish("room", "text").event(Event::data("event").name("n").id("1")));
        assert_eq!(delivered.expect("open").count, 3);
        assert_eq!(block_on(server.hub.broadcast(vec![1, 2])).expect("open").count, 1, "binary is for WebSockets");
        block_on(server.hub.broadcast("last").queue()).expect("open");

        ws.expect(TEXT, b"made before anybody joined");
        for number in 0..100 {
            ws.expect(TEXT, format!("line\n{number}").as_bytes());
        }
        ws.expect(TEXT, b"all");
        ws.expect(TEXT, b"text");
        ws.expect(BINARY, &[1, 2]);
        ws.expect(TEXT, b"last");
        for events in [&mut events, &mut old] {
            events.expect("data: made before anybody joined\n");
            for number in 0..100 {
                events.expect(&format!("data: line\ndata: {number}\n"));
            }
            events.expect("data: all\n");
            events.expect("data: event\nevent: n\nid: 1\n");
            events.expect("data: last\n");
        }
        assert_eq!(
            block_on(server.hub.broadcast("x").event(Event::data("x").id("1\n2")).queue()).map_err(|e| e.to_string()),
            Err("invalid event id: must have no line break and no NUL".to_owned())
        );
        drop(ws);
        server.server.running.handle().begin_shutdown(Shutdown::default());
        for mut events in [events, old] {
            events.expect("data: goodbye\n");
            events.expect_end();
        }
        server.server.running.join();
    });
}

#[test]
fn a_slow_event_stream_is_ended_in_order_and_delays_nobody() {
    on_every_engine(|setup| {
        let config = HubConfig::default().slow(SlowPolicy::CloseTryAgainLater).queue_bytes_max(256 * 1024);
        let server = EventServer::start(setup, config);
        let (mut ws, mut slow) = (server.open_ws(), server.open_events("1.1"));
        let text = "x".repeat(32 * 1024);
        let mut sent = 0;
        while server.hub.len() == 2 {
            let delivered = block_on(server.hub.broadcast(text.clone())).expect("open");
            assert!(delivered.count >= 1, "the WebSocket reads");
            ws.expect(TEXT, text.as_bytes());
            sent += 1;
        }
        // All but the last message, and then the end.
        for _ in 1..sent {
            slow.expect(&format!("data: {text}\n"));
        }
        slow.expect_end();
        ws.close();
        server.server.finish();
    });
}

#[test]
fn a_member_with_its_own_policy_misses_events_whole_and_closing_a_hub_ends_its_event_streams() {
    on_every_engine(|setup| {
        let hub: Hub<u32> = Hub::default();
        let (members, (registered_out, registered)) = (hub.clone(), channel());
        let events = async move |_request: Request| {
            let (members, registered) = (members.clone(), registered_out.clone());
            Response::sse(|mut events| async move {
                events.set_keep_alive(None);
                let config = MemberConfig::default().slow(SlowPolicy::Drop);
                let _member = members.register_events_with(&events.sender()?, 7, config)?;
                let _ = registered.send(());
                events.draining().await;
                Ok(())
            })
        };
        let server = TestServer::start(setup, Router::new().get("/events", events));
        let mut reader = Events::open(server.address, "1.1");
        registered.recv_timeout(PATIENCE).expect("registers");
        let text = "x".repeat(256 * 1024);
        let mut taken = 0;
        loop {
            let delivered = block_on(hub.broadcast_filter(text.clone(), |number| *number == 7)).expect("open");
            taken += delivered.count;
            if delivered.count == 0 {
                break;
            }
        }
        assert_eq!(hub.len(), 1);
        for _ in 0..taken {
            reader.expect(&format!("data: {text}\n"));
        }
        let mut old = Events::open(server.address, "1.0");
        registered.recv_timeout(PATIENCE).expect("registers");
        block_on(hub.broadcast("bye").queue()).expect("open");
        block_on(hub.close(CloseCode::NORMAL, "")).expect("a valid code");
        reader.expect("data: bye\n");
        reader.expect_end();
        old.expect("data: bye\n");
        old.expect_end();
        server.finish();
        assert_eq!(block_on(hub.broadcast("x").queue()), Err(HubError::Closed));
    });
}
